"""Watch in every state of a run: what it shows, and what it says in words."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runs.making import NOW, make_results
from tests.tui.driving import NARROW, WIDE, bench, opened, said, screen_text, settle
from tests.tui.runs.states import queued, sleeper
from tests.tui.watch.driving import Snapshot, press, reread, screen
from tests.tui.watch.runs import (
    START,
    alive,
    averaged,
    dead,
    failed,
    made,
    parked,
    preparing,
    stalled,
    starting,
    stopping,
    teacher_and_round,
    together,
    write_log,
    write_timed,
)
from workbench.runs.events import EpochDone
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter
from workbench.runs.process import write_exit
from workbench.runs.results import write_results
from workbench.tui.places import WatchPlace
from workbench.tui.screens.dialogs import AskYesNo
from workbench.tui.screens.watch.news import ProcessMeter, ProcessUse

Become = Callable[[RunDirectory, subprocess.Popen[bytes]], object]


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_finished_run_as_it_is_kept(
    ended: RunDirectory, size: tuple[int, int], snapshot: Snapshot
) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=size) as pilot:
        snapshot(pilot, "watch-finished")
        for key, name in (("2", "confusion"), ("3", "pseudo"), ("4", "log"), ("5", "recipe")):
            await press(pilot, key)
            snapshot(pilot, f"watch-{name}")


@pytest.fixture
def steady(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs from one machine to another stands still: paths, and what processes take."""
    monkeypatch.chdir(home.parent)
    monkeypatch.setattr(ProcessMeter, "read", lambda _meter, _pid: ProcessUse(1.25, 3 * 2**29))


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize(
    ("name", "become"),
    [
        ("live", alive),
        ("failed", failed),
        ("stopped", parked),
        ("lost", dead),
    ],
)
@pytest.mark.usefixtures("steady")
async def test_a_run_that_has_begun_in_every_state(
    run: RunDirectory, name: str, become: Become, size: tuple[int, int], snapshot: Snapshot
) -> None:
    with sleeper(run) as process:
        become(run, process)
        async with opened(run.path.parent, place=WatchPlace(run.id), size=size) as pilot:
            snapshot(pilot, f"watch-{name}")


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.usefixtures("steady")
async def test_a_run_of_several_processes_tells_what_each_does(
    home: Path, clock: list[float], size: tuple[int, int], snapshot: Snapshot
) -> None:
    run = made(home)
    events = together(teacher_and_round(), [101.25, 99.75], [3 * 2**29, 2**30])
    write_timed(run, events, clock)
    write_log(run)
    with sleeper(run) as process:
        alive(run, process)
        async with opened(home, place=WatchPlace(run.id), size=size) as pilot:
            snapshot(pilot, "watch-ranks")


async def test_of_many_processes_the_least_and_the_most_are_told(home: Path, clock: list[float]) -> None:
    run = made(home)
    speeds = [100.0 + rank for rank in range(8)]
    write_timed(run, together(teacher_and_round(), speeds, [2**30] * 8), clock)
    async with opened(home, place=WatchPlace(run.id)) as pilot:
        assert "8 ranks, epoch 2 100 to 107 img/s each  1.0 GiB each" in screen_text(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize(("name", "become"), [("empty", None), ("queued", queued), ("preparing", preparing)])
@pytest.mark.usefixtures("steady", "clock")
async def test_a_run_that_has_not_begun_in_every_state(
    home: Path, name: str, become: Become | None, size: tuple[int, int], snapshot: Snapshot
) -> None:
    run = made(home)
    with sleeper(run) as process:
        if become is not None:
            become(run, process)
        async with opened(home, place=WatchPlace(run.id), size=size) as pilot:
            snapshot(pilot, f"watch-{name}")
            for key in "2345":
                await press(pilot, key)


@pytest.mark.parametrize(
    ("become", "word", "notice"),
    [
        (starting, "starting", "has a device and is loading; the first epoch comes soon"),
        (stopping, "stopping", "finishes its batch and writes a checkpoint"),
        (stalled, "stalled", "alive, but without a sign for 1m30s; log: runs/20261122-120000-lite_iter-aaa1"),
        (dead, "lost", "died without a word; p goes on from the last checkpoint. log: runs/20261122"),
        (parked, "stopped", "paused; p goes on from the checkpoint"),
        (failed, "failed", "OOM @ step 41"),
        (preparing, "live", "prepares: 2026-11-22 12:00:59 decodes 1,203 of 3,680 images"),
    ],
)
@pytest.mark.usefixtures("steady", "clock")
async def test_every_state_is_told_in_words(home: Path, become: Become, word: str, notice: str) -> None:
    run = made(home)
    with sleeper(run) as process:
        become(run, process)
        async with opened(home, place=WatchPlace(run.id), size=WIDE) as pilot:
            text = screen_text(pilot)
            assert f"{word}\n" in text
            assert notice in text


@pytest.mark.usefixtures("steady", "clock")
async def test_how_long_a_stalled_run_has_been_silent_goes_by_the_clock(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(home)
    with sleeper(run) as process:
        stalled(run, process)
        async with opened(home, place=WatchPlace(run.id)) as pilot:
            run.heartbeat.unlink()  # a screen that draws reads no files
            monkeypatch.setattr(bench(pilot), "now", lambda: START + 150)
            screen(pilot).show_clock()
            await settle(pilot)
            assert "without a sign for 4m00s" in screen_text(pilot)


def test_a_process_is_measured_with_its_children_and_one_that_is_gone_is_not() -> None:
    meter = ProcessMeter()
    alone = meter.read(os.getpid())
    assert alone is not None
    assert alone.memory_bytes > 0
    with sleeper() as process:
        both = meter.read(os.getpid())
        assert meter.read(process.pid) is not None
    assert both is not None
    assert both.cpu >= 0
    assert meter.read(process.pid) is None


async def test_a_live_run_moves_on_while_it_is_watched(run: RunDirectory, clock: list[float]) -> None:
    with sleeper(run) as process:
        alive(run, process)
        async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
            text = screen_text(pilot)
            assert "● live" in text
            assert "round 1/2  epoch 2/4" in text
            assert "eta" in text
            with MetricsWriter(run.metrics) as writer:
                clock[0] += 5
                writer.event(EpochDone("student", 1, 3, "val", 0.4, 0.987, 1e-3, 200.0, 2.0))
            text = await reread(pilot)
            assert "epoch 3/4" in text
            assert "val .987" in text


async def test_nothing_is_read_while_another_screen_is_on_top(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        watched = screen(pilot)
        assert watched._seen.is_set()
        await pilot.app.push_screen(AskYesNo("?"))
        assert not watched._seen.is_set()
        await press(pilot, "n")
        assert watched._seen.is_set()


async def test_a_run_that_is_not_there_is_told(home: Path) -> None:
    async with opened(home, place=WatchPlace("20260101-000000-gone-0000")) as pilot:
        assert "there is no run 20260101-000000-gone-0000" in screen_text(pilot)
        assert screen(pilot).why_not("watch.stop") == "the run is being read"


async def test_a_run_whose_directory_is_removed_says_so_and_keeps_what_was_seen(ended: RunDirectory) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        shutil.rmtree(ended.path)
        text = await reread(pilot)
        assert "its directory is gone" in text
        assert "never started" not in text
        assert "val" in text
        for key in ("s", "p"):
            await press(pilot, key)
            assert "not there any more" in said(pilot)[-1]


async def test_damage_is_said_where_the_run_is_watched(ended: RunDirectory) -> None:
    with ended.metrics.open("ab") as stream:
        stream.write(b"\x00\x00garbage\n{\n")
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        assert "2 lines of metrics.jsonl cannot be read" in screen_text(pilot)
    ended.recipe.write_text("name = [")
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        assert "recipe.toml:" in screen_text(pilot)


async def test_a_run_with_an_unreadable_recipe_is_not_called_supervised(home: Path) -> None:
    run = made(home)
    run.recipe.write_text("name = [")
    async with opened(home, place=WatchPlace(run.id)) as pilot:
        assert "whether it has a teacher is not known" in await press(pilot, "3")


async def test_the_clock_is_right_on_a_screen_that_one_returns_to(
    ended: RunDirectory, clock: list[float]
) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        assert "12:00" in screen_text(pilot)
        pilot.app.now = lambda: NOW.timestamp() + 300  # type: ignore[attr-defined]
        pilot.app._tick()  # type: ignore[attr-defined]
        await press(pilot, "escape")
        assert "12:05" in screen_text(pilot).splitlines()[0]


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_an_ensemble_says_that_it_is_a_mean_and_has_no_epochs(
    home: Path, size: tuple[int, int]
) -> None:
    run = averaged(home)
    async with opened(home, place=WatchPlace(run.id), size=size) as pilot:
        curves = screen_text(pilot)
        assert "the mean of 2 runs" in curves.splitlines()[1]
        assert "@" not in curves.splitlines()[1]
        assert "has no curves" in curves
        assert "which trained nothing: lite0, lite1" in curves
        confusion = await press(pilot, "2")
        assert "true Abyssinian → said Bengal: 1 of 6" in confusion
        line = next(line for line in confusion.splitlines() if "said Bengal" in line)
        assert line.rstrip().endswith(("the mean of 2 runs", "the mean of 2 runs  by name"))
        assert "labelled no pool of its own" in await press(pilot, "3")


async def test_the_test_accuracy_on_top_is_that_of_the_model_that_the_run_keeps(
    run: RunDirectory, clock: list[float]
) -> None:
    with MetricsWriter(run.metrics) as writer:
        writer.event(EpochDone("teacher", 0, 4, "test", 0.6, 0.61, 0.0, 0.0, 0.0))
        writer.event(EpochDone("student", 1, 2, "test", 0.6, 0.87, 0.0, 0.0, 0.0))
    results = make_results(0.5, teacher_accuracy=0.61)
    write_results(run.results, replace(results, best_stage="teacher", best_round=0, best_epoch=4))
    write_exit(run, code=0)
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        line = screen_text(pilot).splitlines()[1]
        assert "test .610" in line
        assert "@teacher 4" in line
