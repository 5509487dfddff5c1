"""The terminal: size, colours, letters, pictures, and whether a run would outlive the connection."""

from __future__ import annotations

import locale
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from workbench.cli.health.finding import Finding, Level
from workbench.support.clean import clean

_COLUMNS, _LINES = 80, 24
# Of their current versions; WT_SESSION is Windows Terminal's.
_SIXEL_PROGRAMS = ("WezTerm", "iTerm.app", "mintty")
_SIXEL_TERMS = ("foot", "mlterm", "contour", "sixel")
_COLOURS = {"truecolor": "16 million colours", "256": "256 colours", "standard": "16 colours"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """What can be told of a terminal without asking it anything."""

    is_terminal: bool
    columns: int
    lines: int
    colour_system: str | None
    """rich's word: "truecolor", "256", "standard"; None without colours."""
    encoding: str
    environment: Mapping[str, str]


def look_at_terminal() -> Iterator[Finding]:
    """Findings on the terminal that this process writes to."""
    import os

    from workbench.cli.console import console

    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    yield from judge_terminal(
        Terminal(
            is_terminal=console.is_terminal,
            columns=console.width,
            lines=console.height,
            colour_system=console.color_system,
            encoding=encoding,
            environment=os.environ,
        )
    )


def judge_terminal(terminal: Terminal) -> Iterator[Finding]:
    """What to make of a terminal."""
    if terminal.is_terminal:
        yield _judge_size(terminal)
        yield _judge_colours(terminal)
        yield Finding("pictures", Level.OK, _picture_protocol(terminal.environment))
    else:
        yield Finding("terminal", Level.OK, "none: output goes to a file or a pipe, as plain text")
    if terminal.encoding.lower().replace("-", "").replace("_", "") == "utf8":
        yield Finding("letters", Level.OK, "UTF-8")
    else:
        text = f"{clean(terminal.encoding)}: charts and names will look broken"
        yield Finding("letters", Level.WARNING, text, "export LC_ALL=C.UTF-8, or PYTHONUTF8=1")
    yield _judge_session(terminal.environment)


def _judge_size(terminal: Terminal) -> Finding:
    name = clean(terminal.environment.get("TERM", "unknown"), 40)
    text = f"{terminal.columns} × {terminal.lines} characters, TERM {name}"
    if terminal.columns < _COLUMNS or terminal.lines < _LINES:
        advice = f"make the window at least {_COLUMNS} × {_LINES}: tables are laid out for that"
        return Finding("terminal", Level.WARNING, text, advice)
    return Finding("terminal", Level.OK, text)


def _judge_colours(terminal: Terminal) -> Finding:
    environment = terminal.environment
    if terminal.colour_system is None:
        why = "NO_COLOR is set" if "NO_COLOR" in environment else "TERM names a terminal without them"
        return Finding("colours", Level.OK, f"none: {why}")
    text = _COLOURS.get(terminal.colour_system, terminal.colour_system)
    if terminal.colour_system == "truecolor":
        return Finding("colours", Level.OK, text)
    advice = "export COLORTERM=truecolor if the terminal has more"
    if "TMUX" in environment:
        advice += "; in ~/.tmux.conf: set -as terminal-features ',*:RGB'"
    return Finding("colours", Level.OK, f"{text}; {advice}")


def _picture_protocol(environment: Mapping[str, str]) -> str:
    """How the terminal seems to show pictures, as far as its environment tells."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or "ghostty" in (term + program).lower():
        found = "Kitty's protocol"
    elif (
        program in _SIXEL_PROGRAMS
        or any(mark in term for mark in _SIXEL_TERMS)
        or "WT_SESSION" in environment
    ):
        found = "Sixel"
    elif "SSH_TTY" in environment or "SSH_CONNECTION" in environment:
        return "nothing in the environment tells of a protocol, and ssh passes little on: half blocks"
    else:
        return "nothing in the environment tells of a protocol: half blocks"
    blocked = "TMUX" in environment
    return f"{found}, by the environment" + ("; tmux must allow-passthrough" if blocked else "")


def _judge_session(environment: Mapping[str, str]) -> Finding:
    multiplexer = next(
        (name for name, mark in (("tmux", "TMUX"), ("screen", "STY")) if mark in environment), ""
    )
    remote = "SSH_CONNECTION" in environment or "SSH_TTY" in environment
    if multiplexer:
        return Finding("session", Level.OK, f"in {multiplexer}: a run goes on when the connection drops")
    if remote:
        return Finding(
            "session",
            Level.WARNING,
            "over ssh without tmux: a run ends with the connection",
            "start tmux first; petbench resume goes on with a run that was cut off",
        )
    return Finding("session", Level.OK, "on this machine itself, without tmux")
