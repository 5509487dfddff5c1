"""Sides that are all petbench: stages that differ in what learns, whole or step by step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace

from benchmarks.contest import Contest
from benchmarks.ours import EpochClock, stage_run, wait_for
from benchmarks.turns import Epoch, Turn
from workbench.recipe.plan import Stage, plan
from workbench.runs.events import Silent
from workbench.train.network import Network

Change = Callable[[Stage], Stage]


def network_of(contest: Contest) -> Network:
    """A network of its own, for a side that must not meet the others' weights."""
    return Network(replace(contest.setup, classifier=contest.fresh()), contest.precision, Silent())


def changed(contest: Contest, change: Change) -> Stage:
    """The contest's one stage, changed."""
    return change(plan(contest.setup.recipe)[0])


class StageSide:
    """A stage run from its start to its end each turn; the turn is its mean epoch.

    Args:
        network: sides may share one, with its bank of features.
    """

    def __init__(self, name: str, contest: Contest, network: Network, change: Change) -> None:
        self.name = name
        self._network = network
        self._stage = changed(contest, change)

    def epoch(self) -> Epoch:
        """One stage; its seconds are those of the mean epoch."""
        clock = EpochClock()
        run = stage_run(self._stage, self._network, clock)
        clock.start()
        run.run()
        epochs = clock.epochs
        first = epochs[0]
        return Epoch(
            Turn(first.training.images, sum(e.training.seconds for e in epochs) / len(epochs)),
            Turn(first.validation.images, sum(e.validation.seconds for e in epochs) / len(epochs)),
            epochs[-1].accuracy,
        )


class ResidentStep:
    """petbench's own step of a stage on one of its batches, which stays in memory."""

    def __init__(self, name: str, contest: Contest, change: Change, steps: int) -> None:
        self.name = name
        self._device = contest.device
        self._steps = steps
        self._run = stage_run(changed(contest, change), network_of(contest), Silent())
        self._batch = next(iter(self._run.feed.labelled.epoch(1)))
        self._run.learner.module.train()

    def epoch(self) -> Epoch:
        """So many steps; there is nothing to validate."""
        wait_for(self._device)
        started = time.perf_counter()
        for _ in range(self._steps):
            loss = self._run.stepper.step(self._batch).loss
        float(loss)
        seconds = time.perf_counter() - started
        return Epoch(Turn(self._steps * len(self._batch.positions), seconds), Turn(0, 0.0), math.nan)
