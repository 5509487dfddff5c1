"""Every format holds every family of networks: written, opened by its own library, asked again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.export.test_network import VIEWS, predictor_of
from workbench.export.exported_network import PixelsToProbabilities, ViewsToLogits
from workbench.export.formats import FORMATS, Exported
from workbench.export.pictures import views_of
from workbench.loader.store import stored_side
from workbench.loader.store_build import square_of
from workbench.recipe import Recipe
from workbench.recipe.fields import EvaluationView
from workbench.support.errors import UserError

FAMILIES = [
    ("efficientnet_lite0", 64),
    ("resnet18", 64),
    ("mobilenet_v2", 64),
    ("vit_b_16", 64),
    ("timm:vit_small_patch14_dinov2", 56),
]


def pixels_of(count: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    random = np.random.default_rng(1)
    return [random.integers(0, 256, (60 + 9 * k, 100 - 7 * k, 3), dtype=np.uint8) for k in range(count)]


def exported_of(
    backbone: str, side: int, views: tuple[EvaluationView, ...] = ("centre",), *, pixels: bool = False
) -> Exported:
    predictor = predictor_of(backbone, views, side)
    recipe = Recipe.model_validate(
        {
            "schema": 1,
            "name": "x",
            "data": {"dataset": "sample", "image_size": side},
            "model": {"backbone": backbone, "weights": "none"},
        }
    )
    network = ViewsToLogits.of(predictor)
    if pixels:
        example = torch.from_numpy(pixels_of(1)[0])
        return Exported(predictor, recipe, PixelsToProbabilities(network, predictor.form).eval(), example)
    squares = [square_of(one, stored_side(side)) for one in pixels_of(2)]
    return Exported(predictor, recipe, network, torch.from_numpy(views_of(squares, predictor)))


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize(("backbone", "side"), FAMILIES)
def test_a_written_network_says_what_the_network_says(
    backbone: str, side: int, name: str, tmp_path: Path
) -> None:
    exported = exported_of(backbone, side)
    FORMATS[name].write(exported, tmp_path)
    answers = FORMATS[name].open(exported, tmp_path)
    for count in (1, 3):  # the batch is free
        squares = [square_of(one, stored_side(side)) for one in pixels_of(count)]
        views = views_of(squares, exported.predictor)
        with torch.inference_mode():
            expected = exported.module(torch.from_numpy(views)).numpy()
        assert np.abs(answers(views) - expected).max() < 1e-4 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.takes_preprocessing])
def test_pixels_of_any_size_go_in(name: str, tmp_path: Path) -> None:
    exported = exported_of("resnet18", 32, VIEWS, pixels=True)
    FORMATS[name].write(exported, tmp_path)
    answers = FORMATS[name].open(exported, tmp_path)
    for pixels in pixels_of(3):
        with torch.inference_mode():
            expected = exported.module(torch.from_numpy(pixels)).numpy()
        found = answers(pixels)[0]
        assert found.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(found - expected).max() < 1e-5


def test_timms_folder_tells_labels_and_normalisation(tmp_path: Path) -> None:
    exported = exported_of("resnet18", 64)
    FORMATS["timm"].write(exported, tmp_path)
    config = json.loads((tmp_path / "timm" / "config.json").read_text())
    assert config["architecture"] == "resnet18"
    assert config["pretrained_cfg"]["label_names"] == list("abcde")
    assert config["pretrained_cfg"]["mean"] == list(exported.predictor.form.mean)


def test_a_network_that_timm_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="timm has no network like") as raised:
        FORMATS["timm"].write(exported_of("shufflenet_v2_x0_5", 64), tmp_path)
    assert "onnx" in str(raised.value)
