"""Copying out of the app: OSC 52, else a tmux buffer, else a file; whichever was used is said."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from workbench.support.atomic import atomic_write
from workbench.support.paths import state_home

_OSC52_LIMIT = 74_994
"""Bytes of text that fit the 100,000-byte sequence which xterm, the strictest of the common ones, takes."""
_WITHOUT_OSC52 = ("linux", "dumb", "")
_TMUX_SECONDS = 2.0


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
