"""How fast pictures come to the screen: thumbnails made and kept, half-cells, a page of Inspect.

    python -m benchmarks.thumbnails --run RUN [--runs-dir DIR] [--data-dir DIR] [--repeat 5]

RUN is a finished run whose images are on this machine. A page is what a terminal of 160×48 shows: 20 images.
Cold: no thumbnail is kept; kept: all are. The page is timed in the real app without a terminal, from the key
that turns the page to the moment when every picture is drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from textual.events import Key

from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.support.paths import data_home, runs_home
from workbench.tui.app import PetbenchApp
from workbench.tui.pictures.files import picture_files
from workbench.tui.pictures.half_cells import fit, half_cells, shrink
from workbench.tui.pictures.thumbnails import Thumbnails
from workbench.tui.pictures.tiling import tiling
from workbench.tui.places import InspectPlace
from workbench.tui.screens.inspect import InspectScreen
from workbench.tui.session import Session
from workbench.tui.widgets.picture import read_picture

SIZE = (160, 48)
BUDGET_SECONDS = 0.3
"""What a page of kept thumbnails may take."""


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    run = find_run(arguments.runs_dir, arguments.run)
    with TemporaryDirectory() as cache:
        os.environ["PETBENCH_CACHE"] = os.environ["PETBENCH_STATE"] = cache
        began = time.perf_counter()
        files = picture_files(load_recipe(run.recipe).data, arguments.data_dir)
        first = time.perf_counter() - began
        again = _best(
            lambda: picture_files(load_recipe(run.recipe).data, arguments.data_dir), arguments.repeat
        )
        print(f"ids to files, {len(files):,} images: first time {first:.2f} s, then {1000 * again:.0f} ms")
        lay = tiling(104, 42)
        page = list(files.values())[: lay.per_page]
        size = (lay.picture_columns, lay.picture_rows)
        with TemporaryDirectory() as folder:
            thumbnails = Thumbnails(Path(folder))
            began = time.perf_counter()
            pixels = [found.pixels for found in thumbnails.many(page, *size)]
            cold = time.perf_counter() - began
            kept = _best(lambda: list(thumbnails.many(page, *size)), arguments.repeat)
        # Once: colours that were drawn before cost nothing.
        drawn = _best(lambda: [half_cells(one) for one in pixels if one is not None], 1)
        print(
            f"{len(page)} thumbnails: cold {1000 * cold:.0f} ms, kept {1000 * kept:.0f} ms, "
            f"{cold / kept:.1f} times as fast"
        )
        print(f"{len(page)} drawn in half-cells of {size[0]}×{size[1]}: {1000 * drawn:.1f} ms")
        _print_large(page[0], arguments.repeat)
        times = asyncio.run(_pages(run, arguments.runs_dir, arguments.data_dir, arguments.repeat))
        median = statistics.median(times)
        verdict = "within" if median < BUDGET_SECONDS else "OVER"
        print(
            f"a page of Inspect from kept thumbnails: median {1000 * median:.0f} ms, worst "
            f"{1000 * max(times):.0f} ms; {verdict} the {1000 * BUDGET_SECONDS:.0f} ms allowed"
        )


def _print_large(path: Path, repeat: int) -> None:
    image, reason = read_picture(path)
    if image is None:
        raise SystemExit(f"{path}: {reason}")
    read = _best(lambda: read_picture(path), repeat)
    drawn = _best(lambda: half_cells(shrink(image, *fit(image.size, 104, 44))), 1)
    print(f"one large: read {1000 * read:.1f} ms, 104×44 half-cells {1000 * drawn:.1f} ms")


async def _pages(run: RunDirectory, runs: Path, data: Path, pages: int) -> list[float]:
    """Seconds from the key to the last picture, for pages seen once before in another app."""
    await _turn_pages(run, runs, data, pages)
    return await _turn_pages(run, runs, data, pages)


async def _turn_pages(run: RunDirectory, runs: Path, data: Path, pages: int) -> list[float]:
    app = PetbenchApp(runs, data, Session(None), live=False)
    times = []
    async with app.run_test(size=SIZE) as pilot:
        app.go(InspectPlace(run=run.id))
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, InspectScreen)
        await _until(lambda: bool(screen.files) and screen.grid.is_complete)
        for _ in range(pages):
            before = screen.grid.cursor
            began = time.perf_counter()
            screen.grid.forget_pictures()  # those read ahead would make it look faster than it is
            app.post_message(Key("pagedown", None))  # a Pilot's own key waits for the app to be idle
            await _until(lambda: screen.grid.cursor != before and screen.grid.is_complete)  # noqa: B023
            drawn = asyncio.Event()
            screen.call_after_refresh(drawn.set)
            await drawn.wait()
            times.append(time.perf_counter() - began)
    return times


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await asyncio.sleep(0.001)


def _best(work: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(max(1, repeat)):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--run", required=True)
    parser.add_argument("--runs-dir", type=Path, default=runs_home())
    parser.add_argument("--data-dir", type=Path, default=data_home())
    parser.add_argument("--repeat", type=int, default=5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
