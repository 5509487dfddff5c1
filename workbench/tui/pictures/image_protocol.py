"""How pictures are drawn in this terminal: Kitty's protocol, Sixel, block characters, or not at all.

Chosen once, before the app runs: textual-image asks the terminal while it is imported, and once Textual reads
standard input no answer would reach it.
"""

from __future__ import annotations

import os
import re
import select
import sys
import termios
import time
import tty
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module

from workbench.support.errors import UserError
from workbench.tui.pictures.blocks import Blocks


class Protocol(StrEnum):
    """A way to draw a large picture. Thumbnails are blocks in every case but `off`."""

    KITTY = "kitty"
    SIXEL = "sixel"
    CELLS = "cells"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pictures are drawn."""

    protocol: Protocol
    """Of large ones."""
    blocks: Blocks
    """Of thumbnails, and of large ones under `CELLS`."""


AUTO = "auto"
OPTIONS = (AUTO, Protocol.KITTY, Protocol.SIXEL, *reversed(Blocks), Protocol.OFF)
VARIABLE = "PETBENCH_IMAGES"
"""The user's own choice where `--images` makes none."""

# Terminals by what they say of themselves. Only these are asked, so that elsewhere nothing is imported and no
# stray answer lands in the input. TERM and LC_* travel through SSH, the others do not.
_TERMS = ("xterm-kitty", "xterm-ghostty", "foot", "mlterm", "contour", "yaft", "wezterm")
_PROGRAMS = ("ghostty", "WezTerm", "iTerm.app", "mintty", "rio", "BlackBox")
_VARIABLES = ("KITTY_WINDOW_ID", "WEZTERM_PANE", "WT_SESSION", "KONSOLE_VERSION", "MLTERM", "VTE_VERSION")

# Terminals that draw these blocks themselves, whatever the font, by what they answer to XTVERSION, and the
# first version that does: kitty 0.40, foot 1.20, ghostty 1.2 and VTE 0.78 octants (their release notes and
# sources, see breferrari/vigia#324), WezTerm sextants (its manual's custom_block_glyphs). Elsewhere the font
# decides, and nothing that can be asked tells: the cursor moves by a cell with a glyph and without.
_DRAWN: tuple[tuple[str, tuple[int, ...], Blocks], ...] = (
    ("kitty", (0, 40), Blocks.OCTANT),
    ("kitty", (0, 21), Blocks.SEXTANT),
    ("foot", (1, 20), Blocks.OCTANT),
    ("ghostty", (1, 2), Blocks.OCTANT),
    ("ghostty", (1, 0), Blocks.SEXTANT),
    ("vte", (7800,), Blocks.OCTANT),
    ("wezterm", (20210814,), Blocks.SEXTANT),
)
DEFAULT_BLOCKS = Blocks.QUADRANT
"""Every font that has half-blocks has quadrants: both are of Unicode's first Block Elements."""

_ASK = b"\x1b[>0q\x1b[c"
"""XTVERSION, then the device attributes, which every terminal answers: what comes after them is not ours."""
_NAME = re.compile(rb"\x1bP>\|([^\x1b]{1,80})\x1b\\")
_ATTRIBUTES = re.compile(rb"\x1b\[\?[\d;]*c")
_PATIENCE_SECONDS = 0.3

_chosen = Drawing(Protocol.CELLS, DEFAULT_BLOCKS)


def choose_drawing(option: str | None = None, environ: Mapping[str, str] | None = None) -> Drawing:
    """Decide from `--images`, and ask the terminal only where that is promising. Call it before `App.run`.

    `auto` under tmux or GNU screen is quadrants: they pass no picture on unless told to, and then pictures
    stay behind when panes change; and what the terminal around them draws is not known. With NO_COLOR set
    `auto` draws none.

    Args:
        option: one of `OPTIONS`; None: what `PETBENCH_IMAGES` says, else `auto`.

    Raises:
        UserError: no such option.
    """
    global _chosen
    environ = os.environ if environ is None else environ
    where = "--images" if option is not None else VARIABLE
    option = (environ.get(VARIABLE) or AUTO) if option is None else option
    if option not in OPTIONS:
        raise UserError(f"no way to draw pictures: '{option}'", where=where, allowed=OPTIONS)
    if option == AUTO:
        _chosen = _by_itself(environ)
    elif option in tuple(Blocks):
        _chosen = Drawing(Protocol.CELLS, Blocks(option))
    else:
        protocol = Protocol(option)
        if protocol is not Protocol.OFF:
            _ask_protocol()  # for the size of its cells
        _chosen = Drawing(protocol, _blocks(environ) if protocol is not Protocol.OFF else DEFAULT_BLOCKS)
    return _chosen


def chosen_drawing() -> Drawing:
    """What `choose_drawing` decided; quadrants before it was called. There is one terminal a process."""
    return _chosen


def promising(environ: Mapping[str, str]) -> bool:
    """Whether the terminal's name makes it worth asking for Kitty's protocol, Sixel, and what it is."""
    term = environ.get("TERM", "")
    if environ.get("TMUX") or environ.get("STY") or term.startswith(("tmux", "screen")):
        return False
    return (
        term.startswith(_TERMS)
        or environ.get("TERM_PROGRAM") in _PROGRAMS
        or environ.get("LC_TERMINAL") == "iTerm2"
        or any(environ.get(name) for name in _VARIABLES)
    )


def drawn_by(name: str) -> Blocks | None:
    """The finest blocks that a terminal draws itself, by its answer to XTVERSION; None: not known to."""
    number = re.search(r"\d+(?:\.\d+)*", name)
    if number is None:
        return None
    version = tuple(int(part) for part in number.group().split("."))
    return next(
        (blocks for kind, first, blocks in _DRAWN if name.lower().startswith(kind) and version >= first), None
    )


def ask_name(environ: Mapping[str, str]) -> str:
    """What the terminal calls itself, such as `kitty(0.41.1)`; "" where it is not asked or says nothing."""
    if not (_is_terminal() and promising(environ)):
        return ""
    with suppress(OSError, ValueError, termios.error):
        return _answer()
    return ""


def _by_itself(environ: Mapping[str, str]) -> Drawing:
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return Drawing(Protocol.OFF, DEFAULT_BLOCKS)
    if not (_is_terminal() and promising(environ)):
        return Drawing(Protocol.CELLS, DEFAULT_BLOCKS)
    return Drawing(_ask_protocol(), _blocks(environ))


def _blocks(environ: Mapping[str, str]) -> Blocks:
    return drawn_by(ask_name(environ)) or DEFAULT_BLOCKS


def _is_terminal() -> bool:
    streams = (sys.__stdin__, sys.__stdout__)
    return all(stream is not None and stream.isatty() for stream in streams)


def _ask_protocol() -> Protocol:
    """What textual-image finds; about 0.2 s of import and at most 0.3 s of waiting for answers."""
    import_module("textual_image.widget")  # keeps the size of a cell, which cannot be asked for later
    from textual_image import renderable

    by_class: dict[type, Protocol] = {
        renderable.SixelImage: Protocol.SIXEL,
        renderable.TGPImage: Protocol.KITTY,
    }
    return by_class.get(renderable.Image, Protocol.CELLS)


def _answer() -> str:
    """Ask for the terminal's name and version, without echo; waits at most 0.3 s."""
    assert sys.__stdin__ is not None
    assert sys.__stdout__ is not None
    reading, writing = sys.__stdin__.fileno(), sys.__stdout__.fileno()
    before = termios.tcgetattr(reading)
    try:
        tty.setcbreak(reading, termios.TCSANOW)
        os.write(writing, _ASK)
        answered, until = b"", time.monotonic() + _PATIENCE_SECONDS
        while not _ATTRIBUTES.search(answered):
            ready, _, _ = select.select([reading], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                break
            answered += os.read(reading, 1024)
    finally:
        termios.tcsetattr(reading, termios.TCSANOW, before)
    named = _NAME.search(answered)
    return named.group(1).decode("ascii", "replace") if named else ""
