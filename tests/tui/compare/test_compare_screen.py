"""The Compare screen driven by keys: choosing, measuring, leaving out, exporting, opening."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.runs.making import make_run
from tests.runs.test_curves import write_epochs
from tests.tui.compare.making import failed_run, live_run, trained_run, two_recipes
from tests.tui.driving import NARROW, WIDE, bench, opened, reread, said, screen_text, settle, top
from tests.tui.watch.runs import averaged
from workbench.runs.comparison import MOST_RUNS
from workbench.runs.comparison_table import with_names
from workbench.runs.layout import RunDirectory
from workbench.runs.process import write_exit
from workbench.tui.app_session import Session
from workbench.tui.places import ComparePlace, InspectPlace, WatchPlace
from workbench.tui.screens.compare import CompareScreen
from workbench.tui.screens.compare.comparison_sheet import STAR, Sheet, marker
from workbench.tui.screens.compare.confusion_panel import ConfusionPanel
from workbench.tui.screens.place import PlaceScreen
from workbench.tui.widgets.chart import Chart
from workbench.tui.widgets.heatmap import HeatMap


def place_of(runs: list[RunDirectory]) -> ComparePlace:
    return ComparePlace(tuple(run.id for run in runs))


async def press(pilot: Pilot[None], *keys: str) -> str:
    """Press the keys, wait for what they set going, and return the screen."""
    for key in keys:
        await pilot.press(key)
        if isinstance(pilot.app.screen, PlaceScreen):
            await settle(pilot)
        else:
            await pilot.pause()  # a question is open, and its worker waits for the answer
    return screen_text(pilot)


def line_with(text: str, words: str) -> str:
    """The last line of the screen that holds `words`: the list of runs is below the chart's legend."""
    return next(line for line in reversed(text.splitlines()) if words in line)


async def export_to(pilot: Pilot[None], path: Path) -> str:
    """Ask for an export to `path`."""
    await press(pilot, "e")
    pilot.app.screen.query_one(Input).value = str(path)
    return await press(pilot, "enter")


def went_to(pilot: Pilot[None]) -> object:
    return top(pilot).place


async def test_curves_lie_over_each_other_with_a_line_a_run(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs)) as pilot:
        text = screen_text(pilot)
        assert "compare 4" in text
        assert "val accuracy by epoch" in text
        assert line_with(text, "★ plain s0").split()[-1] == "done"
        assert ".700" in line_with(text, "plain s0")
        assert "better s1" in text


async def test_the_chosen_run_becomes_the_baseline_and_changes_follow(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs)) as pilot:
        text = await press(pilot, "b")
        assert "★ plain s1" in text
        text = await press(pilot, "b")
        assert any("baseline already" in message for message in said(pilot))
        text = await press(pilot, "3")
        assert "−.017" in line_with(text, "test accuracy")


async def test_left_and_right_read_the_curves_while_the_list_keeps_the_focus(home: Path) -> None:
    async with opened(home, place=place_of(two_recipes(home))) as pilot:
        text = await press(pilot, "right")
        assert "at cursor" in text
        assert pilot.app.focused is not None
        assert pilot.app.focused.id == "run-list"
        chart = pilot.app.screen.query_one(Chart)
        await press(pilot, "plus")
        assert chart.window is not None
        before = chart.window
        await press(pilot, "H")
        assert chart.window[0] <= before[0]
        text = await press(pilot, "0", "left", "0")
        assert chart.window is None
        assert "at cursor" not in text


async def test_the_number_axis_smoothing_and_scale_of_the_curves_change(home: Path) -> None:
    async with opened(home, place=place_of(two_recipes(home))) as pilot:
        text = await press(pilot, "v", *"val loss", "enter")
        assert "val loss by epoch" in text
        assert ".3" in line_with(text, "plain s0")
        assert "val loss by step" in await press(pilot, "x")
        assert "val loss by time" in await press(pilot, "x")
        assert "smoothed 0.6" in await press(pilot, "x", "m")
        chart = pilot.app.screen.query_one(Chart)
        await press(pilot, "g")
        assert chart.log_y
        assert chart.smoothing == 0.6
        await press(pilot, "f")
        assert sum(series.faint for series in chart.data.series) == 2


async def test_recipes_show_differences_only_until_all_keys_are_wanted(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        text = await press(pilot, "2")
        assert "2 differences" in text
        assert line_with(text, "policy").split() == ["policy", "–", "rand"]
        assert "backbone" not in text
        text = await press(pilot, "c")
        assert "resnet18" in line_with(text, "backbone")
        assert "keys" in line_with(text, "better")


async def test_moving_through_a_table_chooses_the_run_of_the_column(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs)) as pilot:
        await press(pilot, "3", "right", "right", "b")
        text = await press(pilot, "1")
        assert "★ better s1" in text
        text = await press(pilot, "left_square_bracket", "left_square_bracket", "b")
        assert "★ plain s1" in text
        text = await press(pilot, "right_square_bracket", "b")
        assert "★ better s0" in text


async def test_keys_pressed_faster_than_the_screen_draws_end_where_they_lead(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs)) as pilot:
        await press(pilot, "3")
        await pilot.press("right", "right", "left", "right")
        await settle(pilot)
        text = await press(pilot, "b", "1")
        assert "★ better s1" in text


async def test_results_mark_what_mcnemars_test_finds(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        text = await press(pilot, "3")
        assert line_with(text, "test accuracy").split()[-2:] == [".900", "+.200✱"]
        assert "<.001✱" in line_with(text, "McNemar p")
        assert line_with(text, "won : lost").split()[-1] == "12:0"
        assert "McNemar's exact test" in text


async def test_over_seeds_runs_become_groups_with_spread_and_tests(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs)) as pilot:
        text = await press(pilot, "3", "s")
        assert "over seeds" in text
        assert ".708 ± .012" in line_with(text, "test accuracy")
        assert "2 of 2" in line_with(text, "seeds better")
        assert "✱" in line_with(text, "p (images)")
        assert "seed " not in (await press(pilot, "2")).partition("policy")[2]
        assert "McNemar p" in await press(pilot, "3", "s")


async def test_one_seed_is_shown_without_a_spread(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs[:3])) as pilot:
        text = await press(pilot, "3", "s")
        assert "1 ⚠" in line_with(text, "runs tested")
        assert "one seed, so no spread" in text


async def test_runs_of_different_recipes_cannot_be_grouped(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        await press(pilot, "s")
        assert any("nothing but their seeds" in message for message in said(pilot))


async def test_a_run_is_left_out_until_two_are_left(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs[:3])) as pilot:
        text = await press(pilot, "down", "d")
        assert "compare 2" in text
        assert "better" not in text.partition("run ")[2] or "plain s1" in text
        assert bench(pilot).session.section("app")["places"][-1]["runs"] != [run.id for run in runs[:3]]
        await press(pilot, "d")
        assert any("needs two runs" in message for message in said(pilot))


async def test_the_confusion_shows_the_cell_that_changed_most_and_opens_its_images(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        text = await press(pilot, "4")
        assert "★ plain → better" in text
        assert "Abyssinian said to be Bengal: 6 → 1 −5 better" in text
        await press(pilot, "enter")
        assert went_to(pilot) == InspectPlace(runs[2].id, "test", "Abyssinian", "Bengal")


async def test_a_cell_that_only_the_baseline_fills_opens_the_baselines_images(home: Path) -> None:
    runs = two_recipes(home)
    third = trained_run(home, "study_third", ((20, 0, 0), (0, 20, 0), (0, 0, 20)))
    async with opened(home, place=place_of([runs[0], third])) as pilot:
        await press(pilot, "4", "i")
        assert went_to(pilot) == InspectPlace(runs[0].id, "test", "Abyssinian", "Bengal")
        assert any("baseline's" in message for message in said(pilot))


async def test_an_empty_cell_opens_nothing(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        await press(pilot, "4")
        pilot.app.screen.query_one(HeatMap).cursor = (2, 0)
        await press(pilot, "enter")
        assert isinstance(went_to(pilot), ComparePlace)
        assert any("no test image" in message for message in said(pilot))


async def test_the_diagonal_tells_what_is_right(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        await press(pilot, "4")
        pilot.app.screen.query_one(HeatMap).cursor = (0, 0)
        await settle(pilot)
        assert "Abyssinian right: 12 → 18 +6 better" in screen_text(pilot)


async def test_a_wide_screen_lists_the_cells_that_changed_most(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of([runs[0], runs[2]]), size=WIDE) as pilot:
        text = await press(pilot, "4")
        assert line_with(text, "said to be  ").split()[-3:] == ["★", "now", "Δ"]
        text = await press(pilot, "tab", "down")
        assert pilot.app.screen.query_one(HeatMap).cursor != (0, 1)
        await press(pilot, "enter")
        place = went_to(pilot)
        assert isinstance(place, InspectPlace)
        assert place.run == runs[2].id


async def test_a_run_without_results_has_no_confusion_and_that_is_said(home: Path) -> None:
    runs = [*two_recipes(home)[:1], failed_run(home, "study_failed")]
    async with opened(home, place=place_of(runs)) as pilot:
        assert "failed has no test results: failed" in await press(pilot, "4")
        text = await press(pilot, "3")
        assert "✗ failed" in line_with(text, "status")
        assert "no test results" in text


async def test_missing_predictions_are_told_and_the_rest_is_compared(home: Path) -> None:
    runs = two_recipes(home)
    runs[2].predictions("test").unlink()
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        text = await press(pilot, "3")
        assert "not paired: better has no predictions/test.npz" in text
        assert "+.200" in line_with(text, "test accuracy")
        assert "McNemar p" not in text


async def test_damaged_files_of_one_run_are_told(home: Path) -> None:
    runs = two_recipes(home)
    runs[2].results.write_text("classes = [")
    runs[0].metrics.write_text("no json\n")
    async with opened(home, place=place_of([runs[0], runs[2]])) as pilot:
        text = await press(pilot, "3")
        assert "damaged results" in text


async def test_a_live_run_moves_on_while_one_looks(home: Path) -> None:
    runs = [*two_recipes(home)[:1], live_run(home, "study_live")]
    async with opened(home, place=place_of(runs)) as pilot:
        assert "● live" in line_with(screen_text(pilot), "▲")
        assert ".500" in line_with(screen_text(pilot), "▲")
        write_epochs(runs[1], 0.35, 0.55, 0.99)
        await reread(pilot)
        await settle(pilot)
        assert ".940" in line_with(screen_text(pilot), "▲")
        write_exit(runs[1], code=1, reason="stopped by a test")
        await reread(pilot)
        await settle(pilot)
        assert "✗ failed" in line_with(screen_text(pilot), "▲")


async def test_a_run_that_is_removed_meanwhile_is_missed(home: Path, tmp_path: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs[:3])) as pilot:
        runs[1].path.rename(tmp_path / "away")
        await reread(pilot)
        await settle(pilot)
        text = screen_text(pilot)
        assert "compare 2 of 3" in text
        assert "plain s1" not in text


async def test_without_runs_it_says_what_to_press(home: Path) -> None:
    async with opened(home, place=ComparePlace()) as pilot:
        assert "Nothing to compare yet." in screen_text(pilot)
        await press(pilot, "e", "b")
        assert any("press a" in message for message in said(pilot))
        await press(pilot, "a")
        assert not isinstance(pilot.app.screen, CompareScreen)


async def test_enter_opens_the_chosen_run_and_i_its_images(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs)) as pilot:
        await press(pilot, "down", "enter")
        assert went_to(pilot) == WatchPlace(runs[2].id)
        await press(pilot, "escape", "i")
        assert went_to(pilot) == InspectPlace(runs[2].id)


@pytest.mark.parametrize("name", ["out.md", "out.csv", "out.json"])
async def test_the_comparison_is_written_to_a_file(home: Path, tmp_path: Path, name: str) -> None:
    runs = two_recipes(home)
    target = tmp_path / name
    async with opened(home, place=place_of(runs)) as pilot:
        await press(pilot, "s")
        await export_to(pilot, target)
        assert any("written to" in message for message in said(pilot))
    text = target.read_text()
    assert "study_plain" in text.replace("\\", "")
    if name.endswith("json"):
        assert json.loads(text)["groups"]["tests"][1]["better"] == 2


async def test_an_export_asks_before_it_replaces_and_refuses_other_names(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "there.md"
    target.write_text("mine")
    async with opened(home, place=place_of(two_recipes(home))) as pilot:
        assert "tells no format" in await export_to(pilot, tmp_path / "x.doc")
        await press(pilot, "escape")
        assert "Replace it?" in await export_to(pilot, target)
        await press(pilot, "n")
        assert target.read_text() == "mine"
        await export_to(pilot, target)
        await press(pilot, "y")
        assert target.read_text() != "mine"
        await export_to(pilot, tmp_path / "no" / "x.md")
        assert any("cannot be written" in message for message in said(pilot))


async def test_how_one_looks_is_kept_for_the_next_time(home: Path) -> None:
    runs = two_recipes(home)
    session = Session(None)
    async with opened(home, place=place_of(runs), session=session) as pilot:
        await press(pilot, "down", "b", "s", "3", "x", "c")
    kept = session.section("compare")
    assert (kept["tab"], kept["axis"], kept["seeds"], kept["all_keys"]) == ("results", "step", True, True)
    async with opened(home, session=session) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "runs tested" in text
        assert "over seeds" in text


async def test_a_session_of_nonsense_is_taken_as_none(home: Path) -> None:
    session = Session(None)
    session.keep("compare", {"tab": 7, "metric": "x", "axis": [], "smoothing": "a", "seeds": 1})
    async with opened(home, place=place_of(two_recipes(home)), session=session) as pilot:
        assert "val accuracy by epoch" in screen_text(pilot)


async def test_the_command_lines_give_what_is_shown(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs)) as pilot:
        handles = " ".join(run.handle for run in runs)
        assert top(pilot).twin()[0] == f"petbench runs compare {handles} --curve val.accuracy"
        await press(pilot, "down", "b", "s", "3")
        third = runs[2].handle
        assert top(pilot).twin()[0] == f"petbench runs compare {handles} --baseline {third} --group"
        await press(pilot, "4")
        assert top(pilot).twin()[0].endswith("--confusion")


async def test_tabs_are_opened_by_the_mouse(home: Path) -> None:
    async with opened(home, place=place_of(two_recipes(home))) as pilot:
        await pilot.click("TabLine", offset=(14, 0))
        await settle(pilot)
        assert "differences" in screen_text(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_twenty_runs_and_no_more_are_shown(home: Path, size: tuple[int, int]) -> None:
    runs = [
        write_epochs(make_run(home, f"many_{number}", seed=number, age_seconds=number), 0.5, 0.6)
        for number in range(21)
    ]
    async with opened(home, place=place_of(runs), size=size) as pilot:
        assert "compare 20 of 21" in screen_text(pilot)
        assert "◓ 19" in await press(pilot, "ctrl+end")
        for tab in "234":
            await press(pilot, tab)


async def test_hostile_names_show_as_text(home: Path) -> None:
    names = ["a[/b]", "\x1b[31mred\u202e", "x" * 200]
    runs = [
        trained_run(home, name, ((18, 1, 1), (2, 17, 1), (0, 1, 19)), seed=number, age_seconds=number)
        for number, name in enumerate(names)
    ]
    async with opened(home, place=place_of(runs)) as pilot:
        for tab in "1234":
            text = await press(pilot, tab)
            assert "\x1b" not in text
            assert "\u202e" not in text
        assert "a[/b]" in await press(pilot, "1")


async def test_a_run_that_was_removed_elsewhere_is_no_longer_acted_on(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs[:3])) as pilot:
        assert screen_text(pilot)
        shutil.rmtree(runs[1].path)  # the chosen one
        await reread(pilot)
        text = await press(pilot, "delete")
        assert "compare 2 of 3" in text
        assert "a comparison needs two runs" in said(pilot)[-1]
        await press(pilot, "b")
        assert "★ better" in screen_text(pilot)


async def test_map_and_list_are_on_the_same_cell_whichever_run_is_chosen(home: Path) -> None:
    runs = two_recipes(home)
    async with opened(home, place=place_of(runs), size=WIDE) as pilot:
        await press(pilot, "4")
        screen = pilot.app.screen
        heat, listed = screen.query_one(HeatMap), screen.query_one("#changes", Sheet)
        for key in ("right_square_bracket", "right_square_bracket", "left_square_bracket"):
            listed.focus()
            text = await press(pilot, "down", key)
            assert listed.row_key == "{} {}".format(*heat.cursor)
            cell = screen.query_one(ConfusionPanel).cell
            assert cell is not None
            assert f"{cell.true} said to be {cell.said}: {cell.before} → {cell.after}" in text


def test_no_marker_of_a_curve_is_the_baselines_star() -> None:
    signs = [marker(place) for place in range(MOST_RUNS)]
    assert len(set(signs)) == MOST_RUNS
    assert STAR not in signs


def test_names_stand_for_ids_in_notes_but_not_within_paths() -> None:
    names = {"20260101-000000-a-0001": "plain", "20260101-000000-a-0001-b": "other"}
    note = (
        "20260101-000000-a-0001: damaged in /x/20260101-000000-a-0001/results.toml; 20260101-000000-a-0001."
    )
    assert with_names(note, names) == ("plain: damaged in /x/20260101-000000-a-0001/results.toml; plain.")


async def test_an_ensemble_has_no_epochs_to_draw_or_to_name(home: Path) -> None:
    runs = [averaged(home), two_recipes(home)[0]]
    async with opened(home, place=ComparePlace(tuple(run.id for run in runs))) as pilot:
        await settle(pilot)
        row = line_with(screen_text(pilot), "● ★ both").split()
        assert row[3:5] == ["–", "–"]
        await pilot.press("3")
        await settle(pilot)
        assert line_with(screen_text(pilot), "best epoch").split()[2] == "–"
