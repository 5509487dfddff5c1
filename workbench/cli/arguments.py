"""Arguments and options that commands of several files share: one name, one help text."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.console import error_console
from workbench.recipe.cookbook import shadowed
from workbench.recipe.source import Change, Unset
from workbench.support.clean import clean

_RUN = "An id or any unique part of one (its last four digits), a name, latest, @2 (one before), or a path."
_RECIPE = (
    "A TOML file, or a name: NAME.toml here, else recipes/NAME.toml here, else one that petbench recipe ls "
    "lists."
)
_OR_RUN = f"{_RECIPE} Also a run's directory or id."


def _say_shadowed(given: Path | list[Path] | None) -> Path | list[Path] | None:
    """A name that means the user's own file although petbench has another recipe of that name is told."""
    for one in [given] if isinstance(given, Path) else given or ():
        own = shadowed(one)
        if own is not None:
            error_console.print(
                f"{clean(one)} is {clean(own)} here, not the recipe that comes with petbench",
                style="yellow",
                soft_wrap=True,
            )
    return given


RecipeFile = Annotated[
    Path, typer.Argument(metavar="RECIPE", help=_RECIPE, show_default=False, callback=_say_shadowed)
]
OptionalRecipe = Annotated[
    Path | None, typer.Argument(metavar="RECIPE", help=_RECIPE, show_default=False, callback=_say_shadowed)
]
RecipeFiles = Annotated[list[Path], typer.Argument(metavar="RECIPE...", help=_RECIPE, callback=_say_shadowed)]
RecipeOrRun = Annotated[
    Path, typer.Argument(metavar="RECIPE", help=_OR_RUN, show_default=False, callback=_say_shadowed)
]
RecipesOrRuns = Annotated[
    list[Path], typer.Argument(metavar="RECIPE...", help=_OR_RUN, callback=_say_shadowed)
]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key: --set seed=1 --set tags=a,b --set 'data.root=\"my pets\"'. The value is TOML, or "
        "else text; a path counts from the working directory.",
    ),
]
Unsets = Annotated[
    list[str] | None,
    typer.Option(
        "--unset",
        metavar="KEY",
        help="Take a key or table out of the recipe, before any --set: --unset pseudo_label.fraction.",
    ),
]
RunId = Annotated[str, typer.Argument(metavar="RUN", help=_RUN, show_default=False)]
RunIds = Annotated[list[str], typer.Argument(metavar="RUN...", help=_RUN, show_default=False)]
ImageIds = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE_ID...", help="Ids of images of the run's data.", show_default=False),
]
Teacher = Annotated[bool, typer.Option("--teacher", help="Ask the run's teacher, not its final model.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
RunsDir = Annotated[
    Path | None,
    typer.Option("--runs-dir", metavar="DIR", help="Where runs lie; else $PETBENCH_RUNS, else ./runs."),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Where data sets lie, such as oxford-iiit-pet/; else $PETBENCH_DATA, else your data home.",
    ),
]


class Split(StrEnum):
    """The splits whose predictions a finished run keeps."""

    TEST = "test"
    VAL = "val"


def changes_of(sets: Sequence[str] | None, unsets: Sequence[str] | None) -> list[Change]:
    """What `--unset` and `--set` ask for, in the order in which it is done."""
    return [*(Unset(key) for key in unsets or ()), *(sets or ())]
