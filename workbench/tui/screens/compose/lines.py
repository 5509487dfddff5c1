"""What stands on the form, line by line; drawn by `drawing`, moved through by the widget."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from workbench.recipe.problems import Problem
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.compose.fields import GROUPS, LAYERS, FieldGroup, FormField
from workbench.tui.screens.compose.networks import LayerGroup, Network
from workbench.tui.screens.compose.norms import norm_story

LABEL_COLUMN = 4
VALUE_COLUMN = 28


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
