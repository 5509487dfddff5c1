"""Whole runs, tiny ones: what they leave behind and what decides it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.train.making import (
    CLASSES,
    HEAD,
    POOL_IMAGES,
    PSEUDO,
    TEST_IMAGES,
    TRUNK,
    differing,
    go_on,
    places,
    poison_hidden_labels,
    tiny,
    train,
)
from workbench.dataset import Catalogue
from workbench.recipe import Recipe
from workbench.recipe.offline import Offline
from workbench.recipe.pseudo_label import strategies_of
from workbench.runs.events import ConfusionSeen, EpochDone, RoundLabelled, Silent, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import read_ledger
from workbench.runs.predictions import load_predictions
from workbench.runs.process import read_exit
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.train import run as run_module
from workbench.train.checkpoint import save_checkpoint
from workbench.train.conclude import state_concluded
from workbench.train.setup import prepare
from workbench.train.state import Best, RunState


def test_a_supervised_run_leaves_results_predictions_and_weights(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(HEAD, sample), tmp_path)
    assert trained.outcome.code == 0
    results = trained.results
    assert results == read_results(trained.directory.results)
    assert (results.labelled, results.unlabelled, results.classes_covered) == (POOL_IMAGES, 0, CLASSES)
    assert results.test.images == TEST_IMAGES
    assert (results.best_stage, results.teacher_test, results.rounds) == ("fit", None, ())
    predictions = load_predictions(trained.directory.predictions("test"))
    assert float((predictions.probabilities.argmax(1) == predictions.labels).mean()) == results.test.accuracy
    assert sorted(path.name for path in trained.directory.checkpoint.iterdir()) == [
        "conclusion.safetensors",
        "conclusion.sha256",
        "final.safetensors",
        "final.sha256",
    ]
    assert results.weights_sha256 == file_sha256(trained.directory.checkpoint / "final.safetensors")
    record = read_exit(trained.directory)
    assert record is not None
    assert record.code == 0


def test_a_pseudo_label_run_goes_through_teacher_and_rounds(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(HEAD + PSEUDO, sample), tmp_path)
    stages = [(e.stage, e.round, e.labelled, e.pseudo_labelled) for e in trained.events(StageStarted)]
    assert stages == [("teacher", 0, 20, 0), ("student", 1, 20, 8), ("student", 2, 20, 16)]
    assert all(event.features for event in trained.events(StageStarted))
    results = trained.results
    assert [(r.round, r.selected, r.coverage) for r in results.rounds] == [(1, 8, 0.4), (2, 16, 0.8)]
    assert results.teacher_test is not None
    assert results.best_stage == ("student" if any(row.improved for row in results.rounds) else "teacher")
    for number, event in enumerate(trained.events(RoundLabelled), 1):
        ledger = read_ledger(trained.directory.ledger(number))
        assert len(ledger) == event.pool == 20
        chosen = [row for row in ledger if row.selected]
        assert len(chosen) == event.selected == sum(event.per_class)
        right = sum(row.pseudo_label == row.true_label for row in chosen) / len(chosen)
        assert event.accuracy == pytest.approx(right)
        assert event.threshold == pytest.approx(min(row.confidence for row in chosen))
        assert event.flipped == sum(row.flipped for row in ledger)
    assert {p.name for p in trained.directory.checkpoint.glob("*.safetensors")} == {
        "conclusion.safetensors",
        "final.safetensors",
        "teacher.safetensors",
    }


def test_the_test_split_is_looked_at_once_a_model_and_last(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(HEAD + PSEUDO, sample), tmp_path)
    kinds = [(e.stage, e.split) for e in trained.events(EpochDone)]
    assert [stage for stage, split in kinds if split == "test"] == ["teacher", "student"]
    assert [split for _, split in kinds[-2:]] == ["test", "test"]


def test_every_epoch_is_recorded_with_training_validation_and_confusion(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(TRUNK, sample, "training.epochs=2"), tmp_path)
    epochs = [(e.epoch, e.split) for e in trained.events(EpochDone)]
    assert epochs[:4] == [(1, "train"), (1, "val"), (2, "train"), (2, "val")]
    for seen, done in zip(
        trained.events(ConfusionSeen), [e for e in trained.events(EpochDone) if e.split == "val"], strict=True
    ):
        matrix = np.array(seen.matrix)
        assert matrix.sum() == CLASSES
        assert np.trace(matrix) / matrix.sum() == pytest.approx(done.accuracy)


@pytest.mark.parametrize("base", [HEAD + PSEUDO, TRUNK], ids=["features", "trunk"])
def test_equal_recipes_give_equal_weights_and_another_seed_others(
    base: str, sample: Path, tmp_path: Path
) -> None:
    first = train(tiny(base, sample), tmp_path / "a").results.weights_sha256
    assert train(tiny(base, sample), tmp_path / "b").results.weights_sha256 == first
    assert train(tiny(base, sample, "seed=1"), tmp_path / "a").results.weights_sha256 != first


def test_a_finished_run_gives_its_results_again_without_training(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(HEAD, sample), tmp_path)
    again = go_on(trained.directory, tiny(HEAD, sample), tmp_path)
    assert again.results == trained.results
    assert again.recorder.events == []


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


@pytest.mark.parametrize(
    ("base", "name", "damage"),
    [
        (HEAD, "results.toml", _cut),
        (HEAD + PSEUDO, "results.toml", _cut),
        (TRUNK, "results.toml", Path.unlink),
        (HEAD + PSEUDO, "predictions/teacher-val.npz", Path.unlink),
        (HEAD, "predictions/test.npz", _cut),
    ],
)
def test_a_finished_run_with_damaged_results_is_concluded_again_to_the_same_digits(
    base: str, name: str, damage: Callable[[Path], None], sample: Path, tmp_path: Path
) -> None:
    recipe = tiny(base, sample)
    trained = train(recipe, tmp_path)
    run = trained.directory
    before = _contents(run)
    damage(run.path / name)
    again = go_on(run, recipe, tmp_path)
    assert again.outcome.code == 0, again.outcome
    assert again.results == trained.results
    assert status_of(run) is RunStatus.FINISHED
    after = _contents(run)
    changed = {path for path in before if after[path] != before[path]}
    assert changed <= {"metrics.jsonl", "run.log", "process.json", "exit.json"}
    assert after.keys() == before.keys()
    assert [e for e in again.recorder.events if isinstance(e, EpochDone)] == []


def test_one_process_that_concludes_the_run_of_two_again_says_that_two_trained_it(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample)
    run = train(recipe, tmp_path).directory
    run.results.unlink()

    def of_two(directory: RunDirectory) -> RunState | None:
        state = state_concluded(directory)
        return None if state is None else replace(state, processes=2)

    monkeypatch.setattr(run_module, "state_concluded", of_two)
    assert go_on(run, recipe, tmp_path).results.devices == 2


def test_a_run_that_cannot_be_concluded_again_is_refused_and_stays_as_it_is(
    sample: Path, tmp_path: Path
) -> None:
    recipe = tiny(HEAD, sample)
    run = train(recipe, tmp_path).directory
    _cut(run.results)
    _cut(run.checkpoint / "final.safetensors")
    before = _contents(run)
    again = go_on(run, recipe, tmp_path)
    assert again.outcome.code == 2
    assert "final.safetensors does not match its SHA-256" in again.outcome.reason
    assert _contents(run) == before
    assert status_of(run) is RunStatus.FINISHED


def test_what_a_run_killed_at_its_very_end_left_is_cleared_by_the_next_attempt(
    sample: Path, tmp_path: Path
) -> None:
    recipe = tiny(HEAD, sample)
    trained = train(recipe, tmp_path)
    run = trained.directory
    before = set(_contents(run))
    save_checkpoint(run.checkpoint, {}, {})
    (run.checkpoint / ".final.safetensors.99-0123abcd.tmp").touch()
    (run.path / ".results.toml.99-0123abcd.tmp").touch()
    (run.path / ".notes.toml.99-0123abcd.tmp").touch()  # a front end's: it may be writing now
    run.exit.unlink()
    assert go_on(run, recipe, tmp_path).results == trained.results
    assert set(_contents(run)) == {*before, ".notes.toml.99-0123abcd.tmp"}


def _contents(run: RunDirectory) -> dict[str, bytes]:
    files = (path for path in run.path.rglob("*") if path.is_file())
    return {str(path.relative_to(run.path)): path.read_bytes() for path in files}


def test_data_that_changed_since_the_run_began_are_refused(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(HEAD, sample), tmp_path)
    trained.directory.results.unlink()
    other = go_on(trained.directory, tiny(HEAD, sample, "data.split_seed=7"), tmp_path)
    assert other.outcome.code == 2
    assert "divided otherwise than when the run began" in other.outcome.reason


def _rounds_of(strategy: str) -> str:
    """Two rounds of a strategy with two epochs each, so lenient that untrained networks are believed."""
    quiet = 'noise = { policy = "none", dropout = 0.2, stochastic_depth = 0.0 }'
    lenient = {
        "ups": "threshold = 0.01\nspread = 0.9\npass_dropout = 0.5",
        "noisy_student": f"threshold = 0.0\n{quiet}",
        "iterative": "fraction = 0.4",
    }
    rounds = "" if strategy in ("one_shot", "label_propagation", "prototype") else "rounds = 2"
    return f"""
[pseudo_label]
strategy = "{strategy}"
labelled_fraction = 0.5
epochs_per_round = 2
{rounds}
{lenient.get(strategy, "")}
"""


@pytest.mark.parametrize("strategy", sorted(strategies_of(Offline)))
def test_hidden_labels_decide_nothing(
    strategy: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD + _rounds_of(strategy), sample)
    honest = train(recipe, tmp_path / "honest")

    poison_hidden_labels(monkeypatch)
    lied_to = train(recipe, tmp_path / "poisoned")
    for number in range(1, len(honest.results.rounds) + 1):
        ours, theirs = (
            [
                (row.id, row.pseudo_label, row.selected, row.confidence)
                for row in read_ledger(d.ledger(number))
            ]
            for d in (honest.directory, lied_to.directory)
        )
        assert ours == theirs
        assert any(selected for _, _, selected, _ in ours)
    assert lied_to.results.weights_sha256 == honest.results.weights_sha256
    # The poison did arrive: it shows in the ledger, which tells the truth for scoring.
    told = (
        [row.true_label for row in read_ledger(d.ledger(1))] for d in (honest.directory, lied_to.directory)
    )
    assert next(told) != next(told)


@pytest.mark.parametrize("method", ["kmeans", "typiclust"])
def test_representative_images_are_chosen_without_a_look_at_any_label(
    method: str, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = ("pseudo_label.labels_per_class=2", f"pseudo_label.representative='{method}'")
    recipe = tiny(
        HEAD + '[pseudo_label]\nstrategy = "one_shot"\n', sample, *chosen, "data.stratified_validation=false"
    )
    honest = prepare(recipe, places(tmp_path), Silent())
    labels = Catalogue.labels
    monkeypatch.setattr(
        Catalogue, "labels", lambda catalogue, target: (labels(catalogue, target) * 3 + 1) % CLASSES
    )
    lied_to = prepare(recipe, places(tmp_path), Silent())
    assert (lied_to.labels != honest.labels).any()
    assert lied_to.split.labelled.tolist() == honest.split.labelled.tolist()
    assert len(honest.split.labelled) == 2 * CLASSES


@pytest.mark.parametrize("student", ["continue", "fresh"])
def test_noisy_student_of_one_round_without_noise_is_one_shot_with_soft_labels(
    student: str, sample: Path, tmp_path: Path
) -> None:
    common = f"""
[pseudo_label]
labelled_fraction = 0.5
epochs_per_round = 2
labelled_weight = 1.0
student = "{student}"
"""
    quiet = 'noise = { policy = "none", dropout = 0.3, stochastic_depth = 0.0 }\n'
    soft = 'strategy = "one_shot"\ntargets = "soft"\n'
    noisy = f'strategy = "noisy_student"\nrounds = 1\nquota = false\nthreshold = 0.0\n{quiet}'
    one, other = (
        train(tiny(TRUNK + common + own, sample, "training.epochs=1"), tmp_path) for own in (soft, noisy)
    )
    assert one.results.weights_sha256 == other.results.weights_sha256
    assert one.results.rounds == other.results.rounds


@pytest.mark.parametrize("base", [HEAD, TRUNK], ids=["features", "trunk"])
def test_pseudo_labels_need_an_unlabelled_image(base: str, sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(base + "[pseudo_label]\nlabels_per_class = 4\n", sample), tmp_path)
    assert trained.outcome.code == 2
    assert "all 40 training images are labelled" in trained.outcome.reason


@pytest.mark.parametrize("base", [HEAD, TRUNK], ids=["features", "trunk"])
def test_a_round_that_selects_nothing_trains_on_the_labelled_images_alone(
    base: str, sample: Path, tmp_path: Path
) -> None:
    strict = ("pseudo_label.select='threshold'", "pseudo_label.threshold=0.9999", "training.epochs=1")
    trained = train(tiny(base + PSEUDO.replace("fraction = 0.4\n", ""), sample, *strict), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert [r.selected for r in trained.results.rounds] == [0, 0]
    assert [r.pseudo_label_accuracy for r in trained.results.rounds] == [None, None]
    assert [(e.labelled, e.pseudo_labelled) for e in trained.events(StageStarted)] == [(20, 0)] * 3


def test_early_stopping_ends_a_stage_exactly_when_its_patience_is_over(sample: Path, tmp_path: Path) -> None:
    changes = ("training.epochs=400", "training.early_stop=4", "optimizer.learning_rate=0.1")
    trained = train(tiny(HEAD, sample, *changes), tmp_path)
    best, stale, expected = Best("fit", 0, 0, -1.0, 0.0, {}), 0, 0
    seen = [event for event in trained.events(EpochDone) if event.split == "val"]
    for event in seen:
        better = not best.better_than(event.accuracy, event.loss)
        stale = 0 if better else stale + 1
        if better:
            best = Best("fit", 0, event.epoch, event.accuracy, event.loss, {})
        expected = event.epoch
        if stale == 4:
            break
    assert expected == len(seen) < 400
    assert trained.results.best_epoch == expected - 4
    assert any("stopping early" in text for text in trained.recorder.messages("info"))


@pytest.fixture
def wrong_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every image of the pool is taught the same class, which cannot end well."""

    def wrong(*arguments: object) -> object:
        selection = choose(*arguments)  # type: ignore[arg-type]
        selection.targets[:] = 0
        selection.targets[:, 0] = 1
        return selection

    from workbench.pseudo import choose
    from workbench.train import teacher as labelling

    monkeypatch.setattr(labelling, "choose", wrong)


def _misled(sample: Path, *changes: str) -> Recipe:
    """A good teacher with a student to be misled."""
    return tiny(
        HEAD + PSEUDO,
        sample,
        "model.backbone='efficientnet_lite0'",
        "model.weights='default'",
        "data.image_size=64",
        "optimizer.learning_rate=2e-3",
        "pseudo_label.labelled_fraction=0.75",
        "pseudo_label.fraction=1",
        "pseudo_label.pseudo_weight=50",
        "pseudo_label.target_prior='off'",  # it would see through labels that are all alike
        "pseudo_label.epochs_per_round=10",
        "training.epochs=20",
        *changes,
    )


@pytest.mark.usefixtures("wrong_labels")
def test_a_teacher_that_no_student_beats_stays_the_model(sample: Path, tmp_path: Path) -> None:
    trained = train(_misled(sample, "pseudo_label.rounds=4"), tmp_path)
    results = trained.results
    assert (results.best_stage, results.best_round) == ("teacher", 0)
    assert (results.val, results.test) == (results.teacher_val, results.teacher_test)
    student = results.student_val
    assert student is not None
    assert (student.accuracy, -student.loss) < (results.val.accuracy, -results.val.loss)
    assert not differing(trained.weights(), trained.weights("teacher"))
    assert any("no round beat the teacher on validation" in text for text in results.warnings)
    assert any("keeping the teacher" in text for text in trained.recorder.messages("warning"))
    # Two rounds in a row were lost, which is the standard patience.
    assert [(row.taught_by, row.improved) for row in results.rounds] == [(0, False), (0, False)]
    assert any("the rounds end" in text for text in trained.recorder.messages("info"))
    assert [model.name for model in results.models if model.is_final] == ["teacher"]
    assert read_results(trained.directory.results) == results


@pytest.mark.usefixtures("wrong_labels")
def test_the_latest_student_teaches_where_that_is_asked_for(sample: Path, tmp_path: Path) -> None:
    changes = ("pseudo_label.rounds=3", "pseudo_label.next_teacher='latest'")
    trained = train(_misled(sample, *changes), tmp_path)
    assert [row.taught_by for row in trained.results.rounds] == [0, 1, 2]
    assert trained.results.best_stage == "teacher"
    # Each student goes on from the one before it, so the last is worse than the first.
    first, *_, last = trained.results.rounds
    assert last.student_val_accuracy <= first.student_val_accuracy


@pytest.mark.usefixtures("wrong_labels")
def test_without_patience_every_round_is_tried_from_the_teacher(sample: Path, tmp_path: Path) -> None:
    changes = ("pseudo_label.rounds=3", "pseudo_label.patience=0")
    trained = train(_misled(sample, *changes), tmp_path)
    assert [row.taught_by for row in trained.results.rounds] == [0, 0, 0]
    assert {row.selected for row in trained.results.rounds} == {trained.results.unlabelled}
    # The same teacher says the same each time.
    assert all(row.flipped == 0 for row in trained.results.rounds)


def test_a_students_loss_is_told_the_mixture_that_it_will_meet(sample: Path, tmp_path: Path) -> None:
    balanced = "pseudo_label.balance='sinkhorn'"
    named = "pseudo_label.prior={Striped_Loafer=0.5}"
    plain = train(tiny(HEAD + PSEUDO, sample, balanced, named, "pseudo_label.target_prior='off'"), tmp_path)
    told = train(
        tiny(HEAD + PSEUDO, sample, balanced, named, "pseudo_label.target_prior='uniform'"), tmp_path
    )
    assert differing(plain.weights("teacher"), told.weights("teacher")) == set()
    assert plain.results.rounds[0].student_val_accuracy is not None
    first = [trained.events(EpochDone) for trained in (plain, told)]
    losses = [[e.loss for e in events if e.stage == "student" and e.split == "train"] for events in first]
    assert losses[0] != losses[1]


def test_validation_is_weighted_for_the_mixture_that_the_model_will_meet(
    sample: Path, tmp_path: Path
) -> None:
    told = train(
        tiny(HEAD + PSEUDO, sample, "pseudo_label.target_prior={Striped_Loafer=1.0}"), tmp_path / "one"
    )
    # Of one class alone the accuracy is that class's recall, for teacher and student alike.
    results = told.results
    label = results.classes.index("Striped_Loafer")
    weighted = results.weighted_val
    assert weighted is not None
    seen = [model.val.recall[label] for model in results.models]
    assert weighted == pytest.approx(tuple(seen), abs=1e-6)
    epochs = [event for event in told.events(EpochDone) if event.split == "val"]
    images = sum(results.val.confusion[label])
    assert {event.images for event in epochs} == {images} != {results.val.images}
    assert any("target_prior" in text for text in told.recorder.messages("info"))
    assert "weighted" in results.choice_words


def test_a_pools_mixture_judges_the_teacher_as_soon_as_it_is_known(sample: Path, tmp_path: Path) -> None:
    mixed = ("pseudo_label.balance='sinkhorn'", "pseudo_label.prior={Striped_Loafer=0.9}")
    told = train(tiny(HEAD + PSEUDO, sample, *mixed, "pseudo_label.target_prior='pool'"), tmp_path / "pool")
    results = told.results
    assert results.weighted_val is not None
    shares = np.full(len(results.classes), 0.1 / (len(results.classes) - 1))
    shares[results.classes.index("Striped_Loafer")] = 0.9
    for model, accuracy in zip(results.models, results.weighted_val, strict=True):
        recall = np.array([0.0 if share is None else share for share in model.val.recall])
        known = np.array([share is not None for share in model.val.recall])
        assert accuracy == pytest.approx(
            float((recall * shares)[known].sum() / shares[known].sum()), abs=1e-6
        )
    plain = train(tiny(HEAD + PSEUDO, sample, *mixed), tmp_path / "plain")
    assert plain.results.weighted_val is None


def test_shares_of_an_unknown_class_are_refused_before_training(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no class 'Nobody'"):
        prepare(
            tiny(HEAD + PSEUDO, sample, "pseudo_label.target_prior={Nobody=0.5}"), places(tmp_path), Silent()
        )


def test_a_network_that_asks_for_its_layers_versions_trains_and_comes_back(
    sample: Path, tmp_path: Path
) -> None:
    trained = train(tiny(HEAD, sample, "model.backbone='mnasnet0_5'", "training.ema=0.5"), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert trained.results.test.images == TEST_IMAGES
