"""Terminals of 16 or 8 colours: every word in a colour that is told from its ground.

Such a terminal takes the nearest of its colours for each of ours, and the nearest to dim words is often the
nearest to what is behind them too. Here the ground comes first, of the eight dark colours, which all of them
have; then words take the nearest colour that can be read on it, also where bright colours are shown as dark.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.palette import Palette
from rich.segment import Segment
from rich.style import Style
from textual import constants
from textual.color import Color as TextualColor
from textual.filter import LineFilter

# The IBM VGA's colours, which the Linux console has still; other terminals' differ a little.
VGA = tuple(
    ColorTriplet(*rgb)
    for rgb in (
        *((0, 0, 0), (170, 0, 0), (0, 170, 0), (170, 85, 0)),
        *((0, 0, 170), (170, 0, 170), (0, 170, 170), (170, 170, 170)),
        *((85, 85, 85), (255, 85, 85), (85, 255, 85), (255, 255, 85)),
        *((85, 85, 255), (255, 85, 255), (85, 255, 255), (255, 255, 255)),
    )
)
LEAST_CONTRAST = 3.0
"""Between words and their ground (WCAG 2.1, 1.4.11)."""
_DARK = 8
_GREYS = (0, 7, 8, 15)
_GREY = 40  # between the strongest and the weakest part of a colour that is meant as a grey
_PICTURE = frozenset("▀▄▘▝▖▗▚▞▛▜▙▟")
"""Half-cells and quadrants: where all of a text is these, both colours are the picture."""
_GROUNDS = Palette(list(VGA[:_DARK]))


def has_few_colours(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal has 16 colours or 8, by what `TERM` and `COLORTERM` say."""
    console = Console(
        color_system=constants.COLOR_SYSTEM,  # type: ignore[arg-type]  # a name, as Textual itself passes it on
        force_terminal=True,
        _environ={key: value for key, value in environ.items() if key != "NO_COLOR"},
    )
    return console.color_system == "standard"


class FewColours(LineFilter):
    """Puts everything drawn into the terminal's own colours."""

    def apply(self, segments: list[Segment], background: TextualColor) -> list[Segment]:
        """Textual calls it for each line of each widget."""
        ground = ColorTriplet(background.r, background.g, background.b)
        return [
            segment
            if segment.style is None
            else Segment(
                segment.text, _legible(segment.style, ground, _is_picture(segment.text)), segment.control
            )
            for segment in segments
        ]


def _is_picture(text: str) -> bool:
    return bool(text) and not _PICTURE.isdisjoint(text) and _PICTURE.issuperset(text.strip())


@lru_cache(maxsize=4096)
def _legible(style: Style, background: ColorTriplet, picture: bool) -> Style:
    fore, back = style.color, style.bgcolor
    ground = back.get_truecolor() if back is not None and not back.is_default else background
    word = fore.get_truecolor() if fore is not None and not fore.is_default else None
    if style.reverse and word is not None:
        ground, word = word, ground
    behind = _GROUNDS.match(ground)
    changed = {"bgcolor": _standard(behind), "dim": False, "reverse": style.reverse and word is None}
    if word is not None:
        ahead = _nearest(word, range(len(VGA))) if picture else word_colour(word, behind)
        changed["color"] = _standard(ahead)
    return style + Style(**changed)  # type: ignore[arg-type]


@lru_cache(maxsize=1024)
def word_colour(wanted: ColorTriplet, ground: int) -> int:
    """The colour nearest to `wanted` that can be read on one of the eight dark ones."""
    readable = [
        number
        for number in range(len(VGA))
        if min(contrast(number, ground), contrast(number % _DARK, ground)) >= LEAST_CONTRAST
    ]
    greys = [number for number in readable if number in _GREYS]
    is_grey = max(wanted) - min(wanted) < _GREY
    return _nearest(wanted, greys if greys and is_grey else readable)


def contrast(one: int, other: int) -> float:
    """Of two of the 16 colours: 1 for equal ones to 21 for black and white (WCAG 2.1, relative luminance)."""
    light, dark = sorted((_luminance(VGA[one]), _luminance(VGA[other])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _nearest(wanted: ColorTriplet, numbers: range | list[int]) -> int:
    return numbers[Palette([VGA[number] for number in numbers]).match(wanted)]


def _luminance(colour: ColorTriplet) -> float:
    def linear(value: float) -> float:
        return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4

    red, green, blue = (linear(part / 255) for part in colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _standard(number: int) -> Color:
    return Color(f"color({number})", ColorType.STANDARD, number)
