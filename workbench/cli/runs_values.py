"""How a run's values read: shares in percent, times and sizes with units, states in colour."""

from __future__ import annotations

from datetime import datetime

from workbench.cli.console import percent
from workbench.runs.keys import Value
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.units import human_bytes, human_seconds

STATUS_STYLES = {
    RunStatus.QUEUED: "cyan",
    RunStatus.STARTING: "green",
    RunStatus.LIVE: "green",
    RunStatus.STALLED: "bold yellow",
    RunStatus.STOPPING: "yellow",
    RunStatus.SILENT: "bold yellow",
    RunStatus.LOST: "bold red",
    RunStatus.FINISHED: "",
    RunStatus.FAILED: "red",
    RunStatus.STOPPED: "yellow",
}
_SHARES = ("accuracy", "macro_f1", "top5", "coverage")


def progress_words(summary: RunSummary) -> str:
    """`student 2/5 · 3/5`: the stage, its round of all rounds, and epochs done of all."""
    progress = summary.progress
    if summary.queue_position is not None:
        first = summary.queue_position == 1
        return "next in the queue" if first else f"{summary.queue_position} in the queue"
    if progress is None:
        return ""
    round_words = f" {progress.round}/{progress.rounds}" if progress.round else ""
    return f"{progress.stage}{round_words} · {progress.epoch}/{progress.epochs}"


def shown(key: str, value: Value | None) -> str:
    """A value as people read it: shares in percent, times and sizes with units, dates to the minute."""
    last = key.rpartition(".")[2]
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%m-%d %H:%M}" if value.year == datetime.now().year else f"{value:%Y-%m-%d}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int | float):
        if is_share(last):
            return percent(value)
        if last.endswith("_seconds"):
            return human_seconds(value)
        if last.endswith("_bytes"):
            return human_bytes(value)
        return f"{value:.6g}" if abs(value) < 1e6 else str(value)
    return value


def is_share(last: str) -> bool:
    return last in _SHARES or last.endswith("_accuracy")


def with_unit(key: str) -> str:
    return clean(f"{key} %" if is_share(key.rpartition(".")[2]) else key)
