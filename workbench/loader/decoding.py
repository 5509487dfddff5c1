"""The decoder's seam: a file to a square of bytes. Whoever wants another decoder replaces `decode_square`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from workbench.dataset.catalogue import kept_part
from workbench.dataset.depth import Scale
from workbench.dataset.probe import decode_bytes, read_bytes


@dataclass(frozen=True, slots=True)
class Square:
    """An image squashed to a square, and what it was before."""

    pixels: NDArray[np.uint8]
    """(3, S, S) red, green, blue."""
    width: int
    height: int
    """Of what was squashed: the image, or the middle of a long one."""


Decoder = Callable[[Path, int, Scale | None], Square]
"""(file, S, the data set's scale) -> square; raises `UnreadableImage` alone, for a file without a picture."""

_FORMAT = 2
"""Raised when decoding or resizing change."""


def decoding_id() -> str:
    """Names how squares are made: stores and features of squares made otherwise are made anew."""
    return f"{_FORMAT}-pillow-{PIL.__version__}"


def decode_square(path: Path, side: int, scale: Scale | None = None) -> Square:
    """Decode with PIL and resize what is kept of the image, bicubic over all pixels of an output pixel.

    A large JPEG is decoded at a reduced scale first, where that suffices.

    Raises:
        UnreadableImage: the file is missing or holds no picture that can be decoded.
    """
    decoded = decode_bytes(read_bytes(path), scale, side=side)
    return square_of(decoded.pixels, side, decoded.header.size)


def square_of(pixels: NDArray[np.uint8], side: int, size: tuple[int, int] | None = None) -> Square:
    """Squash what is kept of (H, W, 3) uint8 pixels to side x side, as the store keeps them.

    Args:
        size: (width, height) of the image, where it was decoded at a reduced scale.
    """
    across, down = pixels.shape[1], pixels.shape[0]
    width, height = size or (across, down)
    left, top, right, bottom = kept_part((width, height))
    columns = slice(left * across // width, right * across // width)
    rows = slice(top * down // height, bottom * down // height)
    kept = Image.fromarray(np.ascontiguousarray(pixels[rows, columns]))
    resized = np.asarray(kept.resize((side, side), Image.Resampling.BICUBIC))
    return Square(np.ascontiguousarray(resized.transpose(2, 0, 1)), right - left, bottom - top)
