"""Pictures as cameras, phones, scanners and microscopes give them: each read, or refused with the reason."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from tests.dataset.pictures import jpeg, open_folder, picture
from workbench.dataset.probe import UnreadableImage, decode_bytes, image_endings, read_header, why_not_read

RAMP = np.linspace(0, 1, 30 * 40).reshape(30, 40)


def saved(image: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def tiff(values: NDArray[np.generic], *, real: bool = False, signed: bool = False) -> bytes:
    """An uncompressed TIFF file of (H, W) or (H, W, C) values, which Pillow cannot write."""
    height, width, *rest = values.shape
    channels, bits = rest[0] if rest else 1, values.dtype.itemsize * 8
    start = 8 + 2 + 12 * 9 + 4
    kind = 3 if real else 2 if signed else 1
    lists = struct.pack(f"<{2 * channels}H", *[bits] * channels, *[kind] * channels)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, channels, bits if channels == 1 else start),
        (259, 3, 1, 1),
        (262, 3, 1, 2 if channels == 3 else 1),
        (273, 4, 1, start + len(lists)),
        (277, 3, 1, channels),
        (279, 4, 1, values.nbytes),
        (339, 3, channels, kind if channels == 1 else start + 2 * channels),
    ]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + table + struct.pack("<I", 0)
    return head + lists + values.tobytes()


READ = {
    "float TIFF": tiff(RAMP.astype("<f4"), real=True),
    "16-bit grey TIFF": tiff((RAMP * 65535).astype("<u2")),
    "32-bit grey TIFF": tiff((RAMP * (2**32 - 1)).astype("<u4")),
    "12-bit grey PNG": saved(Image.fromarray((RAMP * 4095).astype(np.uint16)), "PNG"),
    "10-bit grey PGM": b"P5\n40 30\n1023\n" + (RAMP * 1023).astype(">u2").tobytes(),
    "16-bit colour TIFF": tiff(np.repeat((RAMP * 65535).astype("<u2")[..., None], 3, axis=2)),
}


@pytest.mark.parametrize("name", READ)
def test_deep_pictures_are_read_from_black_to_white(name: str) -> None:
    pixels = decode_bytes(READ[name]).pixels
    assert (pixels.shape, int(pixels.min()), int(pixels.max())) == ((30, 40, 3), 0, 255)


def test_the_upper_half_of_32_bit_values_is_bright(tmp_path: Path) -> None:
    values = np.array([[0, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 1]], dtype="<u4")
    assert decode_bytes(tiff(values)).pixels[0, :, 0].tolist() == [0, 127, 128, 192, 255]
    signed = np.array([[-5, 0, 2**31 - 1]], dtype="<i4")
    assert decode_bytes(tiff(signed, signed=True)).pixels[0, :, 0].tolist() == [0, 0, 127]
    for folder in ("train/cells", "train/spores", "test/cells", "test/spores"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "0.tif").write_bytes(tiff(values if folder == "train/cells" else values[:, :2]))
    catalogue = open_folder(tmp_path)
    assert max(content.deep.high for content in catalogue.contents if content.deep is not None) == 2**32 - 1


REFUSED = {
    "64-bit floating-point numbers in 1 channel": tiff(RAMP.astype("<f8"), real=True),
    "32-bit floating-point numbers in 3 channels": tiff(
        np.repeat(RAMP.astype("<f4")[..., None], 3, axis=2), real=True
    ),
    "8-bit whole numbers in 5 channels": tiff(np.repeat((RAMP * 255).astype("u1")[..., None], 5, axis=2)),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_tiff_that_pillow_does_not_read_says_what_it_holds(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(REFUSED[kind])
    for read in (lambda: decode_bytes(REFUSED[kind]), lambda: read_header(tmp_path / "a.tif")):
        with pytest.raises(UnreadableImage) as caught:
            read()
        assert caught.value.reason.startswith(f"a TIFF of {kind}, which Pillow does not read: save it as")


def test_phones_and_cameras_files_are_read_or_say_what_it_takes(tmp_path: Path) -> None:
    forms = {".jpg": jpeg(), ".png": saved(picture(), "PNG")}
    if features.check("avif"):
        forms[".avif"] = saved(picture(), "AVIF")
    if features.check("jpg_2000"):
        forms[".jp2"] = saved(picture(), "JPEG2000")
    for ending in (".avif", ".jp2"):
        assert (ending in forms) == (not why_not_read(ending))
    for folder in "ab":
        (tmp_path / folder).mkdir()
        for number, (ending, content) in enumerate(forms.items()):
            (tmp_path / folder / f"{number}{ending}").write_bytes(content)
    found = open_folder(tmp_path)
    assert len(found) == 2 * len(forms)
    assert found.passed_over == ()


def test_heic_is_read_with_its_plug_in_and_else_told_what_to_install(tmp_path: Path) -> None:
    if ".heic" not in image_endings():
        assert why_not_read(".heic") == "can be read after pip install pillow-heif"
        pytest.skip("no pillow-heif")
    assert decode_bytes(saved(picture(), "HEIF")).pixels.shape == (30, 40, 3)


def test_a_photograph_of_48_megapixels_is_read(tmp_path: Path) -> None:
    large = Image.fromarray((RAMP * 255).astype(np.uint8)).resize((8000, 6000)).convert("RGB")
    large.save(tmp_path / "large.jpg", quality=30)
    content = (tmp_path / "large.jpg").read_bytes()
    assert read_header(tmp_path / "large.jpg").size == (8000, 6000)
    reduced = decode_bytes(content, side=256).pixels
    assert reduced.shape[0] < 2000
    assert reduced.shape[1] / reduced.shape[0] == pytest.approx(4 / 3, abs=0.01)
