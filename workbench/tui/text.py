"""Text from outside as the screen may show it: cleaned, and never parsed as markup."""

from __future__ import annotations

from rich.text import Text

from workbench.support.clean import clean


def plain(value: object, style: str = "", *, limit: int = 0) -> Text:
    """`value` on one line, harmless; cut with an ellipsis at `limit` characters if that is not 0."""
    return Text(clean(value, limit), style=style, no_wrap=True, overflow="ellipsis", end="")


def plain_lines(value: object, style: str = "") -> Text:
    """`value` with its own line breaks, every line harmless."""
    return Text("\n".join(clean(line) for line in str(value).splitlines()), style=style)
