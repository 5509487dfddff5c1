"""A contact sheet: thumbnails with what was said of them, as one PNG picture."""

from __future__ import annotations

import bisect
import io
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from workbench.dataset.catalogue import LeftOut
from workbench.dataset.probe import UnreadableImage, decode_image
from workbench.support.clean import clean
from workbench.support.errors import UserError

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

Verdict = Literal["right", "wrong", "unknown"]

MAX_TILES = 400
"""A sheet of so many has 32 megapixels; more could not be looked at in one picture."""

_THUMBNAIL = 232
_TEXT_HEIGHT, _LINE_HEIGHT = 70, 18
_GAP = 20
_MARGIN = 28
_MAX_COLUMNS = 20
# Columns to rows, counted in tiles: near the shape of a screen.
_ASPECT = 1.5

_PAPER = (250, 250, 248)
_MAT = (228, 228, 224)
_INK = (28, 30, 34)
_FAINT = (118, 122, 128)
_VERDICT_COLOURS: dict[Verdict, tuple[int, int, int]] = {
    # Told apart also by their signs, and chosen to differ for the colour-blind (Okabe and Ito 2008).
    "right": (0, 120, 90),
    "wrong": (200, 60, 20),
    "unknown": _FAINT,
}
_TITLE_SIZE, _LABEL_SIZE, _SMALL_SIZE = 24, 18, 15
# A long label is set smaller before it is cut.
_LABEL_SIZES = (_LABEL_SIZE, 16, 14)


@dataclass(frozen=True, slots=True)
class Tile:
    """One image of a sheet with its words."""

    id: str
    path: Path | None
    """None where the data no longer has the image."""
    label: str
    """What was said of it."""
    figure: str
    """A number beside the label, such as "41 %"."""
    remark: str
    """Under the label, such as the true class."""
    verdict: Verdict
    note: str = ""
    """Under all else; a sheet whose tiles have none has no room for it."""


def draw_sheet(tiles: Sequence[Tile], *, title: str) -> tuple[bytes, tuple[LeftOut, ...]]:
    """The sheet as a PNG file's content, and the images that are gone or cannot be decoded.

    Tiles go row by row, in a grid near the shape of a screen; an image keeps its proportions; one that cannot
    be shown leaves a tile that says so. Letters that Pillow's own font lacks are drawn without their accents
    or as "?".

    Raises:
        UserError: no tiles, or more than MAX_TILES.
    """
    from PIL import Image, ImageDraw

    if not 1 <= len(tiles) <= MAX_TILES:
        raise UserError(f"a sheet of {len(tiles)} images", allowed=f"1 to {MAX_TILES}")
    columns = _columns(len(tiles))
    rows = math.ceil(len(tiles) / columns)
    across, down = _THUMBNAIL + _GAP, _THUMBNAIL + _TEXT_HEIGHT + _GAP
    down += _LINE_HEIGHT if any(tile.note for tile in tiles) else 0
    width = 2 * _MARGIN + columns * across - _GAP
    heading = _wrapped(title, _TITLE_SIZE, width - 2 * _MARGIN)
    top = _MARGIN + len(heading) * (_TITLE_SIZE + 8) + 12
    sheet = Image.new("RGB", (width, top + rows * down - _GAP + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(heading):
        draw.text((_MARGIN, _MARGIN + number * (_TITLE_SIZE + 8)), line, _INK, font=_font(_TITLE_SIZE))
    missing = []
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        reason = _draw_tile(sheet, draw, tile, _MARGIN + column * across, top + row * down)
        if reason:
            missing.append(LeftOut(tile.id, reason))
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue(), tuple(missing)


def _columns(count: int) -> int:
    return min(count, _MAX_COLUMNS, max(3, math.ceil(math.sqrt(count * _ASPECT))))


def _draw_tile(sheet: Image, draw: ImageDraw, tile: Tile, left: int, top: int) -> str:
    """Draw a tile with its upper left corner there; returns why its image could not be shown, or ""."""
    colour = _VERDICT_COLOURS[tile.verdict]
    right, bottom = left + _THUMBNAIL, top + _THUMBNAIL
    draw.rectangle((left, top, right - 1, bottom - 1), fill=_MAT)
    picture = _thumbnail(tile)
    if isinstance(picture, str):
        for number, line in enumerate(_wrapped(picture, _SMALL_SIZE, _THUMBNAIL - 32)):
            draw.text((left + 16, top + 60 + 20 * number), line, _FAINT, font=_font(_SMALL_SIZE))
    else:
        place = (left + (_THUMBNAIL - picture.width) // 2, top + (_THUMBNAIL - picture.height) // 2)
        sheet.paste(picture, place)
    draw.rectangle((left, bottom, right - 1, bottom + 4), fill=colour)
    _draw_sign(sheet, tile.verdict, right - 34, top + 6)
    figure = _drawable(tile.figure)
    room = _THUMBNAIL - _length(figure, _LABEL_SIZE) - 10
    size = next(
        (size for size in _LABEL_SIZES if _length(_drawable(tile.label), size) <= room), _LABEL_SIZES[-1]
    )
    base = bottom + 9 + _LABEL_SIZE  # labels of every size stand on one line
    draw.text((left, base), _cut(tile.label, size, room), _INK, font=_font(size), anchor="ls")
    draw.text((right, base), figure, _INK, font=_font(_LABEL_SIZE), anchor="rs")
    for number, (text, ink) in enumerate(((tile.remark, colour), (tile.id, _FAINT), (tile.note, _INK))):
        place = (left, bottom + 33 + number * _LINE_HEIGHT)
        draw.text(place, _cut(text, _SMALL_SIZE, _THUMBNAIL), ink, font=_font(_SMALL_SIZE))
    return picture if isinstance(picture, str) else ""


def _thumbnail(tile: Tile) -> Image | str:
    """The image in its proportions within a thumbnail's square, or why there is none."""
    from PIL import Image

    if tile.path is None:
        return "the image is gone"
    try:
        pixels = decode_image(tile.path)
    except UnreadableImage as error:
        return error.reason
    picture = Image.fromarray(pixels)
    scale = _THUMBNAIL / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _draw_sign(sheet: Image, verdict: Verdict, left: int, top: int) -> None:
    """A tick or a cross in a disc of 28 pixels; drawn large and reduced, for smooth edges."""
    from PIL import Image, ImageDraw

    if verdict == "unknown":
        return
    scale, size = 4, 28
    disc = Image.new("RGBA", (size * scale, size * scale), (0, 0, 0, 0))
    draw = ImageDraw.Draw(disc)
    draw.ellipse((0, 0, size * scale - 1, size * scale - 1), fill=(*_VERDICT_COLOURS[verdict], 255))
    cross = (((9, 9), (19, 19)), ((19, 9), (9, 19)))
    tick = (((7, 15), (12, 20)), ((12, 20), (21, 9)))
    for start, end in cross if verdict == "wrong" else tick:
        line = [(x * scale, y * scale) for x, y in (start, end)]
        draw.line(line, fill=(255, 255, 255, 255), width=3 * scale)
        for x, y in line:
            round_end = (x - 1.5 * scale, y - 1.5 * scale, x + 1.5 * scale, y + 1.5 * scale)
            draw.ellipse(round_end, fill=(255, 255, 255, 255))
    small = disc.resize((size, size), Image.Resampling.LANCZOS)
    sheet.paste(small, (left, top), small)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _length(text: str, size: int) -> float:
    return float(_font(size).getlength(text))


def _drawable(text: str) -> str:
    """Cleaned, and in letters that the font has."""
    return "".join(_letter(letter) for letter in clean(text))


@cache
def _letter(letter: str) -> str:
    if _has_glyph(letter):
        return letter
    base = unicodedata.normalize("NFKD", letter)[0]
    return base if _has_glyph(base) else "?"


@cache
def _has_glyph(letter: str) -> bool:
    # A letter that a font lacks is drawn as its box; U+1FFFF is no letter in any font.
    font = _font(_LABEL_SIZE)
    return letter == " " or bytes(font.getmask(letter)) != bytes(font.getmask("\U0001ffff"))


def _cut(text: str, size: int, room: float) -> str:
    """As much of the text as fits: long names keep their start and their end, where numbers are."""
    whole = _drawable(text)
    if _length(whole, size) <= room:
        return whole

    def short(kept: int) -> str:
        end = kept // 3
        return f"{whole[: kept - end]}…{whole[len(whole) - end :]}"

    # How many of the lengths 1, 2, 3 … fit is also the last that does.
    fitting = bisect.bisect_right(range(1, len(whole)), room, key=lambda kept: _length(short(kept), size))
    return short(fitting)


def _wrapped(text: str, size: int, room: float) -> list[str]:
    """The text in lines that fit, broken between words."""
    lines: list[str] = []
    for word in _drawable(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _length(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(_cut(word, size, room))
    return lines
