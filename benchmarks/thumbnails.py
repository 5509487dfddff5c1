"""How fast pictures come to the screen: thumbnails made and kept, drawn in blocks, a page of Inspect.

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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from textual.events import Key

from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.support.paths import data_home, runs_home
from workbench.tui.app import PetbenchApp
from workbench.tui.app_session import Session
from workbench.tui.pictures import choose_drawing
from workbench.tui.pictures.blocks import Blocks, Pixels, draw, fit, forget_cells, shrink
from workbench.tui.pictures.files import picture_files
from workbench.tui.pictures.thumbnails import Thumbnails
from workbench.tui.pictures.tiling import tiling
from workbench.tui.places import InspectPlace
from workbench.tui.screens.inspect import InspectScreen
from workbench.tui.widgets.picture import read_picture

SIZE = (160, 48)
BUDGET_SECONDS = 0.1
"""What a page of kept thumbnails may take on an idle machine."""


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
            list(thumbnails.many(page, *size))
            cold = time.perf_counter() - began
            kept = _best(lambda: list(thumbnails.many(page, *size)), arguments.repeat)
        print(
            f"{len(page)} thumbnails: cold {1000 * cold:.0f} ms, kept {1000 * kept:.0f} ms, "
            f"{cold / kept:.1f} times as fast"
        )
        _print_blocks(page, size, arguments.repeat)
        for blocks in Blocks:
            choose_drawing(blocks)
            turns = asyncio.run(_pages(run, arguments.runs_dir, arguments.data_dir, arguments.repeat))
            median = statistics.median(turn.seconds for turn in turns)
            processor = statistics.median(turn.processor for turn in turns)
            verdict = "within" if median < BUDGET_SECONDS else "OVER"
            print(
                f"a page of Inspect ({blocks}) from kept thumbnails: median {1000 * median:.0f} ms, worst "
                f"{1000 * max(turn.seconds for turn in turns):.0f} ms, of which the processor had "
                f"{1000 * processor:.0f}; {verdict} the {1000 * BUDGET_SECONDS:.0f} ms allowed"
            )


def _print_blocks(page: Sequence[Path], size: tuple[int, int], repeat: int) -> None:
    """The page's thumbnails, and the first picture large, drawn in every kind of blocks in turn."""
    image, reason = read_picture(page[0])
    if image is None:
        raise SystemExit(f"{page[0]}: {reason}")
    print(f"one large: read {1000 * _best(lambda: read_picture(page[0]), repeat):.1f} ms")
    half: dict[str, float] = {}
    for blocks in Blocks:
        with TemporaryDirectory() as folder:
            thumbnails = Thumbnails(Path(folder), blocks=blocks)
            small = [found.pixels for found in thumbnails.many(page, *size) if found.pixels is not None]
        large = shrink(image, *fit(image.size, 104, 44), blocks)
        for name, pixels in ((f"{len(small)} of {size[0]}×{size[1]}", small), ("one of 104×44", [large])):
            took = _best(lambda: _drawn_anew(pixels), repeat)  # noqa: B023
            share = took / half.setdefault(name, took)
            print(f"{name} drawn as {blocks}: {1000 * took:.1f} ms, {share:.1f} times as long as half")


def _drawn_anew(pixels: Sequence[Pixels]) -> None:
    forget_cells()  # colours that were drawn before cost nothing
    for one in pixels:
        draw(one)


@dataclass(frozen=True, slots=True)
class Turn:
    """A page turned: seconds from the key to the last picture, and the processor's part of them."""

    seconds: float
    processor: float


async def _pages(run: RunDirectory, runs: Path, data: Path, pages: int) -> list[Turn]:
    """Of pages seen once before in another app."""
    await _turn_pages(run, runs, data, pages)
    return await _turn_pages(run, runs, data, pages)


async def _turn_pages(run: RunDirectory, runs: Path, data: Path, pages: int) -> list[Turn]:
    app = PetbenchApp(runs, data, Session(None), live=False)
    turns = []
    async with app.run_test(size=SIZE) as pilot:
        app.go(InspectPlace(run=run.id))
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, InspectScreen)
        await _until(lambda: bool(screen.files.paths) and screen.grid.is_complete)
        for _ in range(pages):
            before = screen.grid.cursor
            began, busy = time.perf_counter(), time.process_time()
            screen.grid.forget_pictures()  # those read ahead would make it look faster than it is
            app.post_message(Key("pagedown", None))  # a Pilot's own key waits for the app to be idle
            await _until(lambda: screen.grid.cursor != before and screen.grid.is_complete)  # noqa: B023
            drawn = asyncio.Event()
            screen.call_after_refresh(drawn.set)
            await drawn.wait()
            turns.append(Turn(time.perf_counter() - began, time.process_time() - busy))
    return turns


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
