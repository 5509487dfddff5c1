"""Label issues on the screen: searched for by a helper, shown as a source, corrected by the review keys."""

from __future__ import annotations

import numpy as np
import pytest

from tests.runs.making import CLASSES
from tests.tui.driving import opened, said, screen_text
from tests.tui.inspect.making import POOL, FakeHelper, place_of
from tests.tui.inspect.test_choosing import ids, press
from tests.tui.inspect.test_grid import screen_of
from tests.tui.inspect.test_review import review_of
from workbench.dataset.review import Verdict
from workbench.runs.doubt import Doubt
from workbench.runs.label_issues import OUT_OF_FOLD, Duplicate, IssueSearch, write_search
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.tui.helper import HelperResult

WRONG, TWINS = POOL[4], (POOL[0], POOL[3])


ENOUGH = (*POOL, *(f"{name}/{name}_{number}.png" for number in range(20, 32) for name in CLASSES))


def add_issues(run: RunDirectory, images: tuple[str, ...] = ENOUGH) -> None:
    """Every image is what its folder says, but `WRONG` seems to be of the next class; two look the same."""
    given = np.array([CLASSES.index(name.partition("/")[0]) for name in images])
    seems = given.copy()
    seems[POOL.index(WRONG)] = (seems[POOL.index(WRONG)] + 1) % 3
    sure = 0.7 + 0.01 * (np.arange(len(images)) // 3)
    probabilities = np.repeat(((1 - sure) / 2)[:, None], 3, axis=1)
    probabilities[np.arange(len(images)), seems] = sure
    probabilities[POOL.index(WRONG)] = [0.02, 0.02, 0.02]
    probabilities[POOL.index(WRONG), seems[POOL.index(WRONG)]] = 0.96
    save_predictions(run.predictions(OUT_OF_FOLD), images, probabilities.astype(np.float32), given)
    pair = Duplicate(TWINS[0], CLASSES[0], TWINS[1], CLASSES[0], "labelled", 0.99)
    write_search(run, IssueSearch(5, 0, "run", False, 0.95, (pair,)))


@pytest.fixture
def judged(run: RunDirectory) -> RunDirectory:
    add_issues(run)
    return run


async def test_likely_wrong_labels_come_first_with_their_signs(judged: RunDirectory) -> None:
    async with opened(judged.path.parent, place=place_of(judged, "label-issues")) as pilot:
        screen = screen_of(pilot)
        assert ids(pilot)[0] == WRONG
        assert len(ids(pilot)) == len(ENOUGH)
        assert screen.queue.query.order is Doubt.SELF_CONFIDENCE
        text = screen_text(pilot)
        assert "label issues (1)" in text
        assert "flagged by confident_learning" in text
        assert "likely wrong first by self-confidence" in text
        assert "⚑" in text
        assert "⧉" in text
        assert screen.twin()[0].endswith("--label-issues")
        await press(pilot, "enter")
        large = screen_text(pilot)
        assert "given" in large
        assert "likely wrong label" in large


async def test_of_too_few_labels_a_suspect_comes_first_and_says_of_how_many(run: RunDirectory) -> None:
    add_issues(run, POOL)
    async with opened(run.path.parent, place=place_of(run, "label-issues")) as pilot:
        assert ids(pilot)[0] == WRONG
        text = screen_text(pilot)
        assert "label issues (0)" in text
        assert "⚑" not in text
        assert "⚐" in text
        await press(pilot, "enter")
        assert f"cannot tell by {len(POOL) // 3} labels" in screen_text(pilot)


async def test_accepting_a_label_issue_relabels_the_training_image(judged: RunDirectory) -> None:
    async with opened(judged.path.parent, place=place_of(judged, "label-issues")) as pilot:
        seems = screen_of(pilot).queue.shown[0].said
        await press(pilot, "a", "x")
        accepted, excluded = review_of(judged).corrections
        assert (accepted.id, accepted.verdict, accepted.label) == (WRONG, Verdict.ACCEPT, seems)
        assert seems != WRONG.partition("/")[0]
        assert excluded.verdict is Verdict.EXCLUDE


async def test_orders_change_with_the_source_and_back(judged: RunDirectory) -> None:
    async with opened(judged.path.parent, place=place_of(judged, "label-issues")) as pilot:
        await press(pilot, "o", *"margin", "enter")
        assert screen_of(pilot).queue.query.order is Doubt.LABEL_MARGIN
        assert "--order label-margin" in screen_of(pilot).twin()[0]
        await press(pilot, "less_than_sign")
        assert screen_of(pilot).queue.query.order is Doubt.CONFIDENCE


async def test_choosing_label_issues_that_nobody_searched_starts_a_helper_and_shows_them(
    run: RunDirectory, helper: FakeHelper, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def searching(self: FakeHelper, *arguments: str) -> HelperResult:
        self.asked.append(arguments)
        add_issues(run)
        return HelperResult(0, "{}", "")

    monkeypatch.setattr(FakeHelper, "__call__", searching)
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "s", *"judge", "enter")
        (asked,) = helper.asked
        assert asked[0] == "label-issues"
        assert asked[-1] == str(run.path)
        assert screen_of(pilot).place.source == "label-issues"
        assert ids(pilot)[0] == WRONG


async def test_a_search_that_fails_is_told_and_nothing_moves(run: RunDirectory, helper: FakeHelper) -> None:
    helper.problem = "petbench: the weights are gone"
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "s", *"judge", "enter")
        assert "the weights are gone" in said(pilot)[-1]
        assert screen_of(pilot).place.source == ""
