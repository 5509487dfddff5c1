"""The paper's figures from our runs: validation accuracy over epochs, one line a point of a sweep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.paper.numbers import Figure
from workbench.paper.svg import Line
from workbench.recipe import recipe_fingerprint
from workbench.recipe.sweep import SweepRun
from workbench.runs.epochs import EpochReader
from workbench.runs.events import EpochDone
from workbench.runs.layout import RunDirectory
from workbench.runs.summary import RunSummary


def figure_runs(figure: Figure, runs: Sequence[SweepRun]) -> list[SweepRun]:
    """The runs that a figure shows."""
    if figure.fraction is None:
        return list(runs)
    return [
        run
        for run in runs
        if run.recipe.pseudo_label is not None
        and run.recipe.pseudo_label.labelled_fraction == figure.fraction
    ]


def figure_lines(runs: Sequence[SweepRun], found: Mapping[str, RunSummary]) -> list[Line]:
    """A line a point: validation accuracy over all epochs of the run, the mean of its repeats.

    An epoch counts where every repeat has it, so that a line never jumps because a repeat ended.
    """
    curves: dict[str, list[list[float]]] = {}
    for run in runs:
        there = found.get(recipe_fingerprint(run.recipe))
        curve = [] if there is None else _accuracies(there.path)
        if curve:
            curves.setdefault(run.point, []).append(curve)
    lines = []
    for point, repeats in curves.items():
        means = [sum(at) / len(at) for at in zip(*repeats, strict=False)]
        of = f" (mean of {len(repeats)})" if len(repeats) > 1 else ""
        lines.append(Line(f"{point or 'the recipe'}{of}", list(enumerate(means, start=1))))
    return lines


def _accuracies(path: Path) -> list[float]:
    try:
        events = EpochReader().read(RunDirectory(path).metrics)
    except OSError:
        return []
    return [e.accuracy for e in events if isinstance(e, EpochDone) and e.split == "val" and e.epoch]
