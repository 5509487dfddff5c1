from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from tests.dataset.pictures import jpeg, picture
from workbench.dataset import probe
from workbench.dataset.probe import (
    UnreadableImage,
    decode_bytes,
    decode_image,
    image_endings,
    read_header,
    why_not_read,
)


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def saved_if(feature: str, format: str, **options: Any) -> bytes:
    """The picture, where this Pillow can write it."""
    return saved(picture(), format, **options) if features.check(feature) else b""


def close_to(pixels: np.ndarray[Any, Any], image: Image.Image, tolerance: float) -> bool:
    return (
        float(np.abs(pixels.astype(float) - np.asarray(image.convert("RGB"), dtype=float)).mean()) < tolerance
    )


needs_avif = pytest.mark.skipif(not features.check("avif"), reason="a Pillow without AVIF")
needs_jpeg_2000 = pytest.mark.skipif(not features.check("jpg_2000"), reason="a Pillow without JPEG 2000")


@pytest.mark.parametrize(
    ("content", "tolerance"),
    [
        (saved(picture(), "PNG"), 0.01),
        (saved(picture(), "BMP"), 0.01),
        (saved(picture(), "TIFF"), 0.01),
        (saved(picture(), "WEBP", lossless=True), 0.01),
        (saved(picture().quantize(256), "PNG"), 8),
        (saved(picture(), "GIF"), 8),
        (saved(picture(), "JPEG", quality=95), 6),
        (saved(picture(), "JPEG", quality=95, progressive=True), 6),
        (saved(picture().convert("CMYK"), "JPEG", quality=95), 6),
        (saved(picture(), "MPO", save_all=True, append_images=[picture()], quality=95), 6),
        pytest.param(saved_if("avif", "AVIF", quality=95), 6, marks=needs_avif),
        pytest.param(saved_if("jpg_2000", "JPEG2000"), 0.01, marks=needs_jpeg_2000),
    ],
    ids=["png", "bmp", "tiff", "webp", "palette", "gif", "jpeg", "progressive", "cmyk", "mpo", "avif", "jp2"],
)
def test_content_of_every_kind_under_a_jpg_name_gives_the_picture(
    tmp_path: Path, content: bytes, tolerance: float
) -> None:
    path = tmp_path / "odd.jpg"
    path.write_bytes(content)
    pixels = decode_image(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (30, 40, 3)
    assert pixels.flags.c_contiguous
    assert close_to(pixels, picture(), tolerance)
    assert read_header(path).size == (40, 30)


def test_endings_are_those_of_what_this_pillow_reads_and_others_say_why_not() -> None:
    assert {".jpg", ".png", ".tiff", ".mpo"} <= image_endings()
    assert (".avif" in image_endings()) == features.check("avif")
    assert (".jp2" in image_endings()) == features.check("jpg_2000")
    assert why_not_read(".JPG") == why_not_read(".txt") == ""
    assert "convert" in why_not_read(".CR2")
    if ".heic" not in image_endings():
        assert "pip install pillow-heif" in why_not_read(".heic")


def test_grey_and_black_and_white_become_three_equal_channels() -> None:
    for mode in ("L", "1"):
        pixels = decode_bytes(saved(picture().convert(mode), "PNG")).pixels
        assert (pixels[..., 0] == pixels[..., 1]).all()
        assert (pixels[..., 1] == pixels[..., 2]).all()
        assert np.ptp(pixels) > 0


def test_sixteen_bits_are_reduced_to_their_upper_eight() -> None:
    values = (np.arange(40 * 30).reshape(30, 40) * 50).astype(np.uint16)
    pixels = decode_bytes(saved(Image.fromarray(values), "PNG")).pixels
    assert (pixels[..., 0] == values // 256).all()


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    clear.putpixel((1, 2), (0, 0, 255, 255))
    pixels = decode_bytes(saved(clear, "PNG")).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[2, 1].tolist() == [0, 0, 255]


def test_palette_with_a_transparent_colour_is_laid_on_white() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 10, 10])
    pixels = decode_bytes(saved(image, "PNG", transparency=1)).pixels
    assert pixels[0, 0].tolist() == [255, 255, 255]


def test_only_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    pixels = decode_bytes(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])).pixels
    assert pixels[3, 3].tolist() == [255, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone_as_pillow_undoes_it(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    path.write_bytes(saved(picture(), "JPEG", exif=exif))
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    pixels = decode_image(path)
    assert (pixels == upright).all()
    assert read_header(path).size == (pixels.shape[1], pixels.shape[0])


def test_bytes_after_the_image_are_counted_and_change_nothing() -> None:
    decoded = decode_bytes(jpeg() + b"trailing junk")
    assert decoded.trailing_bytes == len(b"trailing junk")
    assert (decoded.pixels == decode_bytes(jpeg()).pixels).all()
    assert decode_bytes(jpeg()).trailing_bytes == 0


def test_jpeg_that_lacks_its_end_keeps_the_rows_that_are_there() -> None:
    whole = jpeg(width=256, height=256)
    decoded = decode_bytes(whole[: int(len(whole) * 0.8)])
    assert decoded.truncated
    assert decoded.pixels.shape == (256, 256, 3)
    assert (decoded.pixels[:128] == decode_bytes(whole).pixels[:128]).all()


def test_jpeg_that_lacks_most_of_its_rows_is_refused() -> None:
    whole = jpeg(width=256, height=256)
    with pytest.raises(UnreadableImage, match="truncated: only"):
        decode_bytes(whole[: int(len(whole) * 0.3)])


def test_truncated_png_is_refused() -> None:
    whole = saved(picture(), "PNG")
    with pytest.raises(UnreadableImage):
        decode_bytes(whole[: len(whole) // 2])


def test_what_is_no_file_or_no_image_says_why(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "directory.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to(tmp_path / "gone.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {
        "text": "not an image",
        "empty": "empty file",
        "directory": "is a directory",
        "link": "broken link",
        "pipe": "not a regular file",
        "missing": "No such file",
        "a\0b": "null",
    }
    for name, reason in reasons.items():
        for read in (decode_image, read_header):
            with pytest.raises(UnreadableImage, match=reason):
                read(tmp_path / f"{name}.jpg")


def test_image_of_too_many_pixels_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "MAX_PIXELS", 40 * 30 - 1)
    with pytest.raises(UnreadableImage, match="40 × 30 pixels"):
        decode_bytes(jpeg())


def test_bomb_of_a_header_that_claims_gigapixels_is_refused() -> None:
    header = bytearray(saved(Image.new("1", (8, 8)), "BMP"))
    header[18:26] = (60_000).to_bytes(4, "little") * 2
    with pytest.raises(UnreadableImage, match="pixels"):
        decode_bytes(bytes(header))


def test_postscript_is_never_opened() -> None:
    with pytest.raises(UnreadableImage, match="not an image"):
        decode_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


def test_floating_point_pixels_go_from_black_at_0_to_white_at_1() -> None:
    values = np.array([[-1.0, 0.0, 0.5, 1.0], [np.nan, np.inf, -np.inf, 0.25]], dtype=np.float32)
    pixels = decode_bytes(saved(Image.fromarray(values), "TIFF")).pixels
    assert pixels[..., 0].tolist() == [[0, 0, 128, 255], [0, 255, 0, 64]]


STARTS = [
    jpeg()[:600],
    saved(picture(), "PNG")[:200],
    saved(picture(), "GIF"),
    saved(picture(), "TIFF")[:200],
    b"",
]


@given(start=st.sampled_from(STARTS), rest=st.binary(max_size=300))
def test_random_bytes_are_decoded_or_refused_but_never_crash(start: bytes, rest: bytes) -> None:
    _decoded_or_refused(start + rest)


@settings(max_examples=300)
@given(
    content=st.sampled_from(
        [jpeg(), saved(picture(), "PNG"), saved(picture(), "GIF"), saved(picture(), "WEBP")]
    ),
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damaged_images_are_decoded_or_refused_but_never_crash(
    content: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(content)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    _decoded_or_refused(bytes(damaged))


def _decoded_or_refused(content: bytes) -> None:
    try:
        decoded = decode_bytes(content)
    except UnreadableImage:
        return
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (decoded.header.size[1], decoded.header.size[0], 3)
