"""A rectangle of styled characters that becomes lines for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip


class Grid:
    """Characters one cell wide, each with the number of its style.

    Attributes:
        characters: (H, W) str of one character.
        styles: (H, W) int16, indices into the styles given to `strips`; 0 is plain.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.characters: NDArray[np.str_] = np.full((height, width), " ", dtype="<U1")
        self.styles: NDArray[np.int16] = np.zeros((height, width), dtype=np.int16)

    def write(self, column: int, row: int, text: str, style: int = 0) -> int:
        """Put `text` there, cut at the edges; returns the column after it.

        Characters that are not one cell wide are shown as `?`, so that a line keeps its length.
        """
        if not 0 <= row < self.height:
            return column
        for character in text:
            if 0 <= column < self.width:
                self.characters[row, column] = character if cell_len(character) == 1 else "?"
                self.styles[row, column] = style
            column += 1
        return column

    def strips(self, styles: Sequence[Style]) -> list[Strip]:
        """The lines, top first: a segment for every stretch of one style."""
        return [self._strip(row, styles) for row in range(self.height)]

    def _strip(self, row: int, styles: Sequence[Style]) -> Strip:
        text = "".join(self.characters[row].tolist())
        numbers = self.styles[row]
        starts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), self.width]
        segments = [
            Segment(text[start:end], styles[int(numbers[start])])
            for start, end in pairwise(starts)
            if end > start
        ]
        return Strip(segments, self.width)
