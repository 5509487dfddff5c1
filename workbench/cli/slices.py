"""`petbench slices`: which images a run is wrong of more often than of the rest."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from workbench.cli.arguments import DataDir, Device, Json, RunId, RunsDir, Split
from workbench.cli.console import cell, console, error_console, make_table, print_json
from workbench.cli.display import Display
from workbench.dataset import Catalogue, open_catalogue
from workbench.dataset.catalogue import find_images
from workbench.dataset.image_facts import UNITS, image_names, image_numbers, number_words
from workbench.recipe import Recipe, load_recipe
from workbench.runs.find import find_run
from workbench.runs.intervals import share_words
from workbench.runs.layout import RunDirectory
from workbench.runs.slices import CLASS, CLUSTER, PAIR, SAID, SIGNS, SMALLEST, Slices, find_slices
from workbench.runs.sources import SplitSource, opinions_of
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError, nearest
from workbench.support.paths import cache_home, data_home, runs_home
from workbench.support.units import interval_words, p_words, percent

_MOST_CLUSTERS = 20
_STYLES = {"worse": "red", "better": "green", None: ""}


def slices(
    run: RunId,
    split: Annotated[
        Split | None, typer.Option("--split", help="Images of this split. Default: val.", show_default=False)
    ] = None,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="What the teacher said of the split, not the final model.")
    ] = False,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="FACT",
            help="Divide by this alone, several by commas or given again: brightness, blur, size, aspect, "
            "bytes, folder, group, class, said (what the model said), cluster (of its features; asks the "
            "network), or a table's column. Default: all but cluster.",
        ),
    ] = None,
    pairs: Annotated[
        bool,
        typer.Option("--pairs", help="Also what two of them have in common, where it is worse than either."),
    ] = False,
    smallest: Annotated[
        int, typer.Option("--smallest", metavar="N", min=2, help="Fewer images are no slice.")
    ] = SMALLEST,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="At most so many rows; 0: all.")
    ] = 20,
    images: Annotated[
        bool, typer.Option("--images", help="With --json: also the ids of each slice's images.")
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Find the images that a finished run is wrong of more often than of the rest, the worst first.

    Divides the validation images by how bright, blurred, large they are, by folder, class, a table's columns.
    A slice is marked only if it differs from all other images beyond chance, however many slices were tried.
    What one decides after looking at test images was not measured by them.
    """
    directory = find_run(runs_home(runs_dir), run)
    source = SplitSource((split or Split.VAL).value, teacher)
    found = run_slices(
        directory,
        source,
        data=data_home(data_dir),
        by=[name.strip() for given in by or () for name in given.split(",") if name.strip()],
        pairs=pairs,
        smallest=smallest,
        device=device,
    )
    if as_json:
        print_json("slices", _record(directory, source, found, limit, with_ids=images))
    else:
        _print(directory, source, found, limit)


@dataclass(frozen=True, slots=True)
class _Network:
    """What clusters of features are asked of."""

    directory: RunDirectory
    recipe: Recipe
    catalogue: Catalogue
    device: str


def run_slices(
    directory: RunDirectory,
    source: SplitSource,
    *,
    data: Path,
    by: Collection[str] = (),
    pairs: bool = False,
    smallest: int = SMALLEST,
    device: str = "auto",
) -> Slices:
    """The slices of a finished run's split.

    Args:
        by: divide by these alone; default: by all but clusters of features.

    Raises:
        UserError: the run has no such predictions; its data is gone, or lacks one of their images; nothing of
            the name can be divided by.
    """
    opinions = opinions_of(directory, source)
    recipe = load_recipe(directory.recipe)
    with Display(error_console) as display:
        catalogue = open_catalogue(recipe.data, data_home=data, reporter=display)
        positions = find_images(catalogue, [row.id for row in opinions.rows])
        names, columns = image_names(catalogue, positions, recipe.data)
        there = [*UNITS, *columns, *names, CLASS, SAID, CLUSTER]
        for name in by:
            if name not in there:
                raise _unknown(name, there)
        wanted = set(by) or set(there) - {CLUSTER}
        numbers = image_numbers(
            catalogue, positions, [name for name in UNITS if name in wanted], reporter=display
        )
        chosen = {name: cells for name, cells in names.items() if name in wanted}
        if CLUSTER in wanted:
            network = _Network(directory, recipe, catalogue, device)
            chosen[CLUSTER] = [*_clusters(network, positions, source, display)]
    return find_slices(
        opinions.rows,
        numbers | {name: values for name, values in columns.items() if name in wanted},
        chosen,
        number_words=number_words,
        smallest=smallest,
        by_class=CLASS in wanted,
        by_said=SAID in wanted,
        pairs=pairs,
    )


def slice_ids(directory: RunDirectory, source: SplitSource, key: str, *, data: Path) -> frozenset[str]:
    """The images of one slice, however few. Raises: UserError, as `run_slices`; no slice has this key."""
    by = [CLUSTER] if key.startswith(f"{CLUSTER}:") else []
    found = run_slices(directory, source, data=data, by=by, pairs=PAIR in key, smallest=1)
    return frozenset(found.of_key(key).ids)


def _unknown(name: str, there: list[str]) -> UserError:
    near = nearest(name, there)
    return UserError(
        f"nothing called {clean(name, 80)!r} to divide by, or it is the same of all images",
        where="--by",
        allowed=[clean(one, 40) for one in there],
        hint=f"did you mean {clean(near, 80)}?" if near else "",
    )


def _clusters(network: _Network, positions: list[int], source: SplitSource, display: Display) -> list[str]:
    """The number of each image's cluster, from 1."""
    from workbench.cli.devices import foreground_device
    from workbench.train.predict import load_predictor
    from workbench.train.run_features import feature_clusters

    predictor = load_predictor(
        network.directory, network.recipe, foreground_device(network.device), teacher=source.teacher
    )
    # Clusters differ in size: on average four times what a slice needs, and the same ones each time.
    count = int(np.clip(len(positions) // (4 * SMALLEST), 2, _MOST_CLUSTERS))
    found = feature_clusters(
        network.catalogue,
        predictor,
        positions,
        min(count, len(positions)),
        cache=cache_home(),
        reporter=display,
    )
    return [str(number + 1) for number in found.tolist()]


def _record(
    directory: RunDirectory, source: SplitSource, found: Slices, limit: int, *, with_ids: bool
) -> dict[str, object]:
    rows = [asdict(one) for one in found.found[: limit or None]]
    for row in rows if not with_ids else ():
        del row["ids"]
    return {
        "run": directory.id,
        "of": source.words,
        "images": found.images,
        "accuracy": found.accuracy,
        "tried": found.tried,
        "smallest": found.smallest,
        "by": list(found.by),
        "marked": sum(one.mark is not None for one in found.found),
        "slices": rows,
    }


def _print(directory: RunDirectory, source: SplitSource, found: Slices, limit: int) -> None:
    right = share_words(found.accuracy, found.images)
    console.print(
        f"{clean(directory.id)}, {source.words}: {found.images:,} images, {right} right", soft_wrap=True
    )
    shown = found.found[: limit or None]
    if not shown:
        console.print(
            f"no slice: none has {found.smallest} images and as many beside it; --smallest takes fewer",
            soft_wrap=True,
        )
        return
    console.print(f"{len(shown)} of {found.tried} slices, {found.words}", soft_wrap=True)
    columns = ("", "slice", "images", "% right", "95 %", "% of rest", "p", "--slice")
    table = make_table(columns, right=columns[2:7], whole=("",), spare=("--slice", "p", "% of rest"))
    for one in shown:
        style = _STYLES[one.mark]
        table.add_row(
            cell(SIGNS[one.mark], f"bold {style}" if style else ""),
            cell(one.words, style),
            cell(f"{one.images:,}"),
            cell(percent(one.accuracy), style),
            cell(interval_words(one.interval)),
            cell(percent(one.rest)),
            cell(p_words(one.p)),
            cell(one.key),
        )
    console.print(table)
    teacher = " --teacher" if source.teacher else ""
    console.print(
        f"petbench inspect {as_word(directory.handle)} --split {source.split}{teacher} --slice "
        f"{as_word(shown[0].key)}  shows the images of the first",
        soft_wrap=True,
    )
