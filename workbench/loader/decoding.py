"""The decoder's seam: a file to a square of bytes. Whoever wants another decoder replaces `decode_square`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workbench.dataset.probe import decode_image


@dataclass(frozen=True, slots=True)
class Square:
    """An image squashed to a square, and what it was before."""

    pixels: NDArray[np.uint8]
    """(3, S, S) red, green, blue."""
    width: int
    height: int


Decoder = Callable[[Path, int], Square]
"""(file, S) -> square; raises `UnreadableImage`, and nothing else, for a file that holds no picture."""


def decode_square(path: Path, side: int) -> Square:
    """Decode with PIL and resize the whole image, bicubic over all pixels that fall into an output pixel.

    Raises:
        UnreadableImage: the file is missing or holds no picture that can be decoded.
    """
    return square_of(decode_image(path), side)


def square_of(pixels: NDArray[np.uint8], side: int) -> Square:
    """Squash (H, W, 3) uint8 pixels to side x side, as the store keeps them."""
    height, width = pixels.shape[:2]
    resized = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    return Square(np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1)), width, height)
