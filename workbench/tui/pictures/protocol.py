"""Which way pictures are drawn in this terminal: Kitty's protocol, Sixel, half-cells, or not at all.

Chosen once, before the app runs: textual-image asks the terminal while it is imported, and once Textual reads
standard input no answer would reach it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module

from workbench.support.errors import UserError


class Protocol(StrEnum):
    """A way to draw a large picture. Thumbnails are half-cells in every case but `off`."""

    KITTY = "kitty"
    SIXEL = "sixel"
    HALF = "half"
    OFF = "off"


AUTO = "auto"
OPTIONS = (AUTO, *Protocol)

# Terminals by what they say of themselves. Only these are asked, so that elsewhere nothing is imported and no
# stray answer lands in the input. TERM and LC_* travel through SSH, the others do not.
_TERMS = ("xterm-kitty", "xterm-ghostty", "foot", "mlterm", "contour", "yaft", "wezterm")
_PROGRAMS = ("ghostty", "WezTerm", "iTerm.app", "mintty", "rio", "BlackBox")
_VARIABLES = ("KITTY_WINDOW_ID", "WEZTERM_PANE", "WT_SESSION", "KONSOLE_VERSION", "MLTERM")

_chosen = Protocol.HALF


def choose_protocol(option: str, environ: Mapping[str, str] | None = None) -> Protocol:
    """Decide from `--images`, and ask the terminal only where that is promising. Call it before `App.run`.

    `auto` under tmux or GNU screen is half-cells: they pass no picture on unless told to, and then pictures
    stay behind when panes change. With NO_COLOR set `auto` draws none.

    Raises:
        UserError: no such option.
    """
    global _chosen
    if option not in OPTIONS:
        raise UserError(f"no way to draw pictures: '{option}'", where="--images", allowed=OPTIONS)
    environ = os.environ if environ is None else environ
    if option == AUTO:
        _chosen = _by_itself(environ)
    else:
        _chosen = Protocol(option)
        if _chosen in (Protocol.KITTY, Protocol.SIXEL):
            _ask_terminal()  # for the size of its cells
    return _chosen


def chosen_protocol() -> Protocol:
    """What `choose_protocol` decided; half-cells before it was called. There is one terminal a process."""
    return _chosen


def promising(environ: Mapping[str, str]) -> bool:
    """Whether the terminal's name makes it worth asking for Kitty's protocol or Sixel."""
    term = environ.get("TERM", "")
    if environ.get("TMUX") or environ.get("STY") or term.startswith(("tmux", "screen")):
        return False
    return (
        term.startswith(_TERMS)
        or environ.get("TERM_PROGRAM") in _PROGRAMS
        or environ.get("LC_TERMINAL") == "iTerm2"
        or any(environ.get(name) for name in _VARIABLES)
    )


def _by_itself(environ: Mapping[str, str]) -> Protocol:
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return Protocol.OFF
    if not (_is_terminal() and promising(environ)):
        return Protocol.HALF
    return _ask_terminal()


def _is_terminal() -> bool:
    streams = (sys.__stdin__, sys.__stdout__)
    return all(stream is not None and stream.isatty() for stream in streams)


def _ask_terminal() -> Protocol:
    """What textual-image finds; about 0.2 s of import and at most 0.3 s of waiting for answers."""
    import_module("textual_image.widget")  # keeps the size of a cell, which cannot be asked for later
    from textual_image import renderable

    by_class: dict[type, Protocol] = {
        renderable.SixelImage: Protocol.SIXEL,
        renderable.TGPImage: Protocol.KITTY,
    }
    return by_class.get(renderable.Image, Protocol.HALF)
