"""petbench's side: a real stage (`StageRun`: store, crops, loop, records, validation) that takes turns.

A stage runs to its end in one call, as in `petbench run`; after each epoch it lets the others have their turn
by way of its reporter. Its clock is its own, from outside the loop: it does not believe what the loop says.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from benchmarks.contest import Contest
from benchmarks.turns import Epoch, Side, Turn
from workbench.loader import Samples
from workbench.recipe.plan import Stage, plan
from workbench.runs.events import EpochDone, Event, Silent
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.loop import StageRun, Surroundings
from workbench.train.network import Network
from workbench.train.setup import Setup
from workbench.train.state import RunState

PETBENCH = "petbench"
_TRAINING = re.compile(r" epoch \d+$")
"""How the loop names the task of an epoch's training; validation has another name."""


class EpochClock(Silent):
    """Times the two parts of every epoch, and then has `between` called with the number of epochs done.

    An epoch begins when the last `between` came back, so all that lies between two epochs counts as training.
    """

    def __init__(self, between: Callable[[int], None] = lambda _: None) -> None:
        self.epochs: list[Epoch] = []
        self.reported: list[float] = []
        """Seconds of training as the loop itself reports them, an epoch each."""
        self._between = between
        self._images = 0
        self._started = self._trained = time.perf_counter()

    def start(self) -> None:
        """The first epoch begins."""
        self._started = self._trained = time.perf_counter()

    def progress(self, task: str, done: int, total: int) -> None:
        """Note the end of training: the last step has been waited for."""
        if done == total and is_training(task):
            self._trained = time.perf_counter()

    def event(self, event: Event) -> None:
        """Note what an epoch came to, and hand over."""
        if not isinstance(event, EpochDone) or not event.epoch:
            return
        if event.split == "train":
            self._images = round(event.images_per_second * event.seconds)
            self.reported.append(event.seconds)
            return
        now = time.perf_counter()
        # On cached features the loop shows no progress within an epoch: there its own word has to do.
        trained = self._trained if self._trained > self._started else self._started + self.reported[-1]
        validated = round(event.images_per_second * event.seconds)
        self.epochs.append(
            Epoch(Turn(self._images, trained - self._started), Turn(validated, now - trained), event.accuracy)
        )
        self._between(len(self.epochs))
        self.start()


class Rounds:
    """Runs petbench and the others in turns.

    Args:
        rounds: that count; one more comes first, to warm up.
        enough: asked after each round that counts; true ends it early.
    """

    def __init__(self, rounds: int, enough: Callable[[], bool] = lambda: False) -> None:
        self._rounds = rounds
        self._enough = enough

    def take(self, contest: Contest, others: Sequence[Side]) -> dict[str, list[Epoch]]:
        """Epochs by side, round by round, without the first; petbench's come first."""
        others_epochs: dict[str, list[Epoch]] = {side.name: [] for side in others}
        stop = StopRequest()

        def between(done: int) -> None:
            for side in others:
                others_epochs[side.name].append(side.epoch())
            if done > 1 and self._enough():
                stop.signal_name = "enough rounds"

        clock = EpochClock(between)
        network = Network(contest.setup, contest.precision, Silent())
        stage = replace(plan(contest.setup.recipe)[0], epochs=self._rounds + 1)
        run = stage_run(stage, network, clock, stop=stop)
        clock.start()
        with contextlib.suppress(Interrupted):  # within the next epoch, which then does not count
            run.run()
        return {PETBENCH: clock.epochs[1:]} | {name: epochs[1:] for name, epochs in others_epochs.items()}


def stage_run(
    stage: Stage,
    network: Network,
    clock: Silent,
    *,
    stop: StopRequest | None = None,
    samples: Samples | None = None,
) -> StageRun:
    """A stage on all labelled images, or on `samples`; it writes no checkpoint."""
    samples = labelled_samples(network.setup) if samples is None else samples
    stop = StopRequest() if stop is None else stop  # one that is not set counts as false
    around = Surroundings(clock, stop, heartbeat=lambda: None, save=lambda _: None)
    return StageRun(stage, network, samples, len(samples), RunState(), around, restored=None)


def labelled_samples(setup: Setup) -> Samples:
    """The setup's labelled images, whole."""
    positions = setup.split.labelled
    return Samples.of(positions, setup.labels[positions], len(setup.classes))


def is_training(task: str) -> bool:
    """Whether a reporter's task is an epoch's training."""
    return bool(_TRAINING.search(task))


def wait_for(device: torch.device) -> None:
    """Until a GPU has done all it was given; a CPU never lags."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
