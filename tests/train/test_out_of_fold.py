"""Labelled images that choose among models which they did not teach."""

from __future__ import annotations

import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.train.making import (
    CLASSES,
    HEAD,
    PSEUDO,
    TEST_IMAGES,
    TRAIN_IMAGES,
    Crash,
    differing,
    go_on,
    places,
    tiny,
    train,
)
from workbench.dataset import Catalogue
from workbench.recipe import parse_recipe
from workbench.runs.events import EpochDone, Message, Silent
from workbench.runs.predictions import load_predictions
from workbench.runs.results import read_results
from workbench.support.errors import UserError
from workbench.train import out_of_fold
from workbench.train import run as run_module
from workbench.train.out_of_fold import Fold, OutOfFold, judge_by_folds
from workbench.train.setup import Setup, prepare
from workbench.train.state import weights_under

FOLDS = ("data.label_folds=4",)


def test_nothing_is_held_out_and_the_labels_are_counted_once(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(HEAD, sample, *FOLDS), tmp_path)
    results = trained.results
    assert results.labelled == results.val.images == TRAIN_IMAGES
    written = tomllib.loads(trained.directory.results.read_text())
    assert written["labels"] == {"training": TRAIN_IMAGES, "choosing": 0, "testing": TEST_IMAGES}
    assert results.labels.words == "50 for training, the same for choosing, in folds, 20 for testing"
    # What is told of a labelled image was not said by the model that learned it.
    told = load_predictions(trained.directory.predictions("val"))
    assert len(set(told.ids)) == TRAIN_IMAGES
    assert (told.probabilities.argmax(axis=1) == told.labels).mean() == pytest.approx(results.val.accuracy)
    epochs = [event for event in trained.events(EpochDone) if event.split == "val"]
    best = max(epochs, key=lambda event: (event.accuracy, -event.loss))
    assert results.val.accuracy == pytest.approx(best.accuracy)
    assert results.best_epoch == best.epoch


def test_folds_choose_between_teacher_and_students_and_are_concluded_again_alike(
    sample: Path, tmp_path: Path
) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, *FOLDS, "pseudo_label.labelled_fraction=0.6")
    trained = train(recipe, tmp_path)
    results = trained.results
    assert results.labelled == results.val.images == 3 * CLASSES
    assert results.teacher_val is not None
    accuracies = [results.teacher_val.accuracy, *(row.student_val_accuracy for row in results.rounds)]
    assert results.val.accuracy == pytest.approx(max(accuracies))
    assert "labelled images, out of fold" in results.choice_words
    assert not any("on validation" in text for text in results.warnings)
    trained.directory.results.unlink()
    again = go_on(trained.directory, recipe, tmp_path)
    assert again.results == results == read_results(trained.directory.results)


def test_a_fold_is_judged_by_models_that_never_saw_it(sample: Path, tmp_path: Path) -> None:
    setup = prepare(tiny(HEAD, sample, *FOLDS), places(tmp_path), Silent())
    seen: list[tuple[Setup, set[int]]] = []

    def told(within: Setup, fold: Fold) -> None:
        seen.append((within, set(fold.positions.tolist())))
        fold.hear("fit", 1, np.full((len(fold.positions), CLASSES), 1 / CLASSES, np.float32))

    found = judge_by_folds(setup, told, lambda _: None)
    everyone = set(setup.own_labelled.tolist())
    assert len(seen) == 4
    for within, judged in seen:
        split = within.split
        parts = np.concatenate([split.labelled, split.unlabelled, split.validation, split.test])
        assert not judged & set(parts.tolist()), "nothing there can ask for their labels"
        assert judged | set(split.labelled.tolist()) == everyone
    assert set().union(*(judged for _, judged in seen)) == everyone
    assert found.after("fit", 1).shape == (len(everyone), CLASSES)


PRIORS = """
[pseudo_label]
strategy = "class_balanced"
labelled_fraction = 0.8
balance = "sinkhorn"
prior = "auto"
target_prior = "validation"
rounds = 2
epochs_per_round = 2
"""


def test_no_label_of_a_fold_has_a_say_in_what_is_trained_there(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold's labels are all changed; its models, of every stage, say of its images what they said."""
    recipe = tiny(HEAD + PRIORS, sample, "data.label_folds=2")
    divided: list[NDArray[np.bool_]] = []

    def divide(catalogue: Catalogue, judged: NDArray[np.int64], *_: object) -> NDArray[np.int64]:
        # Three images of every class judge in the first fold, enough for an estimate, and one teaches there.
        parts = np.where(np.arange(len(judged)) % 4 < 3, 0, 1)
        assert set(catalogue.labels("breed")[judged[parts == 1]].tolist()) == set(range(CLASSES))
        divided.append(parts == 0)
        return parts

    monkeypatch.setattr(out_of_fold, "label_folds", divide)
    before = weights_under("out_of_fold/said/", train(recipe, tmp_path).weights("conclusion"))

    def changed(*arguments: object, **options: object) -> Setup:
        setup = prepare(*arguments, **options)  # type: ignore[arg-type]
        held = setup.own_labelled[divided[0]]
        for labels in (setup.labels, setup.taught):
            labels[held] = labels[held] // 2
        return setup

    monkeypatch.setattr(run_module, "prepare", changed)
    after = weights_under("out_of_fold/said/", train(recipe, tmp_path).weights("conclusion"))
    held = torch.from_numpy(divided[0])
    assert set(before) == {"teacher", "student r1", "student r2"}
    for stage, said in after.items():
        assert torch.equal(said[:, held], before[stage][:, held]), stage
        assert not torch.equal(said[:, ~held], before[stage][:, ~held]), "of other images they teach"


def test_folds_weigh_the_teacher_for_the_pools_mixture_as_they_do_students(
    sample: Path, tmp_path: Path
) -> None:
    changes = ("pseudo_label.labelled_fraction=0.6", "pseudo_label.target_prior=pool")
    trained = train(tiny(HEAD + PSEUDO, sample, *FOLDS, *changes), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    (told,) = (e.text for e in trained.events(Message) if "target_prior mixes the classes" in e.text)
    assert told.startswith("labelled images choose")
    assert "nan" not in told
    results = trained.results
    assert results.weighted_val is not None
    assert results.teacher_val is not None
    # The pool is expected to be even and the labels are, so nothing is weighed otherwise.
    assert results.weighted_val[0] == pytest.approx(results.teacher_val.accuracy)


def test_a_resumed_run_chooses_by_the_folds_of_its_first_attempt(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample, *FOLDS, "training.checkpoint_seconds=0")
    whole = train(recipe, tmp_path / "whole")
    broken = train(recipe, tmp_path / "broken", recorder=Crash(2))
    assert not broken.directory.results.exists()

    def never(*_: object) -> OutOfFold:
        raise AssertionError("the folds were trained again")

    monkeypatch.setattr(run_module, "judge_by_folds", never)
    resumed = go_on(broken.directory, recipe, tmp_path / "broken")
    assert not differing(resumed.weights(), whole.weights())
    assert resumed.results.val == whole.results.val


def test_a_class_with_one_label_cannot_be_judged_by_folds(sample: Path, tmp_path: Path) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, *FOLDS, "pseudo_label.labelled_fraction=0.2")
    refused = train(recipe, tmp_path).outcome
    assert refused.code == 2
    assert "has one labelled image, as have 9 more classes" in refused.reason


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ('[data]\nlabel_folds = 5\n[finetune]\nlayers = "all"\n', "frozen trunk"),
        ("[data]\nlabel_folds = 5\nvalidation_images = 40\n", "not both"),
    ],
)
def test_what_does_not_go_with_folds_is_refused(change: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        parse_recipe(f'schema = 1\nname = "x"\n{change}', "x.toml")
