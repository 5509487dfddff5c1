"""`python -m workbench.jobs.supervisor RUN`: waits for a device, trains in a child, says how that ended.

One such process a run, started by `launch` and `resume --background`. It imports neither torch nor pydantic:
hundreds of them may wait.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from workbench.jobs.control import Signals
from workbench.jobs.device import Demand, DevicesAsked, demand_of, environment_of
from workbench.jobs.ending import ending_of, memory_kills, notify
from workbench.jobs.lease import Lease
from workbench.jobs.queue import join_queue, leave_queue, take_turn
from workbench.jobs.start import child_environment, devices_asked, python_module
from workbench.runs.attempt_control import GRACE_SECONDS, Control, read_request
from workbench.runs.layout import RunDirectory
from workbench.runs.process import (
    PULSE_SECONDS,
    ProcessRecord,
    holds,
    note_start,
    pulse,
    read_exit,
    read_process,
    withdraw,
    write_exit,
    write_process,
)
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import read_toml

_CLAIM_SECONDS = 5.0
"""How long the launcher may take to write down who supervises."""
_TURN_SECONDS, _TURN_LIMIT_SECONDS = 0.25, 5.0
"""How often the queue is looked at: by the first in line, and by the last of many."""
_LOOK_SECONDS = 2.0
"""How often control.json is looked at, should the signal that goes with it not have come."""
_REFUSED = 2
"""The trainer's exit code where its input is wrong; a run that had begun is then left as it was."""
_RECORD_TRIES, _RECORD_PAUSE_SECONDS = 24, 5.0
"""A full disk may be cleared; for two minutes `exit.json` is tried again."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the launcher asked for."""

    run: RunDirectory
    device: str
    data_home: str
    notify: str
    launched_by: str
    """The command line of the launch, for the run's provenance."""
    devices: DevicesAsked | None = None
    """How many train it; None: as its recipe says."""

    def demand(self) -> Demand:
        """The devices that it waits for. Raises: UserError, where that is not here."""
        return demand_of(self.device, self.devices or devices_asked(self.run))


def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise one attempt from queue to `exit.json`; the exit code is the trainer's."""
    order = _parse(sys.argv[1:] if arguments is None else arguments)
    signals = Signals()
    process = _claim(order)
    if process is None:
        return 1
    try:
        code = Supervisor(order, process, signals).supervise()
    except Exception as error:
        say(f"supervisor: {type(error).__name__}: {error}")
        record_end(order.run, process.attempt, 1, None, f"its supervisor failed: {error}", signals.sleep)
        raise
    if order.notify:
        trouble = notify(order.notify, order.run, run_name(order.run))
        if trouble:
            say(trouble)
    return code


class Supervisor:
    """One attempt at a run, from its place in the queue to its end."""

    def __init__(
        self, order: Order, process: ProcessRecord, signals: Signals, *, is_granted: bool = False
    ) -> None:
        """`is_granted`: a cluster has given this process its devices; it neither queues nor takes a lease."""
        self._order = order
        self._run = order.run
        self._process = process
        self._signals = signals
        self._shown = time.monotonic()
        self._is_granted = is_granted
        self._processes = 1
        """How many train it together, on the devices of its lease."""
        self._is_followed = False
        """Whether another attempt has the run by now: while this machine was out of reach, it seemed dead."""

    def supervise(self) -> int:
        """Wait, train, record; returns the exit code."""
        try:
            lease = self._wait_for_device()
        except UserError as error:  # the devices are others than when it was launched
            return self._record(_REFUSED, None, str(error))
        if lease is None:
            return self._record(130, int(signal.SIGTERM), self._reason_unbegun())
        try:
            return self._train(lease)
        finally:
            lease.release()

    def _wait_for_device(self) -> Lease | None:
        """The lease, once it is this run's turn; None if it was asked to stop first."""
        demand = self._order.demand()
        self._processes = demand.processes
        if self._is_granted:
            return None if self._stop_asked() else Lease(demand.devices[: demand.count], ())
        say(f"waits for {demand.words}")
        complained = False
        while not self._stop_asked() and not self._is_followed:
            place = 1
            try:
                turn = take_turn(self._run, self._process, self._order.device, demand.devices, demand.count)
                if isinstance(turn, Lease):
                    return turn
                place = turn
                self._show()
            except OSError as error:
                if not complained:
                    say(f"the queue cannot be read or written: {error}; trying again")
                complained, place = True, 20
            self._signals.sleep(min(_TURN_SECONDS * place, _TURN_LIMIT_SECONDS))
        with suppress(OSError):
            leave_queue(self._run)
        return None

    def _reason_unbegun(self) -> str:
        request = self._request()
        if self._is_granted and request is None:
            return "interrupted before it had begun"
        return "paused while queued" if request and request.wanted == "pause" else "cancelled while queued"

    def _train(self, lease: Lease) -> int:
        """Run the trainer to its end, however it comes."""
        say(f"has {', '.join(f'{device.name} ({device.label})' for device in lease.devices)}")
        try:
            self._process = note_start(self._run, self._process, lease.name)
        except UserError:
            return 1  # another attempt has the run, and the log is its own
        memory_kills_before = memory_kills()
        # The trainer holds one end for its whole life; this process's death closes the other.
        reading, writing = os.pipe()
        child = subprocess.Popen(
            self._command(lease, reading),
            stdin=subprocess.DEVNULL,
            env=child_environment(**environment_of(lease.devices)),
            # The device stays taken until the trainer itself is gone, even if this process dies first.
            pass_fds=(reading, *lease.descriptors),
            process_group=0,
        )
        os.close(reading)
        try:
            grace = self._watch(child)
        finally:
            os.close(writing)
        found = read_exit(self._run)
        if found is not None and found.attempt >= self._process.attempt:
            return found.code
        if not holds(self._run, self._process):
            return child.returncode  # refused and taken back, or another attempt has the run: it says no more
        if child.returncode == _REFUSED and self._process.attempt > 1:
            withdraw(self._run, self._process)
            return _REFUSED
        ending = ending_of(
            self._run,
            child.returncode,
            request=self._request(),
            killed_after_seconds=grace,
            kernel_killed=memory_kills() > memory_kills_before,
        )
        return self._record(ending.code, ending.signal, ending.reason)

    def _watch(self, child: subprocess.Popen[bytes]) -> float | None:
        """Wait for the trainer's end; pass a wish to stop on, once, and kill it when its grace is over.

        Returns: the grace in seconds if it had to be killed.
        """
        deadline: float | None = None
        grace = GRACE_SECONDS
        killed = False
        while not _has_ended(child.pid):
            self._show()
            if self._stop_asked() and not killed:
                request = self._request()
                if deadline is None:
                    say("passes on the wish to stop")
                    child.send_signal(signal.SIGTERM)
                    deadline = time.time() + GRACE_SECONDS
                if request is not None:
                    deadline, grace = request.deadline, request.grace_seconds
                if time.time() >= deadline:
                    say(f"kills the trainer, which did not end within {grace:.0f} s")
                    killed = True
                    child.kill()
            left = _LOOK_SECONDS if deadline is None else deadline - time.time()
            self._signals.sleep(min(_LOOK_SECONDS, left) if not killed else _LOOK_SECONDS)
        # What the trainer may have started goes with it: nothing shall keep the device busy. The group's
        # number is still its own, as the trainer is not reaped yet.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return grace if killed else None

    def _show(self) -> None:
        """Show readers on other machines, who cannot see this process, that it is there."""
        if time.monotonic() - self._shown >= PULSE_SECONDS:
            self._is_followed = not pulse(self._run, self._process)
            self._shown = time.monotonic()

    def _command(self, lease: Lease, lifeline: int) -> list[str]:
        name = lease.devices[0].name_alone
        command = [*python_module("workbench.cli.main"), "run", "--run-dir", str(self._run.path)]
        command += ["--attempt", str(self._process.attempt), "--lifeline", str(lifeline), "--device", name]
        command.append(f"--devices={self._processes}")
        command.append(f"--launched-by={self._order.launched_by}")
        return command + ([f"--data-dir={self._order.data_home}"] if self._order.data_home else [])

    def _stop_asked(self) -> bool:
        return bool(self._signals.asked) or self._request() is not None

    def _request(self) -> Control | None:
        return read_request(self._run, self._process.attempt)

    def _record(self, code: int, number: int | None, reason: str) -> int:
        record_end(self._run, self._process.attempt, code, number, reason, self._signals.sleep)
        return code


def record_end(
    run: RunDirectory,
    attempt: int,
    code: int,
    number: int | None,
    reason: str,
    sleep: Callable[[float], object],
) -> None:
    """Write `exit.json`; where the disk is full, try again for a while, and say so."""
    found = read_process(run)
    if found is not None and found.attempt > attempt:
        return  # another attempt has followed, and the log is its own
    say(f"ended with code {code}{': ' + reason if reason else ''}")
    for _ in range(_RECORD_TRIES):
        try:
            write_exit(run, code=code, reason=reason, signal=number, attempt=attempt)
            return
        except FileNotFoundError:
            return  # the directory was removed
        except OSError as error:
            say(f"exit.json cannot be written: {error}; trying again")
            sleep(_RECORD_PAUSE_SECONDS)


def say(text: str) -> None:
    """A line in run.log, which is this process's standard output; a full disk costs the line, no more."""
    line = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S} supervisor: {clean(text)}\n"
    with suppress(OSError):
        os.write(1, line.encode("utf-8", "replace"))


def _claim(order: Order) -> ProcessRecord | None:
    """This process's own record, which the launcher writes as soon as it has started it.

    A launcher that was killed in between leaves that to this process. None where another supervisor has it.
    """
    end = time.monotonic() + _CLAIM_SECONDS
    while time.monotonic() < end:
        found = read_process(order.run)
        if found is not None and found.pid == os.getpid() and found.role == "waiting":
            return found
        time.sleep(0.01)
    try:
        process = write_process(order.run, order.device, role="waiting")
        demand = order.demand()
        join_queue(order.run, process, order.device, demand.devices, demand.count)
    except (OSError, UserError) as error:
        say(f"gives up: {error}")
        return None
    return process


def _has_ended(pid: int) -> bool:
    """Whether a child has ended; it stays a zombie, so that its numbers stay its own."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def run_name(run: RunDirectory) -> str:
    """The recipe's name; the directory's where that cannot be read."""
    try:
        name = read_toml(run.recipe).get("name")
    except OSError:
        name = None
    return name if isinstance(name, str) else run.slug


def _parse(arguments: Sequence[str]) -> Order:
    parser = argparse.ArgumentParser(prog="python -m workbench.jobs.supervisor")
    parser.add_argument("run", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--devices", default="")
    parser.add_argument("--data-dir", default="")
    parser.add_argument("--notify", default="")
    parser.add_argument("--launched-by", default="")
    found = parser.parse_args(arguments)
    devices: DevicesAsked | None = int(found.devices) if found.devices.isdecimal() else None
    if found.devices == "all":
        devices = "all"
    return Order(
        RunDirectory(found.run), found.device, found.data_dir, found.notify, found.launched_by, devices
    )


if __name__ == "__main__":
    sys.exit(main())
