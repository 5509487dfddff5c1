"""The confidence tab: what a finished run's confidence is worth, at a glance."""

from __future__ import annotations

import numpy as np
import pytest

from tests.tui.driving import NARROW, WIDE, opened, said
from tests.tui.watch.driving import Snapshot, press, reread
from tests.tui.watch.runs import finish
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.tui.places import WatchPlace


def too_sure(run: RunDirectory, images: int = 450) -> RunDirectory:
    """A run whose model is too sure of what it says of its three classes."""
    for split, seed in (("val", 5), ("test", 6)):
        random = np.random.default_rng(seed)
        truth = random.dirichlet(np.full(3, 0.12), images)
        labels = (truth.cumsum(axis=1) > random.random((images, 1))).argmax(axis=1)
        sharp = truth**2
        shares = (sharp / sharp.sum(axis=1, keepdims=True)).astype(np.float32)
        save_predictions(run.predictions(split), [f"{i}" for i in range(images)], shares, labels)
    return run


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_the_diagram_and_what_is_promised(
    ended: RunDirectory, size: tuple[int, int], snapshot: Snapshot
) -> None:
    too_sure(ended)
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=size) as pilot:
        shown = await press(pilot, "6")
        assert "temperature " in shown
        assert "99 % nowhere" in shown
        snapshot(pilot, "watch-confidence")


async def test_a_run_that_is_not_over_says_when_it_will_be_told(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id), size=NARROW) as pilot:
        assert "is told of a finished run" in await press(pilot, "6")


async def test_lost_predictions_tell_nothing_and_break_nothing(ended: RunDirectory) -> None:
    too_sure(ended)
    ended.predictions("val").write_bytes(b"damaged")
    async with opened(ended.path.parent, place=WatchPlace(ended.id), size=NARROW) as pilot:
        assert "is told of a finished run" in await press(pilot, "6")


async def test_the_diagram_comes_when_the_run_ends(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=WatchPlace(run.id), size=NARROW) as pilot:
        await press(pilot, "6")
        too_sure(finish(run))
        run.results.touch()
        assert "temperature" in await reread(pilot)
        assert said(pilot) == []
