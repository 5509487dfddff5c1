"""The command lines that give what the Compare screen shows."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from workbench.runs.summary import RunSummary
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.confusion_panel import compared
from workbench.tui.screens.compare.look import Look, Tab


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
    pair = f"petbench runs compare {handles[board.baseline]} {handles[compared(board, look)]} --confusion"
    recipes = [_recipe(board, place) for place in (board.baseline, compared(board, look))]
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
