"""`petbench runs group`: runs of one recipe under several seeds as one line, with mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.cli.arguments import Json, RunsDir
from workbench.cli.console import cell, console, make_table, print_json
from workbench.cli.sweep import spread_record, told_spread
from workbench.runs.filter import filter_runs
from workbench.runs.groups import RunGroup, group_runs
from workbench.runs.index import list_runs
from workbench.runs.keys import keys_of, resolve_key
from workbench.support.clean import clean
from workbench.support.paths import runs_home


def group(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="KEYS",
            help="Group by these keys, comma-separated, such as backbone,lr; else by all of the recipe but "
            "its seeds.",
        ),
    ] = "",
    filter_text: Annotated[
        str, typer.Option("--filter", "-f", metavar="EXPR", help="Only runs that fit, as for runs ls.")
    ] = "",
    least: Annotated[
        int, typer.Option("--least", min=1, metavar="N", help="Only groups of so many runs or more.")
    ] = 1,
    archived: Annotated[bool, typer.Option("--archived", help="Archived runs too.")] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Group runs and print mean ± sample standard deviation of their accuracies, best validation first."""
    everything = list_runs(runs_home(runs_dir))
    known = keys_of(everything)
    keys = [resolve_key(key.strip(), known, where="--by") for key in by.split(",") if key.strip()]
    chosen = filter_runs(filter_text, (run for run in everything if archived or not run.archived))
    groups = [one for one in group_runs(chosen, keys) if len(one.counted) >= least or least == 1]
    groups.sort(key=lambda one: -_validation(one))
    if as_json:
        print_json("runs-group", {"groups": [_record(one) for one in groups]})
        return
    numbers = ("runs", "val %", "test %", "teacher test %")
    table = make_table((*(keys or ("name",)), *numbers, "seeds"), right=numbers)
    for one in groups:
        table.add_row(
            *([cell("–" if value is None else value) for _, value in one.shared] or [cell(one.name)]),
            str(len(one.counted)),
            *(told_spread(one.over(key)) for key in _NUMBERS),
            cell(_seeds(one)),
        )
    console.print(table)
    counted = sum(len(one.counted) for one in groups)
    console.print(
        f"{counted} of {len(chosen)} runs in {len(groups)} groups; ± is the sample standard deviation"
    )
    for line in _other_pictures(groups):
        console.print(Text(clean(line), style="yellow"), soft_wrap=True)
    left_out = [(run, reason) for one in groups for run, reason in one.left_out]
    for run, reason in left_out[:_SHOWN_LEFT_OUT]:
        console.print(Text(clean(f"{run.handle} is left out: {reason}"), style="yellow"), soft_wrap=True)
    if len(left_out) > _SHOWN_LEFT_OUT:
        more = f"… and {len(left_out) - _SHOWN_LEFT_OUT} more: --json tells all"
        console.print(Text(more, style="yellow"), soft_wrap=True)


_NUMBERS = ("val.accuracy", "test.accuracy", "teacher.test.accuracy")
_SHOWN_SEEDS = 8
_SHOWN_LEFT_OUT = 10


def _validation(one: RunGroup) -> float:
    spread = one.over("val.accuracy")
    return -1.0 if spread is None else spread.mean


def _seeds(one: RunGroup) -> str:
    seeds = list(dict.fromkeys(one.seeds))
    more = f" and {len(seeds) - _SHOWN_SEEDS} more" if len(seeds) > _SHOWN_SEEDS else ""
    return ", ".join(seeds[:_SHOWN_SEEDS]) + more


def _other_pictures(groups: Sequence[RunGroup]) -> list[str]:
    """Which names stand for runs on different pictures: in one group, or in several of one recipe."""
    told = [
        f"{one.name}: its runs were trained on different pictures" for one in groups if len(one.pictures) > 1
    ]
    by_name: dict[str, list[RunGroup]] = {}
    for one in groups:
        if not one.shared:
            by_name.setdefault(one.name, []).append(one)
    told += [
        f"{name}: {len(pictures)} of its groups differ in the pictures they were trained on"
        for name, ones in by_name.items()
        if len(pictures := frozenset[str]().union(*(one.pictures for one in ones))) > 1
    ]
    return told


def _record(one: RunGroup) -> dict[str, Any]:
    return {
        "name": one.name,
        "by": dict(one.shared),
        "runs": [run.id for run in one.runs],
        "counted": [run.id for run in one.counted],
        "left_out": [{"id": run.id, "reason": reason} for run, reason in one.left_out],
        "seeds": list(one.seeds),
        **{key: spread_record(one.over(key)) for key in _NUMBERS},
    }
