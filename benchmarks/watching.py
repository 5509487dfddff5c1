"""What watching a run costs: processor share beside a live run, and redraws at up to a million points.

    python -m benchmarks.watching [--seconds 20]

Prints a table a question. The peer for redraws is plotext, given the same points as far as it can be
waited for: at 100,000 it takes many seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import psutil

from workbench.runs.curves import RunFollower
from workbench.runs.events import ConfusionSeen, EpochDone, StageStarted, StepDone
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.metrics import MetricsWriter
from workbench.runs.process import beat, write_process
from workbench.tui.app import PetbenchApp
from workbench.tui.app_session import Session
from workbench.tui.draw.chart_curves import ChartData, ChartView, CurveCache, Series
from workbench.tui.draw.chart_drawing import draw_chart
from workbench.tui.places import WatchPlace
from workbench.tui.themes import Palette, palette_of

POINTS = (1_000, 10_000, 100_000, 1_000_000)
PEERS_MOST = 10_000
STEPS_A_SECOND = 4.0
STEPS_AN_EPOCH = 40
CLASSES = 37
SIZE = (80, 20)  # cells of each of the two charts


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to watch a live run")
    seconds = parser.parse_args().seconds
    print("Redraw of two charts, 80 by 20 cells, milliseconds")
    print(f"{'points':>10} {'first':>8} {'again':>8} {'followed':>9} {'plotext':>9} {'ratio':>7}")
    for points in POINTS:
        first, again = redraw(points)
        line = f"{points:>10,} {first:>8.1f} {again:>8.1f} {redraw_followed(points):>9.1f}"
        if points <= PEERS_MOST:
            peer = plotext_redraw(points)
            line += f" {peer:>9.0f} {peer / again:>6.0f}×"
        print(line, flush=True)
    print(
        "first: arrays never seen before; again: the same arrays; followed: a new snapshot of a run's steps"
    )
    print()
    print("Following a run's files, milliseconds a refresh")
    print(f"{'steps':>10} {'all at first':>13} {'one more':>9} {'nothing new':>12}")
    for points in (1_000, 100_000):
        print("{:>10,} {:>13.0f} {:>9.2f} {:>12.2f}".format(points, *following(points)))
    print()
    share = asyncio.run(watch_live(seconds))
    print(f"Watching one live run for {seconds:.0f} s: {share:.1%} of a core (aim: under 5 %)")


def redraw(points: int) -> tuple[float, float]:
    """Milliseconds for two charts: with arrays that are new, and with those of the last time."""
    cache, palette = CurveCache(), palette_of("petbench-dark")
    first = []
    for seed in range(3):
        charts = [_chart(points, 2 * seed + i) for i in range(2)]
        first.append(_milliseconds(lambda: _draw(charts, palette, cache)))  # noqa: B023 - called at once
    again = [_milliseconds(lambda: _draw(charts, palette, cache)) for _ in range(10)]
    return statistics.median(first), statistics.median(again)


def redraw_followed(points: int) -> float:
    """Milliseconds as `first`, for the curves of a run of so many steps as the follower gives them."""
    from workbench.runs.curve_history import CurveTable

    table = CurveTable(7, extremes_of=3)
    rng = np.random.default_rng(0)
    for start in range(0, points, 50_000):
        count = min(50_000, points - start)
        block = np.zeros((count, 7))
        block[:, 1] = np.arange(start, start + count)
        block[:, 3] = rng.normal(size=count)
        table.extend(block)
    palette, cache, times = palette_of("petbench-dark"), CurveCache(), []
    for _ in range(5):
        columns = table.rows.T.copy()
        charts = [ChartData("loss", (Series("a", columns[1], columns[3], 0),)) for _ in range(2)]
        times.append(_milliseconds(lambda: _draw(charts, palette, cache)))  # noqa: B023 - called at once
    return statistics.median(times)


def plotext_redraw(points: int) -> float:
    """Milliseconds that plotext takes for the same two charts."""
    import plotext

    charts = [_chart(points, i) for i in range(2)]

    def draw() -> None:
        for chart in charts:
            figure = plotext.figure
            figure.clear()
            figure.plot_size(*SIZE)
            series = chart.series[0]
            signal = figure.signal(series.x.tolist(), series.y.tolist(), marker="braille")
            signal.lines()
            figure.draw(signal)
            str(figure.build().string(colorless=True))

    draw()
    return _milliseconds(draw)


def following(steps: int) -> tuple[float, float, float]:
    """Milliseconds to read a run of so many steps, to take up one more, and to see that nothing is new."""
    with tempfile.TemporaryDirectory() as folder:
        run = _run(Path(folder))
        with MetricsWriter(run.metrics) as writer:
            writer.event(StageStarted("fit", 0, 10**6, 2944, 0, False))
            for step in range(1, steps + 1):
                writer.event(_step(step))
            follower = RunFollower(run)

            def read_all() -> None:
                while follower.refresh().read_share < 1:
                    pass
                follower.refresh()

            whole = _milliseconds(read_all)
            more = []
            for step in range(steps + 1, steps + 21):
                writer.event(_step(step))
                more.append(_milliseconds(follower.refresh))
        nothing = [_milliseconds(follower.refresh) for _ in range(20)]
    return whole, statistics.median(more), statistics.median(nothing)


async def watch_live(seconds: float) -> float:
    """Share of a core that the app takes while another process writes a run at a usual pace."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        run = _run(home)
        stop = multiprocessing.get_context("spawn").Event()
        writer = multiprocessing.get_context("spawn").Process(target=write_live, args=(run.path, stop))
        writer.start()
        try:
            app = PetbenchApp(home, home, Session(None))
            async with app.run_test(size=(160, 48)) as pilot:
                app.go(WatchPlace(run.id))
                await pilot.pause(3.0)
                own = psutil.Process()
                before, began = sum(own.cpu_times()[:2]), time.monotonic()
                await asyncio.sleep(seconds)
                return float(sum(own.cpu_times()[:2]) - before) / (time.monotonic() - began)
        finally:
            stop.set()
            writer.join()


def write_live(path: Path, stop: multiprocessing.synchronize.Event) -> None:
    """Be the trainer of a run: four logged steps a second, an epoch of 37 classes every ten seconds."""
    run = RunDirectory(path)
    write_process(run, "cpu", pid=os.getpid())
    rng = np.random.default_rng(0)
    step = 0
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("fit", 0, 10_000, 2944, 0, False))
        while not stop.wait(1 / STEPS_A_SECOND):
            step += 1
            beat(run)
            writer.event(_step(step))
            if step % STEPS_AN_EPOCH == 0:
                epoch = step // STEPS_AN_EPOCH
                for split in ("train", "val"):
                    accuracy = float(0.9 - 0.5 * np.exp(-epoch / 5))
                    writer.event(EpochDone("fit", 0, epoch, split, 1 / epoch, accuracy, 1e-3, 400.0, 10.0))
                matrix = rng.poisson(0.2, (CLASSES, CLASSES)) + 18 * np.eye(CLASSES, dtype=int)
                writer.event(ConfusionSeen("fit", 0, epoch, matrix.tolist()))


def _run(home: Path) -> RunDirectory:
    recipe = 'schema = 1\nname = "watched"\n[training]\nepochs = 10000\nbatch_size = 64\n'
    return create_run(home, "watched", recipe, datetime.now())


def _step(step: int) -> StepDone:
    epoch = 1 + (step - 1) // STEPS_AN_EPOCH
    return StepDone("fit", 0, epoch, step, 2.0 / step**0.3, 1e-3, 400.0 + step % 7, 2**30)


def _chart(points: int, seed: int) -> ChartData:
    rng = np.random.default_rng(seed)
    return ChartData("loss", (Series("a", np.arange(float(points)), rng.normal(size=points), 0),))


def _draw(charts: list[ChartData], palette: Palette, cache: CurveCache) -> None:
    for chart in charts:
        draw_chart(chart, ChartView(), *SIZE, palette, cache)


def _milliseconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main()
