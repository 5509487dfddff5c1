"""Runs as directories of plain files: written, read, found, listed, compared. No torch here.

The names below are imported when they are first asked for: a supervisor that waits in the queue needs few of
these modules, and hundreds of supervisors may wait.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "RunDirectory": "layout",
    "RunStatus": "status",
    "RunSummary": "summary",
    "create_run": "layout",
    "find_run": "find",
    "list_runs": "index",
    "status_of": "status",
    "summarise": "summary",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
