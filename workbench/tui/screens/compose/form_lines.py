"""The form's lines: what stands on it, how a line looks, and each closed group in a line."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, assert_never

from rich.text import Text

from workbench.recipe.problems import Problem
from workbench.recipe.source import split_values
from workbench.support.clean import clean
from workbench.support.toml_text import toml_literal
from workbench.support.units import given_percent, human_count, target_word
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.compose.knob_fields import (
    GROUPS,
    LAYERS,
    STRATEGY,
    FieldGroup,
    FieldKind,
    FormField,
    Values,
    field_by_key,
    shown_value,
    strategy_story,
)
from workbench.tui.screens.compose.networks import LayerGroup, Network, norm_story
from workbench.tui.themes import Palette

LABEL_COLUMN = 4
VALUE_COLUMN = 28
_GROUP_TITLE = 17
"""Cells of a group's title; what counts in it stands behind."""
_RADIO_LIMIT = 4
"""Choices side by side; of more, the chosen one stands alone between arrows."""
_LONGEST = 40
"""Characters of a value in a group's line."""
_DOT = " · "


class LineKind(Enum):
    """What a line is."""

    GROUP = auto()
    FIELD = auto()
    LAYER = auto()
    """A layer group to tick."""
    PROBLEM = auto()
    NOTE = auto()


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the form; those with an `id` can have the cursor."""

    kind: LineKind
    id: str = ""
    group: FieldGroup | None = None
    field: FormField | None = None
    layer: LayerGroup | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class FormState:
    """All that the form is drawn from."""

    draft: Draft
    opened: frozenset[str] = frozenset()
    """Names of the groups that are open."""
    grid: Mapping[str, str] = field(default_factory=dict)
    """Dotted key to the values of a sweep, as typed."""
    network: Network | None = None
    """The draft's backbone, once it is known."""


def group_id(name: str) -> str:
    """The id of a group's own line."""
    return f"group:{name}"


def layer_id(name: str) -> str:
    """The id of a layer group's line."""
    return f"layer:{name}"


def form_lines(state: FormState, width: int) -> list[Line]:
    """The lines, top to bottom; problems are folded to `width`."""
    lines: list[Line] = []
    offered = state.draft.offered()
    for group in GROUPS:
        lines.append(Line(LineKind.GROUP, group_id(group.name), group))
        if group.name not in state.opened:
            continue
        for problem in state.draft.stray_problems(group.name):
            lines += _problem_lines(problem, width, LABEL_COLUMN)
        for one in offered:
            if one.group == group.name:
                lines += _field_lines(one, state, width)
    return lines


def problem_ids(state: FormState) -> list[str]:
    """Where the cursor finds something wrong: fields, else their groups."""
    found = []
    offered = state.draft.offered()
    for group in GROUPS:
        if state.draft.stray_problems(group.name):
            found.append(group_id(group.name))
        found += [one.key for one in offered if one.group == group.name and state.draft.problems_at(one.key)]
    return found


def next_problem(state: FormState, here: str) -> tuple[str, str] | None:
    """The line to go to from the line `here` to see what is wrong, and its group; None where nothing is."""
    ids = problem_ids(state)
    if not ids:
        return None
    target = ids[(ids.index(here) + 1) % len(ids)] if here in ids else ids[0]
    one = field_by_key(state.draft.look().strategy).get(target)
    return target, target.removeprefix("group:") if one is None else one.group


def _field_lines(one: FormField, state: FormState, width: int) -> list[Line]:
    lines = [Line(LineKind.FIELD, one.key, field=one)]
    for problem in state.draft.problems_at(one.key):
        lines += _problem_lines(problem, width, VALUE_COLUMN)
    if one.key == LAYERS and state.network is not None:
        lines += [
            Line(LineKind.LAYER, layer_id(layer.name), field=one, layer=layer)
            for layer in state.network.groups
        ]
    if one.key == "finetune.layer_norm":
        story = norm_story(state.draft.look(), state.network)
        lines += [Line(LineKind.NOTE, text=text) for text in _folded(story, width, LABEL_COLUMN)]
    return lines


def _problem_lines(problem: Problem, width: int, column: int) -> list[Line]:
    said = problem.what
    if problem.allowed:
        said += f"; allowed: {problem.allowed}"
    if problem.hint:
        said += f"; {problem.hint}"
    return [
        Line(LineKind.PROBLEM, text=f"{' ' * column}{text}") for text in _fold(f"✗ {said}", width - column)
    ]


def _folded(text: str, width: int, column: int) -> list[str]:
    return [f"{' ' * column}{line}" for line in _fold(text, width - column)]


def _fold(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(20, width - 1), break_on_hyphens=False)


def draw_line(line: Line, state: FormState, width: int, colours: Palette) -> Text:
    """One line in at most `width` cells."""
    match line.kind:
        case LineKind.GROUP:
            text = _draw_group(line, state, colours)
        case LineKind.FIELD:
            text = _draw_field(line, state, width, colours)
        case LineKind.LAYER:
            text = _draw_layer(line, state, colours)
        case LineKind.PROBLEM:
            text = Text().append(line.text, style=colours.bad)
        case LineKind.NOTE:
            text = Text().append(line.text, style=f"italic {colours.muted}")
        case _:
            assert_never(line.kind)
    text.no_wrap, text.end = True, ""
    text.truncate(width, overflow="ellipsis")
    return text


def _draw_group(line: Line, state: FormState, colours: Palette) -> Text:
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


def _draw_field(line: Line, state: FormState, width: int, colours: Palette) -> Text:
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
    text.append_text(_draw_value(one, state, width - VALUE_COLUMN, colours, wrong=wrong))
    return text


def _draw_value(one: FormField, state: FormState, width: int, colours: Palette, *, wrong: bool) -> Text:
    values = state.draft.look()
    written = values.written(one.key)
    style = colours.bad if wrong else ""
    if one.kind is FieldKind.CHOICE:
        chosen = "" if values[one.key] is None else toml_literal(values[one.key])
        if chosen in one.choices:
            return _draw_choice(one, chosen, width, colours, is_default=written is None)
        return Text(clean(chosen), style=colours.bad)
    if one.kind is FieldKind.NAMES and one.key != LAYERS and toml_literal(values[one.key]) in one.choices:
        return _draw_choice(one, toml_literal(values[one.key]), width, colours, is_default=written is None)
    if written is None:
        return _draw_default(one, colours)
    text = Text(shown_value(one, written) or "–", style=style)
    if one.knob.unit:
        text.append(f" {one.knob.unit}", style=colours.muted)
    return text


def _draw_default(one: FormField, colours: Palette) -> Text:
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


def _draw_choice(one: FormField, chosen: str, width: int, colours: Palette, *, is_default: bool) -> Text:
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


def choice_list(one: FormField) -> list[tuple[str, str]]:
    """(TOML value, how it reads) of a field's choices, with what each does where that is known."""
    words = [choice_word(one, value) for value in one.choices]
    width = max(map(len, words))
    listed = []
    for value, word in zip(one.choices, words, strict=True):
        story = strategy_story(value.strip('"')) if one.key == STRATEGY else ""
        listed.append((value, f"{word:<{width}}  {story}" if story else word))
    return listed


def _draw_layer(line: Line, state: FormState, colours: Palette) -> Text:
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


def group_summary(group: str, values: Values) -> str:
    """What counts most of a group's values, harmless to show."""
    return clean(_SUMMARIES[group](values))


def _recipe_summary(values: Values) -> str:
    tags = values["tags"]
    words = [_text(values["name"]) or "without a name", f"seed {_text(values['seed'])}"]
    return _DOT.join([*words, *(_text(tag) for tag in tags)] if isinstance(tags, list) else words)


def _data_summary(values: Values) -> str:
    words = [
        _text(values["data.dataset"]),
        target_word(values["data.dataset"], values["data.target"]),
        f"{_text(values['data.image_size'])} px",
    ]
    if (views := values["data.evaluation_views"]) not in (None, ["centre"]):
        words.append(f"evaluated {_plus(views)}")
    if values["data.head_crops"] != "off":
        words.append(f"head crops {_text(values['data.head_crops'])}")
    if values["data.corrections"]:
        words.append("corrected")
    if values["data.extra_labelled"] or values["data.extra_unlabelled"]:
        words.append("extra images")
    return _DOT.join(words)


def _model_summary(values: Values) -> str:
    weights = values["model.weights"]
    words = {"default": "best published weights", "none": "random weights"}.get(weights, _text(weights))
    return f"{_plus(values['model.backbone'])}{_DOT}{words}"


def _finetune_summary(values: Values) -> str:
    layers = values["finetune.layers"]
    shown = "+".join(map(_text, layers)) if isinstance(layers, list) else _text(layers)
    words = [shown, f"batch norm {_plus(values['finetune.batch_norm'])}"]
    if values["finetune.probe_epochs"]:
        words.append("head first")
    return _DOT.join(words)


def _augmentation_summary(values: Values) -> str:
    words = []
    if values["augmentation.random_crop"]:
        words.append("crop")
    if values["augmentation.flip"] is True:
        words.append("flip")
    for key in ("rotation", "brightness", "colour", "erasing"):
        if values[f"augmentation.{key}"]:
            words.append(key)
    for key in ("policy", "mixing"):
        if values[f"augmentation.{key}"] != "none":
            words.append(_text(values[f"augmentation.{key}"]))
    return " ".join(words) or "none: the same views in every epoch"


def _optimizer_summary(values: Values) -> str:
    words = [f"{_text(values['optimizer.name'])} {_text(values['optimizer.learning_rate'])}"]
    if values["optimizer.schedule"] != "constant":
        words.append(_text(values["optimizer.schedule"]))
    if values["optimizer.weight_decay"]:
        words.append(f"decay {_text(values['optimizer.weight_decay'])}")
    return _DOT.join(words)


def _training_summary(values: Values) -> str:
    words = [f"{_text(values['training.epochs'])} epochs", f"batch {_text(values['training.batch_size'])}"]
    if values["training.saliency_weight"]:
        words.append("saliency-guided")
    return _DOT.join(words)


def _pseudo_label_summary(values: Values) -> str:
    if values.written("pseudo_label") is None:
        return "none: every training image keeps its label"
    words = [_text(values["pseudo_label.strategy"])]
    share, count = values["pseudo_label.labelled_fraction"], values["pseudo_label.labels_per_class"]
    if isinstance(share, float):
        words.append(f"{given_percent(share)} % labelled")
    elif count is not None:
        words.append(f"{_text(count)} labels a class")
    elif share is None:
        words.append("all labels")
    if values["pseudo_label.rounds"] is not None:
        words.append(f"{_text(values['pseudo_label.rounds'])} rounds")
    return _DOT.join(words)


def _plus(value: Any) -> str:
    return "+".join(map(_text, value)) if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    return clean("" if value is None else value, _LONGEST)


_SUMMARIES: dict[str, Callable[[Values], str]] = {
    "": _recipe_summary,
    "data": _data_summary,
    "model": _model_summary,
    "finetune": _finetune_summary,
    "augmentation": _augmentation_summary,
    "optimizer": _optimizer_summary,
    "training": _training_summary,
    "pseudo_label": _pseudo_label_summary,
}
