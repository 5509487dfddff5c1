"""The lines above and below the pictures: what is shown, the filters, the review; functions of values."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from workbench.runs.sources import IssueSource, RoundSource
from workbench.support.clean import clean
from workbench.tui.screens.inspect.lines import Word
from workbench.tui.screens.inspect.material import Material
from workbench.tui.screens.inspect.wish import Reviewed, Wish
from workbench.tui.screens.inspect.words import counts
from workbench.tui.themes import Palette

_NAME_LIMIT = 24


def what(material: Material, wish: Wish, colours: Palette) -> list[Word]:
    """Source and order; empty where there is no source."""
    if material.source is None:
        return []
    named = material.source.words.removeprefix("the ")
    if material.round is not None:
        last = max(source.round for source in material.sources if isinstance(source, RoundSource))
        named = f"pool, round {material.round} of {last}"
    least = "likely wrong first" if isinstance(material.source, IssueSource) else "least sure first"
    direction = "surest first" if wish.surest_first else least
    if isinstance(material.source, IssueSource):
        named = f"label issues ({sum(row.issue is True for row in material.opinions.rows):,})"
    return [
        Word(Text("‹", colours.accent), "inspect.earlier"),
        Word(Text(named, "bold"), "inspect.source"),
        Word(Text("›", colours.accent), "inspect.later"),
        Word(Text(f"{direction} by {wish.order.value}"), "inspect.order"),
    ]


def filters(material: Material, wish: Wish, colours: Palette) -> list[Word]:
    """Every filter that the source can have, those that are on in the accent's colour."""

    def word(text: str, is_on: bool, action: str) -> Word:
        return Word(Text(text, style=f"bold {colours.accent}" if is_on else colours.muted), action)

    words = [
        word(f"class {clean(wish.class_name, _NAME_LIMIT) or 'any'}", bool(wish.class_name), "inspect.class")
    ]
    if wish.true and wish.said:
        cell = f"{clean(wish.true, _NAME_LIMIT)} → {clean(wish.said, _NAME_LIMIT)}"
        words.append(word(cell, True, "inspect.pair"))
    flags = [("wrong", wish.wrong, "inspect.wrong")]
    if material.round is not None:
        flags += [("selected", wish.taught, "inspect.taught"), ("flipped", wish.flipped, "inspect.flipped")]
    words += [word(f"{'☑' if is_on else '☐'} {name}", is_on, action) for name, is_on, action in flags]
    is_on = wish.reviewed is not Reviewed.ANY
    words.append(word(wish.reviewed.value if is_on else "review any", is_on, "inspect.reviewed"))
    return words


def review(material: Material, runs_home: Path, colours: Palette) -> list[Word]:
    """What was said so far and where it is kept; else how to begin, or why one cannot."""
    line = Text("review:", style=colours.muted)
    if material.review.corrections:
        line.append_text(counts(material.review, colours))
        line.append(f" → {_short(material.review_file, runs_home)}", style=colours.muted)
    elif material.can_review:
        line.append(" nothing yet: a accepts, r relabels, x excludes the image", style=colours.muted)
    else:
        line.append(" of pool images only; these measure the run and never train it", style=colours.muted)
    return [Word(line, "inspect.relaunch")]


def _short(path: Path, runs_home: Path) -> str:
    """The review's path, from the runs directory on."""
    try:
        return clean(path.relative_to(runs_home))
    except ValueError:
        return clean(path)
