"""One image file looked at closely: can it be decoded, what is odd about it, what is it a copy of."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.depth import Deep
from workbench.dataset.image_formats import readable_formats
from workbench.dataset.probe import (
    Decoded,
    UnreadableImage,
    colour_bits,
    decode_bytes,
    deep_values,
    read_bytes,
)

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
    return FileFacts(digest, look, tuple(oddities), "", size, _blank(decoded.pixels), deep_values(content))


def _blank(pixels: NDArray[np.uint8]) -> str:
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
