"""A file to a square: the very pixels of ordinary images, the middle of long ones, large ones reduced."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from tests.loader.conftest import CPU, Recorder, catalogue_of, smooth_picture
from workbench.dataset.catalogue import HeadBox, is_long, kept_part
from workbench.dataset.probe import LARGE_PIXELS, decode_bytes
from workbench.loader.samples import head_boxes
from workbench.loader.store import open_store
from workbench.loader.store_build import decode_square, square_of
from workbench.loader.views import ViewFormat, plain_views


def _jpeg(width: int, height: int, mode: str = "RGB", orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stream = io.BytesIO()
    Image.fromarray(smooth_picture(width, height)).convert(mode).save(stream, "JPEG", quality=92, exif=exif)
    return stream.getvalue()


def _plainly(pixels: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(resized).transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(40, 40), (500, 375), (300, 100), (100, 256), (256, 100), (1500, 1300)])
@pytest.mark.parametrize("side", [37, 73, 256])
def test_ordinary_images_are_squashed_whole_from_all_their_pixels(
    tmp_path: Path, size: tuple[int, int], side: int
) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(_jpeg(*size))
    with Image.open(path) as image:
        expected = _plainly(np.asarray(image), side)
    square = decode_square(path, side)
    np.testing.assert_array_equal(square.pixels, expected)
    assert (square.width, square.height) == size


@pytest.mark.parametrize("size", [(320, 20), (20, 320), (640, 211), (61, 20)])
def test_of_a_long_image_the_middle_is_kept_as_if_it_were_cut_out_beforehand(size: tuple[int, int]) -> None:
    width, height = size
    left, top, right, bottom = kept_part(size)
    assert is_long(size)
    assert sorted((right - left, bottom - top)) == [min(size), 2 * min(size)]
    assert abs((left + right) - width) <= 1
    assert abs((top + bottom) - height) <= 1
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    square = square_of(pixels, 64)
    cut = square_of(np.ascontiguousarray(pixels[top:bottom, left:right]), 64)
    np.testing.assert_array_equal(square.pixels, cut.pixels)
    assert (square.width, square.height) == (cut.width, cut.height)


def test_evaluation_sees_of_a_long_image_what_it_sees_of_its_middle_alone(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (48, 768, 3), dtype=np.uint8)
    paths = [tmp_path / "long.png", tmp_path / "middle.png"]
    Image.fromarray(noise).save(paths[0])
    Image.fromarray(noise[:, 360 - 24 : 408 + 24]).save(paths[1])
    store = open_store(catalogue_of(paths), 32, cache=tmp_path / "cache", reporter=Recorder())
    views = plain_views(store, np.arange(2), ViewFormat(32, (0.0,) * 3, (1.0,) * 3, CPU))
    assert torch.equal(views[0], views[1])


def test_head_boxes_of_a_long_image_are_fractions_of_what_is_kept(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, size in zip(paths, [(400, 100), (400, 100), (400, 100), (200, 100)], strict=True):
        Image.new("RGB", size).save(path)
    inside, partly, outside = (
        HeadBox(0.375, 0.2, 0.625, 0.4),
        HeadBox(0.1, 0, 0.5, 1),
        HeadBox(0, 0, 0.25, 1),
    )
    catalogue = catalogue_of(paths, {0: inside, 1: partly, 2: outside, 3: inside})
    boxes = head_boxes(catalogue, np.arange(4))
    np.testing.assert_allclose(boxes[0], [0.25, 0.2, 0.75, 0.4], rtol=1e-6)
    np.testing.assert_allclose(boxes[1], [0, 0, 0.5, 1], rtol=1e-6)
    assert np.isnan(boxes[2]).all()
    np.testing.assert_allclose(boxes[3], [0.375, 0.2, 0.625, 0.4], rtol=1e-6)


@pytest.mark.parametrize(("mode", "orientation"), [("RGB", 1), ("L", 1), ("CMYK", 1), ("RGB", 6)])
def test_a_large_jpeg_is_decoded_at_a_reduced_scale_and_looks_the_same(
    tmp_path: Path, mode: str, orientation: int
) -> None:
    content = _jpeg(2000, 1200, mode, orientation)
    whole, reduced = decode_bytes(content), decode_bytes(content, side=146)
    assert reduced.pixels.shape[0] * 4 == whole.pixels.shape[0]
    assert reduced.header == whole.header
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    square = decode_square(path, 146)
    assert (square.width, square.height) == ((1200, 2000) if orientation == 6 else (2000, 1200))
    difference = np.abs(square.pixels.astype(int) - _plainly(whole.pixels, 146).astype(int))
    assert difference.mean() < 1


def test_a_jpeg_is_reduced_only_where_it_is_large_and_thrice_what_is_kept() -> None:
    content = _jpeg(2000, 1200)
    assert decode_bytes(content, side=401).pixels.shape == (1200, 2000, 3)
    assert decode_bytes(content, side=400).pixels.shape == (600, 1000, 3)
    small = _jpeg(1999, LARGE_PIXELS // 2000)
    assert decode_bytes(small, side=16).pixels.shape == (1000, 1999, 3)


def test_a_large_jpeg_that_ends_early_keeps_its_upper_half() -> None:
    content = _jpeg(2000, 1200)
    decoded = decode_bytes(content[: int(len(content) * 0.8)], side=100)
    assert decoded.truncated
    assert len(decoded.pixels) == 150
