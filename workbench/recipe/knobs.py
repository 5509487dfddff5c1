"""What may be written: every knob of the schema, with its allowed values in words."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from pydantic.fields import FieldInfo

from workbench.recipe.fields import ABOVE_ZERO, Described, OneOf, Table, knob_extra
from workbench.recipe.pseudo_label import STRATEGIES, PseudoLabel, strategy_of, table_of_strategy
from workbench.recipe.schema import RecipeFile
from workbench.support.toml_text import toml_literal

_LISTS_OF = {str: "a list of text", float: "a list of numbers", int: "a list of whole numbers"}


@dataclass(frozen=True, slots=True)
class Knob:
    """One key of a table, as the form, the docs and `recipe new` tell it."""

    key: str
    default: Any
    """None for a knob without a value; a `Table` where the knob is a table of its own."""
    required: bool
    help: str
    unit: str
    source: str
    unset: str
    """What leaving the knob out means, where its default is None."""
    only_if: str
    """`name = "sgd"`: when the knob counts; empty: always."""
    allowed: str


def knobs_of(table: type[Table]) -> tuple[Knob, ...]:
    """The knobs of a table's class, in the schema's order."""
    return tuple(_knob(key_of(name, field), field) for name, field in table.model_fields.items())


def key_of(name: str, field: FieldInfo) -> str:
    """The TOML key of a field: its alias where it has one."""
    return field.alias or name


def field_of(table: type[Table], key: str) -> FieldInfo | None:
    """The field that a TOML key names, or None."""
    return next((f for name, f in table.model_fields.items() if key_of(name, f) == key), None)


def tables_of(field: FieldInfo) -> tuple[type[Table], ...]:
    """The table classes that a field's value may have: none for a plain knob, several for [pseudo_label]."""
    return tuple(_tables_in(field.annotation))


def table_for(field: FieldInfo, values: object) -> type[Table] | None:
    """The table class that reads `values` under `field`; None where that cannot be told or is no table."""
    if _is_pseudo_label(field.annotation):
        return table_of_strategy(strategy_of(values))
    return next(iter(tables_of(field)), None)


def known_keys() -> Iterator[tuple[tuple[str, ...], str]]:
    """(path, what it belongs to) of every key of every table; what it belongs to reads after "belongs to"."""
    for key, field in _fields(RecipeFile):
        yield (key,), "the top of the file"
        for table in tables_of(field):
            place = f"[{key}]"
            if issubclass(table, PseudoLabel):
                place += f" with strategy = {toml_literal(table.model_fields['strategy'].default)}"
            for inner, deeper in _fields(table):
                yield (key, inner), place
                for nested in tables_of(deeper):
                    yield from (((key, inner, last), f"[{key}.{inner}]") for last, _ in _fields(nested))


def as_words(path: tuple[str, ...], value: Any) -> Any:
    """A value as `--set` takes it: for a knob that is a list of text, `a,b` is ["a", "b"] and `a` is ["a"].

    A word of the knob's own, such as "all", stays as it is, as does one name for a knob that takes either,
    and whatever is no text.
    """
    if not isinstance(value, str) or not path:
        return value
    for field in _fields_at(path):
        lists, words = _takes(field.annotation)
        if lists and value not in words and not (takes_one_name(field.annotation) and "," not in value):
            return [word for part in value.split(",") if (word := part.strip())]
    return value


def _fields_at(path: tuple[str, ...]) -> Iterator[FieldInfo]:
    """What the schema has at a path: several where strategies have a knob of one name."""
    tables: list[type[Table]] = [RecipeFile]
    for key in path[:-1]:
        fields = [field for table in tables if (field := field_of(table, key)) is not None]
        tables = [inner for field in fields for inner in tables_of(field)]
    return (field for table in tables if (field := field_of(table, path[-1])) is not None)


def _takes(annotation: Any) -> tuple[bool, list[str]]:
    """Whether an annotation accepts a list of text, and the single words that it accepts."""
    if get_origin(annotation) is Literal:
        return False, [word for word in get_args(annotation) if isinstance(word, str)]
    if get_origin(annotation) is tuple:
        inner = _plain(get_args(annotation)[0])
        return inner is str or get_origin(inner) is Literal, []
    parts = [_takes(part) for part in get_args(annotation)]
    return any(lists for lists, _ in parts), [word for _, words in parts for word in words]


def takes_one_name(annotation: Any) -> bool:
    """Whether an annotation accepts any text by itself, beside whatever else."""
    if get_origin(annotation) is Annotated:
        return takes_one_name(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return any(takes_one_name(part) for part in get_args(annotation))
    return annotation is str


def allowed_values(field: FieldInfo) -> str:
    """What a field accepts, in words: `a number above 0 and below 1`, `"adam", "adamw" or "sgd"`."""
    words = _either(_alternatives(field.annotation, field.metadata))
    unit = knob_extra(field).get("unit", "")
    return f"{words} ({unit})" if unit else words


def allowed_entries(field: FieldInfo) -> str:
    """What each entry of a knob that is a dictionary accepts, in words."""
    return _entries(get_args(field.annotation))


def _entries(arguments: tuple[Any, ...]) -> str:
    return _either(_alternatives(arguments[1], ()))


def _knob(key: str, field: FieldInfo) -> Knob:
    extra = knob_extra(field)
    return Knob(
        key=key,
        default=None if field.is_required() else field.get_default(call_default_factory=True),
        required=field.is_required(),
        help=field.description or _about(field),
        unit=extra.get("unit", ""),
        source=extra.get("source", ""),
        unset=extra.get("unset", ""),
        only_if=_condition(extra.get("only_if")),
        allowed=allowed_values(field),
    )


def _about(field: FieldInfo) -> str:
    """The first line of a table's docstring: a table needs no other description."""
    story = next((table.__doc__ or "" for table in tables_of(field)), "")
    return story.strip().partition("\n")[0].rstrip(".")


def _condition(only_if: tuple[str, Any] | None) -> str:
    if only_if is None:
        return ""
    key, choices = only_if
    return (
        f"{key} is {ABOVE_ZERO}"
        if choices == ABOVE_ZERO
        else f"{key} = {_either(map(toml_literal, choices))}"
    )


def _fields(table: type[Table]) -> Iterator[tuple[str, FieldInfo]]:
    return ((key_of(name, field), field) for name, field in table.model_fields.items())


def _is_pseudo_label(annotation: Any) -> bool:
    """Whether its tables are the strategies', whichever there are."""
    return annotation is PseudoLabel or any(map(_is_pseudo_label, get_args(annotation)))


def _tables_in(annotation: Any) -> Iterator[type[Table]]:
    if annotation is PseudoLabel:
        yield from STRATEGIES.values()
    elif isinstance(annotation, type) and issubclass(annotation, Table):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType):
        for part in get_args(annotation):
            yield from _tables_in(part)


def names_of(metadata: Iterable[Any]) -> tuple[str, ...]:
    """The names that a field's metadata allow, where a registry has them."""
    return next((tuple(rule.names) for rule in metadata if isinstance(rule, OneOf)), ())


def _alternatives(annotation: Any, metadata: Iterable[Any]) -> list[str]:
    """Each kind of value that an annotation accepts, in words, without repetition."""
    rules = list(_flat(metadata))
    described = [rule.words for rule in rules if isinstance(rule, Described)]
    if described:
        return described[-1:]
    if names := names_of(rules):
        return [toml_literal(name) for name in names]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _alternatives(arguments[0], [*arguments[1:], *rules])
    if origin is Literal:
        return [toml_literal(choice) for choice in arguments]
    if origin in (Union, types.UnionType):
        parts = (_alternatives(part, rules) for part in arguments if part is not type(None))
        return list(dict.fromkeys(words for part in parts for words in part))
    if origin is tuple:
        return [_LISTS_OF[_plain(arguments[0])] + _length(rules, "items")]
    if origin is dict:
        return [f"a table whose values are each {_entries(arguments)}"]
    if annotation is bool:
        return ["true or false"]
    if annotation is int:
        return ["a whole number" + _bounds(rules, whole=True)]
    if annotation is float:
        return ["a number" + _bounds(rules, whole=False)]
    if annotation is str:
        return ["text" + _length(rules, "characters")]
    return ["a table"]


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for rule in metadata:
        if isinstance(rule, FieldInfo):
            yield from rule.metadata
        else:
            yield rule


def _plain(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _bounds(rules: list[Any], *, whole: bool) -> str:
    low = high = ""
    for rule in rules:
        match rule:
            case at.Ge(ge=bound):
                low = f"from {bound:,}" if whole else f"from {_short(bound)}"
            case at.Gt(gt=bound):
                low = f"above {_short(bound)}"
            case at.Le(le=bound):
                high = f"to {bound:,}" if whole else f"to {_short(bound)}"
            case at.Lt(lt=bound) if whole and isinstance(bound, int):
                high = f"to {bound - 1:,}" if bound < 2**63 else "to 2^63 - 1"
            case at.Lt(lt=bound):
                high = f"below {_short(bound)}"
    if low.startswith("above") and high.startswith("to"):
        high = "and at most" + high.removeprefix("to")
    elif low and high.startswith("below"):
        high = f"and {high}" if low.startswith("above") else f"to {high}"
    elif low.startswith("from") and not high:
        return f", {low.removeprefix('from ')} or more"
    return "".join(f" {part}" for part in (low, high) if part)


def _short(bound: Any) -> str:
    return f"{bound:,.10g}" if isinstance(bound, float) else f"{bound:,}"


def _length(rules: list[Any], of: str) -> str:
    least = next((rule.min_length for rule in rules if isinstance(rule, at.MinLen)), 0)
    most = next((rule.max_length for rule in rules if isinstance(rule, at.MaxLen)), None)
    if most is None:
        return f" of at least {least} {of}" if least else ""
    return f" of {least} to {most:,} {of}" if least else f" of at most {most:,} {of}"


def _either(words: Iterable[str]) -> str:
    listed = list(words)
    if len(listed) < 2:
        return "".join(listed)
    return f"{', '.join(listed[:-1])} or {listed[-1]}"
