"""How the comparison is looked at: what the session keeps, and the commands that give the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from workbench.runs.curves import CURVE_METRICS, Axis, CurveMetric
from workbench.runs.summary import RunSummary
from workbench.support.records import plain, record_or_defaults
from workbench.tui.screens.compare.board import Board

SMOOTHINGS = (0.0, 0.6, 0.9)


class Tab(StrEnum):
    """The four ways to compare."""

    CURVES = "curves"
    RECIPE = "recipe"
    RESULTS = "results"
    CONFUSION = "confusion"


@dataclass(frozen=True, slots=True)
class Look:
    """Choices that a person made; runs by their ids, empty for none in particular."""

    tab: Tab = Tab.CURVES
    baseline: str = ""
    chosen: str = ""
    """The run under the cursor, on every tab."""
    metric: str = "val.accuracy"
    axis: Axis = "epoch"
    smoothing: float = 0.0
    log: bool = False
    spotlight: bool = False
    """Whether only the chosen run's curve and the baseline's are clear."""
    seeds: bool = False
    """Whether runs that differ only in seeds stand as one."""
    all_keys: bool = False
    """Whether the recipes' equal keys are shown too."""

    @property
    def curve(self) -> CurveMetric:
        """The number that the curves show."""
        return CURVE_METRICS[self.metric]

    def pack(self) -> dict[str, Any]:
        """As JSON values."""
        packed: dict[str, Any] = plain(self)
        return packed


def unpack_look(values: Mapping[str, Any]) -> Look:
    """What `pack` packed; whatever is not as it should be is left at its default."""
    look, first = record_or_defaults(values, Look), Look()
    return replace(
        look,
        metric=look.metric if look.metric in CURVE_METRICS else first.metric,
        smoothing=look.smoothing if look.smoothing in SMOOTHINGS else first.smoothing,
    )


def command_lines(runs: Sequence[RunSummary], look: Look, board: Board | None) -> list[str]:
    """The line for the open tab first, then those for the rest."""
    if board is None or not runs:
        return ["petbench runs ls", "petbench runs compare RUN RUN"]
    handles = [_named(run, board.runs) for run in board.runs]
    line = f"petbench runs compare {' '.join(handles)}"
    if board.baseline:
        line += f" --baseline {handles[board.baseline]}"
    if look.seeds:
        line += " --group"
    by = "" if look.axis == "epoch" else f" --by {look.axis}"
    first, second = board.baseline, board.compared(look.chosen)
    pair = f"petbench runs compare {handles[first]} {handles[second]} --confusion"
    recipes = [_recipe(board, place) for place in (first, second)]
    lines = {
        Tab.RESULTS: line,
        Tab.RECIPE: f"petbench recipe diff {' '.join(recipes)}",
        Tab.CURVES: f"{line} --curve {look.metric}{by}",
        Tab.CONFUSION: pair,
    }
    return [lines.pop(look.tab), *lines.values(), f"{line} --export compare.md"]


def _named(run: RunSummary, runs: Sequence[RunSummary]) -> str:
    """The handle, or the whole id where another of these runs has the same one."""
    alike = sum(other.handle == run.handle for other in runs)
    return shlex.quote(run.handle if alike == 1 else run.id)


def _recipe(board: Board, place: int) -> str:
    return shlex.quote(str(board.runs[place].run.recipe))
