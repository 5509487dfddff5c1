"""The processes of an attempt: those that torchrun has made, or local ranks that the first one starts.

The first process claims the run and speaks for it, as one that is alone does; the others follow it.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist

from workbench.jobs.local_ranks import LAST_WORDS, LEFT_ALONE, Fallen, LocalRanks
from workbench.jobs.start import python_module
from workbench.recipe import load_recipe
from workbench.runs.layout import RunDirectory
from workbench.runs.log import RunLog
from workbench.support.errors import RunFailed, UserError
from workbench.support.ranks import MASTER_ADDR, MASTER_PORT, Rank, rank_here
from workbench.train.follower import follow
from workbench.train.setup import Places
from workbench.train.world import PeerLost, World, joined

FALL_SECONDS = 15.0
"""How long it may take until a rank whose connection broke is known to have ended, and how."""
STUCK_SECONDS = 60.0
"""How long the first process may go on after a rank has ended: a GPU may wait for it forever."""
UNMET_SECONDS = 2.0
"""Likewise where that rank has not met the others: they wait for it, and there is no connection to break."""


@contextlib.contextmanager
def world_of(
    directory: RunDirectory,
    places: Places,
    processes: int,
    log: RunLog,
    abandon: Callable[[Fallen], None],
) -> Iterator[World]:
    """The world of the first process of an attempt, for its duration.

    Args:
        processes: how many shall train the run; where torchrun has started this one, those that it has.
        log: hears what local ranks print.
        abandon: called from another thread when a local rank has ended and this process hangs for that.

    Raises:
        RunFailed: another process has ended before its time.
        UserError: local ranks cannot be started.
    """
    rank = rank_here()
    if not places.world.is_alone:
        yield places.world
        return
    if rank is not None:
        with _told(lambda: None), joined(rank, places.device) as world:
            world.agree(lambda: str(directory.path.absolute()))
            yield world
        return
    if processes == 1:
        yield places.world
        return
    threads = torch.get_num_threads()
    each = max(1, threads // processes)

    def hear(number: int, line: str) -> None:
        if not line.startswith(LAST_WORDS):  # the log has them already
            log.line(f"rank {number}: {line}")

    ranks = LocalRanks(processes, _command(places), threads=each, hear=hear)
    torch.set_num_threads(each)
    try:
        with _started(ranks), _told(lambda: ranks.fallen(FALL_SECONDS)), _unstuck(ranks, abandon) as met:
            store = dist.TCPStore(  # type: ignore[attr-defined]
                os.environ[MASTER_ADDR],
                int(os.environ[MASTER_PORT]),
                is_master=True,
                wait_for_workers=False,
                master_listen_fd=ranks.listener,
            )
            with joined(rank_here(), places.device) as world:
                world.agree(lambda: str(directory.path.absolute()))
                met.set()
                yield world
            del store  # held until all have ended
    finally:
        torch.set_num_threads(threads)


def attend(rank: Rank, places: Places, *, is_local: bool) -> int:
    """The part of a process that is not the first in the attempt that the first one makes.

    Args:
        is_local: the first process has started it.

    Returns: the process's exit code; LEFT_ALONE where another process has ended before its time.
    """
    try:
        with joined(rank, places.device) as world:
            path = world.agree(_first_says)
            if not path:
                return 0
            directory = RunDirectory(Path(path))
            recipe = load_recipe(directory.recipe)
            return follow(directory, recipe, replace(places, world=world), patient=is_local)
    except PeerLost:
        return LEFT_ALONE


def dismiss(rank: Rank | None) -> None:
    """Tell the others, if there are any, that there is nothing to do."""
    with joined(rank, torch.device("cpu")) as world:
        world.agree(lambda: "")


def _first_says() -> str:
    raise AssertionError("the first process says it")


def _command(places: Places) -> list[str]:
    kind = places.device.type
    return [
        *python_module("workbench.cli.main"),
        "run",
        f"--device={kind}",
        f"--data-dir={places.data_home.absolute()}",
        "--lifeline",
    ]


@contextlib.contextmanager
def _started(ranks: LocalRanks) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(ranks)
        except OSError as error:
            raise UserError(
                f"no more processes can be started: {error.strerror or error}", where="training.devices"
            ) from error
        yield


@contextlib.contextmanager
def _told(fallen: Callable[[], Fallen | None]) -> Iterator[None]:
    """A connection that broke is told by the rank that ended."""
    try:
        yield
    except PeerLost as error:
        found = fallen()
        raise RunFailed(found.reason if found else f"{error}; run.log may tell why") from error


@contextlib.contextmanager
def _unstuck(ranks: LocalRanks, abandon: Callable[[Fallen], None]) -> Iterator[threading.Event]:
    """Have `abandon` called if a rank ends and the body goes on for long.

    Yields: an event that the body sets once it has met all ranks.
    """
    over, met = threading.Event(), threading.Event()

    def watch() -> None:
        found = None
        while found is None:
            if over.is_set():
                return
            found = ranks.fallen(1.0)
        if not over.wait(STUCK_SECONDS if met.is_set() else UNMET_SECONDS):
            abandon(found)

    thread = threading.Thread(target=watch, name="fallen-ranks", daemon=True)
    thread.start()
    try:
        yield met
    finally:
        over.set()
        thread.join()
