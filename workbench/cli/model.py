"""`petbench model show` and `petbench backbones`: what networks there are and what of them would train."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from workbench.cli.arguments import Json
from workbench.cli.console import cell, console, make_table, print_json
from workbench.dataset.run_data import list_images
from workbench.dataset.sample.animals import BREEDS
from workbench.recipe import Data, Model, Recipe, load_recipe
from workbench.recipe.data import DATASETS
from workbench.recipe.model import MOST_BACKBONES
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.units import human_count, percent

if TYPE_CHECKING:
    from workbench.model.classifier import ImageClassifier
    from workbench.model.family import BackboneFacts

app = typer.Typer(
    help="Look into a backbone: its layer groups, and what a recipe would train.", no_args_is_help=True
)

_CLASSES = 37
"""Oxford-IIIT Pet's: the head that is shown where nothing says how many classes there are."""


@app.callback()
def _group() -> None:
    """Keep `show` a sub-command while it is the only one."""


@app.command()
def show(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]…", help="A backbone's name, or several side by side. Default: the recipe's."
        ),
    ] = None,
    recipe_file: Annotated[
        Path | None,
        typer.Option(
            "--recipe", metavar="RECIPE", help="Show what this recipe, a file or a name, would train of it."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a backbone's layer groups, parameters and norms; with a recipe also what would learn.

    Nothing is downloaded. The head is shown for 37 classes, or for those of the recipe's data set.
    """
    if not names and recipe_file is None:
        raise UserError("name a backbone, or give --recipe", hint="petbench backbones lists the names")
    recipe = None if recipe_file is None else load_recipe(recipe_file)
    model = _model_to_show(tuple(names or ()), recipe)
    size = recipe.data.image_size if recipe else None
    from workbench.model import skeleton

    classes = _CLASSES if recipe is None else _classes(recipe.data)
    classifier = skeleton(model, classes, image_size=size)
    rows = _plain_rows(classifier) if recipe is None else _tuned_rows(classifier, recipe)
    facts = _facts(classifier, rows)
    if recipe is not None:
        facts["recipe"] = recipe.name
    if as_json:
        print_json("model-show", {**facts, "groups": rows})
    else:
        _print(facts, rows)


def backbones(
    pattern: Annotated[
        str, typer.Argument(metavar="[FILTER]", help="Part of a name; timm:PART lists timm's networks.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List the backbones that a recipe can name: size, cost, ImageNet accuracy of their default weights."""
    from workbench.model.family import known_backbones

    found = known_backbones(pattern)
    if as_json:
        print_json("backbones", {"backbones": [asdict(facts) for facts in found]})
        return
    if not found:
        raise UserError(
            f"no backbone's name contains {clean(pattern, 80)!r}", hint="petbench backbones lists all"
        )
    console.print(_backbone_table(found))
    if not pattern:
        console.print(
            "timm has many more: petbench backbones timm:resnet lists those with resnet in their name."
        )


def _classes(data: Data) -> int:
    """How many there are; a folder or table that cannot be listed has as many as nobody knows."""
    if data.target == "species":
        return 2
    if DATASETS[data.dataset].is_drawn:
        return len(BREEDS)
    if DATASETS[data.dataset].is_own:
        try:
            return len(list_images(data).classes)
        except UserError:
            return _CLASSES
    return _CLASSES


def _model_to_show(names: tuple[str, ...], recipe: Recipe | None) -> Model:
    """The recipe's model, or the named backbones with the recipe's noise; weights are never read here."""
    if len(set(names)) < len(names) or len(names) > MOST_BACKBONES:
        what = f"{', '.join(clean(name, 80) for name in names)}: they cannot stand side by side"
        raise UserError(what, where="NAME", allowed=f"up to {MOST_BACKBONES} different backbones")
    backbone = names[0] if len(names) == 1 else names
    if recipe is None:
        return Model(backbone=backbone, weights="none")
    if not names or names == recipe.model.backbones:
        return recipe.model
    return recipe.model.model_copy(update={"backbone": backbone, "weights": "default"})


def _facts(classifier: ImageClassifier, rows: list[dict[str, Any]]) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "backbone": classifier.backbone,
        "classes": classifier.classes,
        "parameters": sum(row["parameters"] for row in rows),
        "feature_width": classifier.feature_width,
        "native_size": classifier.native_size,
        "mean": classifier.mean,
        "std": classifier.std,
    }
    if "trainable" in rows[0]:
        from workbench.model import is_trunk_fixed

        facts["trainable"] = sum(row["trainable"] for row in rows)
        facts["trunk_fixed"] = is_trunk_fixed(classifier)
    return facts


def _plain_rows(classifier: ImageClassifier) -> list[dict[str, Any]]:
    return [
        {
            "group": group.name,
            "parameters": group.parameter_count(classifier),
            "batch_norms": len(group.batch_norms(classifier)),
            "layer_norms": len(group.layer_norms(classifier)),
        }
        for group in classifier.groups
    ]


def _tuned_rows(classifier: ImageClassifier, recipe: Recipe) -> list[dict[str, Any]]:
    from workbench.model import group_rates, tune

    tuning = tune(classifier, recipe.finetune)
    rates = group_rates(classifier, recipe.optimizer, recipe.finetune)
    return [
        {
            "group": group.name,
            "parameters": group.parameters,
            "trainable": group.trainable,
            "batch_norms": group.batch_norms,
            "layer_norms": group.layer_norms,
            "learns": group.learns,
            "batch_norm_learns": group.batch_norm_learns,
            "statistics_update": group.statistics_update,
            "layer_norm_learns": group.layer_norm_learns,
            "learning_rate": rates[group.name] if group.trainable else None,
        }
        for group in tuning.groups
    ]


def _print(facts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    line = (
        f"{clean(facts['backbone'])}: {human_count(facts['parameters'])} parameters with a head for "
        f"{facts['classes']} classes, {facts['feature_width']} features, "
        f"made for {facts['native_size']} pixels"
    )
    console.print(Text(line), soft_wrap=True)
    console.print(_plain_table(rows) if "trainable" not in facts else _tuned_table(rows))
    if "trainable" in facts:
        console.print(
            Text(
                f"{clean(facts['recipe'])} trains {human_count(facts['trainable'])} of "
                f"{human_count(facts['parameters'])} parameters."
                + (" The trunk is fixed: its features can be computed once." if facts["trunk_fixed"] else "")
            ),
            soft_wrap=True,
        )


def _plain_table(rows: list[dict[str, Any]]) -> Any:
    columns = ["group", "parameters", "batch norms", "layer norms"]
    table = make_table(columns, right=columns[1:])
    for row in rows:
        table.add_row(
            cell(row["group"]),
            cell(human_count(row["parameters"])),
            cell(row["batch_norms"] or "–"),
            cell(row["layer_norms"] or "–"),
        )
    return table


def _tuned_table(rows: list[dict[str, Any]]) -> Any:
    # Short words, since all must fit a terminal of 80 columns.
    columns = ["group", "params", "train", "weights", "norm scale", "norm stats", "rate"]
    table = make_table(columns, right=["params", "train", "rate"])
    for row in rows:
        rate = row["learning_rate"]
        table.add_row(
            cell(row["group"]),
            cell(human_count(row["parameters"])),
            cell(human_count(row["trainable"]) if row["trainable"] else "–"),
            _fact(row["learns"], "learn", "frozen"),
            _norm_scale(row),
            _fact(row["statistics_update"], "update", "kept") if row["batch_norms"] else cell("–"),
            cell("–" if rate is None else f"{rate:.3g}"),
        )
    return table


def _norm_scale(row: dict[str, Any]) -> Text:
    """What the group's norms do; the few that have both kinds (MaxViT) name the one that learns."""
    learning = {kind: row[f"{kind}_norm_learns"] for kind in ("batch", "layer") if row[f"{kind}_norms"]}
    if not learning:
        return cell("–")
    if len(set(learning.values())) == 1:
        return _fact(next(iter(learning.values())), "learn", "frozen")
    return _fact(True, f"{next(kind for kind, learns in learning.items() if learns)} learn", "")


def _fact(holds: bool, yes: str, no: str) -> Text:
    return Text(yes, style="green") if holds else Text(no, style="dim")


def _backbone_table(found: list[BackboneFacts]) -> Any:
    columns = ["backbone", "parameters", "ImageNet %", "GFLOPs", "pixels", "from"]
    table = make_table(columns, right=columns[1:5])
    for facts in found:
        table.add_row(
            cell(facts.name),
            cell("–" if facts.parameters is None else human_count(facts.parameters)),
            cell(percent(facts.accuracy)),
            cell("–" if facts.giga_operations is None else f"{facts.giga_operations:.2f}"),
            cell(facts.native_size or "–"),
            cell(facts.source),
        )
    return table
