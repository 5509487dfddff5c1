"""Tables at any width: names stay apart, what is left out is said; a pipe gets all of it, a row a line."""

from __future__ import annotations

import io
import string
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.cli.commands import on_screen
from tests.cli.conftest import World
from tests.cli.whole import Petbench
from tests.runs.making import finish, make_results, make_run
from workbench.cli.console import Console, console
from workbench.cli.tables import FittedTable, cut_apart, make_table
from workbench.dataset.review import Correction, Verdict, record

LONG = [
    f"{'a very long beginning of a name ' * 3}{number:03}{' and as long an end' * 3}" for number in range(6)
]
WIDE = ["猫" * 40, "猫" * 39 + "犬", "x" * 90, "x" * 45 + "y" + "x" * 44]
WIDTHS = [*range(20, 60, 3), 80, 100, 120, 160, 200]


@given(st.lists(st.text(string.ascii_letters + "猫é…", min_size=1, max_size=60)), st.integers(3, 40))
def test_names_are_cut_to_the_width_and_different_ones_stay_different(names: list[str], width: int) -> None:
    shown = cut_apart(names, width)
    if shown is not None:
        assert all(cell_len(name) <= width for name in shown)
        assert len(set(shown)) == len(set(names))
        assert [a == b for a in shown for b in shown] == [a == b for a in names for b in names]


@pytest.mark.parametrize("width", [12, 20, 33])
def test_names_that_share_their_ends_are_told_apart(width: int) -> None:
    shown = cut_apart(LONG, width)
    assert shown is not None
    assert all(f"{number:03}"[-1] in name for number, name in enumerate(shown))


def _drawn(table: FittedTable, width: int) -> list[str]:
    screen = Console()
    screen._force_terminal, screen._width, screen.no_color = True, width, True
    screen._color_system = None
    screen.file = io.StringIO()
    screen.print(table)
    return str(screen.file.getvalue()).splitlines()


def test_a_table_says_what_it_leaves_out_and_keeps_its_first_column() -> None:
    table = make_table(("name", "number", "other", "more"), right=("number",), spare=("other",))
    for number, name in enumerate(LONG + WIDE):
        table.add_row(name, str(10**9 + number), "o" * 30, "m" * 30)
    for width in WIDTHS:
        lines = _drawn(table, width)
        assert all(cell_len(line) <= width for line in lines)
        text = " ".join(" ".join(lines).split())
        for heading in ("number", "other", "more"):
            assert heading in text.split("left out")[0] or heading in text.split("left out:")[1]
        if "number" not in text.split("left out")[-1]:
            assert all(str(10**9 + number) in text for number in range(len(LONG)))


def test_a_name_that_no_cut_keeps_apart_is_shown_whole() -> None:
    table = make_table(("name",))
    for name in WIDE[2:]:
        table.add_row(name)
    assert "y" in "".join(_drawn(table, 20))


Printed = list[FittedTable]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Printed:
    """The tables that commands print."""
    tables: Printed = []
    print_: Callable[..., Any] = console.print

    def keep(*things: Any, **how: Any) -> None:
        tables.extend(thing for thing in things if isinstance(thing, FittedTable))
        print_(*things, **how)

    monkeypatch.setattr(console, "print", keep)
    return tables


@pytest.fixture
def lines(home: Path, world: World) -> list[list[str]]:
    """Command lines that print tables, on runs and reviews with hostile long names."""
    for number, name in enumerate(LONG + WIDE):
        results = make_results(teacher_accuracy=0.7)
        results = replace(results, classes=tuple((LONG + WIDE)[: len(results.classes)]))
        run = make_run(
            home / "runs", name, age_seconds=number, tags=[name], seed=number, model={"backbone": name}
        )
        finish(run, results)
    moved = ["--runs-dir", str(home / "runs")]
    for name in LONG + WIDE:
        record(home / "review.toml", Correction(name, Verdict.RELABEL, name, said=name, run=name))
    recipe = str(Path(__file__).parents[2] / "recipes" / "quickstart.toml")
    p = world.pseudo_labelled.handle
    return [
        ["runs", "ls", *moved],
        ["runs", "ls", "--columns", "name,tags,backbone,seed,test.accuracy", *moved],
        ["runs", "show", "@1", *moved],
        ["runs", "compare", "@1", "@2", "@3", "@9", "--confusion", *moved],
        ["runs", "compare", "@1", "@2", "--group", *moved],
        ["runs", "group", *moved],
        ["runs", "group", "--by", "name,backbone", *moved],
        ["review", p, "--file", str(home / "review.toml")],
        ["inspect", p],
        ["inspect", p, "--round", "2", "--order", "flips"],
        ["inspect", p, "--confused"],
        ["runs", "show", p],
        ["backbones"],
        ["strategies"],
        ["strategies", "fixmatch"],
        ["model", "show", "resnet18"],
        ["model", "show", "--recipe", recipe],
        ["recipe", "show", recipe],
        ["paper", "recipes"],
        ["paper", "table1", "--collect", "--seeds", "1", "--output", str(home / "paper")],
        ["data", "check", "--dataset", "sample"],
    ]


def test_every_table_fits_at_any_width_and_is_whole_in_a_pipe(
    lines: list[list[str]], printed: Printed, petbench: Petbench
) -> None:
    for line in lines:
        printed.clear()
        said = petbench(*line)
        assert said.code == 0, (line, said.err)
        assert printed, line
        for table in printed:
            assert "left out: " not in said.out
            rows = [
                [cell.plain if hasattr(cell, "plain") else str(cell) for cell in column.cells]
                for column in table.columns
            ]
            for row in zip(*rows, strict=True):
                assert any(all(cell in out for cell in row) for out in said.out.splitlines()), (line, row)
            for width in WIDTHS:
                assert max(map(cell_len, _drawn(table, width))) <= width, (line, width)


@pytest.mark.parametrize("columns", [40, 80])
def test_a_runs_page_stays_readable(
    columns: int, lines: list[list[str]], petbench: Petbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_screen(monkeypatch, columns)
    out = petbench(*lines[2]).out
    folded = "".join(out.split())
    assert "80.00" in out
    assert "".join(LONG[0].split()) in folded
    assert all(cell_len(line) <= columns for line in out.splitlines())


def test_a_listing_for_grep_has_every_name(petbench: Petbench) -> None:
    out = petbench("backbones").out
    assert any("mobilenet_v3_large" in line and "75.27" in line for line in out.splitlines())
    assert all(line == line.rstrip() for line in out.splitlines())
