"""A new recipe to edit: every table and knob, each with what it does, written from the schema."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from workbench.recipe.explain import Explained, explain
from workbench.recipe.literals import toml_literal
from workbench.recipe.problems import recipe_error
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.schema import Recipe
from workbench.recipe.source import Source
from workbench.support.errors import UserError
from workbench.support.nearest import nearest

_WIDTH = 100

# A head alone, which is what a new recipe trains, wants larger steps than the schema's fine-tuning default.
_HEAD_OPTIMIZER = {"name": "adamw", "learning_rate": 3e-3, "schedule": "cosine"}


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
        root: where the images lie; a folder data set needs it.

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
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise recipe_error(error, Source("the new recipe", values)) from error
    return "\n".join(_lines(recipe)) + "\n"


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
        yield _assignment(key, knob)


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


def _assignment(key: str, knob: Explained) -> str:
    if knob.value is None:
        return f"# {key} = …    (unset: {knob.unset})"
    line = f"{key} = {toml_literal(knob.value)}"
    return f"# {line}" if knob.no_effect else line


def _comment(text: str) -> Iterator[str]:
    return (f"# {line}" for line in textwrap.wrap(text, _WIDTH - 2, break_on_hyphens=False))
