"""The shipped recipes of the paper's experiments, for any backbone."""

from __future__ import annotations

from pathlib import Path

from workbench.recipe.cookbook import shipped_folder, shipped_recipes
from workbench.recipe.literals import toml_literal
from workbench.recipe.sweep import Sweep, load_sweep

PAPER_BACKBONE = "resnet152"
_FOLDER = "paper/"


def paper_recipes() -> dict[str, Path]:
    """Name -> file of the paper's experiments; `petbench sweep NAME` runs one."""
    return {name: file for name, file in shipped_recipes().items() if name.startswith(_FOLDER)}


def paper_sweep(name: str, changes: list[str]) -> Sweep:
    """The sweep of `recipes/paper/NAME.toml` under `--set` changes.

    Raises:
        UserError: a change does not fit.
    """
    return load_sweep(shipped_folder() / f"{_FOLDER}{name}.toml", changes)


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
