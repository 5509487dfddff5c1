"""Training with extra images: they train, are counted apart, and score nothing where nobody knows them."""

from __future__ import annotations

import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.dataset.pictures import jpeg
from tests.loader.conftest import Recorder
from tests.train.making import (
    CLASSES,
    HEAD,
    POOL_IMAGES,
    PSEUDO,
    TRUNK,
    differing,
    go_on,
    places,
    tiny,
    train,
)
from workbench.dataset import Correction, Verdict, load_split, open_catalogue
from workbench.dataset.review import record
from workbench.recipe.offline import Offline
from workbench.runs.events import Message, PoolTaught, RoundLabelled
from workbench.runs.ledger import read_ledger
from workbench.runs.opinions import round_opinions
from workbench.runs.predictions import load_predictions
from workbench.runs.summary import summarise
from workbench.train import run
from workbench.train.network import Network
from workbench.train.precision import Precision
from workbench.train.setup import prepare as setup_of
from workbench.train.state import StageProgress
from workbench.train.teacher import share_right, view_pool

LABELLED = POOL_IMAGES // 2
EXTRA = 12


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Twelve pictures of unknown class."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(EXTRA):
        (folder / f"{number:02d}.jpg").write_bytes(jpeg(500 + number, 64, 64))
    return folder


@pytest.fixture
def more(sample: Path, tmp_path: Path) -> Path:
    """A labelled picture more of each class."""
    folder = tmp_path / "more"
    data = tiny(HEAD, sample).data
    for number, breed in enumerate(open_catalogue(data, data_home=tmp_path).breeds):
        (folder / breed).mkdir(parents=True)
        (folder / breed / "made.jpg").write_bytes(jpeg(700 + number, 64, 64))
    return folder


def test_extra_labelled_images_train_with_their_class_and_are_counted_apart(
    sample: Path, tmp_path: Path, more: Path
) -> None:
    recipe = tiny(HEAD, sample, f"data.extra_labelled={more}")
    trained = train(recipe, tmp_path)
    results = trained.results
    assert (results.labelled, results.extra_labelled) == (POOL_IMAGES + CLASSES, CLASSES)
    assert results.extra_unlabelled is None
    assert results.val.images == CLASSES
    counts = f"{POOL_IMAGES} + {CLASSES} extra labelled, 0 unlabelled"
    assert any(counts in message.text for message in trained.events(Message))
    provenance = tomllib.loads(trained.directory.provenance.read_text())
    assert provenance["extra_labelled"] == str(CLASSES)
    assert "extra_unlabelled" not in provenance
    assert summarise(trained.directory).metrics["extra_labelled"] == CLASSES
    assert differing(trained.weights(), train(tiny(HEAD, sample), tmp_path).weights())


def test_extra_labelled_images_say_nothing_of_the_pools_mixture(
    sample: Path, tmp_path: Path, more: Path
) -> None:
    knobs = ("pseudo_label.balance='sinkhorn'", "pseudo_label.prior='labelled'", "pseudo_label.rounds=1")
    drawn = ("pseudo_label.stratified=false", "pseudo_label.labelled_fraction=0.3")
    priors = []
    for extra in ((), (f"data.extra_labelled={more}",)):
        setup = setup_of(tiny(HEAD + PSEUDO, sample, *knobs, *drawn, *extra), places(tmp_path), Recorder())
        network = Network(setup, Precision("fp32", "fp32", ""), Recorder())
        labels = setup.recipe.pseudo_label
        assert isinstance(labels, Offline)
        priors.append(view_pool(network, labels, 1, Recorder()).class_prior)
    own, beside = priors
    np.testing.assert_array_equal(own, beside)
    assert len(set(own.tolist())) > 1


def test_extra_unlabelled_images_join_the_pool_and_score_no_pseudo_label(
    sample: Path, tmp_path: Path, many: Path
) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, f"data.extra_unlabelled={many}", "pseudo_label.fraction=1.0")
    trained = train(recipe, tmp_path)
    results = trained.results
    assert (results.unlabelled, results.extra_unlabelled) == (LABELLED + EXTRA, EXTRA)
    labelled = trained.events(RoundLabelled)[0]
    rows = read_ledger(trained.directory.ledger(1))
    unknown = [row for row in rows if row.true_label is None]
    assert [row.id for row in unknown] == [f"extra_unlabelled/{n:02d}.jpg" for n in range(EXTRA)]
    known = [row for row in rows if row.true_label is not None]
    right = sum(row.pseudo_label == row.true_label for row in known)
    assert labelled.selected == len(rows) == LABELLED + EXTRA
    assert labelled.accuracy == labelled.pool_accuracy == pytest.approx(right / len(known))
    assert results.rounds[0].pseudo_label_accuracy == labelled.accuracy
    predictions = load_predictions(trained.directory.predictions("unlabelled-01"))
    assert predictions.labels[-EXTRA:].tolist() == [-1] * EXTRA
    assert (predictions.labels[:-EXTRA] >= 0).all()
    opinions = round_opinions(trained.directory, 1).rows
    assert [opinion.wrong for opinion in opinions[-EXTRA:]] == [None] * EXTRA


def test_a_pool_of_unknown_images_alone_has_no_accuracy_and_the_run_ends_well(
    sample: Path, tmp_path: Path, many: Path
) -> None:
    review = tmp_path / "review.toml"
    pseudo = (HEAD + PSEUDO, sample, f"data.extra_unlabelled={many}")
    catalogue = open_catalogue(tiny(*pseudo).data, data_home=tmp_path)
    first = load_split(train(tiny(*pseudo), tmp_path).directory.split, catalogue)
    for position in first.unlabelled[:-EXTRA].tolist():
        record(review, Correction(catalogue.records[position].id, Verdict.EXCLUDE, ""))
    trained = train(tiny(*pseudo, f"data.corrections={review}"), tmp_path)
    assert trained.results.unlabelled == EXTRA
    assert [event.accuracy for event in trained.events(RoundLabelled)] == [None, None]
    assert [row.pseudo_label_accuracy for row in trained.results.rounds] == [None, None]


def test_an_extra_image_of_unknown_class_trains_with_what_a_person_said(
    sample: Path, tmp_path: Path, many: Path
) -> None:
    review = tmp_path / "review.toml"
    recipe = tiny(HEAD + PSEUDO, sample, f"data.extra_unlabelled={many}", f"data.corrections={review}")
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    record(review, Correction("extra_unlabelled/03.jpg", Verdict.RELABEL, catalogue.breeds[4]))
    trained = train(recipe, tmp_path)
    split = load_split(trained.directory.split, catalogue)
    assert catalogue.records[int(split.labelled[-1])].id == "extra_unlabelled/03.jpg"
    assert (trained.results.extra_labelled, trained.results.extra_unlabelled) == (1, EXTRA - 1)


def test_hidden_labels_change_no_weight_and_known_ones_no_extra_image(
    sample: Path, tmp_path: Path, many: Path, more: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, f"data.extra_unlabelled={many}", f"data.extra_labelled={more}")
    sound = train(recipe, tmp_path)
    prepare = setup_of

    def poisoned(*args: object, **options: object) -> object:
        setup = prepare(*args, **options)  # type: ignore[arg-type]
        hidden = setup.split.unlabelled
        setup.labels[hidden] = np.where(setup.labels[hidden] < 0, 3, (setup.labels[hidden] + 1) % CLASSES)
        return setup

    monkeypatch.setattr(run, "prepare", poisoned)
    other = train(recipe, tmp_path)
    assert not differing(sound.weights(), other.weights())
    assert not differing(sound.weights("teacher"), other.weights("teacher"))


def test_an_online_strategy_sees_extra_images_and_scores_the_known_alone(
    sample: Path, tmp_path: Path, many: Path
) -> None:
    online = (
        '[pseudo_label]\nstrategy = "fixmatch"\nlabelled_fraction = 0.5\nepochs_per_round = 1\n'
        "threshold = 0.0\nunlabelled_ratio = 1\n"
    )
    trained = train(tiny(TRUNK + online, sample, f"data.extra_unlabelled={many}"), tmp_path)
    (taught,) = trained.events(PoolTaught)
    assert taught.images == LABELLED + EXTRA
    assert taught.accuracy is not None
    assert taught.pool_accuracy is not None
    # Twentieths: of the 20 known images alone.
    assert taught.pool_accuracy * LABELLED == pytest.approx(round(taught.pool_accuracy * LABELLED))
    assert trained.results.rounds[0].pseudo_label_accuracy == pytest.approx(taught.accuracy)


def test_accuracies_leave_out_what_nobody_knows() -> None:
    told, truth = np.array([1, 2, 3, 0]), np.array([1, -1, 2, -1])
    assert share_right(told, truth) == 0.5
    assert share_right(told[1:2], truth[1:2]) is None
    assert share_right(told[:0], truth[:0]) is None
    progress = StageProgress(pool_weight=3.0, pool_unknown_weight=1.0, pool_right_weight=1.5)
    assert progress.accuracy_by_weight == 0.75
    assert StageProgress(pool_weight=2.0, pool_unknown_weight=2.0).accuracy_by_weight is None
    assert StageProgress().accuracy_by_weight is None


def test_a_leaked_test_image_is_told_once_even_when_the_run_is_resumed(
    sample: Path, tmp_path: Path, more: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample, f"data.extra_labelled={more}")
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    leaked = catalogue.records[int(catalogue.positions("test")[0])]
    shutil.copy(leaked.path, more / catalogue.breeds[leaked.breed] / "leak.jpg")
    with monkeypatch.context() as broken:
        broken.setattr(run, "conclude", lambda *_: 1 / 0)
        stopped = train(recipe, tmp_path)
    resumed = go_on(stopped.directory, recipe, tmp_path)
    told = [warning for warning in resumed.results.warnings if "are copies of" in warning]
    assert len(told) == 1
    assert told[0].startswith("1 extra images are copies of validation or test images: extra_labelled/")
    assert leaked.id in told[0]


def test_a_run_does_not_go_on_when_its_extra_images_have_changed(
    sample: Path, tmp_path: Path, more: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample, f"data.extra_labelled={more}")
    with monkeypatch.context() as broken:
        broken.setattr(run, "conclude", lambda *_: 1 / 0)
        stopped = train(recipe, tmp_path)
    next(more.rglob("*.jpg")).unlink()
    again = go_on(stopped.directory, recipe, tmp_path)
    assert again.outcome.code == 2
    assert "of this split's images" in again.outcome.reason


def test_extra_folders_change_nothing_when_they_are_not_named(sample: Path, tmp_path: Path) -> None:
    first, second = train(tiny(HEAD, sample), tmp_path), train(tiny(HEAD, sample), tmp_path / "again")
    assert not differing(first.weights(), second.weights())
    assert "extra" not in first.directory.results.read_text()
    assert "extra" not in first.directory.provenance.read_text()
    assert all(torch.isfinite(tensor).all() for tensor in first.weights().values())
