"""The shipped recipes of the paper's experiments, for any backbone."""

from __future__ import annotations

from pathlib import Path

import workbench
from workbench.recipe.literals import toml_literal
from workbench.recipe.load import read_recipe_text
from workbench.recipe.sweep import Sweep, parse_sweep
from workbench.support.errors import UserError

PAPER_BACKBONE = "resnet152"


def recipes_folder() -> Path:
    """Where the paper's recipes lie: with an installed package inside it, in a checkout beside it.

    Raises:
        UserError: at neither place.
    """
    package = Path(workbench.__file__).parent
    for folder in (package / "paper" / "toml", package.parent / "recipes" / "paper"):
        if folder.is_dir():
            return folder
    raise UserError("the paper's recipes are missing", where=str(package), hint="install petbench again")


def paper_sweep(name: str, changes: list[str]) -> Sweep:
    """The sweep of `recipes/paper/NAME.toml` under `--set` changes.

    Raises:
        UserError: a change does not fit.
    """
    path = recipes_folder() / f"{name}.toml"
    return parse_sweep(read_recipe_text(path), path.name, changes, folder=path.parent)


def table1_sweep(
    backbone: str = PAPER_BACKBONE,
    *,
    seeds: int = 5,
    labels: str = "random",
    beside: tuple[str, ...] = (),
) -> Sweep:
    """Table 1 for a backbone: a ResNet as the paper trained it, any other as a head on a frozen trunk.

    Args:
        labels: `random`, the paper's plain shuffle, or `stratified`.
        beside: strategies to put beside the paper's two, with the defaults of their knobs.

    Raises:
        UserError: no such strategy.
    """
    is_resnet = backbone.startswith("resnet")
    changes = [
        f"model.backbone={toml_literal(backbone)}",
        f"sweep.seeds={seeds}",
        f"pseudo_label.stratified={'true' if labels == 'stratified' else 'false'}",
        *(f'sweep.cases.{name}.pseudo_label.strategy="{name}"' for name in beside),
        *(f"sweep.cases.{name}.pseudo_label.epochs_per_round={5 if is_resnet else 10}" for name in beside),
    ]
    return paper_sweep("table1" if is_resnet else "head_table1", changes)
