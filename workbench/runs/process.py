"""Who runs a run, and how it ended: `process.json`, `heartbeat` and `exit.json`.

A process is known by boot id, pid and start ticks together, so a pid that the kernel gave to someone else,
or a machine that was started anew, is never taken for the run. An attempt in the background belongs to its
supervisor first, while it waits for a device and starts the trainer, then to the trainer.

A process of another machine cannot be seen. It shows itself by the time of `process.json`, which it moves
on every few seconds, and by its heartbeat; whether they move is told by this machine's clock alone, from one
look to the next, since clocks of two machines may differ by any amount.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from workbench.runs.layout import RunDirectory
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.identity import ProcessId, boot_id, is_running, pid_namespace, process_id
from workbench.support.locks import locked
from workbench.support.records import read_record, write_record

Role = Literal["waiting", "starting", "trainer"]
"""A supervisor that waits for a device, one that starts its trainer, or a trainer."""

PULSE_SECONDS = 10.0
"""How often whoever works on a run moves the time of `process.json` on."""
STALE_SECONDS = 60.0
"""Without a sign of life for so long, a run of this machine is stalled, one of another is lost."""
WATCH_SECONDS = 35.0
"""How long a lost run of another machine is watched before anything is done to it: three pulses, and the few
seconds for which a network file system may hold one back."""
_LOOK_SECONDS = 0.5
_LARGEST_PID = 2**22  # proc(5), pid_max
_LARGEST_SKEW = 86400.0  # seconds; a wrong time zone makes up to 14 hours
_LATEST = 1e11  # seconds since the epoch: the year 5138


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """The process of a run's latest attempt."""

    boot_id: str
    pid: int
    start_ticks: int
    """Clock ticks from boot to the process's start (proc(5), field 22)."""
    attempt: int
    """1 for the first start, one more for every resume."""
    host: str
    device: str
    """What it computes on, or waits for."""
    started: float
    """Seconds since the epoch."""
    role: Role = "trainer"
    supervisor_pid: int = 0
    """Of a trainer in the background; 0 in the foreground."""
    supervisor_ticks: int = 0
    namespace: str = ""
    """Whose pids these are; empty in records of before containers were told apart."""
    sweep_pid: int = 0
    """Of the sweep that gave its worker the run: when it goes, the worker ends. 0 for any other run."""
    sweep_ticks: int = 0

    def __post_init__(self) -> None:
        """Raises: ValueError, for numbers that no petbench wrote."""
        pids = (self.pid, self.supervisor_pid, self.sweep_pid)
        ticks = (self.start_ticks, self.supervisor_ticks, self.sweep_ticks)
        if not all(0 <= pid <= _LARGEST_PID for pid in pids) or min(ticks) < 0 or self.attempt < 1:
            raise ValueError("no process")
        if not 0 <= self.started <= _LATEST:
            raise ValueError("no time")

    @property
    def identity(self) -> ProcessId:
        """The process itself."""
        return ProcessId(self.boot_id, self.pid, self.start_ticks)

    @property
    def supervisor(self) -> ProcessId | None:
        """The process that watches over this attempt; None in the foreground."""
        if self.role != "trainer":
            return self.identity
        if not self.supervisor_pid:
            return None
        return ProcessId(self.boot_id, self.supervisor_pid, self.supervisor_ticks)

    @property
    def sweep(self) -> ProcessId | None:
        """The sweep whose worker this is; None for any other run."""
        return ProcessId(self.boot_id, self.sweep_pid, self.sweep_ticks) if self.sweep_pid else None


@dataclass(frozen=True, slots=True)
class ExitRecord:
    """How an attempt ended."""

    attempt: int
    code: int
    signal: int | None
    reason: str
    ended: float
    """Seconds since the epoch."""


Signs = Mapping[RunDirectory, int]
"""Of runs that were seen not to be attended: the newest sign of life of each when it was looked at."""


def write_process(
    run: RunDirectory,
    device: str,
    *,
    pid: int | None = None,
    role: Role = "trainer",
    seen: Signs | None = None,
    sweep: ProcessId | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> ProcessRecord:
    """Claim `run` for a new attempt of process `pid` (this one unless given).

    Args:
        sweep: the one whose worker it is.
        seen: what `ensure_unattended` found a moment ago; else it is asked now.

    Raises:
        UserError: another process is running it, or the directory leads out of itself.
        ProcessLookupError: no process has this pid.
    """
    owner = process_id(pid)
    if owner is None:
        raise ProcessLookupError(f"no process {pid}")
    _refuse_links(run)
    seen = ensure_unattended([run], told, but=owner) if seen is None else seen
    with locked(run.lock):
        previous, ended = read_process(run), read_exit(run)
        if previous is not None and not is_over(previous, ended) and previous.identity != owner:
            if is_local(previous):
                _refuse_attended(run, previous)
            elif newest_sign(run) != seen.get(run):
                raise _moving(run, previous)
        attempt = 1 + max(previous.attempt if previous else 0, ended.attempt if ended else 0)
        record = _record(owner, attempt, device, role)
        if sweep is not None:
            record = replace(record, sweep_pid=sweep.pid, sweep_ticks=sweep.start_ticks)
        # What was wanted of another attempt, or of a run that a stranger packed, is no wish about this one.
        run.control.unlink(missing_ok=True)
        write_record(run.process, record)
    beat(run)
    return record


def withdraw(run: RunDirectory, claimed: ProcessRecord, before: bytes | None = None) -> None:
    """Take a claim back whose attempt was refused before it began: the run is what it was.

    Args:
        before: what `process.json` held, empty for no such file; None where nobody knows any more.

    Raises:
        OSError: it cannot be written.
    """
    with locked(run.lock):
        if not _is_of(claimed, read_process(run)):
            return
        if before:
            atomic_write(run.process, before)
        elif before is not None or claimed.attempt == 1:
            run.process.unlink(missing_ok=True)
        else:  # an attempt that is over, so nobody looks for its process
            write_record(run.process, replace(claimed, attempt=claimed.attempt - 1, role="trainer"))


def note_start(run: RunDirectory, claimed: ProcessRecord, device: str) -> ProcessRecord:
    """Record that the supervisor of `claimed` has `device` and starts its trainer.

    Raises:
        UserError: another process has claimed the run since.
        OSError: it cannot be written.
    """
    record = replace(claimed, role="starting", device=device, started=time.time())
    with locked(run.lock):
        if not holds(run, claimed):
            raise _claimed_since(run, claimed.attempt)
        write_record(run.process, record)
    beat(run)
    return record


def join_attempt(run: RunDirectory, attempt: int) -> ProcessRecord:
    """Make this process the trainer of the attempt that its supervisor claimed.

    Raises:
        UserError: another process has claimed the run since.
    """
    with locked(run.lock):
        claimed = read_process(run)
        if claimed is None or claimed.attempt != attempt or claimed.identity != process_id(os.getppid()):
            raise _claimed_since(run, attempt)
        me = process_id()
        assert me is not None  # this process runs
        record = replace(
            _record(me, attempt, claimed.device, "trainer"),
            supervisor_pid=claimed.pid,
            supervisor_ticks=claimed.start_ticks,
        )
        write_record(run.process, record)
    beat(run)
    return record


def read_process(run: RunDirectory) -> ProcessRecord | None:
    """The latest attempt's process; None where none was recorded or the file is damaged."""
    return read_record(run.process, ProcessRecord)


def is_alive(process: ProcessRecord) -> bool:
    """Whether exactly this process runs on this machine: same boot, pid and start; a zombie does not."""
    return is_local(process) and is_running(process.identity)


def is_attended(process: ProcessRecord) -> bool:
    """Whether the process or its supervisor, which has yet to say how it ended, is alive here.

    Whatever process that is: `is_at_work` tells a stranger's that a forged file names.
    """
    if not is_local(process):
        return False
    supervisor = process.supervisor
    return is_running(process.identity) or (supervisor is not None and is_running(supervisor))


def is_local(process: ProcessRecord) -> bool:
    """Whether the process was started where this one can see it, so that `is_alive` can tell.

    A machine that was started anew is another one: a namesake that shares the directory cannot be told from
    it.
    """
    if process.boot_id != boot_id():
        return False
    if not process.namespace:
        return process.host == socket.gethostname()
    return process.namespace == pid_namespace()


def is_over(process: ProcessRecord, ended: ExitRecord | None) -> bool:
    """Whether the attempt has said how it ended."""
    return ended is not None and ended.attempt >= process.attempt


def is_at_work(run: RunDirectory, process: ProcessId) -> bool:
    """Whether exactly this process runs here and is, as far as can be seen, a petbench of this very run.

    One that cannot be asked, another user's or one whose memory the kernel has freed already, counts if it
    belongs to whom `process.json` belongs.
    """
    if not is_running(process):
        return False
    if process == process_id():  # this very process: no forger knew of it
        return True
    try:
        if is_petbench_of(run, process):
            return True
        asked = bool(Path(f"/proc/{process.pid}/cmdline").read_bytes())
    except PermissionError:
        asked = False
    except OSError:
        return False
    return not asked and _is_of_owner(run, process)


def _is_of_owner(run: RunDirectory, process: ProcessId) -> bool:
    try:
        return Path(f"/proc/{process.pid}").stat().st_uid == run.process.lstat().st_uid
    except OSError:
        return False


def is_petbench_of(run: RunDirectory, process: ProcessId) -> bool:
    """Whether a process of this machine is a supervisor or trainer of this very run, whatever a file says.

    One in the background names the run's directory on its command line; a trainer has the run's metrics open
    for writing.

    Raises:
        PermissionError: it is another user's.
    """
    proc = Path(f"/proc/{process.pid}")
    try:
        if proc.stat().st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        words = (proc / "cmdline").read_bytes().split(b"\0")
        named = (word for before, word in itertools.pairwise(words) if before in _BEFORE_DIRECTORY)
        return any(_is_same(os.fsdecode(word), run.path) for word in named) or _writes(proc, run.metrics)
    except (FileNotFoundError, ProcessLookupError):
        return not Path("/proc/self").exists()  # no /proc here, so nobody to ask


_BEFORE_DIRECTORY = (b"workbench.jobs.supervisor", b"workbench.jobs.slurm_job", b"--run-dir")
"""What stands before the run's directory on the command lines of supervisors and of their trainers."""


def _writes(proc: Path, path: Path) -> bool:
    """Whether a process has a file open for writing."""
    for descriptor in (proc / "fd").iterdir():
        if not _is_same(str(descriptor), path):
            continue
        flags = re.search(
            r"^flags:\s*([0-7]+)", (proc / "fdinfo" / descriptor.name).read_text(), re.MULTILINE
        )
        if flags and int(flags[1], 8) & os.O_ACCMODE != os.O_RDONLY:
            return True
    return False


def _is_same(one: str, other: Path) -> bool:
    try:
        return os.path.samestat(os.stat(one), other.stat())  # noqa: PTH116 - `/proc/1/fd/3` is no real path
    except (OSError, ValueError):
        return False


def holds(run: RunDirectory, process: ProcessRecord) -> bool:
    """Whether `run` is still this attempt's: no other has been written down since."""
    return _is_of(process, read_process(run))


def pulse(run: RunDirectory, process: ProcessRecord) -> bool:
    """Show that the attempt's process is there; False where another attempt has taken its place."""
    if not holds(run, process):
        return False
    with contextlib.suppress(OSError):
        os.utime(run.process, follow_symlinks=False)
    return True


def beat(run: RunDirectory) -> None:
    """Touch the heartbeat: the batch loop is moving."""
    try:
        os.utime(run.heartbeat, follow_symlinks=False)
    except FileNotFoundError:
        run.heartbeat.touch()


def newest_sign(run: RunDirectory) -> int:
    """The newest time that whoever works on the run has left, in ns by the clock of its file system."""
    return max(map(_changed_ns, (run.process, run.heartbeat, run.metrics)))


def seconds_still(run: RunDirectory) -> float:
    """How long a run of another machine has shown no sign of life, by this machine's clock.

    The first look of this process can only compare the file's time with the clock; from the second on it
    counts whether the times move.
    """
    newest, now = newest_sign(run), time.monotonic()
    look = _looks.get(run.path)
    if look is None or newest < look.newest:
        look = _Look(newest, since=now - abs(time.time() - newest / 1e9), seen=now)
    elif newest > look.newest:
        look = _Look(newest, since=now, seen=now)
    _looks[run.path] = look
    return now - look.since


def may_differ(run: RunDirectory, process: ProcessRecord) -> bool:
    """Whether a run that `seconds_still` found still may live by a clock that differs from this machine's.

    Not once this process has watched it for a minute, nor when its sign is older than clocks differ; nor of
    this machine, in another container or before it was started anew.
    """
    look = _looks.get(run.path)
    if look is None or process.boot_id == boot_id() or process.host == socket.gethostname():
        return False
    return time.monotonic() - look.seen <= STALE_SECONDS and time.time() - look.newest / 1e9 <= _LARGEST_SKEW


@dataclass(frozen=True, slots=True)
class _Look:
    """What was seen of a run of another machine; times are `monotonic`."""

    newest: int
    """Its newest sign of life."""
    since: float
    """Since when it has been that, as far as the first look can tell."""
    seen: float
    """When it was first seen."""


_looks: dict[Path, _Look] = {}


def ensure_unattended(
    runs: Sequence[RunDirectory],
    told: Callable[[str], None] = lambda _: None,
    *,
    but: ProcessId | None = None,
) -> Signs:
    """Make sure that nobody works on these runs, here or on another machine, and that they may be claimed.

    One of another machine that seems to be dead is watched for `WATCH_SECONDS`, all together.

    Args:
        told: hears that it takes so long.
        but: the process that counts as nobody.

    Raises:
        UserError: somebody does.
    """
    signs: dict[RunDirectory, int] = {}
    of: dict[RunDirectory, ProcessRecord] = {}
    for run in runs:
        process = read_process(run)
        if process is None or is_over(process, read_exit(run)) or process.identity == but:
            continue
        if is_local(process):
            _refuse_attended(run, process)
        elif seconds_still(run) <= STALE_SECONDS:
            raise _moving(run, process)
        else:
            signs[run], of[run] = newest_sign(run), process
    if signs:
        hosts = ", ".join(dict.fromkeys(clean(process.host, 60) for process in of.values()))
        told(f"last seen on {hosts}: watching for {WATCH_SECONDS:.0f} s whether it is alive there")
    end = time.monotonic() + WATCH_SECONDS
    while signs and time.monotonic() < end:
        time.sleep(min(_LOOK_SECONDS, WATCH_SECONDS))
        for run, process in of.items():
            if newest_sign(run) != signs[run]:
                raise _moving(run, process)
    return signs


def _claimed_since(run: RunDirectory, attempt: int) -> UserError:
    return UserError(f"attempt {attempt} is not this process's any more", where=run.id)


def _refuse_attended(run: RunDirectory, process: ProcessRecord) -> None:
    if not is_attended(process):
        return
    if not any(is_at_work(run, one) for one in (process.identity, process.supervisor) if one is not None):
        raise no_petbench(run, process.pid)
    waits = process.role == "waiting"
    raise UserError(
        "it waits in the queue already" if waits else f"process {process.pid} is still running it",
        where=run.id,
        hint=f"petbench stop {run.handle} " + ("takes it out" if waits else "stops it after a checkpoint"),
    )


def no_petbench(run: RunDirectory, pid: int) -> UserError:
    """Of a living process that `process.json` names, and that is a stranger."""
    return UserError(
        f"process {pid}, which process.json names, is no petbench at work on this run",
        where=run.id,
        hint="it is left alone: the file was changed or made elsewhere; remove it to go on with the run",
    )


def _moving(run: RunDirectory, process: ProcessRecord) -> UserError:
    return UserError(
        f"it is alive on {clean(process.host, 60)}: its last sign of life there is less than a minute old",
        where=run.id,
        hint=f"petbench stop {run.handle} asks it to stop; if that machine is down, try again in a minute",
    )


def _refuse_links(run: RunDirectory) -> None:
    """Nothing is written out of the run's own directory: a stranger's may hold links to anywhere."""
    for path in run.written:
        if path.is_symlink():
            raise UserError(
                f"it is a link to {clean(os.readlink(path), 120)}, and petbench writes through no link",  # noqa: PTH115
                where=clean(path),
                hint="put a file or folder of the run's own in its place, then try again",
            )


def _changed_ns(path: Path) -> int:
    """When a file was last changed, 0 for never; opened, since a network file system then looks anew."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return os.fstat(descriptor).st_mtime_ns
    finally:
        os.close(descriptor)


def _is_of(claimed: ProcessRecord, found: ProcessRecord | None) -> bool:
    """Whether a record belongs to the attempt of `claimed`; none at all belongs to nobody else."""
    if found is None:
        return True
    mine, theirs = ((r.attempt, r.boot_id, r.namespace) for r in (claimed, found))
    return mine == theirs


def write_exit(
    run: RunDirectory,
    *,
    code: int,
    reason: str = "",
    signal: int | None = None,
    attempt: int | None = None,
) -> ExitRecord | None:
    """Record how an attempt ended, the latest unless given; one that another has followed says nothing.

    Args:
        code: the exit code; 0 done, 1 failed, 2 wrong input, 130 interrupted.
        reason: one line for a person.
        signal: number of the signal that ended it, if one did.

    Raises:
        OSError: it cannot be written.
    """
    with locked(run.lock):
        process, ended = read_process(run), read_exit(run)
        if attempt is None:
            attempt = process.attempt if process else 1
        if attempt < max(process.attempt if process else 0, ended.attempt if ended else 0):
            return None
        record = ExitRecord(attempt=attempt, code=code, signal=signal, reason=reason, ended=time.time())
        write_record(run.exit, record)
    return record


def read_exit(run: RunDirectory) -> ExitRecord | None:
    """How the latest attempt that ended did so; None where none has or the file is damaged."""
    return read_record(run.exit, ExitRecord)


def _record(owner: ProcessId, attempt: int, device: str, role: Role) -> ProcessRecord:
    return ProcessRecord(
        boot_id=boot_id(),
        pid=owner.pid,
        start_ticks=owner.start_ticks,
        attempt=attempt,
        host=socket.gethostname(),
        device=device,
        started=time.time(),
        role=role,
        namespace=pid_namespace(),
    )
