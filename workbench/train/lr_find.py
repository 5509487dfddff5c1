"""The learning-rate range test (Smith 2017): a few steps at rates that grow, and what the loss says."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from workbench.recipe import Recipe
from workbench.recipe.plan import Stage, plan
from workbench.runs.events import Reporter, Silent
from workbench.support.errors import UserError
from workbench.train.begin import decide_precision
from workbench.train.host import one_thread
from workbench.train.interrupt import StopRequest
from workbench.train.loop import StageRun, Surroundings
from workbench.train.network import Network
from workbench.train.precision import as_stated
from workbench.train.run import samples_of
from workbench.train.setup import Places, prepare
from workbench.train.state import RunState

SMOOTHING = 0.9
"""Weight of the past in the smoothed loss. fastai's 0.98 looks back over 50 steps, half of a test."""
DIVERGED = 4.0
"""The test ends where the smoothed loss is so many times its least (fastai)."""
_LEAST_STEPS = 10
"""Fewer losses than these say nothing."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """What a range test saw: rate, loss and smoothed loss of each step, lowest rate first."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    steepest: float
    """The rate at which the smoothed loss falls fastest in the logarithm of the rate (fastai)."""
    least_tenth: float
    """A tenth of the rate at which the smoothed loss is least."""
    diverged: bool
    """Whether the loss ran away before the highest rate: if not, there is room above."""
    on_features: bool
    batch_size: int
    """Images a step: the recipe's, or all labelled ones where they do not fill a batch."""

    @property
    def suggestion(self) -> float:
        """The lower of the two: a rate a little too low costs epochs, one too high costs the run."""
        return min(self.steepest, self.least_tenth)


def range_test(
    recipe: Recipe,
    places: Places,
    reporter: Reporter,
    *,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
) -> RangeTest:
    """Train the recipe's first stage on its labelled images while the rate grows from `low` to `high`.

    The rate is that of `optimizer.learning_rate`; groups with rates of their own keep their proportion to it.
    Where a probe comes first it is trained first, as in the run. No run directory is made, nothing is
    validated, and the rates' schedule is set aside.

    Raises:
        UserError: the recipe does not fit, or the loss says nothing.
    """
    if not 0 < low < high:
        raise UserError(f"from {low:g} to {high:g} is no range", allowed="0 < --low < --high")
    with as_stated(recipe.training):
        return _range_test(recipe, places, reporter, low, high, steps)


def _range_test(
    recipe: Recipe, places: Places, reporter: Reporter, low: float, high: float, steps: int
) -> RangeTest:
    setup = prepare(recipe, places, reporter)
    network = Network(setup, decide_precision(setup, reporter), reporter)
    around = Surroundings(Silent(), StopRequest(), heartbeat=lambda: None, save=lambda _: None)
    *probes, stage = [stage for stage in plan(recipe) if stage.round == 0]

    def begun(stage: Stage) -> StageRun:
        state = RunState()
        return StageRun(stage, network, *samples_of(setup, stage, state), state, around, None)

    for probe in probes:
        begun(probe).run()
    run = begun(stage)
    rates = [low * (high / low) ** (step / (steps - 1)) for step in range(steps)]
    losses: list[float] = []
    with one_thread() if run.on_features else contextlib.nullcontext():
        run.learner.module.train()
        labelled = run.feed.labelled
        batches = (batch for epoch in count(stage.first_epoch + 1) for batch in labelled.epoch(epoch, 0))
        for rate, batch in zip(rates, batches, strict=False):
            run.learner.set_rates(rate / stage.optimizer.learning_rate)
            losses.append(float(run.stepper.step(batch).loss))
            reporter.progress("range test", len(losses), steps)
            if _has_diverged(losses):
                break
    reporter.progress("range test", steps, steps)
    return judge(
        rates[: len(losses)],
        losses,
        on_features=run.on_features,
        batch_size=run.feed.batch,
        planned=steps,
    )


def judge(
    rates: Sequence[float],
    losses: Sequence[float],
    *,
    on_features: bool = False,
    batch_size: int = 1,
    planned: int = 0,
) -> RangeTest:
    """What the losses of growing rates suggest.

    Args:
        batch_size: images a step.
        planned: steps that were to be taken.

    Raises:
        UserError: the loss diverged before there was anything to see.
    """
    kept = [place for place, loss in enumerate(losses) if math.isfinite(loss)]
    rates, losses = [rates[place] for place in kept], [losses[place] for place in kept]
    if len(losses) < _LEAST_STEPS:
        raise UserError(
            f"the loss ran away after {len(losses)} steps",
            where="--low",
            hint="begin lower, such as --low 1e-9",
        )
    smoothed = smooth(losses)
    least = min(range(len(smoothed)), key=smoothed.__getitem__)
    # The first steps' smoothed loss follows single batches; past the least, a fall means nothing.
    first = min(len(losses) // 10, max(0, least - 2))
    slopes = {
        place: (smoothed[place + 1] - smoothed[place - 1]) / math.log(rates[place + 1] / rates[place - 1])
        for place in range(max(1, first), max(2, least))
        if place + 1 < len(smoothed)
    }
    steepest = min(slopes, key=slopes.__getitem__, default=least)
    return RangeTest(
        rates=tuple(rates),
        losses=tuple(losses),
        smoothed=tuple(smoothed),
        steepest=_rounded(rates[steepest]),
        least_tenth=_rounded(rates[least] / 10),
        diverged=len(rates) < planned or _has_diverged(losses),
        on_features=on_features,
        batch_size=batch_size,
    )


def smooth(losses: Sequence[float]) -> list[float]:
    """Exponential moving average without the bias to its start (Kingma and Ba 2015, Sec. 3)."""
    smoothed, average = [], 0.0
    for step, loss in enumerate(losses, start=1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**step))
    return smoothed


def _has_diverged(losses: Sequence[float]) -> bool:
    if not math.isfinite(losses[-1]):
        return True
    smoothed = smooth(losses)
    return smoothed[-1] > DIVERGED * min(smoothed)


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
