"""Valid recipes for property tests, drawn from the schema itself, so that a new knob is covered at once."""

from __future__ import annotations

import types
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types as at
from hypothesis import strategies as st
from pydantic import AfterValidator, ValidationError
from pydantic.fields import FieldInfo

from workbench.recipe.fields import ABOVE_ZERO, OneOf, Table, knob_extra
from workbench.recipe.knobs import key_of, tables_of
from workbench.recipe.schema import Recipe

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
GROUP_NAMES = st.from_regex(r"[A-Za-z0-9_.:/-]{1,12}", fullmatch=True)

CLASS_SOURCES = st.sampled_from(["folder:1", "folder:1-2", r"name:^(.+)_\d+$"])


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    """Any valid recipe."""
    recipe = draw(tables(Recipe))
    assert isinstance(recipe, Recipe)
    return recipe


@st.composite
def tables(draw: st.DrawFn, table: type[Table]) -> Table:
    """Any valid value of a table class, with some knobs set and others left out."""
    values: dict[str, Any] = {}
    for name, field in table.model_fields.items():
        if field.is_required() or draw(st.booleans()):
            values[key_of(name, field)] = draw(_values_of(field))
            if draw(st.booleans()):
                _make_it_count(draw, table, values, field)
    while True:
        try:
            return table.model_validate(values)
        except ValidationError as error:
            _repair(values, error)


def _make_it_count(draw: st.DrawFn, table: type[Table], values: dict[str, Any], field: FieldInfo) -> None:
    """Set the key that a knob depends on so that the knob has an effect."""
    condition = knob_extra(field).get("only_if")
    if condition is not None:
        key, choices = condition
        if choices == ABOVE_ZERO:
            values[key] = draw(_values_of(table.model_fields[key]).filter(lambda value: value > 0))
        else:
            values[key] = draw(st.sampled_from(choices))


def _repair(values: dict[str, Any], error: ValidationError) -> None:
    """Take back a knob that another one forbids, or add what one needs."""
    details = error.errors()[0]
    keys = details.get("ctx", {}).get("keys", ())
    if details["type"] == "ignored_knob":
        for name, _, _ in details["ctx"]["ignored"]:
            del values[name]
    elif details["loc"]:
        del values[str(details["loc"][0])]
    elif "labelled_fraction" in keys and values.get("labels_per_class") is None:
        values["labelled_fraction"] = 0.1
    elif keys == ("fold",) and values.get("folds") is None:
        values["folds"] = 20
        values.pop("label_folds", None)  # which would have the folds taken back, and so on for ever
    elif "root" in keys:
        values["root"] = "images"
    else:
        del values[keys[0].partition(".")[0]]


def _values_of(field: FieldInfo) -> st.SearchStrategy[Any]:
    classes = tables_of(field)
    if classes:
        return st.one_of(*(tables(table) for table in classes))
    return _values(field.annotation, field.metadata)


def _values(annotation: Any, rules: Sequence[Any]) -> st.SearchStrategy[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [rule for part in arguments[1:] for rule in _flat(part)]
        return _values(arguments[0], [*inner, *rules])
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (Union, types.UnionType):
        return st.one_of(*(_values(part, rules) for part in arguments))
    if annotation is type(None):
        return st.none()
    if origin is tuple:
        return _tuples(arguments, rules)
    if origin is dict:
        return st.dictionaries(_values(arguments[0], []), _values(arguments[1], []), max_size=3)
    if annotation is bool:
        return st.booleans()
    if annotation is int:
        return st.integers(*_whole_bounds(rules))
    if annotation is float:
        return _floats(rules)
    assert annotation is str, f"the schema has a type that the generator does not know: {annotation}"
    if (one_of := next((rule for rule in rules if isinstance(rule, OneOf)), None)) is not None:
        return st.sampled_from(list(one_of.names))
    if any(isinstance(rule, AfterValidator) for rule in rules):
        return CLASS_SOURCES
    pattern = next((rule.pattern for rule in rules if getattr(rule, "pattern", None)), None)
    if pattern is not None:
        return GROUP_NAMES if pattern.startswith("^[A-Za-z0-9") else _matches(pattern)
    least = next((rule.min_length for rule in rules if isinstance(rule, at.MinLen)), 0)
    return TEXT.filter(lambda text: len(text) >= least)


def _matches(pattern: str) -> st.SearchStrategy[str]:
    text = st.from_regex(pattern, fullmatch=True, alphabet=st.characters(codec="utf-8"))
    return text.filter(lambda found: len(found) <= 40)


def _tuples(arguments: tuple[Any, ...], rules: Sequence[Any]) -> st.SearchStrategy[Any]:
    if arguments[-1] is Ellipsis:
        least = next((rule.min_length for rule in rules if isinstance(rule, at.MinLen)), 0)
        return st.lists(_values(arguments[0], []), min_size=least, max_size=4).map(tuple)
    # The one fixed tuple of the schema is a range within (0, 1].
    shares = st.floats(0.001, 1.0)
    return st.tuples(*(shares for _ in arguments)).map(lambda pair: tuple(sorted(pair)))


def _flat(rule: Any) -> list[Any]:
    return list(rule.metadata) if isinstance(rule, FieldInfo) else [rule]


def _whole_bounds(rules: Sequence[Any]) -> tuple[int, int]:
    bounds = _bounds(rules)
    return bounds["ge"], bounds["le"] if "le" in bounds else bounds["lt"] - 1


def _floats(rules: Sequence[Any]) -> st.SearchStrategy[float]:
    bounds = _bounds(rules)
    return st.floats(
        float(bounds["gt"] if "gt" in bounds else bounds["ge"]),
        float(bounds["lt"] if "lt" in bounds else bounds["le"]),
        exclude_min="gt" in bounds,
        exclude_max="lt" in bounds,
    )


def _bounds(rules: Sequence[Any]) -> dict[str, Any]:
    """The bounds among the rules: keys ge, gt, le, lt. Every number of the schema has one on each side."""
    names = {at.Ge: "ge", at.Gt: "gt", at.Le: "le", at.Lt: "lt"}
    return {name: getattr(rule, name) for rule in rules for kind, name in names.items() if type(rule) is kind}
