"""How a line of the form looks."""

from __future__ import annotations

from rich.text import Text

from workbench.recipe.grid import split_values
from workbench.recipe.literals import toml_literal
from workbench.support.clean import clean
from workbench.support.units import human_count
from workbench.tui.screens.compose.fields import LAYERS, STRATEGY, FieldKind, FormField
from workbench.tui.screens.compose.lines import (
    LABEL_COLUMN,
    VALUE_COLUMN,
    FormState,
    Line,
    LineKind,
    problem_ids,
)
from workbench.tui.screens.compose.summaries import group_summary
from workbench.tui.screens.compose.typed import shown_value
from workbench.tui.themes import Palette

_RADIO_LIMIT = 4
_GROUP_TITLE = 17


def draw_line(line: Line, state: FormState, width: int, colours: Palette) -> Text:
    """One line in at most `width` cells."""
    match line.kind:
        case LineKind.GROUP:
            text = _group(line, state, colours)
        case LineKind.FIELD:
            text = _field(line, state, width, colours)
        case LineKind.LAYER:
            text = _layer(line, state, colours)
        case LineKind.PROBLEM:
            text = Text().append(line.text, style=colours.bad)
        case LineKind.NOTE:
            text = Text().append(line.text, style=f"italic {colours.muted}")
    text.no_wrap, text.end = True, ""
    text.truncate(width, overflow="ellipsis")
    return text


def _group(line: Line, state: FormState, colours: Palette) -> Text:
    assert line.group is not None
    name = line.group.name
    is_open = name in state.opened
    text = Text(f"{'▾' if is_open else '▸'} ", style=colours.accent)
    text.append(f"{line.group.title:<{_GROUP_TITLE}}", style="bold")
    fields = {one.key for one in state.draft.offered() if one.group == name}
    wrong = sum(key in fields or key == line.id for key in problem_ids(state))
    if wrong:
        text.append(f"✗ {wrong} " if wrong > 1 else "✗ ", style=colours.bad)
    text.append(group_summary(name, state.draft.look()), style=colours.muted)
    swept = sum(key in fields for key in state.grid)
    if swept:
        text.append("  ≡ sweep", style=colours.accent)
    return text


def _field(line: Line, state: FormState, width: int, colours: Palette) -> Text:
    assert line.field is not None
    one = line.field
    wrong = bool(state.draft.problems_at(one.key))
    text = Text(" " * LABEL_COLUMN)
    text.append(one.label.ljust(VALUE_COLUMN - LABEL_COLUMN - 1)[: VALUE_COLUMN - LABEL_COLUMN - 1] + " ")
    if one.key in state.grid:
        values = state.grid[one.key]
        text.append(clean(values), style=colours.accent)
        text.append(f"  ≡ sweep of {len(split_values(values))}", style=colours.accent)
        return text
    text.append_text(_value(one, state, width - VALUE_COLUMN, colours, wrong=wrong))
    return text


def _value(one: FormField, state: FormState, width: int, colours: Palette, *, wrong: bool) -> Text:
    values = state.draft.look()
    written = values.written(one.key)
    style = colours.bad if wrong else ""
    if one.kind is FieldKind.CHOICE:
        chosen = "" if values[one.key] is None else toml_literal(values[one.key])
        if chosen in one.choices:
            return choice(one, chosen, width, colours, is_default=written is None)
        return Text(clean(chosen), style=colours.bad)
    if one.kind is FieldKind.NAMES and one.key != LAYERS and toml_literal(values[one.key]) in one.choices:
        return choice(one, toml_literal(values[one.key]), width, colours, is_default=written is None)
    if written is None:
        return _default(one, colours)
    text = Text(shown_value(one, written) or "–", style=style)
    if one.knob.unit:
        text.append(f" {one.knob.unit}", style=colours.muted)
    return text


def _default(one: FormField, colours: Palette) -> Text:
    """What counts while the key is not written."""
    if one.knob.required:
        return Text("needed: enter types it", style=colours.warning)
    if one.default in ("", '""', "{}", "[]"):
        return Text(one.knob.unset or "–", style=colours.muted)
    shown = shown_value(
        one, list(one.knob.default) if isinstance(one.knob.default, tuple) else one.knob.default
    )
    unit = f" {one.knob.unit}" if one.knob.unit else ""
    return Text(f"{shown}{unit}", style=colours.muted)


def choice(one: FormField, chosen: str, width: int, colours: Palette, *, is_default: bool) -> Text:
    """A tick box, the values side by side with a mark at the one chosen, or that one alone between arrows."""
    if one.choices == ("true", "false"):
        return Text("[x]" if chosen == "true" else "[ ]", style=colours.muted if is_default else "bold")
    words = [choice_word(one, value) for value in one.choices]
    if len(words) <= _RADIO_LIMIT and sum(len(word) + 6 for word in words) <= width + 2:
        text = Text()
        for value, word in zip(one.choices, words, strict=True):
            is_chosen = value == chosen
            mark = "(•) " if is_chosen else "( ) "
            text.append(
                f"{mark}{word}  ",
                style="bold" if is_chosen and not is_default else "" if is_chosen else colours.muted,
            )
        return text
    text = Text("‹ ", style=colours.accent)
    text.append(choice_word(one, chosen), style=colours.muted if is_default else "bold")
    text.append(" ›", style=colours.accent)
    place = one.choices.index(chosen) + 1
    text.append(f"  {place} of {len(words)}", style=colours.muted)
    return text


def choice_word(one: FormField, value: str) -> str:
    """A choice as it reads: text without quotes."""
    if not value:
        return "none" if one.key == STRATEGY else "unset"
    return value.strip('"')


def _layer(line: Line, state: FormState, colours: Palette) -> Text:
    assert line.layer is not None
    assert state.network is not None
    learns = line.layer.name in state.network.learning(state.draft.look()[LAYERS])
    text = Text(" " * (LABEL_COLUMN + 2))
    text.append("[x] " if learns else "[ ] ", style="bold" if learns else colours.muted)
    text.append(
        f"{clean(line.layer.name, 24):<{VALUE_COLUMN - LABEL_COLUMN - 6}}",
        style="" if learns else colours.muted,
    )
    text.append(f"{human_count(line.layer.parameters):>9}", style="" if learns else colours.muted)
    if learns:
        text.append("  ← trains", style=colours.good)
    return text
