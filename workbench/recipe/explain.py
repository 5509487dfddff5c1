"""A recipe told in full: every knob with its value, its default, and why it does or does not count."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from workbench.recipe.data import DATASETS
from workbench.recipe.fields import Table, unmet_condition
from workbench.recipe.knobs import Knob, key_of, knobs_of, tables_of
from workbench.recipe.problems import recipe_error
from workbench.recipe.pseudo_label import STRATEGIES, PseudoLabel
from workbench.recipe.schema import Recipe, RecipeFile
from workbench.recipe.source import Source
from workbench.recipe.sweep_table import SWEEP, SweepTable
from workbench.support.errors import UserError, nearest
from workbench.support.toml_text import toml_literal
from workbench.support.units import target_word


@dataclass(frozen=True, slots=True)
class Explained:
    """One knob of a resolved recipe."""

    key: str
    """Dotted."""
    value: Any
    """None where the knob has no value; `unset` then says what happens."""
    default: Any
    is_default: bool
    help: str
    unit: str
    source: str
    unset: str
    allowed: str
    no_effect: str
    """Why the knob does not count in this recipe, such as `belongs to name = "sgd"`; empty when it does."""


def explain(recipe: Recipe) -> list[Explained]:
    """Every knob of every table of the recipe, knobs without effect included, in the schema's order.

    The tables of a table come after its own knobs, as TOML wants it.

    A recipe without [pseudo_label] has one entry for the whole table.
    """
    return list(_explain(recipe, "", usual_values(recipe)))


def usual_values(recipe: Recipe) -> dict[str, Any]:
    """Dotted key to default of the knobs whose default hangs on others."""
    return {"data.evaluation_views": recipe.usual_views}


def _explain(table: Table, prefix: str, usual: Mapping[str, Any]) -> Iterator[Explained]:
    """Args: usual: what knobs are where nobody sets them, of those whose default hangs on others."""
    knobs = {knob.key: knob for knob in knobs_of(type(table))}
    tables: list[tuple[str, Table]] = []
    for name, field in type(table).model_fields.items():
        value = getattr(table, name)
        key = key_of(name, field)
        if isinstance(value, Table):
            tables.append((f"{prefix}{key}.", value))
            continue
        knob = knobs[key]
        unmet = unmet_condition(table, name)
        default = usual.get(f"{prefix}{key}", knob.default)
        yield Explained(
            key=f"{prefix}{key}",
            value=value,
            default=default,
            is_default=not knob.required and value == default,
            help=knob.help,
            unit=knob.unit,
            source=knob.source,
            unset=knob.unset,
            allowed=knob.allowed,
            no_effect="" if unmet is None else f"belongs to {' '.join(unmet)}",
        )
    for inner, value in tables:
        yield from _explain(value, inner, usual)


def summary(recipe: Recipe) -> str:
    """The recipe in a line: backbone, data, what learns, for how long, with which labels."""
    data, layers = recipe.data, recipe.finetune.layers
    target = target_word(data.dataset, data.target)
    learns = layers if isinstance(layers, str) else " + ".join(layers)
    parts = [
        f"{recipe.model.backbone_words} on {data.dataset} ({target}, {data.image_size} px)",
        f"{learns} for {recipe.training.epochs} epochs",
    ]
    labels = recipe.pseudo_label
    teachers = getattr(labels, "teacher", None)
    if teachers:
        parts[-1] = f"{learns}, taught by {len(teachers)} finished run{'s' if len(teachers) > 1 else ''}"
    if labels is None:
        parts.append("all labels")
    else:
        match labels.labels_per_class, labels.labelled_fraction:
            case None, None:
                amount = "all labels"
            case None, share:
                amount = f"{share:.4g} of the labels"
            case count, _:
                amount = f"{count} labels a class"
        parts.append(f"{amount}, {labels.strategy} pseudo-labels")
    extra = [kind for kind in ("labelled", "unlabelled") if getattr(data, f"extra_{kind}")]
    if extra:
        parts.append(f"extra {' and '.join(extra)} images")
    return ", ".join(parts)


def reference() -> str:
    """Every table and every knob of a recipe, in the schema's order."""
    return "\n".join(_reference_lines())


def _reference_lines() -> Iterator[str]:
    yield "# Every key of a recipe"
    yield ""
    yield "Made from the schema by `petbench recipe reference`; do not edit. `petbench recipe new` writes"
    yield "a recipe with these explanations as comments."
    yield ""
    yield from _section("", Recipe, skip=_table_names(Recipe))
    for name, field in RecipeFile.model_fields.items():
        tables = tables_of(field)
        if len(tables) == 1:
            yield from _section(name, tables[0])
            for inner, deeper in tables[0].model_fields.items():
                for table in tables_of(deeper):
                    yield from _section(f"{name}.{inner}", table)
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
            yield f"| `{knob.key}` | {_default(knob)} | {_cell(knob.allowed)} | {_cell(_row_words(knob))} |"
    yield ""


def _default(knob: Knob) -> str:
    if knob.required:
        return "(required)"
    if isinstance(knob.default, Table):
        return "unset"
    return "unset" if knob.default is None else f"`{_cell(toml_literal(knob.default))}`"


def _row_words(knob: Knob) -> str:
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


_WIDTH = 100

# A head alone, which is what a new recipe trains, wants larger steps than the schema's fine-tuning default,
# and fixed views, of which the trunk makes features once.
_HEAD_OPTIMIZER = {"name": "adamw", "learning_rate": 3e-3, "schedule": "cosine"}
_FIXED_VIEWS = {"random_crop": False, "flip": False}
# Trained at 224 to 260 pixels; features of larger views are better (FixRes, Touvron et al. 2019), as measured
# in docs/results.md.
_LARGER = dict.fromkeys(("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"), 288)


def new_recipe_text(
    name: str,
    backbone: str = "efficientnet_lite0",
    dataset: str = "oxford-iiit-pet",
    strategy: str | None = None,
    *,
    root: str = "",
) -> str:
    """TOML of a valid recipe with all its knobs, commented from the schema.

    Knobs that have no value or no effect with these choices stand there commented out.

    Args:
        strategy: adds a [pseudo_label] table with 10 % of the labels; None for supervised training.
        root: where the images lie; a folder or table needs it.

    Raises:
        UserError: no such strategy or data set, or a name or root that a recipe refuses.
    """
    values: dict[str, Any] = {
        "name": name,
        "data": {"dataset": dataset, "root": root},
        "model": {"backbone": backbone},
        "optimizer": _HEAD_OPTIMIZER,
    }
    if strategy is not None:
        if strategy not in STRATEGIES:
            near = nearest(strategy, STRATEGIES)
            hint = f"did you mean {near}?" if near else ""
            raise UserError(
                f"no strategy is called {toml_literal(strategy)}", allowed=list(STRATEGIES), hint=hint
            )
        values["pseudo_label"] = {"strategy": strategy, "labelled_fraction": 0.1}
    fixed = values | {"augmentation": _FIXED_VIEWS, "data": values["data"] | _size(backbone, dataset)}
    try:
        recipe = Recipe.model_validate(fixed)
        if not recipe.sees_fixed_features:  # strategies that draw views anew
            recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise recipe_error(error, Source("the new recipe", values)) from error
    return "\n".join(_lines(recipe)) + "\n"


def _size(backbone: str, dataset: str) -> dict[str, int]:
    """Pixels a side, where others than the schema's are known to be better; the sample's are small."""
    kind = DATASETS.get(dataset)
    is_small = kind is not None and kind.is_drawn
    return {"image_size": _LARGER[backbone]} if not is_small and backbone in _LARGER else {}


def _lines(recipe: Recipe) -> Iterator[str]:
    table = ""
    for knob in explain(recipe):
        around, _, key = knob.key.rpartition(".")
        if around != table:
            yield from ("", *_comment(_about(recipe, around)), f"[{around}]")
            table = around
        if key == "pseudo_label":
            yield from ("", *_comment(f"[pseudo_label]: {knob.help}."))
            continue
        yield from _comment(_story(knob))
        yield from _assignment(key, knob)
    yield from _sweep()


def _sweep() -> Iterator[str]:
    """The table that a recipe of one run has not, commented out."""
    about = " ".join((SweepTable.__doc__ or "").split())
    yield from (
        "",
        *_comment(f"[{SWEEP}]: {RecipeFile.model_fields[SWEEP].description}. {about}"),
        f"# [{SWEEP}]",
    )
    for knob in knobs_of(SweepTable):
        yield from _comment(f"{knob.help}; {knob.allowed}")
        yield f"# {knob.key} = …" + (f"    (unset: {knob.unset})" if knob.unset else "")


def _about(recipe: Recipe, path: str) -> str:
    """The docstring of the table at a dotted path."""
    table: Any = recipe
    for key in path.split("."):
        table = getattr(table, key)
    return (type(table).__doc__ or "").strip().splitlines()[0]


def _story(knob: Explained) -> str:
    parts = [knob.help if knob.allowed == toml_literal(knob.value) else f"{knob.help}; {knob.allowed}"]
    if knob.source:
        parts.append(knob.source)
    if knob.no_effect:
        parts.append(f"no effect here: {knob.no_effect}")
    return ". ".join(parts)


def _assignment(key: str, knob: Explained) -> Iterator[str]:
    if knob.value is None or (knob.unset and knob.is_default):
        line = f"# {key} = …    (unset: {knob.unset})"
        if len(line) > _WIDTH:  # its meaning goes before it, over as many lines as it needs
            yield from _comment(f"Unset: {knob.unset}.")
            line = f"# {key} = …"
        yield line
        return
    line = f"{key} = {toml_literal(knob.value)}"
    yield f"# {line}" if knob.no_effect else line


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False))
