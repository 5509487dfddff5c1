"""The doctor's test picture: one cat in every kind of block characters, for an eye to judge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from workbench.tui.pictures.blocks import Blocks, draw, shrink
from workbench.tui.pictures.image_protocol import VARIABLE

if TYPE_CHECKING:
    from PIL.Image import Image

_COLUMNS, _ROWS = 18, 9
_GAP = 2
_CAT, _SEED = "Dotted_Prowler", 1  # large ears, and a face that looks at one
_MARGIN = 0.12  # of the head's box


class BlockSheet:
    """Four pictures side by side, each over its name for `--images`; 78 columns."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The pictures, and what to make of them."""
        yield Text(
            "\nThe same cat in plain cells. Take the rightmost that is whole, without boxes, question marks "
            "or lines through it:"
        )
        image, gap = _cat(), Segment(" " * _GAP)
        drawn = [draw(shrink(image, _COLUMNS, _ROWS, blocks)) for blocks in Blocks]
        for lines in zip(*drawn, strict=True):
            for line in lines:
                yield from line
                yield gap
            yield Segment.line()
        names = (f"{blocks.value:<{_COLUMNS + _GAP}}" for blocks in Blocks)
        yield Text("".join(names).rstrip(), style="bold")
        yield Text(f"petbench --images NAME draws so once, export {VARIABLE}=NAME always")


def _cat() -> Image:
    """The head of a cat of the sample set, square."""
    import numpy as np
    from PIL import Image as Pillow

    from workbench.dataset.sample.animals import BREEDS
    from workbench.dataset.sample.scene import photograph

    breed = next(breed for breed in BREEDS if breed.name == _CAT)
    found = photograph(breed, 256, np.random.default_rng(_SEED))
    left, top, right, bottom = found.head
    half = (0.5 + _MARGIN) * max(right - left, bottom - top)
    across, down = (left + right) / 2, max(half, (top + bottom) / 2)
    box = (across - half, down - half, across + half, down + half)
    return Pillow.fromarray(found.pixels).crop(tuple(map(round, box)))  # type: ignore[arg-type]
