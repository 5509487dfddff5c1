"""Ways to look at a run: curves, rounds, tabs, and what the session keeps of them."""

from __future__ import annotations

from pathlib import Path

from tests.tui.driving import WIDE, opened, screen_text, settle
from tests.tui.watch.driving import press, screen
from tests.tui.watch.runs import made, write_timed
from workbench.runs.events import PoolTaught, RoundLabelled, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.tui.app_session import Session
from workbench.tui.places import WatchPlace
from workbench.tui.screens.watch.confusion_tab import ConfusionPanel
from workbench.tui.screens.watch.curve_tab import CurvesPanel


async def test_curves_are_smoothed_rescaled_and_counted_otherwise(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        curves = screen(pilot).query_one(CurvesPanel)
        await press(pilot, "m")
        assert [chart.smoothing for chart in curves.charts] == [0.6, 0.6]
        assert "loss log" in await press(pilot, "g")
        assert "step" in await press(pilot, "x")
        assert "time" in await press(pilot, "x")
        for name in ("learning rate", "images/s", "memory GiB", "loss"):
            assert name in await press(pilot, "v")


async def test_zoom_pan_and_cursor_are_shared_by_both_charts(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        accuracy, other = screen(pilot).query_one(CurvesPanel).charts
        await press(pilot, "plus")
        assert accuracy.window == other.window is not None
        before = accuracy.window
        await press(pilot, "shift+left")
        assert accuracy.window is not None
        assert before is not None
        assert accuracy.window[0] < before[0]
        await press(pilot, "minus")
        assert accuracy.window is None
        text = await press(pilot, "left")
        assert accuracy.cursor == other.cursor == 6.0
        assert text.count("@6") == 2
        await press(pilot, "left", "left")
        assert accuracy.cursor is not None
        assert accuracy.cursor < 6.0
        await press(pilot, "0")
        assert accuracy.cursor is other.cursor is None


async def test_an_earlier_round_is_looked_at(run: RunDirectory, clock: list[float]) -> None:
    write_timed(run, [RoundLabelled(2, 90, 90, None, None, 7, 0.3, [30, 30, 30], [0] * 19 + [90])], clock)
    async with opened(run.path.parent, place=WatchPlace(run.id)) as pilot:
        assert "selected from 0.300" in await press(pilot, "3")
        text = await press(pilot, "left_square_bracket")
        assert "selected from 0.710" in text
        assert ".911" in text


async def test_a_supervised_run_has_no_pseudo_labels_and_says_so(home: Path) -> None:
    from tests.runs.making import make_run

    run = make_run(home)
    async with opened(home, place=WatchPlace(run.id)) as pilot:
        assert "a supervised run" in await press(pilot, "3")


async def test_how_one_looks_is_kept(ended: RunDirectory) -> None:
    session = Session(None)
    async with opened(ended.path.parent, place=WatchPlace(ended.id), session=session) as pilot:
        await press(pilot, "m", "g", "x", "v", "2", "o")
    async with opened(ended.path.parent, place=WatchPlace(ended.id), session=session) as pilot:
        shown = screen(pilot)
        curves = shown.query_one(CurvesPanel)
        assert shown.tab == "confusion"
        assert (curves.smoothing, curves.log_y, curves.axis, curves.quantity) == (
            0.6,
            True,
            "step",
            "learning rate",
        )
        assert shown.query_one(ConfusionPanel).order == "recall"


async def test_a_session_of_nonsense_is_taken_as_none(ended: RunDirectory) -> None:
    session = Session(None)
    session.keep("watch", {"tab": 7, "axis": [], "smoothing": "much", "order": {}, "log_y": "yes"})
    async with opened(ended.path.parent, place=WatchPlace(ended.id), session=session) as pilot:
        assert screen(pilot).tab == "curves"


async def test_tabs_are_opened_by_the_mouse(ended: RunDirectory) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id)) as pilot:
        await pilot.click("TabLine", offset=(14, 0))
        await settle(pilot)
        assert screen(pilot).tab == "confusion"


async def test_a_wide_screen_shows_curves_confusion_and_pseudo_labels_together(ended: RunDirectory) -> None:
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=WIDE) as pilot:
        text = screen_text(pilot)
        assert "accuracy" in text
        assert "most confused" in text
        assert "confidence of the pool" in text


async def test_an_online_strategys_pool_is_looked_at_epoch_by_epoch_and_class_by_class(
    home: Path, clock: list[float]
) -> None:
    run = made(home, "lite_flexmatch", "f1e8")
    recipe = run.recipe.read_text().replace('"iterative"', '"flexmatch"')
    assert "flexmatch" in recipe
    run.recipe.write_text(recipe)
    write_timed(run, [StageStarted("student", 1, 4, 10, 90, False)], clock)
    async with opened(home, place=WatchPlace(run.id)) as pilot:
        assert "no epoch of it is over yet" in await press(pilot, "3")
    pools = [
        PoolTaught("student", 1, epoch, 90, 0.25 * epoch, 0.9, 0.7, [0.8, least, 0.5])
        for epoch, least in ((1, 0.1), (2, 0.2))
    ]
    write_timed(run, pools, clock)
    async with opened(home, place=WatchPlace(run.id)) as pilot:
        text = await press(pilot, "3")
        assert "threshold a class, lowest first" in text
        assert text.count("0.200") == 2  # the least of epoch 2, in its line and at its class
        assert text.count("0.100") == 1
        earlier = await press(pilot, "left_square_bracket")
        assert (earlier.count("0.100"), earlier.count("0.200")) == (2, 1)
