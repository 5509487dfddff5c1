"""The columns of a table over runs or over groups of seeds."""

from __future__ import annotations

from rich.text import Text

from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.look import Look
from workbench.tui.screens.compare.sheet import Column
from workbench.tui.screens.compare.signs import GROUP, heading, marker
from workbench.tui.themes import Palette

_NAME_CELLS = 18


def headings(board: Board, look: Look, colours: Palette, *, first: str, right: bool = False) -> list[Column]:
    """A column for the names of the lines, then one a run or a group; keys are the ids of (first) runs."""
    columns = [Column("", Text(first))]
    if look.seeds:
        for number, (group, name) in enumerate(zip(board.groups.groups, board.group_names, strict=True)):
            is_baseline = number == board.groups.baseline
            label = heading(name, GROUP, number, is_baseline=is_baseline, colours=colours, limit=_NAME_CELLS)
            columns.append(Column(board.runs[group.runs[0]].id, label, right))
        return columns
    for place, (run, name) in enumerate(zip(board.runs, board.names, strict=True)):
        label = heading(
            name,
            marker(place),
            place,
            is_baseline=place == board.baseline,
            colours=colours,
            limit=_NAME_CELLS,
        )
        columns.append(Column(run.id, label, right))
    return columns


def column_of(board: Board, look: Look) -> str:
    """The key of the column that the chosen run is in; empty where none is chosen."""
    place = board.place_of(look.chosen)
    if place is None or not look.seeds:
        return look.chosen
    return board.runs[board.groups.groups[board.group_of(place)].runs[0]].id
