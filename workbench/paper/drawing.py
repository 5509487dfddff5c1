"""A figure as shapes on paper, in points: the same shapes become SVG, and PNG by Pillow."""

from __future__ import annotations

import functools
import io
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING

from workbench.support.clean import clean

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

COLUMN = 241.0
"""Points across a column of 85 mm, as two-column journals have it."""
_POINTS_AN_INCH = 72
_MILLIMETRES_A_POINT = 25.4 / _POINTS_AN_INCH
_DPI = 600
"""What printers ask of line art."""
_OVER = 2
"""Times finer than that lines are drawn, and then averaged: Pillow does not smooth them."""
_FONTS = "Helvetica, Arial, Liberation Sans, sans-serif"
_WIDEST = 1.19
"""A reader's font may be wider than the one measured; DejaVu Sans, the widest in use, is so by up to 19 %."""
_IN_PNG = str.maketrans({"–": "-", "−": "-"})
"""What Pillow's own font lacks."""
_ASCENT, _DESCENT = 0.76, 0.22
"""Of a line of text, in parts of its size."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle along the axes."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: Box) -> bool:
        """Whether they share more than an edge."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > 1e-6 and down > 1e-6


@dataclass(frozen=True, slots=True)
class Lines:
    """Straight lines through points; closed and filled where it has a fill."""

    role: str
    """What it stands for, such as `whisker`: its class in the SVG."""
    points: Sequence[Point]
    stroke: str = ""
    width: float = 0.6
    dash: Sequence[float] = ()
    """Lengths drawn and left out, in turn."""
    fill: str = ""
    opacity: float = 1.0
    """Of the fill."""

    @property
    def box(self) -> Box:
        """Around its points and half of its stroke."""
        xs, ys = [x for x, _ in self.points], [y for _, y in self.points]
        half = self.width / 2 if self.stroke else 0.0
        return Box(min(xs) - half, min(ys) - half, max(xs) + half, max(ys) + half)


@dataclass(frozen=True, slots=True)
class Words:
    """A line of text; (x, y) is where its anchor stands on the baseline."""

    role: str
    x: float
    y: float
    text: str
    size: float
    anchor: str = "start"
    """`start`, `middle` or `end`."""
    colour: str = "#222222"
    turned: bool = False
    """Read from below."""

    @property
    def box(self) -> Box:
        """Where its letters may stand, in whatever font."""
        width = words_width(self.text, self.size)
        before = {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        if self.turned:
            return Box(
                self.x - _ASCENT * self.size,
                self.y - width + before,
                self.x + _DESCENT * self.size,
                self.y + before,
            )
        return Box(
            self.x - before,
            self.y - _ASCENT * self.size,
            self.x - before + width,
            self.y + _DESCENT * self.size,
        )


Shape = Lines | Words


@dataclass(slots=True)
class Drawing:
    """Shapes in the order in which they are laid over each other."""

    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list)

    def add(self, *shapes: Shape) -> None:
        """Lay them over what there is."""
        self.shapes += shapes

    def of(self, role: str) -> list[Shape]:
        """The shapes of a role."""
        return [shape for shape in self.shapes if shape.role == role]

    def svg(self) -> str:
        """As SVG of its size in print; text stays text, and what is not ours in it is escaped."""
        across, down = (_MILLIMETRES_A_POINT * side for side in (self.width, self.height))
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{across:.2f}mm" height="{down:.2f}mm" '
                f'viewBox="0 0 {self.width:g} {self.height:g}" font-family="{_FONTS}">',
                '<rect width="100%" height="100%" fill="white"/>',
                *(_as_svg(shape) for shape in self.shapes),
                "</svg>\n",
            ]
        )

    def png(self) -> bytes:
        """As a PNG of its size in print, at 600 dots an inch."""
        from PIL import Image, ImageDraw

        scale = _OVER * _DPI / _POINTS_AN_INCH
        size = round(self.width * scale), round(self.height * scale)
        canvas = Image.new("RGB", size, "white")
        for shape in self.shapes:
            if isinstance(shape, Words):
                _write_words(canvas, shape, scale)
                continue
            points = [(x * scale, y * scale) for x, y in shape.points]
            if shape.fill:
                mask = Image.new("L", size, 0) if shape.opacity < 1 else None
                if mask is None:
                    ImageDraw.Draw(canvas).polygon(points, fill=shape.fill)
                else:
                    ImageDraw.Draw(mask).polygon(points, fill=round(255 * shape.opacity))
                    canvas.paste(Image.new("RGB", size, shape.fill), mask=mask)
            if shape.stroke:
                _draw_line(ImageDraw.Draw(canvas), points, shape, scale)
        smooth = canvas.resize((size[0] // _OVER, size[1] // _OVER), Image.Resampling.BOX)
        file = io.BytesIO()
        smooth.save(file, "PNG", dpi=(_DPI, _DPI), optimize=True)
        return file.getvalue()


def words_width(text: str, size: float) -> float:
    """How wide a text may be in points, in whatever sans-serif font."""
    return _WIDEST * size * _length(clean(text).translate(_IN_PNG)) / 100


@functools.lru_cache(maxsize=1024)
def _length(text: str) -> float:
    return float(_font(100).getlength(text))


@functools.lru_cache(maxsize=64)
def _font(pixels: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(pixels)


def _as_svg(shape: Shape) -> str:
    role = escape(shape.role.split(":")[0])
    if isinstance(shape, Words):
        turn = f' transform="rotate(-90 {shape.x:.2f} {shape.y:.2f})"' if shape.turned else ""
        return (
            f'<text class="{role}" x="{shape.x:.2f}" y="{shape.y:.2f}" text-anchor="{shape.anchor}" '
            f'font-size="{shape.size:g}" fill="{shape.colour}"{turn}>{escape(clean(shape.text))}</text>'
        )
    points = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
    fill = f'fill="{shape.fill}"' if shape.fill else 'fill="none"'
    if shape.fill and shape.opacity < 1:
        fill += f' fill-opacity="{shape.opacity:g}"'
    stroke = ""
    if shape.stroke:
        stroke = f' stroke="{shape.stroke}" stroke-width="{shape.width:g}" stroke-linejoin="round"'
        if shape.dash:
            stroke += f' stroke-dasharray="{" ".join(f"{length:g}" for length in shape.dash)}"'
    tag = "polygon" if shape.fill else "polyline"
    return f'<{tag} class="{role}" points="{points}" {fill}{stroke}/>'


def _write_words(canvas: object, words: Words, scale: float) -> None:
    from PIL import Image, ImageDraw

    assert isinstance(canvas, Image.Image)
    font, text = _font(words.size * scale), clean(words.text).translate(_IN_PNG)
    anchor = {"start": "ls", "middle": "ms", "end": "rs"}[words.anchor]
    at = words.x * scale, words.y * scale
    if not words.turned:
        ImageDraw.Draw(canvas).text(at, text, fill=words.colour, font=font, anchor=anchor)
        return
    # Written level on a square around the anchor, which then is turned about it.
    reach = math.ceil(font.getlength(text) + words.size * scale)
    square = Image.new("L", (2 * reach, 2 * reach), 0)
    ImageDraw.Draw(square).text((reach, reach), text, fill=255, font=font, anchor=anchor)
    turned = square.transpose(Image.Transpose.ROTATE_90)
    corner = round(at[0]) - reach, round(at[1]) - reach
    canvas.paste(Image.new("RGB", turned.size, words.colour), corner, turned)


def _draw_line(draw: ImageDraw.ImageDraw, points: Sequence[Point], lines: Lines, scale: float) -> None:
    around = [*points, points[0]] if lines.fill else points
    width = max(1, round(lines.width * scale))
    for piece in _dashes(around, [length * scale for length in lines.dash]) if lines.dash else [around]:
        draw.line(piece, fill=lines.stroke, width=width, joint="curve")


def _dashes(points: Iterable[Point], lengths: Sequence[float]) -> Iterator[list[Point]]:
    """The pieces of a line that are drawn, as SVG's stroke-dasharray has them."""
    corners = list(points)
    place, left = 0, lengths[0]
    piece = [corners[0]]
    for start, end in itertools.pairwise(corners):
        at, rest = start, math.dist(start, end)
        while rest > left:
            share = left / rest
            at = (at[0] + share * (end[0] - at[0]), at[1] + share * (end[1] - at[1]))
            rest -= left
            if place % 2 == 0:
                yield [*piece, at]
            place += 1
            left, piece = lengths[place % len(lengths)], [at]
        left -= rest
        piece.append(end)
    if place % 2 == 0 and len(piece) > 1:
        yield piece
