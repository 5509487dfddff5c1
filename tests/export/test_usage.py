"""The Python of a model card, run as it stands there, says what the run says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.export.test_formats import exported_of
from tests.export.test_network import VIEWS
from workbench.export.formats import FORMATS
from workbench.export.usage import from_pixels, from_views, images_from_a_picture
from workbench.loader.store import stored_side
from workbench.loader.store_build import square_of
from workbench.recipe.fields import EvaluationView

SIZES = [(90, 130), (300, 70), (64, 64)]


def run_blocks(lines: list[str]) -> dict[str, object]:
    """Run the blocks of Python among lines of Markdown, one after the other; what they leave."""
    blocks = re.findall(r"^```python\n(.*?)^```$", "\n".join(lines), re.DOTALL | re.MULTILINE)
    left: dict[str, object] = {}
    for block in blocks:
        exec(block, left)
    return left


def picture_of(size: tuple[int, int]) -> NDArray[np.uint8]:
    """Save exactly these pixels as the card's picture, and return them."""
    noise = np.random.default_rng(sum(size)).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC)
    picture.save("PICTURE.jpg", format="PNG")
    return np.array(picture)


@pytest.mark.parametrize(
    ("name", "views"), [("onnx", VIEWS), ("pt2", ("centre",)), ("timm", ("centre",)), ("timm", VIEWS)]
)
def test_what_the_card_says_of_views_gives_the_runs_answer(
    name: str,
    views: tuple[EvaluationView, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    exported = exported_of("resnet18", 64, views)
    predictor = exported.predictor
    FORMATS[name].write(exported, tmp_path)
    form = predictor.form
    config = {
        "image_size": form.side,
        "stored_side": stored_side(form.side),
        "views": list(views),
        "mean": list(form.mean),
        "std": list(form.std),
        "classes": list(predictor.classes),
    }
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("\n".join(predictor.classes) + "\n")
    for size in SIZES:
        pixels = picture_of(size)
        left = run_blocks([*images_from_a_picture(config), *from_views(name, config)])
        expected = predictor.probabilities([square_of(pixels, stored_side(form.side))])[0]
        found = left["probabilities"]
        assert isinstance(found, np.ndarray)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 2e-3
        assert capsys.readouterr().out.startswith(predictor.classes[int(expected.argmax())])


@pytest.mark.parametrize("name", [name for name, form in FORMATS.items() if form.takes_preprocessing])
def test_what_the_card_says_of_pixels_gives_the_runs_answer(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = exported_of("resnet18", 64, VIEWS, pixels=True)
    FORMATS[name].write(exported, tmp_path)
    monkeypatch.chdir(tmp_path)
    pixels = picture_of((90, 130))
    Path("labels.txt").write_text("\n".join(exported.predictor.classes) + "\n")
    left = run_blocks(list(from_pixels(name)))
    expected = exported.predictor.probabilities([square_of(pixels, stored_side(64))])[0]
    assert isinstance(left["probabilities"], np.ndarray)
    assert np.abs(left["probabilities"] - expected).max() < 5e-3


def test_weights_alone_are_read_as_the_card_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = exported_of("resnet18", 64, VIEWS)
    FORMATS["safetensors"].write(exported, tmp_path)
    monkeypatch.chdir(tmp_path)
    config = {"image_size": 64, "views": list(VIEWS), "classes": list("abcde")}
    left = run_blocks(list(from_views("safetensors", config)))
    head = left["head"]
    assert isinstance(head, tuple)
    assert [len(part) for part in head] == [5, 5]


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_usage(name: str) -> None:
    config = {"image_size": 64, "views": ["centre"], "classes": []}
    assert "```python" in list(from_views(name, config))
    if FORMATS[name].takes_preprocessing:
        assert "```python" in list(from_pixels(name))
