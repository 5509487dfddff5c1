"""What stands in the table's place when there is nothing to show: why, and what to press."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from workbench.support.clean import clean
from workbench.tui.screens.runs.listing import Listed
from workbench.tui.themes import Palette

_PAW = ("  ▄▄  ▄▄  ", "  ▀▀  ▀▀  ", "▄▄      ▄▄", "▀▀ ▄▄▄▄ ▀▀", "  ▟████▙  ", "  ▜████▛  ")


def no_runs(home: Path, colours: Palette) -> Text:
    """For a newcomer."""
    text = Text(justify="center")
    text.append("\n".join(_PAW) + "\n\n", style=colours.accent)
    text.append("No runs yet\n\n", style="bold")
    text.append("Press ")
    text.append("n", style=f"bold {colours.accent}")
    text.append(" to compose the first one, or in another terminal:\n\n")
    text.append("petbench run quickstart\n\n", style=f"bold {colours.text}")
    text.append(
        f"It trains in seconds on drawn pets and shows up here.\nLooking in {clean(home)}",
        style=colours.muted,
    )
    return text


def nothing_fits(listed: Listed, colours: Palette) -> Text:
    """For a filter that is too narrow, or runs that are all put away."""
    text = Text(justify="center")
    if listed.of == 0:
        text.append(f"All {listed.hidden:,} runs are archived\n\n", style="bold")
        text.append("A", style=f"bold {colours.accent}")
        text.append(" shows archived runs", style=colours.muted)
        return text
    text.append("No run fits the filter\n", style="bold")
    text.append(f"{clean(listed.wish.filter.strip(), 200)}\n\n")
    text.append("esc", style=f"bold {colours.accent}")
    text.append(" clears it   ", style=colours.muted)
    text.append("/", style=f"bold {colours.accent}")
    text.append(" changes it", style=colours.muted)
    if listed.hidden:
        text.append("   A", style=f"bold {colours.accent}")
        text.append(f" looks into {listed.hidden:,} archived runs too", style=colours.muted)
    return text
