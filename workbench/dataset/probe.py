"""One image file: what its header says, and its pixels however odd the file is."""

from __future__ import annotations

import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.depth import Deep, Scale, deep_of, is_deep, scale_of
from workbench.dataset.image_formats import tried_formats

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS = 80_000_000
"""Larger images are refused unread. Below the 89 million at which Pillow starts to warn of a bomb."""

MAX_BYTES = 512 * 1024 * 1024
"""Larger files are refused unread."""

LARGE_PIXELS = 2_000_000
"""A JPEG of fewer is always decoded whole: it takes too little time to change a pixel for it."""

_REDUCED = 3
"""How many times as long as what is kept both sides of a JPEG must be to be decoded at a reduced scale."""

_SHALLOW = (b"\xff\xd8", b"GIF8", b"BM", b"RIFF")
"""How files begin that never have more than 8 bits: JPEG, GIF, BMP, WebP."""

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 0x0102
_SIDEWAYS = (5, 6, 7, 8)
_JPEG_END = b"\xff\xd9"


class UnreadableImage(Exception):
    """A file that cannot be used as an image; `reason` says why in a few words, without the file's name."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Header:
    """What an image file says of itself before a pixel is decoded."""

    format: str
    """Pillow's name of the content's format, whatever the file is called: "JPEG", "GIF", …"""
    mode: str
    """Pillow's name of the pixels: "RGB", "P" palette, "RGBA", "L" grey, "CMYK", …"""
    size: tuple[int, int]
    """(width, height) in pixels, upright: after the EXIF orientation."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """An image's pixels, (H, W, 3) uint8 RGB, with what was odd about its file."""

    pixels: NDArray[np.uint8]
    """Fewer than the header says where the file was decoded at a reduced scale."""
    header: Header
    truncated: bool
    """The file ends early; what is missing at the bottom is grey."""
    trailing_bytes: int
    """Bytes after a JPEG's end-of-image marker."""


def read_header(path: Path) -> Header:
    """Format, mode, size and length of an image file; decodes nothing.

    Raises:
        UnreadableImage: not a regular file, not an image, or larger than MAX_PIXELS.
    """
    length = _regular_file_length(path)
    with _pillow_errors():
        from PIL import Image

        with Image.open(path, formats=tried_formats()) as image:
            return _header_of(image, length)


def decode_image(path: Path, scale: Scale | None = None) -> NDArray[np.uint8]:
    """The image as a viewer would show it: (H, W, 3) uint8 RGB, upright.

    First frame of an animation; palettes resolved; transparency laid on white; CMYK and grey converted; more
    than 8 bits reduced by `scale`. Bytes after the image are ignored. A JPEG that ends early is used when at
    least its upper half is there, with grey below; other formats must be whole.

    Args:
        scale: the data set's; None takes that of the image alone, which is right for looking at it only.

    Raises:
        UnreadableImage: the file is missing, not an image, broken, or too large.
    """
    return decode_bytes(read_bytes(path), scale).pixels


def read_bytes(path: Path) -> bytes:
    """The file's content.

    Raises:
        UnreadableImage: missing, not a regular file (a pipe would block), empty, or larger than MAX_BYTES.
    """
    _regular_file_length(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableImage(error.strerror or "cannot be read") from None


def decode_bytes(content: bytes, scale: Scale | None = None, *, side: int | None = None) -> Decoded:
    """Decode an image file's content, as `decode_image` does.

    Args:
        side: the picture will be resized to this side, so a large JPEG may be decoded at a reduced scale:
            with at least half as many pixels again each way, in a tenth of the time.

    Raises:
        UnreadableImage: not an image, broken, or too large.
    """
    truncated = False
    try:
        pixels, header = _decode(content, scale, side)
    except UnreadableImage:
        if not content.startswith(b"\xff\xd8"):
            raise
        # libjpeg fills what is missing with grey once it meets the end marker. Adding the marker needs no
        # global state, unlike Pillow's LOAD_TRUNCATED_IMAGES, which other threads would see.
        pixels, header = _decode(content + _JPEG_END, scale, side)
        missing = _flat_rows_at_bottom(pixels)
        if missing > len(pixels) // 2:
            raise UnreadableImage(f"truncated: only {1 - missing / len(pixels):.0%} of it is there") from None
        truncated = True
    end = content.rfind(_JPEG_END)
    trailing = len(content) - end - 2 if header.format == "JPEG" and end >= 0 and not truncated else 0
    return Decoded(pixels, Header(header.format, header.mode, header.size, len(content)), truncated, trailing)


def deep_values(content: bytes) -> Deep | None:
    """What lies in the picture of a file, if it has more than 8 bits a pixel; None of any other file."""
    if content.startswith(_SHALLOW):
        return None
    try:
        with _pillow_errors():
            from PIL import Image

            with Image.open(io.BytesIO(content), formats=tried_formats()) as image:
                if not is_deep(image.mode):
                    return None
                _header_of(image, len(content))
                return deep_of(np.asarray(image))
    except UnreadableImage:
        return None  # decoding will tell what is wrong with it


def colour_bits(content: bytes) -> int:
    """Bits a channel of a PNG or TIFF file in colour or with transparency; 8 of all others.

    Of more than 8 Pillow gives the upper eight, whatever the values are.
    """
    if content.startswith(b"\x89PNG"):  # its header: bit depth, colour type; 0 and 3 have one channel
        return content[24] if len(content) > 25 and content[25] in (2, 4, 6) else 8
    if not content.startswith((b"II", b"MM")):
        return 8
    try:
        with _pillow_errors():
            from PIL import Image

            with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
                bits = image.getexif().get(_BITS_PER_SAMPLE, 8)
    except UnreadableImage:
        return 8
    return int(max(bits)) if isinstance(bits, tuple) and len(bits) > 1 else 8


def _regular_file_length(path: Path) -> int:
    try:
        status = path.stat()
    except OSError as error:
        broken_link = isinstance(error, FileNotFoundError) and path.is_symlink()
        raise UnreadableImage("broken link" if broken_link else error.strerror or "cannot be read") from None
    except ValueError:
        raise UnreadableImage("its name has a null character") from None
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableImage("is a directory" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
    if status.st_size == 0:
        raise UnreadableImage("empty file")
    if status.st_size > MAX_BYTES:
        raise UnreadableImage(f"file of {status.st_size:,} bytes; at most {MAX_BYTES:,} are read")
    return status.st_size


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Whatever Pillow raises on a bad file, and it raises nearly everything, becomes UnreadableImage."""
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImage(_reason(error)) from error


def _reason(error: Exception) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image, or of an unknown format"
    if "DecompressionBomb" in type(error).__name__:
        return f"more than {MAX_PIXELS:,} pixels"
    text = " ".join(str(error).split())
    return f"broken image: {text[:120]}" if text else f"broken image: {type(error).__name__}"


def _header_of(image: Image, length: int) -> Header:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImage(f"{width} × {height} pixels; at most {MAX_PIXELS:,} are read")
    if min(width, height) < 1:
        raise UnreadableImage("no pixels")
    sideways = _orientation(image) in _SIDEWAYS
    return Header(image.format or "", image.mode, (height, width) if sideways else (width, height), length)


def _orientation(image: Image) -> int:
    """EXIF orientation, 1 where there is none; broken EXIF counts as none."""
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _decode(content: bytes, scale: Scale | None, side: int | None) -> tuple[NDArray[np.uint8], Header]:
    with _pillow_errors():
        from PIL import Image

        with Image.open(io.BytesIO(content), formats=tried_formats()) as image:
            header = _header_of(image, len(content))
            orientation = _orientation(image)
            if side is not None and _may_be_reduced(header, side):
                image.draft(None, (side * _REDUCED // 2, side * _REDUCED // 2))
            pixels = np.asarray(_rgb(image, scale), dtype=np.uint8)
    return np.ascontiguousarray(_upright(pixels, orientation)), header


def _may_be_reduced(header: Header, side: int) -> bool:
    width, height = header.size
    is_large = width * height >= LARGE_PIXELS and min(width, height) >= _REDUCED * side
    return is_large and header.format in ("JPEG", "MPO")


def _rgb(image: Image, scale: Scale | None) -> Any:
    """The image as RGB: something numpy can read as (H, W, 3) uint8."""
    from PIL import Image as PillowImage

    image.load()
    if is_deep(image.mode):
        values = np.asarray(image)
        scale = scale or scale_of([deep_of(values)]) or Scale()
        return np.repeat(scale.bytes_of(values)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = PillowImage.new("RGBA", clear.size, (255, 255, 255, 255))
        return PillowImage.alpha_composite(white, clear).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (TIFF 6.0, tag 274): 2–4 mirror or turn by 180°, 5–8 also swap the axes."""
    if orientation in _SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _flat_rows_at_bottom(pixels: NDArray[np.uint8]) -> int:
    """How many rows at the bottom have one colour all over: what libjpeg makes of missing data."""
    flat = (pixels == pixels[-1, -1]).all(axis=(1, 2))
    return len(flat) if flat.all() else int(np.argmin(flat[::-1]))
