"""What `petbench run` shows while it trains: a moving line for now, a lasting line for what is done."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import assert_never

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from workbench.cli.console import Console
from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    Message,
    PoolTaught,
    RanksSeen,
    Resumed,
    RoundLabelled,
    StageStarted,
    StepDone,
)
from workbench.runs.log import describe
from workbench.runs.run_history import HistoryRecord, read_history
from workbench.support.clean import clean
from workbench.support.units import in_percent, percent


class Display:
    """The reporter of a screen; into a pipe or a file, or where nothing can move, the lasting lines alone.

    Args:
        metrics: the run's record, where earlier attempts left the epochs that a resumed stage has behind it.
    """

    def __init__(self, console: Console, metrics: Path | None = None) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not console.is_screen or console.is_dumb_terminal,
            refresh_per_second=2,
        )
        self._tasks: dict[str, TaskID] = {}
        self._stage: StageStarted | None = None
        self._metrics = metrics
        self._record = HistoryRecord()

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def event(self, event: Event) -> None:
        """Show stages, rounds and messages as lines; epochs move the stage's bar."""
        match event:
            case StageStarted():
                self._end_stage()
                self._stage = event
                self._remember(event)
                self._line(describe(event))
            case Resumed():
                self._remember(event)
                self._line(describe(event))
            case EpochDone(split="val"):
                self._epoch(event)
            case EpochDone(split="test"):
                self._end_stage()
            case RoundLabelled():
                self._end_stage()
                self._line(describe(event))
            case Message():
                self._line(
                    f"{event.level}: {event.text}" if event.level == "warning" else event.text, event.level
                )
            case EpochDone() | StepDone() | ConfusionSeen() | PoolTaught() | RanksSeen():
                return
            case _:
                assert_never(event)

    def progress(self, task: str, done: int, total: int) -> None:
        """Move the bar of `task`, which goes when it is full."""
        if task not in self._tasks:
            self._tasks[task] = self._bars.add_task(clean(task, 40), total=total)
        self._bars.update(self._tasks[task], completed=done, total=total)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(task))

    def finish(self) -> None:
        """Say how the last stage ended."""
        self._end_stage()

    def _epoch(self, event: EpochDone) -> None:
        self._record.add(event)
        best = self._best_of_stage() or event
        if self._stage is not None and event.epoch:
            label = f"{event.stage} val {in_percent(event.accuracy)} (best {percent(best.accuracy)})"
            self._move_stage(label, event.epoch, self._stage.epochs)

    def _move_stage(self, label: str, done: int, total: int) -> None:
        if "stage" not in self._tasks:
            self._tasks["stage"] = self._bars.add_task(label, total=total)
        self._bars.update(self._tasks["stage"], completed=done, description=label)

    def _end_stage(self) -> None:
        if "stage" in self._tasks:
            self._bars.remove_task(self._tasks.pop("stage"))
        best = self._best_of_stage()
        if best is not None and self._stage is not None:
            self._line(
                f"  best validation accuracy {best.words} at epoch {best.epoch} of {self._stage.epochs}"
            )
        self._stage = None

    def _best_of_stage(self) -> EpochDone | None:
        return self._record.history().best_of(self._stage) if self._stage else None

    def _remember(self, event: Event) -> None:
        """Take up what earlier attempts have recorded, and then the event."""
        with contextlib.suppress(OSError):
            if self._metrics is not None:
                self._record = HistoryRecord(read_history(self._metrics))
        self._record.add(event)

    def _line(self, text: str, level: str = "info") -> None:
        style = "bold yellow" if level == "warning" else ""
        self._console.print(Text(clean(text), style=style), soft_wrap=not self._console.is_screen)
