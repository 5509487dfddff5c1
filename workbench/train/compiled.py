"""torch.compile for training steps: where it can be had, whether it pays, and batches that it is not for."""

from __future__ import annotations

import copy
import os
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn

from workbench.compute import accelerator_of
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError
from workbench.train.precision import Precision

BACKEND = "inductor"
"""torch's own; tests take one that needs no compiler."""

LEAST_COST_SECONDS, MOST_SAVED = 30.0, 0.5
"""Assumptions, generous ones, since the trial that tells exactly costs all that it would save a short run: no
network compiles in fewer seconds, and none gets faster by more than this share of a step."""
WARM_UP, TIMED = 3, 5


@dataclass(frozen=True, slots=True)
class Compilation:
    """Whether training steps are compiled, and why."""

    is_on: bool
    reason: str


def check_compiler(wanted: Literal["off", "on", "auto"], device: torch.device) -> None:
    """Refuse `on` where nothing can compile, before anything slow begins.

    Raises:
        UserError: no C++ compiler, which a CPU's code is made with.
    """
    compiler = os.environ.get("CXX", "g++")  # as torch._inductor looks for one
    if wanted == "on" and not accelerator_of(device).compiles and shutil.which(compiler) is None:
        raise UserError(
            f"no C++ compiler: {compiler} is not there",
            where="training.compile",
            hint='install g++, name another in CXX, or leave training.compile = "off"',
        )


def choose_compilation(
    wanted: Literal["off", "on", "auto"],
    network: nn.Module,
    image_size: int,
    batch_size: int,
    steps: int,
    precision: Precision,
    device: torch.device,
) -> Compilation:
    """Resolve `training.compile`.

    `auto` never compiles on a CPU. On a GPU it times `network` (a copy) as it is; where even the best case
    could not win back the time that compiling takes, that is all. Else it compiles, times again, and keeps it
    if what the run's steps save is more than the compilation took: the trial's own is not thrown away, as
    torch caches it on disk.

    Args:
        steps: optimiser steps on images in all stages, at least.
    """
    if wanted != "auto":
        return Compilation(wanted == "on", "as the recipe says")
    if not accelerator_of(device).compiles:
        return Compilation(False, "auto compiles on a GPU only")
    trial = _Trial(network, image_size, batch_size, precision, device)
    eager = trial.seconds(trial.twin)
    if steps * eager * MOST_SAVED < LEAST_COST_SECONDS:
        return Compilation(False, f"{steps} steps of {1e3 * eager:.0f} ms are too few to win its time back")
    started = time.monotonic()
    try:
        fast = trial.seconds(compiled(trial.twin))
    except Exception as error:  # whatever Triton or the C compiler could not do
        return Compilation(False, f"it cannot be compiled here: {_in_short(error)}")
    cost = time.monotonic() - started
    return judge(eager, fast, cost, steps)


def judge(eager: float, fast: float, cost: float, steps: int) -> Compilation:
    """Whether `steps` of `fast` instead of `eager` seconds save more than the `cost` in seconds."""
    saved = steps * (eager - fast)
    timed = f"timed here: a step takes {1e3 * fast:.0f} ms, not {1e3 * eager:.0f}"
    story = f"{timed}; compiling took {cost:.0f} s, {steps} steps save {max(0.0, saved):.0f} s"
    return Compilation(saved > cost, story)


class _Trial:
    """Forward and backward of a copy of the network on random images."""

    def __init__(
        self, network: nn.Module, image_size: int, batch_size: int, precision: Precision, device: torch.device
    ) -> None:
        self.twin = copy.deepcopy(network).train()
        self._precision, self._device = precision, device
        images = torch.rand(batch_size, 3, image_size, image_size, device=device)
        self._images = images.to(memory_format=torch.channels_last)

    def seconds(self, module: nn.Module) -> float:
        """A step's, once it is warm."""
        for _ in range(WARM_UP):
            self._step(module)
        started = self._now()
        for _ in range(TIMED):
            self._step(module)
        return (self._now() - started) / TIMED

    def _step(self, module: nn.Module) -> None:
        with self._precision.autocast(self._device, "training"):
            loss = module(self._images).float().square().mean()
        loss.backward()
        self.twin.zero_grad()

    def _now(self) -> float:
        accelerator_of(self._device).settle(self._device)
        return time.monotonic()


class FullBatches(nn.Module):
    """A network whose batches of the usual sizes go through compiled code, all others through the network.

    An epoch's last batch, batches that were halved for want of memory, and evaluation would each be compiled
    anew. Parameters, buffers and their names are the network's own; nothing here is saved.
    """

    def __init__(self, network: nn.Module, compiled: nn.Module, sizes: Collection[int]) -> None:
        super().__init__()
        self._network = network
        self._compiled = (compiled,)  # in a tuple, so that it is no submodule
        self._sizes = frozenset(sizes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, C) of images (B, 3, side, side)."""
        is_usual = self._network.training and len(images) in self._sizes
        try:
            logits: Tensor = (self._compiled[0] if is_usual else self._network)(images)
        except RuntimeError as error:
            _refuse_what_does_not_compile(error)
            raise
        return logits


def _refuse_what_does_not_compile(error: RuntimeError) -> None:
    from torch._dynamo.exc import BackendCompilerFailed  # slow to import, and torch.compile has by now

    if isinstance(error, BackendCompilerFailed):
        raise RunFailed(
            f"the network cannot be compiled here: {_in_short(error)}",
            advice='mend that, or begin anew with training.compile = "off"',
        ) from error


def _in_short(error: Exception) -> str:
    """torch's first line says which part of it failed, the second why."""
    return clean(" ".join(str(error).strip().splitlines()[:2]), 300)


def compiled(network: nn.Module) -> nn.Module:
    """The network's compiled twin, of the same tensors; it compiles when called in a shape new to it."""
    return cast(nn.Module, torch.compile(network, dynamic=False, backend=BACKEND))


def usual_sizes(labelled: int, pool: int) -> frozenset[int]:
    """Images a pass of an objective's whole batches: the labelled ones, the pool's, or both in one.

    Args:
        labelled, pool: images a batch; 0 where there is no pool. A pass has one or two views of the pool's.
    """
    return frozenset({labelled + pool, labelled + 2 * pool, pool} - {0})
