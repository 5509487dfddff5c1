"""A recipe told in full: every knob with its value, its default, and why it does or does not count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench.recipe.fields import Table, unmet_condition
from workbench.recipe.knobs import key_of, knobs_of
from workbench.recipe.schema import Recipe
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
    return list(_explain(recipe, ""))


def _explain(table: Table, prefix: str) -> Iterator[Explained]:
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
        yield Explained(
            key=f"{prefix}{key}",
            value=value,
            default=knob.default,
            is_default=not knob.required and value == knob.default,
            help=knob.help,
            unit=knob.unit,
            source=knob.source,
            unset=knob.unset,
            allowed=knob.allowed,
            no_effect="" if unmet is None else f"belongs to {' '.join(unmet)}",
        )
    for inner, value in tables:
        yield from _explain(value, inner)


def summary(recipe: Recipe) -> str:
    """The recipe in a line: backbone, data, what learns, for how long, with which labels."""
    data, layers = recipe.data, recipe.finetune.layers
    target = target_word(data.dataset, data.target)
    learns = layers if isinstance(layers, str) else " + ".join(layers)
    parts = [
        f"{recipe.model.backbone} on {data.dataset} ({target}, {data.image_size} px)",
        f"{learns} for {recipe.training.epochs} epochs",
    ]
    labels = recipe.pseudo_label
    if labels is None:
        parts.append("all labels")
    else:
        share = labels.labelled_fraction
        amount = (
            f"{labels.labels_per_class} labels a class" if share is None else f"{share:.4g} of the labels"
        )
        parts.append(f"{amount}, {labels.strategy} pseudo-labels")
    extra = [kind for kind in ("labelled", "unlabelled") if getattr(data, f"extra_{kind}")]
    if extra:
        parts.append(f"extra {' and '.join(extra)} images")
    return ", ".join(parts)
