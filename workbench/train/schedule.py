"""The learning rate as a function of the step: no state, so a resumed run needs one integer."""

from __future__ import annotations

import math

from workbench.recipe import Optimizer

# torch's and fastai's one-cycle: 30 % of the way up from 1/25, then down to 1/25e4 of the peak (Smith 2018).
ONE_CYCLE_RISE = 0.3
ONE_CYCLE_START = 1 / 25
ONE_CYCLE_END = 1 / 25e4


def rate_multiplier(knobs: Optimizer, step: int, steps_per_epoch: int, epochs: int) -> float:
    """What the peak learning rate is multiplied by at `step` (from 0) of a stage of `epochs`."""
    total = steps_per_epoch * epochs
    if knobs.schedule == "one_cycle":
        return _one_cycle(step, total)
    warmup = round(knobs.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if knobs.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    if knobs.schedule == "step":
        return float(knobs.step_factor ** (step // (knobs.step_epochs * steps_per_epoch)))
    return 1.0


def _one_cycle(step: int, total: int) -> float:
    peak = ONE_CYCLE_RISE * total - 1
    if step <= peak:
        return _cosine_between(ONE_CYCLE_START, 1.0, step / peak)
    return _cosine_between(1.0, ONE_CYCLE_END, min(1.0, (step - peak) / max(1.0, total - 1 - peak)))


def _cosine_between(start: float, end: float, share: float) -> float:
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * share))
