"""What can go: files that killed writers left, checkpoints of finished runs, caches nobody uses, the trash.

Only what petbench is known to have made is ever named here, and never what belongs to a run that is alive,
or that may be alive on another machine. What was found is looked at once more before it is removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from workbench.runs.find import choose
from workbench.runs.layout import OF_ATTEMPTS, RunDirectory, run_directories
from workbench.runs.process import ensure_unattended, is_local, is_over, read_exit, read_process
from workbench.runs.results import read_results
from workbench.runs.status import RunStatus, status_of
from workbench.runs.ticket import SUBMISSIONS, read_ticket, submission_of
from workbench.support.atomic import forsaken_folders, temporaries
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.support.identity import process_id
from workbench.support.locks import beside, locked, try_lock
from workbench.support.regular_file import read_text

Kind = Literal["temporary file", "checkpoint", "submission", "cache", "trash"]
_HOUR = 3600.0
_CACHE = re.compile(r".+-[0-9a-f]{16}|[0-9a-f]{16}-\d+", re.DOTALL)
"""Features are named `BACKBONE-FINGERPRINT`, decoded images `FINGERPRINT-SIDE`."""
_NUMBERED = re.compile(r"\d{6,}\.(?:safetensors|sha256)")
_DEPTH = 3
_LONGEST_HASH = 4096


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that can go."""

    path: Path
    kind: Kind
    size_bytes: int
    why: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of the caches and of the trash is to go; by itself, nothing of them is."""

    older_than_seconds: float | None = None
    """What was not used, or was thrown away, longer ago than this."""
    cache_limit_bytes: int | None = None
    """The caches that were used last stay, as far as they fit."""
    whole_trash: bool = False


def find_leftovers(runs_home: Path, others: Sequence[Path], cache: Path, wanted: Wanted) -> list[Leftover]:
    """Everything that can go, in the order in which it is to be told.

    Args:
        others: further directories in which petbench keeps files of its own: its state, its cache.

    Raises:
        UserError: the runs directory cannot be read.
    """
    found = [one for run in run_directories(runs_home) for one in of_run(run)]
    found += [
        _leftover(path, "temporary file", f"{name} was never finished")
        for path, name in sorted(forsaken_folders(runs_home))
    ]
    for folder in dict.fromkeys((runs_home / "reviews", runs_home / SUBMISSIONS, cache, *others)):
        found += _old_temporaries(folder, _DEPTH)
    found += _old_submissions(runs_home)
    return [*found, *_old_caches(cache, wanted), *_old_trash(runs_home, wanted)]


def of_run(run: RunDirectory) -> list[Leftover]:
    """What attempts left that are over; nothing of a run that is alive, or may be on another machine."""
    if _may_be_alive(run):
        return []
    folders = (run.checkpoint, run.path / "predictions", run.path / "pseudo")
    left = [
        _leftover(path, "temporary file", f"{name} was never finished")
        for folder in folders
        if not folder.is_symlink()
        for path, name, _ in temporaries(folder)
    ]
    for path, name, pid in temporaries(run.path):
        if name in OF_ATTEMPTS or _is_forsaken(path, pid):
            left.append(_leftover(path, "temporary file", f"{name} was never finished"))
    if not run.checkpoint.is_symlink() and _is_complete(run):
        left += [
            _leftover(path, "checkpoint", "the run is finished, and its final weights are whole")
            for path in sorted(run.checkpoint.iterdir())
            if _NUMBERED.fullmatch(path.name) and _is_plain(path)
        ]
    return left


def remove(leftovers: Sequence[Leftover], runs_home: Path) -> Iterator[tuple[Leftover, str]]:
    """Remove them, one after the other: each with why it stayed, empty where it went.

    A run's are removed while nobody can claim the run, and only if they would be found again.
    """
    for one in leftovers:
        try:
            run = _run_of(one, runs_home)
            if one.kind == "cache":
                yield one, _remove_cache(one.path)
            elif one.kind == "trash":
                yield one, _remove_trashed(one.path)
            elif one.path.is_dir() and not one.path.is_symlink():
                shutil.rmtree(one.path)
                yield one, ""
            elif run is None:
                one.path.unlink(missing_ok=True)
                yield one, ""
            else:
                yield one, _remove_of_run(one, run)
        except OSError as error:
            yield one, error.strerror or str(error)


def _remove_of_run(one: Leftover, run: RunDirectory) -> str:
    with locked(run.lock):
        if _may_be_alive(run):
            return "the run goes on meanwhile"
        one.path.unlink(missing_ok=True)
    return ""


def _remove_cache(path: Path) -> str:
    """Held by the locks that its users take to fill it, so that none is filling it now."""
    with contextlib.ExitStack() as held:
        for lock in (path / "lock", beside(path)):
            if lock.exists():
                descriptor = try_lock(lock)
                if descriptor is None:
                    return "it is being filled"
                held.callback(os.close, descriptor)
        if path in _mapped([path]):
            return "it is in use"
        shutil.rmtree(path)
        beside(path).unlink(missing_ok=True)
    return ""


def _remove_trashed(path: Path) -> str:
    if _may_be_alive(RunDirectory(path)):
        return "it is alive, in the trash"
    shutil.rmtree(path)
    return ""


def _may_be_alive(run: RunDirectory) -> bool:
    """Also of a run that another machine has not said the end of: that machine may only be out of reach."""
    process = read_process(run)
    if process is not None and not is_local(process) and not is_over(process, read_exit(run)):
        return True
    return status_of(run).is_active


def _is_complete(run: RunDirectory) -> bool:
    """Whether nothing of a run's checkpoints is needed any more: it has results, and final weights."""
    if status_of(run) is not RunStatus.FINISHED or not any(
        _NUMBERED.fullmatch(name) for name in _names(run.checkpoint)
    ):
        return False
    final = run.checkpoint / "final.safetensors"
    try:
        read_results(run.results)
        return file_sha256(final) == read_text(final.with_suffix(".sha256"), _LONGEST_HASH).split()[0]
    except (OSError, ValueError, IndexError, UserError):
        return False


def _old_temporaries(folder: Path, depth: int) -> Iterator[Leftover]:
    for path, name, pid in temporaries(folder):
        if _is_forsaken(path, pid):
            yield _leftover(path, "temporary file", f"{name} was never finished")
    if depth:
        for name in _names(folder):
            below = folder / name
            if not below.is_symlink() and below.is_dir():
                yield from _old_temporaries(below, depth - 1)


def _is_forsaken(path: Path, pid: int) -> bool:
    """Whether nobody writes a temporary file any more: no such process here, and no change for an hour.

    Another machine's process cannot be seen, but none takes an hour between two writes of a file.
    """
    return process_id(pid) is None and _seconds_since(path.lstat().st_mtime) > _HOUR


def _old_submissions(runs_home: Path) -> Iterator[Leftover]:
    """Scripts and logs of Slurm's jobs, once no run has a ticket of theirs that is open.

    One that is being submitted has its script before its tickets: what is young stays.
    """
    folder = runs_home / SUBMISSIONS
    files = [] if folder.is_symlink() else [folder / name for name in _names(folder)]
    old = [
        path
        for path in files
        if submission_of(path.name) and _is_plain(path) and _seconds_since(path.lstat().st_mtime) > _HOUR
    ]
    if not old:
        return
    tickets = map(read_ticket, [*run_directories(runs_home), *trashed_runs(runs_home)])
    needed = {ticket.name for ticket in tickets if ticket is not None and ticket.is_open}
    for path in old:
        if submission_of(path.name) not in needed:
            yield _leftover(path, "submission", "no run waits for its job any more")


def _old_caches(cache: Path, wanted: Wanted) -> list[Leftover]:
    if wanted.older_than_seconds is None and wanted.cache_limit_bytes is None:
        return []
    entries = [
        (_last_used(path), path, _size(path))
        for folder in (cache / "stores", cache / "features")
        for path in (folder / name for name in _names(folder))
        if _CACHE.fullmatch(path.name) and _is_flat_folder(path)
    ]
    used = _mapped([path for _, path, _ in entries])
    kept, gone = 0, []
    for last, path, size in sorted(entries, reverse=True):
        age = _seconds_since(last)
        why = ""
        if path not in used and age > _HOUR:
            if wanted.older_than_seconds is not None and age > wanted.older_than_seconds:
                why = f"not used for {age / 86400:.0f} days"
            elif wanted.cache_limit_bytes is not None and kept + size > wanted.cache_limit_bytes:
                why = "used least lately of what is over the limit"
        if why:
            gone.append(Leftover(path, "cache", size, why))
        else:
            kept += size
    return gone


def _old_trash(runs_home: Path, wanted: Wanted) -> list[Leftover]:
    runs = trashed_runs(runs_home) if not (runs_home / ".trash").is_symlink() else []
    old = wanted.older_than_seconds
    return [
        # A rename changes no file's time, but that of the directory's own entry.
        Leftover(run.path, "trash", _size(run.path), "it was thrown away")
        for run in runs
        if wanted.whole_trash or (old is not None and _seconds_since(run.path.lstat().st_ctime) > old)
    ]


def _mapped(folders: Sequence[Path]) -> set[Path]:
    """The folders of which a process of this machine has a file open or in its memory."""
    wanted = {os.path.realpath(folder): folder for folder in folders}
    used: set[Path] = set()
    for proc in Path("/proc").glob("[0-9]*"):
        paths: list[str] = []
        with contextlib.suppress(OSError):
            paths += [line.split(maxsplit=5)[5] for line in _lines(proc / "maps") if "/" in line]
        with contextlib.suppress(OSError):
            for descriptor in (proc / "fd").iterdir():
                with contextlib.suppress(OSError):
                    paths.append(str(descriptor.readlink()))
        used |= {wanted[folder] for folder in map(os.path.dirname, paths) if folder in wanted}
    return used


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="surrogateescape").splitlines()


def _run_of(one: Leftover, runs_home: Path) -> RunDirectory | None:
    if not one.path.is_relative_to(runs_home):
        return None
    run = RunDirectory(runs_home / one.path.relative_to(runs_home).parts[0])
    return run if run.recipe.is_file() else None


def _leftover(path: Path, kind: Kind, why: str) -> Leftover:
    return Leftover(path, kind, _size(path), why)


def _size(path: Path) -> int:
    """What removing it gives back to the disk."""
    size = 0
    with contextlib.suppress(OSError):
        found = path.lstat()
        size = found.st_blocks * 512
        if stat.S_ISDIR(found.st_mode):
            size += sum(map(_size, map(partial(Path.joinpath, path), _names(path))))
    return size


def _last_used(folder: Path) -> float:
    """Reading a file counts: its access time moves on at least once a day."""
    times = [0.0]
    for name in _names(folder):
        with contextlib.suppress(OSError):
            found = (folder / name).lstat()
            times += [found.st_atime, found.st_mtime]
    return max(times)


def _seconds_since(moment: float) -> float:
    return abs(time.time() - moment)


def _is_flat_folder(path: Path) -> bool:
    return not path.is_symlink() and path.is_dir() and all(_is_plain(path / name) for name in _names(path))


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _names(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is asked for
    except OSError:
        return []


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
    ensure_movable(runs, told)
    return [_move(run, run.path.parent / TRASH / run.id) for run in runs]


def ensure_movable(runs: Sequence[RunDirectory], told: Callable[[str], None] = lambda _: None) -> None:
    """See that runs can go to the trash. Raises: UserError, as `move_to_trash`."""
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
