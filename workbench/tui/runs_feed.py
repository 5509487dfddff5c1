"""The one reader of the runs directory: a thread that posts a new view when something changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.message import Message

from workbench.runs.status import RunStatus
from workbench.runs.watching import RunsView, RunsWatch
from workbench.tui.screens import load_screens

if TYPE_CHECKING:
    from workbench.jobs import GpuUse
    from workbench.jobs.slurm import SlurmWatch

TICK_SECONDS = 1.0
_GPU_TICKS = 3
_BREATH_SECONDS = 0.1
"""Between the parts of a long list: the screen draws what is there already."""


@dataclass
class RunsChanged(Message):
    """The runs directory is not what it was."""

    view: RunsView

    def can_replace(self, message: Message) -> bool:
        """A newer view makes an older one that still waits superfluous."""
        return isinstance(message, RunsChanged)


@dataclass
class GpusRead(Message):
    """What the GPUs do now."""

    gpus: tuple[GpuUse, ...]


def feed(
    watch: RunsWatch, post: Callable[[Message], object], is_over: Callable[[], bool], *, read_gpus: bool
) -> None:
    """Read until `is_over`, once a second; runs in a thread and posts `RunsChanged` and `GpusRead`.

    A directory that cannot be read just now (a network file system that is away) is tried again. While
    thousands of runs are read for the first time, a view is posted whenever their number has doubled: each
    costs the screen time in proportion to all that are known, and it shall not be in the reader's way.
    """
    posted, shown = -1, 0
    tick = 0
    slurm: SlurmWatch | None = None
    while not is_over():
        view = watch.refresh()
        if slurm is None and any(run.waits_for_slurm for run in view.summaries):
            load_screens()
            from workbench.jobs.slurm import SlurmWatch

            slurm = SlurmWatch(heard=lambda: watch.look_again(()))
            watch.awaited = slurm.awaited
        if slurm is not None:
            slurm.look(view.summaries)
        grown = len(view.summaries) >= 2 * shown
        if view.generation != posted and (view.complete or grown):
            posted, shown = view.generation, len(view.summaries)
            post(RunsChanged(view))
        if read_gpus and tick % _GPU_TICKS == 0:
            load_screens()
            from workbench.jobs import gpu_usage

            gpus = tuple(gpu_usage())
            read_gpus = bool(gpus)  # a machine without any does not grow one
            if gpus:
                post(GpusRead(gpus))
        tick += 1
        watch.wait(TICK_SECONDS if view.complete else _BREATH_SECONDS)


@dataclass(frozen=True, slots=True)
class Ending:
    """A run that was active and is no more."""

    id: str
    name: str
    status: RunStatus
    reason: str


def endings(before: Mapping[str, RunStatus], after: RunsView) -> list[Ending]:
    """The runs that were active `before` and have ended in `after`."""
    return [
        Ending(summary.id, summary.name, summary.status, summary.reason)
        for summary in after.summaries
        if summary.id in before and before[summary.id].is_active and not summary.status.is_active
    ]
