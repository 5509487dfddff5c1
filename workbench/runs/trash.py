"""`runs/.trash/`: where removed runs wait until they are restored or the trash is emptied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.runs.find import choose
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.process import ensure_unattended
from workbench.runs.status import RunStatus, status_of
from workbench.support.errors import UserError

TRASH = ".trash"
_ACTIVE = {
    RunStatus.QUEUED: "queued",
    RunStatus.STARTING: "starting",
    RunStatus.STOPPING: "being stopped",
}


def move_to_trash(
    runs: Sequence[RunDirectory], told: Callable[[str], None] = lambda _: None
) -> list[RunDirectory]:
    """Move runs to the trash beside them, once all are seen to be movable; returns where they lie now.

    Args:
        told: hears what takes long: lost runs of other machines are watched for a while.

    Raises:
        UserError: a run is running, is in the trash or has a namesake there, or it cannot be moved.
    """
    runs = list(dict.fromkeys(runs))
    for run in runs:
        if run.path.parent.name == TRASH:
            raise UserError("it is in the trash already", where=run.id)
        if not run.path.is_dir():
            raise UserError("the run is not there any more", where=str(run.path))
        status = status_of(run)
        if status.is_active:
            raise UserError(
                f"it is {_ACTIVE.get(status, 'running')}", where=run.id, hint=_stop_first(run, status)
            )
    ensure_unattended(runs, told)
    return [_move(run, run.path.parent / TRASH / run.id) for run in runs]


def trashed_runs(runs_home: Path) -> list[RunDirectory]:
    """What the trash holds, newest run first."""
    return run_directories(runs_home / TRASH)


def restore_run(runs_home: Path, query: str) -> RunDirectory:
    """Bring the run of the trash that `query` names (as in `find_run`, less paths) back.

    Raises:
        UserError: no or more than one such run, or its place is taken.
    """
    trash = runs_home / TRASH
    run = choose(trashed_runs(runs_home), query, where=str(trash))
    return _move(run, runs_home / run.id)


def empty_trash(runs_home: Path, told: Callable[[str], None] = lambda _: None) -> int:
    """Delete for good what the trash holds; returns how many entries went.

    Args:
        told: as of `move_to_trash`.

    Raises:
        UserError: a run in it is running, or something cannot be deleted.
    """
    trash = runs_home / TRASH
    if trash.is_symlink():
        raise UserError("the trash is a link to somewhere else and is not emptied", where=str(trash))
    ensure_unattended(trashed_runs(runs_home), told)  # moved there by hand while they ran
    entries = list(trash.iterdir()) if trash.is_dir() else []
    for entry in entries:
        try:
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        except OSError as error:
            raise UserError(f"cannot be deleted: {error.strerror}", where=str(entry)) from error
    return len(entries)


def _stop_first(run: RunDirectory, status: RunStatus) -> str:
    if status is RunStatus.STOPPING:
        return "wait until it has ended"
    return f"petbench stop {run.handle} {'takes it out' if status is RunStatus.QUEUED else 'ends it'} first"


def _move(run: RunDirectory, target: Path) -> RunDirectory:
    try:
        target.parent.mkdir(exist_ok=True)
        # A rename would replace an empty directory silently, so look first.
        if os.path.lexists(target):
            raise UserError(f"{target.parent} already has a run of this name", where=run.id)
        run.path.rename(target)
    except OSError as error:
        raise UserError(f"cannot be moved: {error.strerror}", where=str(run.path)) from error
    return RunDirectory(target)
