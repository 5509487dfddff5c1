"""The form's fields, made from the schema: what can be set, in which group, and how it is typed."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from workbench.recipe.fields import Table, knob_extra
from workbench.recipe.knobs import Knob, field_of, knobs_of, tables_of
from workbench.recipe.literals import toml_literal
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.schema import Recipe
from workbench.support.toml_text import KeyPath

STRATEGY = "pseudo_label.strategy"
LAYERS = "finetune.layers"
BACKBONE = "model.backbone"


class FieldKind(StrEnum):
    """How a field is changed."""

    CHOICE = "choice"
    """One of a few values, true and false among them: arrows and space go through them."""
    NUMBER = "number"
    TEXT = "text"
    NAMES = "names"
    """A list of words, typed with commas between them; or a word that stands for a list."""
    LITERAL = "literal"
    """Typed as TOML: a range, a table."""


@dataclass(frozen=True, slots=True)
class FormField:
    """One knob as the form offers it."""

    key: str
    """Dotted."""
    group: str
    """The table's name; "" for the recipe's own keys."""
    label: str
    kind: FieldKind
    choices: tuple[str, ...]
    """What a CHOICE has, as TOML; "" is to leave the key out. The words of NAMES."""
    knob: Knob
    condition: tuple[str, Any] | None
    """(dotted key, values): counts only while that key has one of them; see `recipe.fields.knob`."""

    @property
    def path(self) -> KeyPath:
        """The key in parts."""
        return tuple(self.key.split("."))

    @property
    def default(self) -> str:
        """The default as TOML; "" where there is none."""
        default = self.knob.default
        return "" if default is None or isinstance(default, Table) else toml_literal(default)


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """A collapsible part of the form."""

    name: str
    title: str


GROUPS = (
    FieldGroup("", "Recipe"),
    FieldGroup("data", "Data"),
    FieldGroup("model", "Model"),
    FieldGroup("finetune", "Fine-tune"),
    FieldGroup("augmentation", "Augmentation"),
    FieldGroup("optimizer", "Optimiser"),
    FieldGroup("training", "Training"),
    FieldGroup("pseudo_label", "Pseudo-labels"),
)


@cache
def form_fields(strategy: str | None) -> tuple[FormField, ...]:
    """Every field of the form, group by group.

    Args:
        strategy: which [pseudo_label] table's knobs to offer; None: only the choice of one.
    """
    fields: list[FormField] = []
    for group in GROUPS:
        if group.name == "pseudo_label":
            fields += _strategy_fields(strategy)
        else:
            fields += _fields(_table(group.name), group.name, group.name)
    return tuple(fields)


@cache
def field_by_key(strategy: str | None) -> dict[str, FormField]:
    """The form's fields under their dotted keys."""
    return {field.key: field for field in form_fields(strategy)}


def _table(group: str) -> type[Table]:
    field = field_of(Recipe, group) if group else None
    return Recipe if field is None else tables_of(field)[0]


def _fields(table: type[Table], prefix: str, group: str) -> Iterator[FormField]:
    for knob in knobs_of(table):
        field = field_of(table, knob.key)
        assert field is not None
        key = f"{prefix}.{knob.key}" if prefix else knob.key
        inner = tables_of(field)
        if key == "schema" or (inner and not prefix):
            continue
        if inner:
            yield from _fields(inner[0], key, group)
            continue
        condition = knob_extra(field).get("only_if")
        kind, choices = _kind(field.annotation)
        yield FormField(
            key=key,
            group=group,
            label=key.removeprefix(f"{group}."),
            kind=kind,
            choices=choices,
            knob=knob,
            condition=None if condition is None else (f"{prefix}.{condition[0]}", condition[1]),
        )


def _strategy_fields(strategy: str | None) -> Iterator[FormField]:
    """The choice of a strategy, then the knobs of the one chosen."""
    table = STRATEGIES.get(strategy or "", STRATEGIES["iterative"])
    for field in _fields(table, "pseudo_label", "pseudo_label"):
        if field.key == STRATEGY:
            choices = ("", *map(toml_literal, STRATEGIES))
            yield replace(field, kind=FieldKind.CHOICE, choices=choices, knob=_about_strategy())
        elif strategy in STRATEGIES:
            yield field


def _about_strategy() -> Knob:
    return Knob(
        key="strategy",
        default=None,
        required=False,
        help="how pseudo-labels are chosen, and when; enter lists the strategies",
        unit="",
        source="",
        unset="no pseudo-labels, every training image keeps its label",
        only_if="",
        allowed=", ".join(map(toml_literal, STRATEGIES)),
    )


def strategy_story(strategy: str) -> str:
    """What a strategy does, in a sentence; empty for one that there is not."""
    table = STRATEGIES.get(strategy)
    return "" if table is None else (table.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _kind(annotation: Any) -> tuple[FieldKind, tuple[str, ...]]:
    """How a value of the annotation is typed, and the values of a choice."""
    parts = list(_arms(annotation))
    words = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    literals = map(toml_literal, words)
    optional = [""] if type(None) in parts else []
    others = [part for part in parts if get_origin(part) is not Literal and part is not type(None)]
    if not others:
        return FieldKind.CHOICE, (*optional, *literals)
    if others == [bool]:
        return FieldKind.CHOICE, (*optional, "true", "false")
    first = others[0]
    if first in (int, float):
        return FieldKind.NUMBER, ()
    if first is str:
        return FieldKind.TEXT, ()
    if get_origin(first) is tuple and get_args(first)[-1] is Ellipsis:
        return FieldKind.NAMES, tuple(literals)
    return FieldKind.LITERAL, ()


def _arms(annotation: Any) -> Iterator[Any]:
    """The plain types that a value may have, without `Annotated` around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _arms(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for part in get_args(annotation):
            yield from _arms(part)
    else:
        yield annotation
