"""Runs as directories of plain files: written, read, found, listed, compared. No torch here."""

from workbench.runs.find import find_run
from workbench.runs.index import list_runs
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.status import RunStatus, status_of
from workbench.runs.summary import RunSummary, summarise

__all__ = [
    "RunDirectory",
    "RunStatus",
    "RunSummary",
    "create_run",
    "find_run",
    "list_runs",
    "status_of",
    "summarise",
]
