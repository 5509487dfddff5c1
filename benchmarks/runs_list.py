"""What a list of runs costs: read cold, read warm, looked at again, filtered, sorted, drawn.

    python -m benchmarks.runs_list [--runs 1000 10000]

Everything in one process, on generated run directories; the screen is drawn by Textual without a terminal.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.many_runs import make_runs
from workbench.runs.index import INDEX, list_runs
from workbench.runs.watching import RunsView, RunsWatch
from workbench.tui.app import PetbenchApp
from workbench.tui.app_session import Session
from workbench.tui.runs_feed import RunsChanged
from workbench.tui.screens.runs.run_list import Lister, Query
from workbench.tui.screens.runs.run_table import RunsTable

_FILTER = "pseudo.labelled_fraction=0.1 and test.accuracy>0.7"
_REPEATS = 20


def main() -> None:
    """Measure and print, a column a number of runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000])
    counts: list[int] = parser.parse_args().runs
    measured = [_measure(count) for count in counts]
    print(f"{'milliseconds':44}" + "".join(f"{count:>12,}" for count in counts))
    for what in measured[0]:
        print(f"{what:44}" + "".join(f"{1000 * column[what]:>12.2f}" for column in measured))


def _measure(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "runs"
        os.environ["PETBENCH_STATE"] = str(Path(folder) / "state")
        make_runs(home, count)
        time.sleep(2.5)  # what changed a moment ago is not cached
        seconds = {"list, cold index": _timed(lambda: list_runs(home))}
        seconds["list, warm index"] = _timed(lambda: list_runs(home))
        seconds["watch, first page, warm"] = _timed(lambda: RunsWatch(home).refresh())
        watch = RunsWatch(home)
        view = _whole(watch)
        seconds["watch, nothing changed"] = statistics.median(_timed(watch.refresh) for _ in range(_REPEATS))
        lister = Lister()
        seconds["filter, first time"] = _timed(lambda: lister.listing(view, Query(_FILTER)))
        seconds["filter, nothing changed"] = _timed(lambda: lister.listing(view, Query(_FILTER)))
        seconds["sort by a result, first time"] = _timed(
            lambda: lister.listing(view, Query(sort="test.accuracy"))
        )
        seconds |= asyncio.run(_drawn(home, view))
        (home / INDEX).unlink()
        cold = RunsWatch(home)
        seconds["watch, first runs, cold"] = _timed(cold.refresh)
        return seconds


async def _drawn(home: Path, view: RunsView) -> dict[str, float]:
    """Opening the screen is not in it: a view arrives, the cursor goes down, the end is shown."""
    app = PetbenchApp(home, home, Session(None), live=False)
    async with app.run_test(size=(160, 48)) as pilot:
        began = time.perf_counter()
        app.post_message(RunsChanged(view))
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        shown = time.perf_counter() - began
        table = app.screen.query_one(RunsTable)
        moved = [await _after(pilot.pause, lambda: table.action_move(1)) for _ in range(_REPEATS)]
        paged = [await _after(pilot.pause, lambda: table.action_page(1)) for _ in range(_REPEATS)]
        return {
            "screen, all runs arrive (160×48)": shown,
            "screen, cursor down": statistics.median(moved),
            "screen, page down": statistics.median(paged),
        }


async def _after(pause: Callable[[], object], act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    waiting = pause()
    if asyncio.iscoroutine(waiting):
        await waiting
    return time.perf_counter() - began


def _whole(watch: RunsWatch) -> RunsView:
    while True:
        view = watch.refresh()
        if view.complete:
            return view


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
