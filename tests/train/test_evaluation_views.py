"""Images evaluated in several views: the run, its predictor and its kept features agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loader.conftest import Recorder
from tests.train.making import CLASSES, CPU, HEAD, PSEUDO, TRUNK, Trained, places, tiny, train
from workbench.dataset import load_split
from workbench.loader import Samples, plain_batches
from workbench.loader.store import stored_side
from workbench.loader.store_build import decode_square
from workbench.runs.predictions import load_predictions
from workbench.train.inference import form_of
from workbench.train.network import Network
from workbench.train.precision import Precision
from workbench.train.predict import load_predictor
from workbench.train.setup import prepare

SHARP = "model.backbone='resnet18'"
"""Shufflenet's random features hardly differ between views."""
TWO = "data.evaluation_views=['full', 'close']"


def _test_answers(trained: Trained) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return load_predictions(trained.directory.predictions("test")).probabilities


@pytest.mark.parametrize(
    ("base", "changes"),
    [
        (HEAD, ()),
        (HEAD + PSEUDO, ()),
        (TRUNK, ()),
        (TRUNK, ("finetune.layers=['layer4', 'head']",)),
    ],
    ids=["features", "pseudo-labels", "trunk", "frozen groups"],
)
def test_logits_are_averaged_over_the_views(
    base: str, changes: tuple[str, ...], sample: Path, tmp_path: Path
) -> None:
    recipe = tiny(base, sample, TWO, SHARP, *changes)
    trained = train(recipe, tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    setup = prepare(recipe, places(tmp_path), trained.recorder)
    test = load_split(trained.directory.split, setup.catalogue).test
    setup.classifier.load_state_dict(trained.weights())
    setup.classifier.eval()
    with torch.inference_mode():
        ((views, batch),) = plain_batches(setup.store, test, form_of(setup), len(test))
        assert len(views) == 2 * len(test)
        logits = setup.classifier(views)
    assert batch.tolist() == test.tolist()
    expected = torch.softmax((logits[: len(test)] + logits[len(test) :]) / 2, dim=1).numpy()
    np.testing.assert_allclose(_test_answers(trained), expected, atol=1e-5)
    one_view = torch.softmax(logits[: len(test)], dim=1).numpy()
    assert not np.allclose(expected, one_view, atol=1e-4)


@pytest.mark.parametrize("base", [HEAD, TRUNK], ids=["features", "trunk"])
def test_a_runs_predictor_sees_what_the_run_saw(base: str, sample: Path, tmp_path: Path) -> None:
    recipe = tiny(base, sample, TWO)
    trained = train(recipe, tmp_path)
    setup = prepare(recipe, places(tmp_path), trained.recorder)
    predictor = load_predictor(trained.directory, recipe, CPU)
    test = load_split(trained.directory.split, setup.catalogue).test
    squares = [
        decode_square(setup.catalogue.records[p].path, stored_side(recipe.data.image_size)) for p in test
    ]
    np.testing.assert_allclose(predictor.probabilities(squares), _test_answers(trained), atol=1e-5)
    (part,) = predictor.classifier.parts
    assert predictor.features(squares, part, predictor.form).shape == (len(test), part.feature_width)


def test_features_of_other_views_are_kept_apart(sample: Path, tmp_path: Path) -> None:
    views = (
        TWO,
        "data.evaluation_views=['full']",
        "data.evaluation_views=['centre']",
        "data.store_scale=2.0",
    )
    for change in views:
        assert train(tiny(HEAD, sample, change), tmp_path).outcome.code == 0
    assert len(list((tmp_path / "cache" / "features").iterdir())) == len(views)


def test_head_crops_are_seen_in_the_views_that_images_are_evaluated_in(sample: Path, tmp_path: Path) -> None:
    recipe = tiny(HEAD, sample, TWO, SHARP, "data.head_crops='only'")
    setup = prepare(recipe, places(tmp_path), Recorder())
    network = Network(setup, Precision("fp32", "fp32", ""), Recorder())
    heads = np.array([p for p in setup.split.labelled if setup.catalogue.records[p].head is not None])
    samples = Samples.of(heads, setup.labels[heads], CLASSES).with_head_crops(setup.catalogue, "only")
    features, rows = network.pretrained.of_samples(samples, recipe.augmentation)
    assert isinstance(features, torch.Tensor)
    # Each head's square taken for an image: its two views, averaged.
    assert setup.store.heads is not None
    store = setup.store.heads.store
    ((views, _),) = plain_batches(store, setup.store.heads.rows[heads], form_of(setup), len(heads))
    with torch.inference_mode():
        full, close = setup.classifier.eval().features(views).tensor_split(2)
    np.testing.assert_allclose(features[rows], (full + close) / 2, atol=1e-4)
    assert not np.allclose(full, close, atol=1e-3)
