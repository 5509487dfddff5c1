"""The form's fields, from the schema: what can be set, what counts beside other values, how it is typed."""

from __future__ import annotations

import tomllib
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from workbench.recipe.fields import ABOVE_ZERO, Table, knob_extra
from workbench.recipe.knobs import Knob, field_of, knobs_of, names_of, tables_of
from workbench.recipe.pseudo_label import STRATEGIES, USUAL_STRATEGY, table_of_strategy
from workbench.recipe.schema import Recipe
from workbench.recipe.source import as_literal
from workbench.support.clean import clean
from workbench.support.toml_text import KeyPath, toml_literal

STRATEGY = "pseudo_label.strategy"
LAYERS = "finetune.layers"
BACKBONE = "model.backbone"

INSTEAD_OF = {
    "pseudo_label.labelled_fraction": ("pseudo_label.labels_per_class",),
    "pseudo_label.labels_per_class": ("pseudo_label.labelled_fraction", "pseudo_label.stratified"),
    "data.validation_fraction": ("data.validation_images", "data.label_folds", "data.folds", "data.fold"),
    "data.validation_images": ("data.validation_fraction", "data.label_folds", "data.folds", "data.fold"),
    "data.label_folds": ("data.validation_fraction", "data.validation_images", "data.folds", "data.fold"),
    "data.folds": ("data.validation_fraction", "data.validation_images", "data.label_folds"),
}
"""Setting the one takes the place of the others; the schema's validators refuse both."""

_QUOTES = ('"', "'")


class FieldKind(StrEnum):
    """How a field is changed."""

    CHOICE = "choice"
    """One of a few values, true and false among them: arrows and space go through them."""
    NUMBER = "number"
    TEXT = "text"
    NAME = "name"
    """One word, or several with commas between them."""
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
        kind, choices = _kind(field)
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
    table = table_of_strategy(strategy) or STRATEGIES[USUAL_STRATEGY]
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


def sweep_example(field: FormField) -> str:
    """Values of a field as they may be typed for a sweep over it."""
    default = field.default or (literal_typed(field, "1") or "")
    return ", ".join(field.choices[:3]) if field.choices else f"{default}, …"


def strategy_story(strategy: str) -> str:
    """What a strategy does, in a sentence; empty for one that there is not."""
    table = table_of_strategy(strategy)
    return "" if table is None else (table.__doc__ or "").strip().partition("\n")[0].rstrip(".")


def _kind(field: FieldInfo) -> tuple[FieldKind, tuple[str, ...]]:
    """How a value of the field is typed, and the values of a choice."""
    annotation = field.annotation
    if names := names_of(field.metadata):
        return FieldKind.CHOICE, tuple(map(toml_literal, names))
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
        return FieldKind.TEXT if others == [str] else FieldKind.NAME, ()
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


class Values:
    """A recipe's values under dotted keys, those that are not written with their defaults; any types.

    Args:
        usual: defaults that hang on other values, where these are valid.
    """

    def __init__(self, nested: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> None:
        self._nested = nested
        self._usual = usual or {}

    def written(self, key: str) -> Any:
        """What stands in the text; None where nothing does."""
        found: Any = self._nested
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found

    @property
    def strategy(self) -> str | None:
        """The strategy whose knobs [pseudo_label] has; None without the table."""
        if not isinstance(self._nested.get("pseudo_label"), Mapping):
            return None
        strategy = self.written(STRATEGY)
        return strategy if isinstance(strategy, str) else USUAL_STRATEGY if strategy is None else None

    def __getitem__(self, key: str) -> Any:
        """What counts: the value written, else the default; None for a key that the form does not have."""
        value = self.written(key)
        if value is None and key == STRATEGY:
            return self.strategy
        if value is None and key in self._usual:
            return _plain(self._usual[key])
        if value is None:
            field = field_by_key(self.strategy).get(key)
            return None if field is None else _plain(field.knob.default)
        return value

    def fields(self) -> tuple[FormField, ...]:
        """The form's fields with this strategy, those that would be ignored included."""
        return form_fields(self.strategy)


def is_offered(field: FormField, values: Values) -> bool:
    """Whether a value for the knob would count."""
    return _condition_met(field, values) and _rest_allows(field.key, values)


def is_refused(field: FormField, values: Values) -> bool:
    """Whether the knob is written where the schema refuses it as ignored."""
    written = values.written(field.key)
    if written is None:
        return False
    if not _condition_met(field, values):
        return True
    # The knobs of `_rest_allows` are refused only when they would do something.
    return not _rest_allows(field.key, values) and (bool(written) or field.default in ("", '""'))


def _condition_met(field: FormField, values: Values) -> bool:
    if field.condition is None:
        return True
    key, choices = field.condition
    value = values[key]
    met = _is_above_zero(value) if choices == ABOVE_ZERO else value in choices
    around = field_by_key(values.strategy).get(key)
    return bool(met) and (around is None or _condition_met(around, values))


def _is_above_zero(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _rest_allows(key: str, values: Values) -> bool:
    """The conditions that the schema's validators state, as far as they make a knob useless."""
    match key:
        case "data.fold":
            return values["data.folds"] is not None
        case "pseudo_label.stratified":
            return values["pseudo_label.labels_per_class"] is None
        case "finetune.gradual_unfreeze" | "finetune.probe_epochs":
            return bool(values[LAYERS] not in ("head", ["head"]))
        case "finetune.probe_learning_rate":
            return _rest_allows("finetune.probe_epochs", values)
        case "optimizer.warmup_epochs":
            return bool(values["optimizer.schedule"] != "one_cycle")
        case _:
            return True


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default


def literal_typed(field: FormField, typed: str) -> str | None:
    """The TOML that stands for what was typed; None where nothing was, which leaves the key out.

    Text needs no quotes, and names none and no brackets: `head, layer4`. What begins with one is TOML, so
    that every value can be typed, spaces at its ends and escaped characters included.
    """
    text = typed.strip()
    if not text:
        return None
    match field.kind:
        case FieldKind.TEXT:
            return text if text.startswith(_QUOTES) and _is_text(text) else toml_literal(typed.strip())
        case FieldKind.NAME if "," not in text and not text.startswith(("[", *_QUOTES)):
            return toml_literal(text)
        case FieldKind.NAME | FieldKind.NAMES:
            return _names(field, text)
        case _:
            return as_literal(text)


def shown_value(field: FormField, value: object) -> str:
    """`value` as it stands in the field: harmless, and `literal_typed` gives back one that means the same.

    What is empty as the default is, is nothing: leaving the key out means the same. So are `"head"` and
    `["head"]`.
    """
    if value in ("", []) and toml_literal(value) == field.default:
        return ""
    if field.key == LAYERS and value == ["head"]:
        return "head"
    if isinstance(value, str):
        plain = _is_plain(value) and literal_typed(field, value) == toml_literal(value)
        return value if plain else escaped(value)
    if field.kind in (FieldKind.NAME, FieldKind.NAMES) and isinstance(value, list) and value:
        joined = ", ".join(str(item) for item in value)
        if _is_plain(joined) and literal_typed(field, joined) == toml_literal(value):
            return joined
    return escaped(value)


def escaped(value: object) -> str:
    """`value` as TOML on one line in which every harmful character is an escape."""
    text = toml_literal(value)
    return "".join(char if clean(char) == char else f"\\u{ord(char):04x}" for char in text)


def _names(field: FormField, text: str) -> str:
    if text.startswith(("[", *_QUOTES)):
        return as_literal(text)
    if toml_literal(text) in field.choices:
        return toml_literal(text)
    return toml_literal([name.strip() for name in text.split(",") if name.strip()])


def _is_text(literal: str) -> bool:
    try:
        return isinstance(tomllib.loads(f"value = {literal}")["value"], str) and "\n" not in literal
    except ValueError:
        return False


def _is_plain(text: str) -> bool:
    return bool(text) and clean(text) == text
