"""TOML in colours: keys, tables, strings, comments; plain text to begin with, never markup."""

from __future__ import annotations

import re

from rich.text import Text

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
