"""Deep pictures: one scale a data set, whatever lies in a single image."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.dataset.pictures import open_folder
from workbench.dataset.check import check_data
from workbench.dataset.depth import DEPTHS, Deep, Scale, deep_of, scale_of, scale_words
from workbench.dataset.probe import decode_image, examine
from workbench.recipe import Data


def _grey(path: Path, values: NDArray[np.generic]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def _ramp(high: int) -> NDArray[np.uint16]:
    return np.linspace(0, high, 30 * 40).reshape(30, 40).astype(np.uint16)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_integers_of_any_depth_use_all_of_black_to_white(tmp_path: Path, bits: int) -> None:
    for ending in ("png", "tif", "pgm"):
        path = _grey(tmp_path / "a" / f"1.{ending}", _ramp(2**bits - 1))
        pixels = decode_image(path, scale_of([Deep("whole", 0, 2**bits - 1)]) if ending != "pgm" else None)
        assert len(np.unique(pixels)) == 256
        assert pixels[0, 0, 0] == 0
        assert pixels[-1, -1, 0] == 255


def test_one_bright_pixel_changes_no_image_beside_the_others(tmp_path: Path) -> None:
    dark = _ramp(200)
    bright = dark.copy()
    bright[0, 0] = 4095
    paths = [_grey(tmp_path / "ab"[i % 2] / f"{i}.png", bright if i == 3 else dark) for i in range(6)]
    catalogue = open_folder(tmp_path)
    assert catalogue.scale == Scale(12)
    pixels = [decode_image(path, catalogue.scale) for path in paths]
    for other in pixels[:3]:
        np.testing.assert_array_equal(other, pixels[0])
    assert (pixels[3] != pixels[0]).sum() == 3  # the one pixel
    assert pixels[3][0, 0, 0] == 255


def test_the_scale_is_told_by_check_and_so_is_what_cannot_be_read_in_full(tmp_path: Path) -> None:
    for i in range(6):
        _grey(tmp_path / "ab"[i % 2] / f"{i}.png", _ramp(4000 + i))
    _grey(tmp_path / "a" / "long.png", np.tile(_ramp(4000), (1, 8))[:20])
    report = check_data(Data(dataset="folder", root=str(tmp_path)), data_home=tmp_path)
    told = {problem.kind: problem.what for problem in report.problems}
    assert told["deep pictures"] == (
        "7 images of more than 8 bits a pixel, values up to 4,005: "
        "read as 12 bits, 0 to 4,095 becomes black to white in every image"
    )
    assert told["long images"].startswith("1 images are longer than 3:1, up to 16:1")


def test_floating_point_pictures_share_one_white(tmp_path: Path) -> None:
    shares = np.linspace(0, 1, 1200).reshape(30, 40).astype(np.float32)
    assert scale_of([deep_of(shares)]) == Scale(8, 1.0)
    assert scale_of([deep_of(shares), deep_of(shares * 3000)]) == Scale(8, 4095.0)
    path = _grey(tmp_path / "1.tif", shares)
    assert decode_image(path)[-1, -1, 0] == 255
    assert decode_image(path, Scale(8, 4095.0)).max() == 0
    words = scale_words([deep_of(shares - 1)])
    assert words == [
        "1 images of floating-point numbers from -1 to 0: 0 to 1 becomes black to white in every image, "
        "what is below 0 becomes black"
    ]


def test_depths_hold_what_they_say() -> None:
    for bits in DEPTHS:
        assert scale_of([Deep("whole", 0, 2**bits - 1)]) == Scale(bits)
    assert scale_of([None]) is None
    assert scale_words([None]) == []


def test_sixteen_bits_a_channel_in_colour_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.png"  # by hand, since Pillow writes none: 2 x 1 pixels of 12 bits
    chunks = [
        _chunk(b"IHDR", b"\0\0\0\2\0\0\0\1\x10\2\0\0\0"),
        _chunk(b"IDAT", zlib.compress(b"\0" + b"\x0f\xff\0\0\x01\x02" * 2)),
        _chunk(b"IEND", b""),
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    fact = examine(path)
    assert fact.error == ""
    assert fact.oddities == (
        "16 bits a channel, of which the upper eight are read: 0 to 15 of 255 are left; convert it to 8 bits",
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)
