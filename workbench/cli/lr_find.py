"""`petbench lr-find`: the learning-rate range test, drawn in the terminal and kept as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench.cli.arguments import DataDir, Device, Json, RecipeFile, RunsDir, Sets, Unsets, changes_of
from workbench.cli.console import check_file, console, error_console, make_folder, print_json, write_file
from workbench.recipe import Recipe, load_recipe, recipe_fingerprint
from workbench.runs.export import record_text
from workbench.support.clean import clean, slug
from workbench.support.paths import cache_home, data_home, runs_home

if TYPE_CHECKING:
    from workbench.train.lr_find import RangeTest

FOLDER = "lr-find"
"""In the runs directory, beside the runs; it holds no recipe.toml, so it is none."""


def lr_find(
    recipe: RecipeFile,
    sets: Sets = None,
    unsets: Unsets = None,
    low: Annotated[float, typer.Option("--low", help="The rate to begin with.")] = 1e-7,
    high: Annotated[
        float, typer.Option("--high", help="The rate to end with, if the loss lasts so long.")
    ] = 10,
    steps: Annotated[int, typer.Option("--steps", min=20, max=10_000, help="Optimiser steps in all.")] = 100,
    device: Device = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the JSON there.")
    ] = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Try growing learning rates on a recipe's labelled images, and suggest one.

    Smith 2017: the loss falls fastest at a good rate and runs away above it. Nothing is validated; the rate
    that a sweep finds on validation is worth more.
    """
    from workbench.cli.devices import foreground_device
    from workbench.cli.display import Display
    from workbench.train import Places
    from workbench.train.lr_find import range_test

    output = output and check_file(output, "--output")
    loaded = load_recipe(recipe, changes_of(sets, unsets))
    places = Places(data_home=data_home(data_dir), cache=cache_home(), device=foreground_device(device))
    with Display(error_console) as display:
        test = range_test(loaded, places, display, low=low, high=high, steps=steps)
    record = _record(test, loaded)
    written = output or _default_file(runs_home(runs_dir), loaded)
    write_file(written, record_text("lr-find", {**record, "file": str(written)}))
    if as_json:
        print_json("lr-find", {**record, "file": str(written)})
        return
    console.print(range_chart(test, width=min(console.width, 100)))
    for line in _story(test, recipe):
        console.print(line, soft_wrap=True)
    console.print(f"kept in {clean(written)}", soft_wrap=True)


def range_chart(test: RangeTest, *, width: int, height: int = 16) -> str:
    """The smoothed loss over the rate, on a logarithmic axis, as text; a vertical line at the suggestion."""
    import plotext

    from workbench.train.lr_find import DIVERGED

    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    figure.title("smoothed loss over the learning rate; the line is the suggestion")
    ceiling = min(max(test.smoothed), DIVERGED * min(test.smoothed))  # the last step would flatten the rest
    points = [(r, s) for r, s in zip(test.rates, test.smoothed, strict=True) if s <= ceiling]
    rates, losses = [math.log10(rate) for rate, _ in points], [loss for _, loss in points]
    signal = figure.signal(rates, losses, marker="braille")
    signal.lines()
    figure.draw(signal)
    ticks: Sequence[float] = range(math.ceil(rates[0] - 1e-9), math.floor(rates[-1] + 1e-9) + 1)
    if len(ticks) < 2:  # less than a decade or two
        ticks = (rates[0], rates[-1])
    figure.ruler(0, 0).ticks(list(ticks), [f"{10**tick:.2g}" for tick in ticks])
    figure.line(math.log10(test.suggestion), orientation=1)
    return str(figure.build().string(colorless=True)).rstrip("\n")


def _story(test: RangeTest, recipe: Path) -> list[str]:
    on = "the head alone, on cached features" if test.on_features else "the network, on images"
    lines = [
        f"{len(test.rates)} steps of {on}, {test.batch_size} images each",
        f"steepest fall at {test.steepest:g}; least loss divided by ten: {test.least_tenth:g}",
        f"suggestion: optimizer.learning_rate = {test.suggestion:g}",
        f"  petbench run {clean(recipe)} --set optimizer.learning_rate={test.suggestion:g}",
    ]
    if not test.diverged:
        lines.insert(2, "the loss never ran away: a higher --high or more --steps may show more")
    return lines


def _record(test: RangeTest, recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": recipe.name,
        "fingerprint": recipe_fingerprint(recipe),
        "optimizer": recipe.optimizer.name,
        "suggestion": test.suggestion,
        **asdict(test),
    }


def _default_file(home: Path, recipe: Recipe) -> Path:
    return (
        make_folder(home / FOLDER, "--runs-dir") / f"{datetime.now():%Y%m%d-%H%M%S}-{slug(recipe.name)}.json"
    )
