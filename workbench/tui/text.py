"""Text from outside as the screen may show it: cleaned, and never parsed as markup."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rich.text import Text

from workbench.runs.status import RunStatus
from workbench.support.clean import clean
from workbench.tui.themes import Palette

_TOKEN = re.compile(
    r"""(?P<table>^\s*\[.*\]\s*$)
    |(?P<key>^\s*[\w."'-]+(?=\s*=))
    |(?P<string>"(?:\\.|[^"\\])*"|'[^']*')
    |(?P<comment>\#.*$)
    |(?P<word>\b(?:true|false|nan|inf|[-+]?\d[\d_.eE+-]*)\b)""",
    re.VERBOSE,
)


def plain(value: object, style: str = "", *, limit: int = 0) -> Text:
    """`value` on one line, harmless; cut with an ellipsis at `limit` characters if that is not 0."""
    return Text(clean(value, limit), style=style, no_wrap=True, overflow="ellipsis", end="")


def plain_lines(value: object, style: str = "") -> Text:
    """`value` with its own line breaks, every line harmless."""
    return Text("\n".join(clean(line) for line in str(value).splitlines()), style=style)


def coloured_toml(text: str, palette: Palette) -> Text:
    """`text` line by line, each made harmless; what is no TOML is left in the text's colour."""
    styles = {
        "table": f"bold {palette.accent}",
        "key": palette.text,
        "string": palette.good,
        "comment": palette.muted,
        "word": palette.warning,
    }
    whole = Text()
    for line in text.splitlines():
        harmless = Text(clean(line))
        for match in _TOKEN.finditer(harmless.plain):
            if match.lastgroup is not None:
                harmless.stylize(styles[match.lastgroup], *match.span())
        whole.append_text(harmless)
        whole.append("\n")
    return whole


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign with the theme's colour that goes with it."""

    sign: str
    word: str
    colour: str
    """A name of `themes.Palette`'s fields."""


STATUS_MARKS: dict[RunStatus, Mark] = {
    RunStatus.LIVE: Mark("●", "live", "good"),
    RunStatus.STALLED: Mark("◐", "stalled", "warning"),
    RunStatus.STARTING: Mark("◔", "starting", "accent"),
    RunStatus.STOPPING: Mark("◑", "stopping", "warning"),
    RunStatus.QUEUED: Mark("◌", "queued", "accent"),
    RunStatus.FINISHED: Mark("✓", "done", "muted"),
    RunStatus.STOPPED: Mark("■", "stopped", "warning"),
    RunStatus.FAILED: Mark("✗", "failed", "bad"),
    RunStatus.SILENT: Mark("?", "silent", "warning"),
    RunStatus.LOST: Mark("?", "lost", "bad"),
}
