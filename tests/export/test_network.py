"""The exported modules: from pixels to the run's views, from views to the run's logits."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from workbench.export.exported_network import PixelsToProbabilities, ViewsToLogits
from workbench.export.pictures import views_of
from workbench.loader.store import stored_side
from workbench.loader.store_build import square_of
from workbench.loader.views import ViewFormat, plain_views_of
from workbench.model import build, frozen_copy
from workbench.recipe import Model
from workbench.recipe.fields import EvaluationView
from workbench.train.predict import Predictor

CPU = torch.device("cpu")
SIDE = 32
VIEWS: tuple[EvaluationView, ...] = ("centre", "full", "close", "squash")


class Views(nn.Module):
    """Stands for a network: keeps the views that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = torch.zeros(0)

    def forward(self, views: Tensor) -> Tensor:
        self.seen = views
        return torch.zeros(1, 3)


def form_of(views: tuple[EvaluationView, ...]) -> ViewFormat:
    return ViewFormat(SIDE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), CPU, views)


def test_every_view_that_a_recipe_can_name_is_tried_here() -> None:
    assert set(VIEWS) == set(get_args(EvaluationView))


@settings(max_examples=25, deadline=None)
@given(st.integers(40, 300), st.integers(40, 300), st.integers(0, 10_000))
def test_views_made_from_pixels_are_the_runs_own_but_for_a_rounded_byte(
    height: int, width: int, seed: int
) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    # As smooth as a photograph: of noise a few bytes would show which of its two passes Pillow takes first.
    pixels = np.asarray(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))
    form, network = form_of(VIEWS), Views()
    probabilities = PixelsToProbabilities(network, form)(torch.from_numpy(pixels.copy()))  # type: ignore[arg-type]
    expected = plain_views_of([square_of(pixels, stored_side(SIDE))], form)
    assert probabilities.shape == (3,)
    off = (network.seen[0] - expected).abs() * torch.tensor(form.std).view(3, 1, 1) * 255
    assert off.max() < 4
    assert off.mean() < 0.2


@pytest.mark.parametrize("size", [(400, 40), (40, 400), (122, 40)])
def test_of_a_long_image_the_middle_is_kept_as_the_run_keeps_it(size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 3), dtype=np.uint8)
    pixels[size[0] // 2 :, size[1] // 2 :] = 255
    form, network = form_of(("squash",)), Views()
    PixelsToProbabilities(network, form)(torch.from_numpy(pixels))  # type: ignore[arg-type]
    expected = plain_views_of([square_of(pixels, stored_side(SIDE))], form)
    # A view of all of it, or of other rows, would be off by whole blocks.
    assert ((network.seen - expected).abs() > 0.05).float().mean() < 0.02


def predictor_of(backbone: str, views: tuple[EvaluationView, ...], side: int = 64) -> Predictor:
    model = Model(backbone=backbone, weights="none")
    classifier = build(model, 5, seed=3, image_size=side).eval()
    form = ViewFormat(side, classifier.mean, classifier.std, CPU, views)
    trunk = frozen_copy(classifier.trunk, side, "fp32")
    return Predictor(tuple("abcde"), classifier, trunk, form, "fp32", trunk_fixed=True)


@pytest.mark.parametrize("views", [("centre",), VIEWS])
def test_logits_are_those_of_the_run(views: tuple[EvaluationView, ...]) -> None:
    predictor = predictor_of("resnet18", views)
    pixels = [np.random.default_rng(k).integers(0, 256, (70 + k, 90, 3), dtype=np.uint8) for k in range(3)]
    squares = [square_of(one, stored_side(64)) for one in pixels]
    network = ViewsToLogits.of(predictor)
    with torch.inference_mode():
        logits = network(torch.from_numpy(views_of(squares, predictor)))
    found = torch.softmax(logits, dim=1).numpy()
    assert np.abs(found - predictor.probabilities(squares)).max() < 1e-6
