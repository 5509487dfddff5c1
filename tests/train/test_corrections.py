"""Training with `[data] corrections`: exactly what a person said is trained on, and nothing else changes."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.loader.conftest import Recorder
from tests.train.making import HEAD, POOL_IMAGES, PSEUDO, Trained, differing, go_on, places, tiny, train
from workbench.dataset import Catalogue, Correction, Split, Verdict, load_split, open_catalogue
from workbench.dataset.review import record
from workbench.loader import Samples
from workbench.recipe import Recipe, load_recipe
from workbench.runs.events import Message
from workbench.runs.ledger import read_ledger
from workbench.runs.predictions import load_predictions
from workbench.support.errors import UserError
from workbench.train import loop, run
from workbench.train.setup import prepare

LABELLED = POOL_IMAGES // 2


@pytest.fixture
def review(tmp_path: Path) -> Path:
    return tmp_path / "reviews" / "tiny.toml"


@pytest.fixture
def catalogue(sample: Path, tmp_path: Path) -> Catalogue:
    return open_catalogue(tiny(HEAD, sample).data, data_home=tmp_path, reporter=Recorder())


def _split_of(trained: Trained, catalogue: Catalogue) -> Split:
    return load_split(trained.directory.split, catalogue)


def _ids(catalogue: Catalogue, positions: NDArray[np.int64]) -> list[str]:
    return [catalogue.records[position].id for position in positions.tolist()]


def _pseudo(sample: Path, *changes: str) -> Recipe:
    return tiny(HEAD + PSEUDO, sample, *changes)


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[Samples]:
    """What every stage of a run that follows trains on."""
    seen: list[Samples] = []
    stage_run = loop.StageRun

    def spy(*args: object, **options: object) -> object:
        seen.append(args[2])  # type: ignore[arg-type]
        return stage_run(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(run, "StageRun", spy)
    return seen


def test_the_pool_shrinks_by_what_a_person_said_and_training_is_told_just_that(
    sample: Path, tmp_path: Path, review: Path, catalogue: Catalogue, taught: list[Samples]
) -> None:
    plain = _split_of(train(_pseudo(sample), tmp_path), catalogue)
    moved, dropped, own, gone = (
        int(p) for p in (plain.unlabelled[0], plain.unlabelled[1], plain.labelled[0], plain.labelled[1])
    )
    truth = catalogue.labels("breed")
    wrong = {p: (int(truth[p]) + 1) % 10 for p in (moved, own)}
    for position, number in wrong.items():
        record(review, Correction(catalogue.records[position].id, Verdict.RELABEL, catalogue.breeds[number]))
    for position in (dropped, gone, int(plain.test[0])):
        record(review, Correction(catalogue.records[position].id, Verdict.EXCLUDE, ""))
    taught.clear()
    trained = train(_pseudo(sample, f"data.corrections={review}"), tmp_path)

    teacher, *students = taught
    assert sorted(teacher.positions.tolist()) == sorted({*plain.labelled.tolist(), moved} - {gone})
    for samples in taught:
        hard = dict(
            zip(samples.positions.tolist(), samples.targets.dense().argmax(axis=1).tolist(), strict=True)
        )
        assert {p: hard[p] for p in wrong} == wrong
        assert not {dropped, gone} & hard.keys()
    assert len(students) == 2
    split = _split_of(trained, catalogue)
    assert (split.validation == plain.validation).all()
    assert (split.test == plain.test).all()
    assert (len(split.labelled), len(split.unlabelled)) == (LABELLED, LABELLED - 2)
    assert trained.results.labelled == LABELLED

    messages = {event.text: event.level for event in trained.events(Message)}
    assert messages["corrections: 2 labelled by hand (1 from the pool), 2 excluded"] == "info"
    assert messages["corrections: 1 left alone: validation and test images are never changed"] == "warning"
    provenance = tomllib.loads(trained.directory.provenance.read_text())
    assert provenance["corrections_fingerprint"]
    assert provenance["split_fingerprint"] == split.fingerprint


def test_what_scores_a_run_is_the_data_sets_own_truth(
    sample: Path, tmp_path: Path, review: Path, catalogue: Catalogue
) -> None:
    plain = _split_of(train(_pseudo(sample), tmp_path), catalogue)
    truth, breeds = catalogue.labels("breed"), catalogue.breeds
    for position in (plain.unlabelled[0], plain.validation[0], plain.test[0]):
        name = breeds[(truth[position] + 1) % 10]
        record(review, Correction(catalogue.records[position].id, Verdict.RELABEL, name))
    directory = train(_pseudo(sample, f"data.corrections={review}"), tmp_path).directory
    for row in read_ledger(directory.ledger(1)):
        position = next(p for p, r in enumerate(catalogue.records) if r.id == row.id)
        assert row.true_label == breeds[truth[position]]
    for name, part in (("val", plain.validation), ("test", plain.test)):
        predictions = load_predictions(directory.predictions(name))
        assert predictions.ids == tuple(_ids(catalogue, part))
        assert predictions.labels.tolist() == truth[part].tolist()


def test_corrections_that_say_the_truth_train_as_if_the_images_had_been_labelled(
    sample: Path, tmp_path: Path, review: Path, catalogue: Catalogue
) -> None:
    """Every pool image accepted with its true class: the supervised run on all labels, weight for weight."""
    plain = _split_of(train(_pseudo(sample), tmp_path), catalogue)
    truth = catalogue.labels("breed")
    for position in plain.unlabelled[:-1].tolist():
        record(
            review,
            Correction(catalogue.records[position].id, Verdict.ACCEPT, catalogue.breeds[truth[position]]),
        )
    corrected = train(_pseudo(sample, f"data.corrections={review}"), tmp_path)
    review.unlink()
    last = catalogue.records[int(plain.unlabelled[-1])].id
    record(review, Correction(last, Verdict.EXCLUDE, ""))
    supervised = train(tiny(HEAD, sample, f"data.corrections={review}"), tmp_path)
    assert not differing(corrected.weights("teacher"), supervised.weights())


def test_a_resumed_run_trains_as_it_began_though_the_review_has_changed(
    sample: Path, tmp_path: Path, review: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample, f"data.corrections={review}")
    first, second = _ids(catalogue, catalogue.positions("train")[:2])
    record(review, Correction(first, Verdict.RELABEL, catalogue.breeds[3]))
    whole = train(recipe, tmp_path)

    def fail(*_: object) -> None:
        raise RuntimeError("a power cut")

    with monkeypatch.context() as broken:
        broken.setattr(run, "_train", fail)
        stopped = train(recipe, tmp_path)
    assert stopped.outcome.code == 1
    record(review, Correction(second, Verdict.EXCLUDE, ""))
    resumed = go_on(stopped.directory, recipe, tmp_path)
    assert not differing(whole.weights(), resumed.weights())
    review.unlink()
    assert stopped.directory.corrections.exists()


def test_a_run_whose_copy_of_the_corrections_is_gone_is_not_resumed_on_others(
    sample: Path, tmp_path: Path, review: Path, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample, f"data.corrections={review}")
    record(review, Correction(_ids(catalogue, catalogue.positions("train")[:1])[0], Verdict.EXCLUDE, ""))
    with monkeypatch.context() as broken:
        broken.setattr(run, "decide_precision", lambda *_: 1 / 0)
        stopped = train(recipe, tmp_path)
    stopped.directory.corrections.unlink()
    again = go_on(stopped.directory, recipe, tmp_path)
    assert again.outcome.code == 2
    assert "corrections that the run began with are gone" in again.outcome.reason


def test_cached_images_and_features_serve_corrected_runs_too(
    sample: Path, tmp_path: Path, review: Path, catalogue: Catalogue
) -> None:
    train(tiny(HEAD, sample), tmp_path)
    cached = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(cached) == 3  # pixels, features, checksums
    record(review, Correction(_ids(catalogue, catalogue.positions("train")[:1])[0], Verdict.EXCLUDE, ""))
    recorder = Recorder()
    train(tiny(HEAD, sample, f"data.corrections={review}"), tmp_path, recorder=recorder)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")} == cached


def test_a_review_that_is_not_there_stops_the_run_before_it_trains(sample: Path, tmp_path: Path) -> None:
    ended = train(tiny(HEAD, sample, "data.corrections=nowhere.toml"), tmp_path)
    assert ended.outcome.code == 2
    assert "no such review: nowhere.toml" in ended.outcome.reason


def test_prepare_without_a_run_reads_the_review_itself(
    sample: Path, tmp_path: Path, review: Path, catalogue: Catalogue
) -> None:
    gone = int(catalogue.positions("train")[0])
    record(review, Correction(catalogue.records[gone].id, Verdict.EXCLUDE, ""))
    recipe = tiny(HEAD, sample, f"data.corrections={review}")
    assert gone not in prepare(recipe, places(tmp_path), Recorder()).split.labelled
    review.unlink()
    with pytest.raises(UserError, match="no such review"):
        prepare(recipe, places(tmp_path), Recorder())


def test_a_recipes_corrections_lie_beside_it_and_those_typed_in_the_working_directory(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    path = folder / "a.toml"
    path.write_text('name = "a"\n[data]\ncorrections = "reviews/a.toml"\n')
    monkeypatch.chdir(tmp_path)
    assert load_recipe(Path("recipes/a.toml")).data.corrections == str(folder / "reviews" / "a.toml")
    typed = load_recipe(path, ["data.corrections=runs/reviews/b.toml"])
    assert typed.data.corrections == str(tmp_path / "runs" / "reviews" / "b.toml")
    assert load_recipe(path, ["data.corrections=~/c.toml"]).data.corrections == "~/c.toml"
    assert load_recipe(path, ['data.corrections=""']).data.corrections == ""
