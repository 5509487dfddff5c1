"""Ensembles of finished runs: what they average, how validation chooses, what they keep, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.train.making import CLASSES, CPU, HEAD, PSEUDO, make_sample, tiny, train
from workbench.dataset.split_file import split_ids
from workbench.recipe import load_recipe
from workbench.runs.ensemble import DIFFERS_KEY, MEMBERS_KEY, differing_keys, read_ensemble
from workbench.runs.export import read_page
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import load_predictions
from workbench.runs.results import read_results
from workbench.runs.seed_groups import group_by_seed
from workbench.runs.status import RunStatus, status_of
from workbench.runs.summary import summarise
from workbench.runs.sweeps import find_trained
from workbench.support.errors import UserError
from workbench.train.ensemble import candidates, choose, kept_bytes, make_ensemble, pooled
from workbench.train.predict import Predicted, Unreadable, load_predictor, open_predictor

OTHER = ("name=other", "model.backbone=mobilenet_v3_small", "data.image_size=48")


@pytest.fixture(scope="module")
def trained(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RunDirectory]:
    """Three finished runs of different networks, sizes and labels, and their home."""
    home = tmp_path_factory.mktemp("members")
    recipes = [
        tiny(HEAD, sample),
        tiny(HEAD, sample, *OTHER),
        tiny(HEAD + PSEUDO, sample, "name=pseudo", "seed=3"),
    ]
    return [train(recipe, home).directory for recipe in recipes]


@pytest.fixture
def runs(trained: list[RunDirectory], tmp_path: Path) -> list[RunDirectory]:
    """Copies of the three that a test may change."""
    home = tmp_path / "runs"
    return [RunDirectory(Path(shutil.copytree(run.path, home / run.id))) for run in trained]


def made(runs: list[RunDirectory], by: str = "all", name: str = "together") -> RunDirectory:
    choice = choose(candidates(runs), "val" if by == "val" else "all")
    return make_ensemble(runs[0].path.parent, name, choice, ["petbench", "ensemble"])


def test_the_mean_of_log_probabilities_is_a_product_of_powers() -> None:
    one = np.array([[0.5, 0.3, 0.2]], dtype=np.float32)
    two = np.array([[0.1, 0.8, 0.1]], dtype=np.float32)
    product = np.sqrt(one.astype(float) * two) / np.sqrt(one.astype(float) * two).sum()
    np.testing.assert_allclose(pooled([one, two], [1, 1]), product, rtol=1e-6)
    np.testing.assert_allclose(pooled([one], [1]), one, rtol=1e-6)
    np.testing.assert_allclose(pooled([one], [0.5]), one**2 / (one**2).sum(), rtol=1e-6)


def test_an_ensemble_is_a_run_like_any_other(runs: list[RunDirectory]) -> None:
    run = made(runs)
    results, told = read_results(run.results), read_ensemble(run)
    assert status_of(run) is RunStatus.FINISHED
    assert [member.id for member in told.members] == [one.id for one in runs]
    for part, on in (("val", results.val), ("test", results.test)):
        said = load_predictions(run.predictions(part))
        each = [load_predictions(one.predictions(part)) for one in runs]
        mean = pooled([one.probabilities for one in each], [member.temperature for member in told.members])
        np.testing.assert_allclose(said.probabilities, mean, rtol=1e-6)
        assert said.ids == each[0].ids
        assert on.accuracy == float((mean.argmax(axis=1) == said.labels).mean())
    page = read_page(run)
    assert (page.summary.problem, page.ensemble) == ("", told)
    assert page.summary.val_accuracy == results.val.accuracy
    assert page.provenance["data_fingerprint"] == read_page(runs[0]).provenance["data_fingerprint"]
    assert page.summary.pictures == summarise(runs[0]).pictures


def test_its_recipe_tells_in_what_the_members_differ(runs: list[RunDirectory], sample: Path) -> None:
    run = made(runs)
    recipe = summarise(run).recipe
    assert recipe[MEMBERS_KEY] == ["tiny", "other", "pseudo"]
    assert recipe["model.backbone"] == "shufflenet_v2_x0_5 + mobilenet_v3_small"
    assert {"model.backbone", "data.image_size", "seed"} < set(recipe[DIFFERS_KEY])
    assert recipe["data.image_size"] in (32, 48)
    assert recipe["optimizer.learning_rate"] == 1e-2
    assert load_recipe(run.recipe).name == "together"


def test_of_several_strategies_the_strategy_is_told_and_what_they_share() -> None:
    shared = {"seed": 0, "pseudo_label.labelled_fraction": 0.1}
    iterative = {**shared, "pseudo_label.strategy": "iterative", "pseudo_label.rounds": 3}
    once = {**shared, "pseudo_label.labelled_fraction": 0.2, "pseudo_label.strategy": "one_shot"}
    told = {"pseudo_label.strategy": ("iterative", "one_shot")}
    assert differing_keys([iterative, once]) == {"pseudo_label.labelled_fraction": (0.1, 0.2), **told}
    assert differing_keys([iterative, {"seed": 1}]) == {
        "seed": (0, 1),
        "pseudo_label.strategy": ("iterative", ""),
    }
    more = {**iterative, "pseudo_label.rounds": 4}
    assert differing_keys([iterative, more]) == {"pseudo_label.rounds": (3, 4)}


def test_a_sweep_does_not_take_an_ensemble_for_a_run_of_its_best_members_recipe(
    runs: list[RunDirectory], sample: Path
) -> None:
    slower = train(tiny(HEAD, sample, "optimizer.learning_rate=5e-3"), runs[0].path.parents[1]).directory
    run = made([runs[0], slower])
    assert read_ensemble(run).differs == {"optimizer.learning_rate": (1e-2, 5e-3)}
    best = load_recipe(run.recipe)
    of_recipe = runs[0] if best.optimizer.learning_rate == 1e-2 else slower
    found = find_trained(run.path.parent, [best], lambda asked: [True] * len(asked))
    assert [summary.id for summary in found.values()] == [of_recipe.id]


def test_ensembles_of_several_seeds_group(runs: list[RunDirectory], sample: Path) -> None:
    home = runs[0].path.parents[1]
    others = [train(tiny(HEAD, sample, "seed=1", *changes), home).directory for changes in ((), OTHER)]
    groups = group_by_seed([summarise(made(members)) for members in (runs[:2], others)])
    assert [group.seeds for group in groups] == [("0", "1/0")]


def test_labels_that_any_member_saw_are_labelled(runs: list[RunDirectory]) -> None:
    run = made([runs[2], runs[0]])
    supervised, pseudo = split_ids(runs[0].split), split_ids(runs[2].split)
    assert pseudo.labelled < supervised.labelled
    joined = split_ids(run.split)
    assert (joined.labelled, joined.unlabelled) == (supervised.labelled, frozenset())
    results = read_results(run.results)
    assert (results.labelled, results.unlabelled) == (len(supervised.labelled), 0)


def test_validation_chooses_the_members_and_test_images_have_no_say(runs: list[RunDirectory]) -> None:
    choice = choose(candidates(runs), "val")
    assert len(choice.tried) == 2 * (2**3 - 1)
    best = max((one.val_accuracy, -one.val_loss) for one in choice.tried)
    assert (choice.chosen.val_accuracy, -choice.chosen.val_loss) == best
    for run in runs:  # other words on the test images change nothing
        path = run.predictions("test")
        with np.load(path) as arrays:
            kept = {name: arrays[name] for name in arrays.files}
        kept["probabilities"] = kept["probabilities"][::-1].copy()
        (run.path / "SHA256SUMS").unlink(missing_ok=True)
        np.savez(path, **kept)
    again = choose(candidates(runs), "val")
    assert [m.run.id for m in again.members] == [m.run.id for m in choice.members]
    assert again.calibrated == choice.calibrated


def test_of_many_runs_members_are_added_while_that_helps(
    runs: list[RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.train.ensemble.MOST_EXHAUSTIVE", 2)
    choice = choose(candidates(runs), "val")
    sizes = [len(one.members) for one in choice.tried]
    assert sizes.count(2) == 4  # the best one with each of the others, calibrated and not
    value = (choice.chosen.val_accuracy, -choice.chosen.val_loss)
    assert value == max((one.val_accuracy, -one.val_loss) for one in choice.tried)


def test_it_predicts_what_it_said_and_outlives_its_members(
    runs: list[RunDirectory], sample: Path, tmp_path: Path
) -> None:
    run = made(runs)
    whole, shared = kept_bytes(run)
    assert whole == shared == sum((one.checkpoint / "final.safetensors").stat().st_size for one in runs)
    for one in runs:
        shutil.rmtree(one.path)
    assert kept_bytes(run) == (whole, 0)
    said = load_predictions(run.predictions("test"))
    paths = [sample / "images" / f"{id_}.jpg" for id_ in said.ids[:4]]
    (tmp_path / "no.jpg").write_text("no picture")
    predictor = open_predictor(run, load_recipe(run.recipe), CPU)
    outcomes = list(predictor.predict([*paths, tmp_path / "no.jpg"]))
    assert isinstance(outcomes.pop(), Unreadable)
    found = [outcome.probabilities for outcome in outcomes if isinstance(outcome, Predicted)]
    np.testing.assert_allclose(np.stack(found), said.probabilities[:4], atol=1e-3)


def test_what_needs_one_network_says_so_and_a_member_has_one(runs: list[RunDirectory]) -> None:
    run = made(runs)
    with pytest.raises(UserError, match="no one network") as refused:
        load_predictor(run, load_recipe(run.recipe), CPU)
    member = RunDirectory(run.path / read_ensemble(run).members[0].folder)
    assert str(member.path) in refused.value.hint
    assert load_predictor(member, load_recipe(member.recipe), CPU).classes
    assert read_page(member).summary.problem == ""
    with pytest.raises(UserError, match="no teacher"):
        open_predictor(run, load_recipe(run.recipe), CPU, teacher=True)


def test_other_weights_in_a_members_place_are_noticed(runs: list[RunDirectory]) -> None:
    run = made(runs)
    first, second = (run.path / member.folder for member in read_ensemble(run).members[:2])
    for name in ("final.safetensors", "final.sha256"):
        (first / "checkpoint" / name).unlink()
        shutil.copy(second / "checkpoint" / name, first / "checkpoint" / name)
    with pytest.raises(UserError, match="not those that the ensemble was made of"):
        open_predictor(run, load_recipe(run.recipe), CPU)
    (first / "checkpoint" / "final.safetensors").unlink()
    with pytest.raises(UserError, match="the weights are gone"):
        open_predictor(run, load_recipe(run.recipe), CPU)


Spoil = Callable[[list[RunDirectory]], list[RunDirectory]]


def _unfinished(runs: list[RunDirectory]) -> list[RunDirectory]:
    runs[1].results.unlink()
    runs[1].exit.unlink()
    return runs


def _weightless(runs: list[RunDirectory]) -> list[RunDirectory]:
    (runs[1].checkpoint / "final.safetensors").unlink()
    return runs


def _cut(runs: list[RunDirectory]) -> list[RunDirectory]:
    path = runs[1].checkpoint / "final.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    return runs


def _speechless(runs: list[RunDirectory]) -> list[RunDirectory]:
    runs[1].predictions("test").unlink()
    return runs


def _twin(runs: list[RunDirectory]) -> list[RunDirectory]:
    home = runs[0].path.parent
    return [runs[0], RunDirectory(Path(shutil.copytree(runs[0].path, home / "twin")))]


def _nested(runs: list[RunDirectory]) -> list[RunDirectory]:
    return [made(runs[:2]), runs[2]]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda runs: runs[:1], "two runs or more"),
        (lambda runs: [runs[0], runs[1], runs[0]], "named twice"),
        (_twin, "the very same weights"),
        (_unfinished, "not finished: it is"),
        (_weightless, "its weights are gone"),
        (_cut, "its weights are damaged"),
        (_speechless, "its predictions are gone"),
        (_nested, "an ensemble itself"),
    ],
)
def test_what_cannot_be_averaged_is_refused(runs: list[RunDirectory], spoil: Spoil, told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        candidates(spoil(runs))
    assert refused.value.where or told == "two runs or more"


def test_runs_on_other_images_are_refused_with_what_differs(
    runs: list[RunDirectory], sample: Path, tmp_path: Path
) -> None:
    home = runs[0].path.parents[1]
    seeded = train(tiny(HEAD, sample, "data.split_seed=5"), home).directory
    with pytest.raises(
        UserError, match=r"validation images: 10, of which \d are .*split_seed = 5, and there 0"
    ):
        candidates([runs[0], seeded])
    elsewhere = make_sample(tmp_path / "elsewhere")
    picture = next((elsewhere / "images").iterdir())
    shutil.copy(next(path for path in (elsewhere / "images").iterdir() if path != picture), picture)
    with pytest.raises(UserError, match="differ in their images"):
        candidates([runs[0], train(tiny(HEAD, elsewhere), home).directory])
    species = train(tiny(HEAD, sample, "data.target=species"), home).directory
    with pytest.raises(UserError, match=rf"classes: 2 \(.*\), and there {CLASSES}"):
        candidates([runs[0], species])


def test_nothing_is_left_of_one_that_could_not_be_written(
    runs: list[RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.name for path in runs[0].path.parent.iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workbench.train.ensemble.write_results", full)
    with pytest.raises(UserError, match="No space"):
        made(runs)
    assert sorted(path.name for path in runs[0].path.parent.iterdir()) == before
