"""`run.log`: what a run said, a line at a time with the time, for people and for bug reports."""

from __future__ import annotations

import traceback
from datetime import datetime
from pathlib import Path

from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    Message,
    PoolTaught,
    RoundLabelled,
    StageStarted,
    StepDone,
)
from workbench.support.clean import clean
from workbench.support.regular_file import open_to_append


class RunLog:
    """The reporter that writes `run.log`, opened for each line: a full disk or a kill costs one at most."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def event(self, event: Event) -> None:
        """Append the event in words; steps and confusions are for `metrics.jsonl` alone."""
        if not isinstance(event, StepDone | ConfusionSeen):
            self.line(describe(event))

    def progress(self, task: str, done: int, total: int) -> None:
        """Note the end of each task."""
        if done == total and "epoch" not in task:
            self.line(f"{task}: {total} done")

    def line(self, text: str) -> None:
        """Append `text` with the time, cleaned."""
        self._append(f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} {clean(text)}\n")

    def crash(self, error: BaseException) -> None:
        """Append the whole traceback, cleaned line by line."""
        lines = "".join(traceback.format_exception(error)).splitlines()
        self._append("".join(f"    {clean(line)}\n" for line in lines))

    def _append(self, text: str) -> None:
        with open(open_to_append(self._path), "a", encoding="utf-8") as stream:  # noqa: PTH123
            stream.write(text)


def describe(event: Event) -> str:
    """One line about an event."""
    match event:
        case StageStarted():
            what = f"{_stage(event.stage, event.round)}: {event.epochs} epochs, {event.labelled} labelled"
            pseudo = f", {event.pseudo_labelled} pseudo-labelled" if event.pseudo_labelled else ""
            return f"{what}{pseudo}{', on cached features' if event.features else ''}"
        case EpochDone():
            return (
                f"{_stage(event.stage, event.round)} epoch {event.epoch} {event.split}: "
                f"loss {event.loss:.4f}, accuracy {100 * event.accuracy:.2f} %"
            )
        case RoundLabelled():
            right = f", {100 * event.accuracy:.2f} % right" if event.accuracy is not None else ""
            chosen = f"{event.selected} of {event.pool} pseudo-labels"
            return f"round {event.round}: {chosen}{right}, {event.flipped} flipped"
        case PoolTaught():
            right = f", {100 * event.accuracy:.2f} % right" if event.accuracy is not None else ""
            where = f"{_stage(event.stage, event.round)} epoch {event.epoch}"
            return f"{where}: {100 * event.used:.1f} % of {event.images} pool images taught{right}"
        case StepDone():
            return f"{_stage(event.stage, event.round)} step {event.step}: loss {event.loss:.4f}"
        case ConfusionSeen():
            return f"{_stage(event.stage, event.round)} epoch {event.epoch}: confusion recorded"
        case Message():
            return f"{event.level}: {event.text}"


def _stage(stage: str, round_number: int) -> str:
    return f"{stage} r{round_number}" if round_number else stage
