"""Several processes that meet as one run's do, each computing on one thread of this machine."""

from __future__ import annotations

import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from tests.train.processes import SERVER
from workbench.support.ranks import Rank, rank_here
from workbench.train.world import World, joined

PATIENCE_SECONDS = 840
HERE = "127.0.0.1"


def free_port() -> int:
    """One that nothing listens on."""
    with socket.socket() as held:
        held.bind((HERE, 0))
        port: int = held.getsockname()[1]
        return port


def in_world(size: int, work: Callable[..., Any], *given: Any) -> list[Any]:
    """What `work(world, *given)` returns in each of so many processes, by rank.

    Args:
        work: a function of a module, as the processes import it.

    Raises:
        AssertionError: with the traceback of one that failed.
    """
    port = free_port()
    pipes, processes = [], []
    for number in range(size):
        ours, theirs = SERVER.Pipe()
        variables = Rank(number, size, number).variables(HERE, port)
        process = SERVER.Process(target=_work, args=(theirs, variables, work, given), daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        processes.append(process)
    try:
        found = [_answer(pipe) for pipe in pipes]
    finally:
        for process in processes:
            process.kill()
            process.join()
    failures = [f"rank {number}: {text}" for number, (_, text) in enumerate(found) if text]
    assert not failures, "\n".join(failures)
    return [value for value, _ in found]


def _answer(pipe: Connection) -> tuple[Any, str]:
    """What the process returned, and why it did not."""
    if not pipe.poll(PATIENCE_SECONDS):
        return None, "no answer"
    try:
        answer: tuple[Any, str] = pickle.loads(pipe.recv_bytes())
    except EOFError:
        return None, "it ended"
    return answer


def _work(
    pipe: Connection, variables: dict[str, str], work: Callable[..., Any], given: tuple[Any, ...]
) -> None:
    os.environ.update(variables)
    torch.set_num_threads(1)
    try:
        with joined(rank_here(), torch.device("cpu")) as world:
            answer = work(world, *given), ""
            world.barrier()  # nobody leaves while another still asks
    except BaseException:
        answer = None, traceback.format_exc()
    pipe.send_bytes(pickle.dumps(answer))  # tensors, too, as they are: the process ends with its memory


def alone(work: Callable[..., Any], *given: Any) -> Any:
    """What `work` returns in this process by itself."""
    return work(World(), *given)
