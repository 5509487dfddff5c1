"""One image file: what its header says, and its pixels however odd the file is."""

from __future__ import annotations

import hashlib
import importlib
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.depth import Deep, Scale, deep_of, is_deep, scale_of
from workbench.support.units import in_percent

if TYPE_CHECKING:
    from PIL.Image import Image

_OWN = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo", ".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png", ".apng"),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
}
"""Formats, by Pillow's names, that every Pillow reads. The rest stays shut: EPS, say, runs Ghostscript."""

_OPTIONAL = {
    "AVIF": ("avif", (".avif", ".avifs")),
    "JPEG2000": ("jpg_2000", (".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx")),
}
"""Formats that Pillow reads if it was built with a library, by its name of that feature."""

_PLUG_INS = {
    "HEIF": ("pillow_heif", "pillow-heif", (".heic", ".heics", ".heif", ".heifs", ".hif")),
    "JXL": ("pillow_jxl", "pillow-jxl-plugin", (".jxl",)),
}
"""Formats that a package adds to Pillow: its module, its name for pip, endings."""

_RAW = (".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".srw", ".pef")
_DRAWN = (".svg", ".svgz", ".ai", ".eps", ".pdf", ".psd", ".psb", ".xcf", ".ico", ".icns")
_OTHERS = (*_RAW, *_DRAWN, ".tga", ".dds", ".pcx", ".exr", ".hdr", ".qoi", ".jxr", ".bpg", ".dcm", ".fits")
"""Endings of pictures that petbench does not read: passed over, but not without a word of it."""


@cache
def readable_formats() -> dict[str, tuple[str, ...]]:
    """Format by Pillow's name -> endings of such files, of all that can be read here; plug-ins are loaded."""
    from PIL import features

    optional = {name: ends for name, (feature, ends) in _OPTIONAL.items() if features.check(feature)}
    added = {name: ends for name, (module, _, ends) in _PLUG_INS.items() if _loaded(module)}
    return _OWN | optional | added


@cache
def tried_formats() -> tuple[str, ...]:
    """What Pillow may try; it finds MPO, a JPEG with more pictures behind it, by itself."""
    return tuple(name for name in readable_formats() if name != "MPO")


@cache
def image_endings() -> frozenset[str]:
    """Endings, lower case with their dot, of the files that are taken for images."""
    return frozenset(ending for endings in readable_formats().values() for ending in endings)


def why_not_read(ending: str) -> str:
    """Why pictures of this ending are passed over; empty of those that are read, and of no picture's."""
    low = ending.lower()
    if low in image_endings():
        return ""
    for _, package, endings in _PLUG_INS.values():
        if low in endings:
            return f"can be read after pip install {package}"
    for name, (_, endings) in _OPTIONAL.items():
        if low in endings:
            return f"this Pillow was built without {name}: pip install --upgrade pillow"
    return "petbench reads no such pictures; convert them, to PNG for one" if low in _OTHERS else ""


def _loaded(module: str) -> bool:
    """Whether Pillow has the plug-in now."""
    try:
        plug_in = importlib.import_module(module)
        register = getattr(plug_in, "register_heif_opener", None)
        if register is not None:
            register()
    except Exception:  # not installed, or not for this Pillow: its files are told as unread
        return False
    return True


_MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "palette",
    "PA": "palette with transparency",
    "RGBA": "RGBA",
    "CMYK": "CMYK",
}
_LEAST_CONTRAST = 16
"""Grey levels that a reduced image must span to have a look: two blank walls are not the same photograph."""

_BLANK_LEVELS = 2
"""Levels of 256 that a compressed picture of one colour may differ by."""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What one file turned out to be."""

    sha256: str
    """Of the file; empty when it could not be read."""
    look: bytes | None
    """64-bit difference hash of the picture; None where it cannot be decoded or hardly has contrast."""
    oddities: tuple[str, ...]
    error: str
    """Why it cannot be decoded; empty when it can."""
    size: tuple[int, int] = (1, 1)
    """(width, height) of the picture."""
    blank: str = ""
    """What colour it has all over; empty of a picture that shows something."""
    deep: Deep | None = None
    """The values of a picture with more than 8 bits a pixel."""


def examine(path: Path) -> FileFacts:
    """Read, hash and decode one file; never raises for what is in it."""
    try:
        content = read_bytes(path)
    except UnreadableImage as error:
        return FileFacts("", None, (), error.reason)
    digest = hashlib.sha256(content).hexdigest()
    try:
        decoded = decode_bytes(content)
    except UnreadableImage as error:
        return FileFacts(digest, None, (), error.reason)
    oddities = [*_oddities(path, decoded), *_wide_colours(content, decoded)]
    look, size = difference_hash(decoded.pixels), decoded.header.size
    return FileFacts(
        digest, look, tuple(oddities), "", size, blank_colour(decoded.pixels), deep_values(content)
    )


def blank_colour(pixels: NDArray[np.uint8]) -> str:
    """The one colour of all pixels, give or take what a JPEG adds to it; empty where there are more."""
    lowest, highest = pixels.min(axis=(0, 1)), pixels.max(axis=(0, 1))
    if (highest.astype(int) - lowest > _BLANK_LEVELS).any():
        return ""
    colour = "".join(f"{value:02x}" for value in lowest.tolist())
    return f"every pixel is #{colour}" + (", black" if highest.max() <= _BLANK_LEVELS else "")


def difference_hash(pixels: NDArray[np.uint8]) -> bytes | None:
    """64 bits (8 bytes) that survive resizing: is each cell of a 9 × 8 grid darker than the next.

    The dHash of N. Krawetz, "Kind of Like That" (2013). None for a picture of hardly any contrast.

    Args:
        pixels: (H, W, 3) uint8.
    """
    from PIL import Image

    small = Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX, reducing_gap=2)
    grey = np.asarray(small, dtype=np.int16)
    if grey.max() - grey.min() < _LEAST_CONTRAST:
        return None
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes()


def _wide_colours(content: bytes, decoded: Decoded) -> list[str]:
    bits, highest = colour_bits(content), int(decoded.pixels.max(initial=0))
    if bits <= 8:
        return []
    text = f"{bits} bits a channel, of which the upper eight are read"
    return [text if highest > 63 else f"{text}: 0 to {highest} of 255 are left; convert it to 8 bits"]


def _oddities(path: Path, decoded: Decoded) -> list[str]:
    header, found = decoded.header, []
    if path.suffix.lower() not in readable_formats().get(header.format, ()):
        found.append(f"{header.format} content under a {path.suffix or 'bare'} name")
    if header.mode != "RGB":
        found.append(f"{_MODES.get(header.mode, header.mode)} pixels")
    if decoded.truncated:
        found.append("truncated: the lower part is missing")
    if decoded.trailing_bytes:
        found.append(f"{decoded.trailing_bytes} bytes after the end of the image")
    return found


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
_BITS_PER_SAMPLE, _SAMPLES_PER_PIXEL, _SAMPLE_FORMAT = 0x0102, 0x0115, 0x0153
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
    with _pillow_errors(), path.open("rb") as stream, _pillow_errors(stream):
        from PIL import Image

        with Image.open(stream, formats=tried_formats()) as image:
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
            raise UnreadableImage(
                f"truncated: only {in_percent(1 - missing / len(pixels), 0)} of it is there"
            ) from None
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
                return deep_of(_deep_pixels(image))
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
def _pillow_errors(stream: BinaryIO | None = None) -> Iterator[None]:
    """Whatever Pillow raises on a bad file, and it raises nearly everything, becomes UnreadableImage.

    Args:
        stream: of the file, which may tell why.
    """
    try:
        yield
    except (UnreadableImage, MemoryError):
        raise
    except Exception as error:
        raise UnreadableImage(_reason(error, stream)) from error


def _reason(error: Exception, stream: BinaryIO | None) -> str:
    if type(error).__name__ == "UnidentifiedImageError":
        kind = "" if stream is None or stream.closed else _tiff_kind(stream)
        if kind:
            return f"a TIFF of {kind}, which Pillow does not read: save it as 8 or 16 bits, or 32-bit grey"
        return "not an image, or of an unknown format"
    if "DecompressionBomb" in type(error).__name__:
        return f"more than {MAX_PIXELS:,} pixels"
    text = " ".join(str(error).split())
    return f"broken image: {text[:120]}" if text else f"broken image: {type(error).__name__}"


def _tiff_kind(stream: BinaryIO) -> str:
    """What the pixels of a TIFF file are, in words; empty of another file."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        stream.seek(0)
        start = stream.read(8)
        if not start.startswith((b"II*\0", b"MM\0*")):
            return ""
        tags = ImageFileDirectory_v2(start)
        stream.seek(tags.next)
        tags.load(stream)
        bits, channels = tags.get(_BITS_PER_SAMPLE, (1,)), int(tags.get(_SAMPLES_PER_PIXEL, 1))
        real = 3 in tags.get(_SAMPLE_FORMAT, (1,))
    except Exception:  # a broken one is told as any other broken file
        return ""
    numbers = "floating-point numbers" if real else "whole numbers"
    return f"{int(max(bits))}-bit {numbers} in {channels} channel{'s' if channels > 1 else ''}"


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
    stream = io.BytesIO(content)
    with _pillow_errors(stream):
        from PIL import Image

        with Image.open(stream, formats=tried_formats()) as image:
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
        values = _deep_pixels(image)
        scale = scale or scale_of([deep_of(values)]) or Scale()
        return np.repeat(scale.bytes_of(values)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = PillowImage.new("RGBA", clear.size, (255, 255, 255, 255))
        return PillowImage.alpha_composite(white, clear).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_pixels(image: Image) -> NDArray[np.number]:
    """(H, W) integers or floating-point numbers, as the file means them.

    Pillow has one mode for 32-bit integers, a signed one, and puts a TIFF's unsigned ones into it bit by bit.
    """
    values: NDArray[np.number] = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    unsigned = tags.get(_BITS_PER_SAMPLE) == (32,) and tags.get(_SAMPLE_FORMAT, (1,)) == (1,)
    return values.view(np.uint32) if unsigned and values.dtype == np.int32 else values


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
