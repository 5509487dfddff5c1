"""The reference of every knob as Markdown, made from the schema, so that nothing is written down twice."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.recipe.fields import Table
from workbench.recipe.knobs import Knob, knobs_of, tables_of
from workbench.recipe.labels import PseudoLabel
from workbench.recipe.literals import toml_literal
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.schema import Recipe


def reference() -> str:
    """Every table and every knob of a recipe, in the schema's order."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield "# Every key of a recipe"
    yield ""
    yield "Made from the schema by `petbench recipe reference`; do not edit. `petbench recipe new` writes"
    yield "a recipe with these explanations as comments."
    yield ""
    yield from _section("", Recipe, skip=_table_names(Recipe))
    for name, field in Recipe.model_fields.items():
        tables = tables_of(field)
        if len(tables) == 1:
            yield from _section(name, tables[0])
    common = {knob.key for knob in knobs_of(PseudoLabel)}
    yield from _section("pseudo_label", PseudoLabel)
    for strategy, table in STRATEGIES.items():
        title = f'pseudo_label, strategy = "{strategy}"'
        yield from _section(title, table, skip=common, source=table.source)


def _section(
    title: str, table: type[Table], *, skip: set[str] | None = None, source: str = ""
) -> Iterator[str]:
    yield f"## [{title}]" if title else "## At the top"
    yield ""
    about = " ".join((table.__doc__ or "").split())
    yield f"{about} Source: {source}." if source else about
    yield ""
    yield "| key | default | allowed | what it does |"
    yield "|---|---|---|---|"
    for knob in knobs_of(table):
        if knob.key not in (skip or ()):
            yield f"| `{knob.key}` | {_default(knob)} | {_cell(knob.allowed)} | {_cell(_story(knob))} |"
    yield ""


def _default(knob: Knob) -> str:
    if knob.required:
        return "(required)"
    if isinstance(knob.default, Table):
        return "unset"
    return "unset" if knob.default is None else f"`{_cell(toml_literal(knob.default))}`"


def _story(knob: Knob) -> str:
    parts = [knob.help]
    if knob.unset:
        parts.append(f"unset: {knob.unset}")
    if knob.only_if:
        parts.append(f"counts only with `{knob.only_if}`")
    if knob.source:
        parts.append(knob.source)
    return "; ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _table_names(table: type[Table]) -> set[str]:
    return {name for name, field in table.model_fields.items() if tables_of(field)}
