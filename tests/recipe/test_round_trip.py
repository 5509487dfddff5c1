"""Any valid recipe survives dump and parse; any damage to one gives a clear error or a valid recipe."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.recipe.generate import TEXT, recipes, tables
from workbench.recipe import (
    STRATEGIES,
    Augmentation,
    Data,
    Finetune,
    Optimizer,
    Recipe,
    RecipeError,
    dump_recipe,
    explain,
    flat,
    knobs_of,
    parse_recipe,
    recipe_fingerprint,
)
from workbench.recipe.dump import resolved
from workbench.recipe.fields import Table
from workbench.recipe.knobs import known_keys
from workbench.recipe.offline import Noise
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import scan, toml_literal

SLOW_DRAW = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    TEXT,
    st.dates(),
    st.datetimes(),
    st.times(),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.one_of(TEXT, st.sampled_from(sorted({path[-1] for path, _ in known_keys()})))


@SLOW_DRAW
@given(recipes())
def test_any_recipe_survives_dump_and_parse(recipe: Recipe) -> None:
    text = dump_recipe(recipe)
    again = parse_recipe(text)
    assert again == recipe
    assert dump_recipe(again) == text
    assert recipe_fingerprint(again) == recipe_fingerprint(recipe)
    assert text.startswith("schema = 1\n")
    assert "layer_rates]" not in text or recipe.optimizer.layer_rates


@SLOW_DRAW
@given(recipes())
def test_a_dumped_recipe_has_every_knob_that_counts_and_no_other(recipe: Recipe) -> None:
    keys = set(flat(parse_recipe(dump_recipe(recipe))))
    told = explain(recipe)
    tables = {k.key for k in told if isinstance(k.value, dict) and k.value and not k.no_effect}
    inside = {key for key in keys if any(key.startswith(f"{table}.") for table in tables)}
    told_keys = {k.key for k in told if not k.no_effect and k.value not in (None, {})}
    assert told_keys == (keys - inside) | tables
    assert keys.isdisjoint(k.key for k in told if k.no_effect)


@SLOW_DRAW
@given(recipes())
def test_a_dumped_recipe_may_be_printed_to_a_terminal(recipe: Recipe) -> None:
    text = dump_recipe(recipe)
    assert clean(text.replace("\n", "")) == text.replace("\n", "")


@SLOW_DRAW
@given(recipes(), st.data())
def test_mutated_values_give_a_clear_error_or_a_recipe(recipe: Recipe, data: st.DataObject) -> None:
    values = resolved(recipe)
    for _ in range(data.draw(st.integers(1, 4))):
        _mutate(values, data)
    text = tomli_w.dumps(_without_none(values)).encode("utf-8", "replace").decode()
    _parses_or_complains(text)


@SLOW_DRAW
@given(recipes(), st.data())
def test_damaged_text_gives_a_clear_error_or_a_recipe(recipe: Recipe, data: st.DataObject) -> None:
    text = dump_recipe(recipe)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        stop = data.draw(st.one_of(st.just(len(text)), st.integers(start, min(len(text), start + 12))))
        junk = data.draw(st.one_of(st.just(""), TEXT, st.text("\"'\\[]{}=.,#\n a1-:_", max_size=12)))
        text = text[:start] + junk + text[stop:]
    _parses_or_complains(text)


@SLOW_DRAW
@given(recipes(), st.data())
def test_any_set_gives_a_clear_error_or_a_recipe(recipe: Recipe, data: st.DataObject) -> None:
    key = data.draw(st.one_of(TEXT, st.sampled_from([".".join(path) for path, _ in known_keys()])))
    value = data.draw(st.one_of(TEXT, ANYTHING.map(toml_literal)))
    try:
        assert isinstance(parse_recipe(dump_recipe(recipe), "r.toml", [f"{key}={value}"]), Recipe)
    except UserError as error:
        _is_clear(error)


@settings(deadline=None)
@given(st.text('"\'\\[]{}=.,#\r\n\t ab1-:_"""', max_size=60))
@example('a = """x""""\nb = 1')
@example("a = ''''x'''''\nb = 1")
@example('a = "\\"]" # c\n[b."c.d"]\ne={f=[1,{g=2},],h.i="}"}')
@example("d = 1979-05-27 07:32:00 # c\r\n[[x]]\ny=[ # z\n1, # ]\n]\n")
def test_the_scan_reads_all_that_tomllib_accepts(text: str) -> None:
    try:
        values = tomllib.loads(text)
    except ValueError:
        return
    found = scan(text, "t")
    assert found.stopped_at is None
    assert set(found.lines) == _paths(values)


def _paths(values: Any, around: tuple[str, ...] = ()) -> set[tuple[str, ...]]:
    """Paths of all keys; positions in lists do not count."""
    if isinstance(values, list):
        return {path for item in values for path in _paths(item, around)}
    if not isinstance(values, dict):
        return set()
    return {(*around, key) for key in values} | {
        path for key, value in values.items() for path in _paths(value, (*around, key))
    }


def _mutate(values: dict[str, Any], data: st.DataObject) -> None:
    table = values
    while True:
        inner = [key for key, value in table.items() if isinstance(value, dict)]
        if not inner or data.draw(st.booleans()):
            break
        table = table[data.draw(st.sampled_from(inner))]
    action = data.draw(st.sampled_from(["delete", "rename", "insert", "replace"]))
    if action == "insert" or not table:
        table[data.draw(KEYS)] = data.draw(ANYTHING)
        return
    key = data.draw(st.sampled_from(list(table)))
    old = table.pop(key)
    if action == "rename":
        table[data.draw(KEYS)] = old
    elif action == "replace":
        table[key] = data.draw(ANYTHING)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value if inner is not None]
    return value


def _parses_or_complains(text: str) -> None:
    try:
        assert isinstance(parse_recipe(text, "r.toml"), Recipe)
    except UserError as error:
        _is_clear(error)


LEAKS = ("literal[", "function-", "tuple[", "Input should", "Value error", "pydantic", "_strategy_of")


def _is_clear(error: UserError) -> None:
    """A message is for people: a place, printable text, none of the validator's own words."""
    said = str(error)
    assert error.where
    assert clean(said.replace("\n", "")) == said.replace("\n", "")
    written = [problem.key for problem in error.problems] if isinstance(error, RecipeError) else []
    assert not [leak for leak in LEAKS if any(leak in key for key in written)]
    assert not [leak for leak in LEAKS[3:] if leak in said]


@pytest.mark.parametrize("table", [Data, Finetune, Optimizer, Augmentation, Noise, *STRATEGIES.values()])
def test_the_generator_reaches_every_knob(table: type[Table]) -> None:
    seen: set[str] = set()

    @settings(deadline=None, max_examples=300, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(tables(table))
    def collect(value: Table) -> None:
        seen.update(resolved(value))

    collect()
    assert seen == {knob.key for knob in knobs_of(table)}
