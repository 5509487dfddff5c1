"""A sweep's workers: processes that take runs one after the other, so that torch is loaded once a worker.

A worker claims a run as `petbench run` does; over a socket it says that it has, and how the run ended. Its
pool has the device's lease, of which a worker holds a copy while it trains. A worker that is killed leaves
its run lost, so that the same sweep, given again, goes on with it; one whose pool is gone, however that died,
writes a checkpoint and ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self, assert_never

from workbench.jobs.control import Signals, is_heard, stop_run
from workbench.jobs.device import Demand, Device, environment_of
from workbench.jobs.ending import ending_of, memory_kills
from workbench.jobs.lease import Holder, Lease, holder_of, order_free, try_lease
from workbench.jobs.start import child_environment, python_module
from workbench.jobs.sweep import Ended, Task
from workbench.runs.attempt_control import GRACE_SECONDS, STOP_SIGNALS
from workbench.runs.layout import RunDirectory
from workbench.runs.log import RunLog
from workbench.runs.process import is_over, read_exit, read_process
from workbench.runs.sweeps import starting
from workbench.runs.waiting import queue_lock
from workbench.support.errors import RunFailed, UserError
from workbench.support.records import record_from

_LOOK_SECONDS = 2.0
"""How often a device that another run has is looked at."""
_AGAIN_SECONDS = 0.2
"""How often a run that is about to end elsewhere is looked at."""
_LAST_SECONDS = 10.0
"""How long a worker that says no more may take to end."""
_MESSAGE_BYTES = 65536


Team = tuple[Device, ...]
"""Devices that train one run together."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is to train."""

    run: str
    """The run's directory."""
    is_new: bool
    """Whether there is nothing to keep of it yet, so that it goes if it is refused."""
    until: int
    """Park it once its first stage (its probe aside) has so many epochs behind it; 0: to its end."""
    share: int
    """How many runs at a time share the machine's cores."""
    processes: int = 1
    """How many train it together."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker says: it can train; it never can; it has claimed a run for all to see; that has ended."""

    kind: Literal["ready", "refused", "claimed", "ended"]
    code: int = 0
    is_parked: bool = False
    reason: str = ""


class SweepStopped(Exception):
    """Ctrl-C or SIGTERM: every run that was under way has ended, after a checkpoint if it could write one."""


class WorkerPool:
    """Workers on devices of this machine; a context. In the main thread only.

    Args:
        demand: what runs may compute on, and how many devices the one that takes most takes. Workers have so
            many each, always the same ones. Of several such teams, one of which another run has a device is
            left alone; a single one is used all the same, as `petbench run` does.
        jobs: runs at a time, as many on one team as on another.
        command_line: for the runs' provenance.
        say: hears, in a line for people, of devices that are taken.
    """

    def __init__(
        self,
        demand: Demand,
        jobs: int,
        *,
        data_home: Path,
        command_line: Sequence[str] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._teams = _teams_of(demand)
        self._most = demand.processes
        self._slots = [_Slot() for _ in range(jobs)]
        self._arguments = [f"--data-dir={data_home.absolute()}", f"--launched-by={shlex.join(command_line)}"]
        self._say = say
        self._said: set[str] = set()
        self._leases: dict[Team, Lease] = {}
        self._memory_kills = memory_kills()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers; runs that are still under way, because something was raised, stop first."""
        try:
            with self._hearing() as signals:
                signals.asked = 1
                while any(slot.run for slot in self._slots):
                    self._heed(signals)
                    self._listen(signals, _LOOK_SECONDS)
        finally:
            for slot in self._slots:
                slot.dismiss()
            for lease in self._leases.values():
                lease.release()

    def warm(self, tasks: int) -> None:
        """Let workers for so many tasks load torch, while the caller has something else to do."""
        for slot in self._slots[:tasks]:
            self._employ(slot)

    def train(self, tasks: Sequence[Task], told: Callable[[Ended], None]) -> None:
        """Train every task; one that fails stops no other.

        Args:
            told: called as each task ends.

        Raises:
            SweepStopped: it was asked to stop.
            RunFailed: there can be no workers.
            UserError: no run can begin: no directory can be made, or there is no such device.
        """
        waiting = [_Waiting(task) for task in tasks]
        share = min(len(self._slots), len(tasks))
        # Those with a worker first: none is started while another has nothing to do.
        slots = sorted(self._slots, key=lambda slot: slot.worker is None)[:share]
        with self._hearing() as signals:
            while waiting or any(slot.run for slot in slots):
                self._heed(signals)
                if signals.asked:
                    waiting.clear()
                for slot in slots:
                    if waiting and slot.run is None:
                        self._employ(slot)
                        self._fill(slot, waiting, share, signals, told)
                if not waiting:
                    self._release_idle()
                if waiting or any(slot.run for slot in slots):
                    is_soon = any(one.is_postponed for one in waiting)
                    self._listen(signals, _AGAIN_SECONDS if is_soon else _LOOK_SECONDS, told)
            if signals.asked:
                raise SweepStopped

    @contextlib.contextmanager
    def _hearing(self) -> Iterator[Signals]:
        """Signals ask runs to stop meanwhile; at other times they mean what they mean to the caller."""
        # SIGINT too: a shell starts what it puts in the background with SIGINT ignored.
        signals = Signals([number for number in STOP_SIGNALS if is_heard(number)], is_patient=False)
        try:
            yield signals
        finally:
            signals.close()

    def _fill(
        self,
        slot: _Slot,
        waiting: list[_Waiting],
        share: int,
        signals: Signals,
        told: Callable[[Ended], None],
    ) -> None:
        """Give a slot the next run that nobody else has seen to meanwhile, once its worker is ready."""
        worker = slot.worker
        while worker is not None and worker is slot.worker and worker.is_ready and slot.run is None:
            due = next((one for one in waiting if one.is_due), None)
            if due is None or signals.asked or not self._has_lease(worker.team, due.task.home):
                return
            task = due.task
            with starting(task.home):
                run = task.begun(is_patient=due.may_wait)
                if run is None:
                    due.postpone()
                    continue
                waiting.remove(due)
                if isinstance(run, Ended):
                    told(run)
                    continue
                lease = self._leases.get(worker.team)
                if lease is not None:
                    lease.rename(run)
                asked = task.recipe.training.devices
                processes = self._most if asked == "all" else min(asked, self._most)
                order = Order(str(run.path.absolute()), task.is_new, task.until or 0, share, processes)
                slot.begin(order, run, lease)
                while slot.run is not None and not slot.is_claimed:
                    self._heed(signals)
                    if signals.sleep(_LOOK_SECONDS, worker.fileno()):
                        self._hear(slot, told)

    # What workers say

    def _listen(
        self, signals: Signals, seconds: float, told: Callable[[Ended], None] = lambda _: None
    ) -> None:
        by_descriptor = {slot.worker.fileno(): slot for slot in self._slots if slot.worker is not None}
        for descriptor in signals.sleep(seconds, *by_descriptor):
            self._hear(by_descriptor[descriptor], told)

    def _hear(self, slot: _Slot, told: Callable[[Ended], None]) -> None:
        """Take in what a worker says, or that it is no more. Raises: as `train`."""
        assert slot.worker is not None
        for answer in slot.worker.answers():
            match answer.kind:
                case "ready":
                    slot.worker.is_ready = True
                case "refused":
                    raise UserError(answer.reason)
                case "claimed":
                    slot.is_claimed = True
                case "ended":
                    run = slot.end()
                    told(Ended(run, answer.code, answer.is_parked, answer.reason))
                case _:
                    assert_never(answer.kind)
        if not slot.worker.is_silent:
            return
        was_ready = slot.worker.is_ready
        code = slot.worker.end()
        slot.worker = None
        if slot.run is not None:
            told(self._bury(slot.end(), code))
        elif not was_ready:
            raise RunFailed(
                f"a worker ended with code {code} before it could train", advice="what it said stands above"
            )

    def _bury(self, run: RunDirectory, code: int) -> Ended:
        """How the run of a worker that died ended; it keeps a line of it, no `exit.json`: it shows lost."""
        process, ended = read_process(run), read_exit(run)
        if process is not None and ended is not None and is_over(process, ended):
            return Ended(run, ended.code, reason=ended.reason)
        ending = ending_of(
            run,
            code,
            request=None,
            killed_after_seconds=None,
            kernel_killed=memory_kills() > self._memory_kills,
        )
        with contextlib.suppress(OSError):
            RunLog(run.log).line(f"its worker ended: {ending.reason}")
        return Ended(run, ending.code or 1, reason=ending.reason, is_lost=True)

    # Wishes to stop

    def _heed(self, signals: Signals) -> None:
        """Pass wishes to stop on: after a checkpoint; asked twice, at once; asked again, by force."""
        asked = signals.asked
        for slot in self._slots if asked else ():
            if slot.run is None or slot.worker is None:
                continue
            if slot.is_claimed and not slot.is_asked:
                slot.is_asked = True
                with contextlib.suppress(UserError):  # it has just ended
                    stop_run(slot.run)
            elif asked > signals.heeded:
                slot.worker.signal(signal.SIGTERM if asked == 2 else signal.SIGKILL)
        signals.heeded = asked

    # Devices

    def _employ(self, slot: _Slot) -> None:
        """See to it that a slot without a run has a worker, on devices that no other run has."""
        if slot.worker is not None and self._may_use(slot.worker.team):
            return
        slot.dismiss()
        for team in sorted(self._teams, key=self._crew):  # stable: the first of those with the fewest
            if self._crew(team) * len(self._teams) < len(self._slots) and self._may_use(team):
                slot.worker = _Worker(team, self._arguments)
                return

    def _crew(self, team: Team) -> int:
        """How many workers the devices of a team have."""
        return sum(slot.worker is not None and slot.worker.team == team for slot in self._slots)

    def _may_use(self, team: Team) -> bool:
        """Whether a run may begin on a team's devices, as far as others leave them alone."""
        if len(self._teams) == 1 or team in self._leases:
            return True
        try:
            with queue_lock():
                return not self._taken(team)
        except OSError:
            return True

    def _has_lease(self, team: Team, home: Path) -> bool:
        """Whether a run may begin on a team's devices now; takes their lease, if they are free."""
        if team in self._leases:
            return True
        try:
            with queue_lock():
                lease = try_lease(team, RunDirectory(home), len(team))
                if lease is None:
                    return not self._taken(team) or len(self._teams) == 1
        except OSError:
            return True  # there is no place for leases, so nobody is asked
        self._leases[team] = lease
        return True

    def _taken(self, team: Team) -> bool:
        """Whether another run has one of a team's devices, and say so. The caller holds `queue_lock`."""
        found = [(device, holder) for device in team if (holder := holder_of(device.key)) is not None]
        for device, holder in found:
            self._say_taken(device, holder)
        return bool(found)

    def _say_taken(self, device: Device, holder: Holder) -> None:
        if device.key not in self._said:
            self._said.add(device.key)
            what = "both will be slower" if len(self._teams) == 1 else "left alone until it is free"
            self._say(f"{holder.has(device)}: {what}")

    def _release_idle(self) -> None:
        """Let go of devices on which nothing is left to do while others are at work."""
        at_work = {slot.worker.team for slot in self._slots if slot.run and slot.worker}
        for team in self._leases.keys() - at_work if at_work else ():
            self._leases.pop(team).release()


def _teams_of(demand: Demand) -> tuple[Team, ...]:
    """As many as there are devices for: of those that nobody has first; what is left over has no part."""
    every: Sequence[Device] = demand.devices
    if demand.count > 1:
        free, taken = order_free(every)
        every = [*free, *taken]
    firsts = range(0, len(every) - demand.count + 1, demand.count)
    return tuple(tuple(every[first : first + demand.count]) for first in firsts)


@dataclass(slots=True)
class _Waiting:
    """A task that waits for a worker."""

    task: Task
    since: float = 0.0
    """When its run was first seen to be about to end elsewhere, `monotonic`; 0 where it is not."""
    due: float = 0.0

    @property
    def is_postponed(self) -> bool:
        return self.since > 0

    @property
    def is_due(self) -> bool:
        return time.monotonic() >= self.due

    @property
    def may_wait(self) -> bool:
        return not self.since or time.monotonic() - self.since < GRACE_SECONDS

    def postpone(self) -> None:
        now = time.monotonic()
        self.since, self.due = self.since or now, now + _AGAIN_SECONDS


@dataclass(slots=True)
class _Slot:
    """Room for one run at a time."""

    worker: _Worker | None = None
    run: RunDirectory | None = None
    is_claimed: bool = False
    """Whether others see that the run is under way."""
    is_asked: bool = False
    """Whether the run was asked to stop."""

    def dismiss(self) -> None:
        if self.worker is not None:
            self.worker.end(at_once=True)
            self.worker = None

    def begin(self, order: Order, run: RunDirectory, lease: Lease | None) -> None:
        assert self.worker is not None
        self.run, self.is_claimed, self.is_asked = run, False, False
        self.worker.send(order, lease)

    def end(self) -> RunDirectory:
        assert self.run is not None
        run, self.run = self.run, None
        return run


class _Worker:
    """A process that trains; it stands in a group of its own, as Ctrl-C is passed on to it run by run."""

    def __init__(self, team: Team, arguments: Sequence[str]) -> None:
        """Raises: RunFailed, if there can be none."""
        self.team = team
        self.is_ready = False
        self.is_silent = False
        """Whether it has closed its end: it will say no more."""
        self._heard = b""
        self._socket, theirs = socket.socketpair()
        # Of a divided card a process sees the slice that it names; of several GPUs it takes the first ones.
        # A card of its own keeps its number.
        is_shown_alone = len(team) > 1 or team[0].is_slice
        name, alone = (team[0].name_alone, environment_of(team)) if is_shown_alone else (team[0].name, {})
        command = [*python_module("workbench.train.worker"), str(theirs.fileno()), f"--device={name}"]
        try:
            self._process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=2,  # standard output is for results
                env=child_environment(**alone),
                pass_fds=(theirs.fileno(),),
                process_group=0,
            )
        except OSError as error:
            self._socket.close()
            raise RunFailed(f"no worker can be started: {error.strerror or error}") from error
        finally:
            theirs.close()

    def fileno(self) -> int:
        """What can be read when it has something to say."""
        return self._socket.fileno()

    def send(self, order: Order, lease: Lease | None) -> None:
        """Give it a run, and a copy of its device's lease to hold meanwhile."""
        descriptors = [] if lease is None else list(lease.descriptors)
        with contextlib.suppress(OSError):  # it is dead, and will be found so
            socket.send_fds(self._socket, [json.dumps(asdict(order)).encode() + b"\n"], descriptors)

    def answers(self) -> list[Answer]:
        """What it has said since. Waits, unless its descriptor can be read."""
        try:
            said = self._socket.recv(_MESSAGE_BYTES)
        except OSError:
            said = b""
        self.is_silent = not said
        *lines, self._heard = (self._heard + said).split(b"\n")
        return [record_from(json.loads(line), Answer) for line in lines]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        self._process.send_signal(number)

    def end(self, *, at_once: bool = False) -> int:
        """See to its end, and of all that it started; returns its exit code, a signal's number below zero.

        One without a run has nothing to lose.
        """
        end = time.monotonic() + (0.0 if at_once else _LAST_SECONDS)
        while time.monotonic() < end and not _has_ended(self._process.pid):
            time.sleep(0.01)
        # The group's number is still its own, as the process is not reaped yet.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._socket.close()
        return self._process.wait()


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays a zombie."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
