"""Every run of a directory in one go: from the cache where its entry still holds, else read."""

from __future__ import annotations

from pathlib import Path

from workbench.runs.cache import (
    INDEX,
    Entry,
    Tell,
    entry_of,
    load_entries,
    recall,
    stamp_of,
    store_entries,
    unheard,
)
from workbench.runs.layout import run_directories
from workbench.runs.summary import RunSummary, summarise

__all__ = ["INDEX", "list_runs"]


def list_runs(runs_home: Path, *, tell: Tell = unheard) -> list[RunSummary]:
    """A summary of every run under `runs_home`, newest first.

    Args:
        tell: hears, in a line, why the cache of summaries was of no use.

    Raises:
        UserError: when `runs_home` is a file or cannot be read.
    """
    runs = run_directories(runs_home)
    told: list[str] = []
    cached = load_entries(runs_home, tell=told.append)
    summaries: list[RunSummary] = []
    fresh: dict[str, Entry] = {}
    for run in runs:
        stamp = stamp_of(run)
        summary = recall(run, cached.get(run.id), stamp)
        if summary is None:
            try:
                summary = summarise(run)
            except FileNotFoundError:
                continue  # removed since the directory was read
            if stamp.settled:
                fresh[run.id] = entry_of(summary, stamp)
        summaries.append(summary)
    store_entries(runs_home, fresh, cached.keys() - {run.id for run in runs}, tell=told.append)
    for line in dict.fromkeys(told):
        tell(line)
    return summaries
