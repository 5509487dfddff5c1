"""Finished runs as the teacher: whom they may teach, what is pinned of them, and who wins."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from tests.train.making import HEAD, PSEUDO, Crash, Trained, differing, go_on, make_sample, tiny, train
from workbench.recipe import Recipe, dump_recipe, load_recipe
from workbench.recipe.plan import plan
from workbench.runs.estimate import planned_stages
from workbench.runs.events import Message, RoundLabelled, StageStarted
from workbench.runs.find import named_teachers
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.predictions import load_predictions
from workbench.runs.provenance import read_provenance
from workbench.runs.results import read_results
from workbench.runs.summary import summarise
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.train.checkpoint import load_tensors
from workbench.train.ensemble import candidates, choose, make_ensemble, pooled
from workbench.train.state import RunState, pack, unpack
from workbench.train.taught import read_teachers

OTHER = (
    *("name=other", "model.backbone=efficientnet_lite0", "model.weights=default"),
    *("data.image_size=64", "training.epochs=8"),
)
SLOW = ("pseudo_label.epochs_per_round=1", "optimizer.learning_rate=1e-6")
SOFT = ("name=student", "pseudo_label.targets=soft", "pseudo_label.temperature=2.0")


@pytest.fixture(scope="module")
def teachers(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> list[RunDirectory]:
    """Two finished runs on the labels of `PSEUDO`, in a home whose tests add students."""
    home = tmp_path_factory.mktemp("teachers")
    recipes = [tiny(HEAD + PSEUDO, sample), tiny(HEAD + PSEUDO, sample, *OTHER)]
    return [train(recipe, home).directory for recipe in recipes]


def taught(sample: Path, runs: list[RunDirectory], *changes: str) -> Recipe:
    names = ",".join(f'"{run.id}"' for run in runs)
    return tiny(HEAD + PSEUDO, sample, *SOFT, f"pseudo_label.teacher=[{names}]", *changes)


def student(sample: Path, runs: list[RunDirectory], *changes: str) -> Trained:
    return train(taught(sample, runs, *changes), runs[0].path.parents[1])


def test_a_student_is_distilled_from_the_mean_of_finished_runs(
    sample: Path, teachers: list[RunDirectory]
) -> None:
    trained = student(sample, teachers)
    assert trained.outcome.code == 0, trained.outcome.reason
    run, results = trained.directory, trained.results
    assert [stage.stage for stage in trained.events(StageStarted)] == ["student"] * len(results.rounds)
    for part in ("val", "test"):  # the networks say here what they said in their own runs
        each = [load_predictions(one.predictions(part)).probabilities for one in teachers]
        said = load_predictions(run.predictions(f"teacher-{part}")).probabilities
        np.testing.assert_allclose(said, pooled(each, [1.0, 1.0]), atol=2e-3)
    pool, first = (load_predictions(run.predictions(name)) for name in ("teacher-pool", "unlabelled-01"))
    assert pool.ids == first.ids
    np.testing.assert_allclose(pool.probabilities, first.probabilities, atol=1e-6)
    told = read_teachers(run)
    assert [one.id for one in told] == [one.id for one in teachers]
    assert [one.weights_sha256 for one in told] == [
        (file_sha256(one.checkpoint / "final.safetensors"),) for one in teachers
    ]
    assert all(one.id in read_provenance(run)["taught_by"] for one in teachers)
    assert summarise(run).problem == ""


@pytest.mark.parametrize("whose", ["the teacher's", "the student's"])
def test_a_teacher_looks_at_images_of_its_own_store_scale(sample: Path, tmp_path: Path, whose: str) -> None:
    scale = "data.store_scale=2.0"
    of_teacher, of_student = ((scale,), ()) if whose == "the teacher's" else ((), (scale,))
    one = train(tiny(HEAD + PSEUDO, sample, *of_teacher), tmp_path).directory
    shutil.rmtree(tmp_path / "cache" / "features")  # so that images are looked at
    trained = student(sample, [one], *of_student)
    assert trained.outcome.code == 0, trained.outcome.reason
    for part in ("val", "test"):
        own = load_predictions(one.predictions(part)).probabilities
        said = load_predictions(trained.directory.predictions(f"teacher-{part}")).probabilities
        np.testing.assert_allclose(said, own, atol=1e-6)


def test_the_run_keeps_its_best_student_and_says_where_its_teachers_are_better(
    sample: Path, teachers: list[RunDirectory]
) -> None:
    trained = student(sample, teachers[1:], *SLOW)
    results = trained.results
    assert results.teacher_val is not None
    assert results.teacher_val.accuracy > results.val.accuracy
    assert (results.best_stage, results.student_val) == ("student", None)
    assert [model.is_final for model in results.models] == [False, True]
    said = f"{results.teacher_val.words} against {results.val.words}"
    assert any("the runs that taught are better" in text and said in text for text in results.warnings)
    assert not (trained.directory.checkpoint / "teacher.safetensors").exists()
    tensors, _ = load_tensors(trained.directory.checkpoint / "final.safetensors")
    assert tensors
    val = load_predictions(trained.directory.predictions("val"))
    assert float((val.probabilities.argmax(1) == val.labels).mean()) == results.val.accuracy


def test_the_teachers_teach_on_while_no_student_beats_them(
    sample: Path, teachers: list[RunDirectory]
) -> None:
    trained = student(sample, teachers[1:], *SLOW)
    assert {row.taught_by for row in trained.results.rounds} == {0}
    assert any(
        "is not above the teacher" in event.text and event.text.endswith("teaches on")
        for event in trained.events(Message)
    )
    first, second = trained.events(RoundLabelled)[:2]
    assert second.flipped == 0  # the same word twice
    assert second.selected > first.selected
    latest = student(sample, teachers[1:], *SLOW, 'pseudo_label.next_teacher="latest"')
    assert [row.taught_by for row in latest.results.rounds] == [0, 1]


def test_an_ensemble_teaches_as_its_runs_do(sample: Path, teachers: list[RunDirectory]) -> None:
    ensemble = make_ensemble(teachers[0].path.parent, "pair", choose(candidates(teachers), "all"), [])
    by_ensemble = student(sample, [ensemble])
    heard = read_teachers(by_ensemble.directory)
    assert len(heard) == 1
    assert len(heard[0].weights_sha256) == 2
    said = load_predictions(by_ensemble.directory.predictions("teacher-test")).probabilities
    own = load_predictions(ensemble.predictions("test")).probabilities
    np.testing.assert_allclose(said, own, atol=2e-3)


def test_a_teacher_of_several_trunks_keeps_the_scales_that_it_learned_with(
    sample: Path, teachers: list[RunDirectory]
) -> None:
    trunks = 'model.backbone=["shufflenet_v2_x0_5", "mobilenet_v3_small"]'
    fewer = tiny(HEAD + PSEUDO, sample, trunks, "name=trunks", "pseudo_label.labelled_fraction=0.25")
    joined = train(fewer, teachers[0].path.parents[1])
    assert joined.outcome.code == 0, joined.outcome.reason
    trained = student(sample, [joined.directory])
    assert trained.outcome.code == 0, trained.outcome.reason
    said = load_predictions(trained.directory.predictions("teacher-test")).probabilities
    own = load_predictions(joined.directory.predictions("test")).probabilities
    np.testing.assert_allclose(said, own, atol=1e-5)


def test_a_crash_changes_nothing_and_the_teachers_may_be_gone_by_then(
    sample: Path, teachers: list[RunDirectory], tmp_path: Path
) -> None:
    runs = [RunDirectory(tmp_path / "runs" / run.id) for run in teachers]
    for run, copy in zip(teachers, runs, strict=True):
        shutil.copytree(run.path, copy.path)
    recipe = taught(sample, runs)
    whole = train(recipe, tmp_path)
    assert whole.outcome.code == 0, whole.outcome.reason
    broken = train(recipe, tmp_path, recorder=Crash(2))
    assert broken.outcome.code == 1
    for run in runs:
        shutil.rmtree(run.path)
    resumed = go_on(broken.directory, load_recipe(broken.directory.recipe), tmp_path)
    assert resumed.outcome.code == 0, resumed.outcome.reason
    assert differing(resumed.weights(), whole.weights()) == set()
    before = read_results(resumed.directory.results)
    resumed.directory.results.unlink()  # concluded again, from what the run keeps
    again = go_on(broken.directory, load_recipe(broken.directory.recipe), tmp_path)
    assert again.outcome.code == 0, again.outcome.reason
    assert (again.results.val, again.results.teacher_test) == (before.val, before.teacher_test)


def test_pinned_words_that_are_gone_are_named(
    sample: Path, teachers: list[RunDirectory], tmp_path: Path
) -> None:
    broken = train(taught(sample, teachers), teachers[0].path.parents[1], recorder=Crash(1))
    broken.directory.predictions("teacher-val").unlink()
    again = go_on(broken.directory, load_recipe(broken.directory.recipe), teachers[0].path.parents[1])
    assert again.outcome.code == 2
    assert "what the teachers said is gone" in again.outcome.reason


def refused(sample: Path, runs: list[RunDirectory], *changes: str) -> str:
    trained = student(sample, runs, *changes)
    assert trained.outcome.code == 2
    return trained.outcome.reason


def test_whoever_knows_hidden_labels_or_measuring_images_is_refused(
    sample: Path, teachers: list[RunDirectory]
) -> None:
    home = teachers[0].path.parents[1]
    everything = train(tiny(HEAD, sample, "name=everything"), home).directory
    assert "20 labels that are hidden here taught it" in refused(sample, [everything])
    fewer = ("pseudo_label.labelled_fraction=0.25",)
    assert "labels that are hidden here taught it" in refused(sample, teachers, *fewer)
    other_split = refused(sample, teachers, "data.split_seed=4")
    assert "of its labelled images validate this run" in other_split
    assert "labels that are hidden here chose its epoch" in other_split
    less = train(tiny(HEAD + PSEUDO, sample, "name=less", *fewer), home).directory
    assert student(sample, [less]).outcome.code == 0  # fewer of the same labels: nothing it must not know


def test_runs_that_cannot_teach_are_refused(
    sample: Path, teachers: list[RunDirectory], tmp_path: Path
) -> None:
    home = teachers[0].path.parents[1]
    runs = home / "runs"
    assert "no run 'nobody'" in refused(sample, [RunDirectory(runs / "nobody")])
    assert "is named twice" in refused(sample, [teachers[0], teachers[0]])
    with pytest.raises(UserError, match="is this run itself"):
        named_teachers(taught(sample, [], f'pseudo_label.teacher=["{teachers[0].path}"]'), runs, teachers[0])
    species = train(tiny(HEAD + PSEUDO, sample, "data.target=species", "name=species"), home).directory
    assert "knows 2 classes, and this run 10" in refused(sample, [species])
    weightless = RunDirectory(Path(shutil.copytree(teachers[0].path, runs / "weightless")))
    (weightless.checkpoint / "final.safetensors").unlink()
    assert "the weights of weightless are gone" in refused(sample, [weightless])
    half = RunDirectory(Path(shutil.copytree(teachers[0].path, runs / "half")))
    half.exit.unlink()
    assert "half is not finished: it is" in refused(sample, [half])
    elsewhere = make_sample(tmp_path / "elsewhere")
    pictures = sorted((elsewhere / "images").iterdir())
    shutil.copy(pictures[1], pictures[0])
    foreign = train(tiny(HEAD + PSEUDO, elsewhere, "name=foreign"), home).directory
    assert f"1 are not among this run's, or are other pictures now ({pictures[0].stem})" in refused(
        sample, [foreign]
    )


def test_a_run_is_never_meant_by_the_name_of_its_own_teacher(
    sample: Path, teachers: list[RunDirectory]
) -> None:
    namesake = teachers[0]
    recipe = taught(sample, [], f"name={load_recipe(namesake.recipe).name}", 'pseudo_label.teacher=["tiny"]')
    runs = namesake.path.parent
    before = named_teachers(recipe, runs)
    own = create_run(runs, recipe.name, dump_recipe(recipe), datetime.now())
    try:
        assert named_teachers(recipe, runs, own) == before == [namesake]
    finally:
        shutil.rmtree(own.path)


def test_plans_and_estimates_agree_that_there_is_no_teacher_to_train(
    sample: Path, teachers: list[RunDirectory]
) -> None:
    recipe = taught(sample, teachers, "finetune.probe_epochs=2", "finetune.layers=all")
    planned = plan(recipe)
    assert [stage.label for stage in planned] == ["probe r1", "student r1", "student r2"]
    told = planned_stages(recipe, [], [])
    assert [(one.name, one.round, one.epochs) for one in told] == [
        (stage.name, stage.round, stage.epochs) for stage in planned
    ]


def test_that_runs_taught_it_survives_a_checkpoint() -> None:
    assert unpack(*pack(RunState(taught_by_runs=True))).taught_by_runs
    tensors, plain = pack(RunState())
    del plain["taught_by_runs"]  # as runs of before had it
    assert not unpack(tensors, plain).taught_by_runs
