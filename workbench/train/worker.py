"""`python -m workbench.train.worker SOCKET`: trains one run after the other, as a sweep's pool gives them.

Its sweep's end, however that comes, stops the run under way after a checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shlex
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from workbench.compute import find_device, trouble_of
from workbench.jobs.control import INSISTENT
from workbench.jobs.worker_pool import Answer, Order
from workbench.recipe import load_recipe
from workbench.runs.attempt_control import GRACE_SECONDS, write_control
from workbench.runs.events import EpochDone, Event
from workbench.runs.layout import RunDirectory
from workbench.runs.process import read_process
from workbench.runs.status import INTERRUPTED
from workbench.runs.sweeps import is_first_stage
from workbench.support.errors import UserError
from workbench.support.identity import ProcessId, process_id
from workbench.support.paths import cache_home
from workbench.support.records import record_from
from workbench.train.attempt import attempt
from workbench.train.setup import Places

_MESSAGE_BYTES = 65536
_MOST_LEASES = 64
"""Devices of a run."""
_GONE = "the sweep that began it is gone"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what comes until nothing more can."""
    parser = argparse.ArgumentParser(prog="python -m workbench.train.worker")
    parser.add_argument("socket", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--launched-by", default="")
    given = parser.parse_args(arguments)
    sweep = process_id(os.getppid())
    pool = _Pool(socket.socket(fileno=given.socket))
    # Between two runs nobody means this process; a run listens for itself.
    for number in INSISTENT:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    try:
        places = Places(given.data_dir, cache_home(), find_device(given.device))
    except UserError as error:
        pool.say(Answer("refused", reason=str(error)))
        return 2
    except RuntimeError as error:  # a card that another program has for itself
        trouble = trouble_of(error)
        if trouble is None:
            raise
        pool.say(Answer("refused", reason=f"{trouble.words}\n{trouble.advice}"))
        return 2
    threads, command_line = torch.get_num_threads(), shlex.split(given.launched_by)
    pool.say(Answer("ready"))
    for order in pool.orders():
        torch.set_num_threads(max(1, threads // order.share))
        pool.say(
            train_run(order, places, command_line, sweep=sweep, on_claim=lambda: pool.say(Answer("claimed")))
        )
    return 0


class _Pool:
    """The pool that this worker works for, at the other end of a socket; a thread listens to it."""

    def __init__(self, connection: socket.socket) -> None:
        connection.set_inheritable(False)
        self._socket = connection
        self._orders: queue.Queue[tuple[Order, list[int]] | None] = queue.Queue()
        self._run: RunDirectory | None = None
        """The run under way."""
        threading.Thread(target=self._listen, name="pool", daemon=True).start()

    def orders(self) -> Iterator[Order]:
        """Orders as they come, each with a copy of its device's lease held meanwhile; ends with the pool."""
        while (given := self._orders.get()) is not None:
            order, leases = given
            self._run = RunDirectory(Path(order.run))
            try:
                yield order
            finally:
                self._run = None
                for descriptor in leases:
                    os.close(descriptor)

    def say(self, answer: Answer) -> None:
        """Tell the pool, unless it is gone."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps(asdict(answer)).encode() + b"\n")

    def _listen(self) -> None:
        heard: bytes = b""
        leases: list[int] = []
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, _MESSAGE_BYTES, _MOST_LEASES)
            except OSError:
                data, descriptors = b"", []
            if not data:
                break
            leases += descriptors
            *lines, heard = (heard + data).split(b"\n")
            for line in lines:
                self._orders.put((record_from(json.loads(line), Order), leases))
                leases = []
        self._orders.put(None)
        run = self._run
        process = None if run is None else read_process(run)
        if run is None or process is None or process.pid != os.getpid():
            return
        with contextlib.suppress(OSError):
            write_control(run, "stop", process.attempt, grace_seconds=GRACE_SECONDS, why=_GONE)
        # No SIGTERM: after one that asked before, it would end the run without a checkpoint.
        os.kill(os.getpid(), signal.SIGUSR1)


class _Park:
    """A reporter that pauses its own run once enough epochs are done; resumed, it goes on exactly."""

    def __init__(self, run: RunDirectory, until: int) -> None:
        self._run, self._until = run, until
        self.asked = False

    def event(self, event: Event) -> None:
        """After the last epoch wanted, ask the run to pause."""
        if not self._until or self.asked or not isinstance(event, EpochDone) or event.split != "val":
            return
        if event.stage != "probe" and (not is_first_stage(event) or event.epoch >= self._until):
            self.asked = True
            process = read_process(self._run)
            if process is not None:
                write_control(self._run, "pause", process.attempt, grace_seconds=GRACE_SECONDS)
            signal.raise_signal(signal.SIGTERM)

    def progress(self, task: str, done: int, total: int) -> None:
        """Nobody watches."""


def train_run(
    order: Order,
    places: Places,
    command_line: Sequence[str] = (),
    *,
    sweep: ProcessId | None = None,
    on_claim: Callable[[], None] = lambda: None,
) -> Answer:
    """Train one run in this process; how it ended, whichever way.

    Args:
        sweep: the one that gives the order.
        on_claim: called once the run is this process's, for all to see.
    """
    run = RunDirectory(Path(order.run))
    park = _Park(run, order.until)
    try:
        recipe = load_recipe(run.recipe)
        outcome = attempt(
            run,
            recipe,
            places,
            park,
            command_line=command_line,
            on_claim=on_claim,
            sweep=sweep,
            processes=order.processes,
        )
    except UserError as error:
        return Answer("ended", 2, reason=str(error))
    if outcome.code == 2 and order.is_new and not any(run.checkpoint.iterdir()):
        shutil.rmtree(run.path, ignore_errors=True)  # it has nothing to keep, as with petbench run
    if outcome.code == INTERRUPTED and park.asked and outcome.signal == signal.SIGTERM:
        return Answer("ended", is_parked=True)
    return Answer("ended", outcome.code, reason=outcome.reason)


if __name__ == "__main__":
    sys.exit(main())
