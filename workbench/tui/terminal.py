"""What a terminal lacks, colours or a clipboard, and what becomes of it when the process is stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.console import Console
from rich.palette import Palette
from rich.segment import Segment
from rich.style import Style
from textual import constants
from textual.color import Color as TextualColor
from textual.drivers.linux_driver import LinuxDriver
from textual.filter import LineFilter

from workbench.support.atomic import atomic_write
from workbench.support.paths import state_home
from workbench.tui.pictures.blocks import picture_characters

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
_PICTURE = picture_characters()
"""Where all of a text is these, both colours are the picture."""
_GROUNDS = Palette(list(VGA[:_DARK]))
_OSC52_LIMIT = 74_994
"""Bytes of text that fit the 100,000-byte sequence which xterm, the strictest of the common ones, takes."""
_WITHOUT_OSC52 = ("linux", "dumb", "")
_TMUX_SECONDS = 2.0


class StoppableDriver(LinuxDriver):
    """Takes the terminal anew when the process goes on after a SIGSTOP, which it was not told of.

    `kill -STOP`, a debugger and Slurm's suspend send that. Textual's own driver, which expects SIGTSTP before
    every SIGCONT, starts a second reader of keys then: keys get lost and the process stays after its end.
    """

    _has_terminal = False
    _is_suspended = False
    _is_changing = False

    def start_application_mode(self) -> None:
        """Take the terminal."""
        super().start_application_mode()  # type: ignore[no-untyped-call]  # Textual tells no types here
        self._has_terminal = True

    def stop_application_mode(self) -> None:
        """Leave the terminal as it was."""
        self._has_terminal = False
        super().stop_application_mode()

    def suspend_application_mode(self) -> None:
        """Leave the terminal for a while."""
        self._is_suspended = True
        super().suspend_application_mode()

    def resume_application_mode(self) -> None:
        """Take the terminal again and draw all; nothing where the app has ended or is at it already."""
        if self._is_changing or not (self._is_suspended or self._has_terminal):
            return
        self._is_changing = True
        try:
            if not self._is_suspended:
                self.suspend_application_mode()
            self._is_suspended = False
            super().resume_application_mode()
        finally:
            self._is_changing = False
        self._app.call_later(self._app.refresh, layout=True)


def has_few_colours(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal has 16 colours or 8, by what `TERM` and `COLORTERM` say."""
    console = Console(
        color_system=constants.COLOR_SYSTEM,  # type: ignore[arg-type]  # a name, as Textual itself passes it on
        force_terminal=True,
        _environ={key: value for key, value in environ.items() if key != "NO_COLOR"},
    )
    return console.color_system == "standard"


class FewColours(LineFilter):
    """Puts everything drawn into the terminal's own colours, every word told from its ground.

    A terminal of 16 or 8 colours takes the nearest of its own for each of ours, and the nearest to dim words
    is often the nearest to what is behind them too. Here the ground comes first, of the eight dark colours,
    which all have; then words take the nearest that can be read on it, also where bright ones are shown dark.
    """

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


def copy(text: str, write_osc52: Callable[[str], None]) -> str:
    """Put `text` where the user can paste it from, and return a sentence that says where.

    Under tmux the text goes to a tmux buffer (default tmux swallows OSC 52; `-w` lets a tmux that may set the
    outer clipboard do so). Elsewhere it goes out as OSC 52. A terminal that has neither gets a file.

    Args:
        write_osc52: sends the text to the terminal as OSC 52.
    """
    if os.environ.get("TMUX") and _to_tmux(text):
        return "copied to the tmux buffer: prefix ] pastes"
    too_long = len(text.encode("utf-8", "replace")) > _OSC52_LIMIT
    if os.environ.get("TMUX") or too_long or os.environ.get("TERM", "") in _WITHOUT_OSC52:
        return _to_file(text)
    write_osc52(text)
    with contextlib.suppress(OSError):
        _write(text)  # a terminal that refuses OSC 52 does so silently
    return f"copied; should the terminal refuse, it is in {_file()}"


def _to_tmux(text: str) -> bool:
    program = shutil.which("tmux")
    if program is None:
        return False
    for flags in (["-w"], []):  # tmux before 3.2 has no -w
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(
                [program, "load-buffer", *flags, "-"],
                input=text.encode("utf-8", "replace"),
                capture_output=True,
                timeout=_TMUX_SECONDS,
                check=False,
            )
            if done.returncode == 0:
                return True
    return False


def _to_file(text: str) -> str:
    try:
        _write(text)
    except OSError as error:
        return f"cannot copy: {error.strerror or error}"
    return f"written to {_file()}"


def _write(text: str) -> None:
    _file().parent.mkdir(parents=True, exist_ok=True)
    atomic_write(_file(), text.encode("utf-8", "replace"))


def _file() -> Path:
    return state_home() / "clipboard.txt"
