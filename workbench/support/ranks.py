"""Which of several processes that train one run together this one is, by the variables that torchrun sets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.support.errors import UserError

RANK, WORLD_SIZE, LOCAL_RANK = "RANK", "WORLD_SIZE", "LOCAL_RANK"
MASTER_ADDR, MASTER_PORT = "MASTER_ADDR", "MASTER_PORT"


@dataclass(frozen=True, slots=True)
class Rank:
    """A process's place among those of its run."""

    number: int
    """From 0, the one that writes and speaks for the run."""
    size: int
    """How many there are; 2 or more."""
    local: int
    """Its number among those on its own host, from 0."""

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes and speaks for the run."""
        return self.number == 0

    def variables(self, host: str, port: int) -> dict[str, str]:
        """What a process of this rank finds in its environment; the first one listens on host and port."""
        return {
            RANK: str(self.number),
            WORLD_SIZE: str(self.size),
            LOCAL_RANK: str(self.local),
            MASTER_ADDR: host,
            MASTER_PORT: str(port),
        }


def rank_here(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """This process's rank; None where it is alone.

    Raises:
        UserError: the variables say nothing that can be.
    """
    size = _number(environment, WORLD_SIZE, 1) if WORLD_SIZE in environment else 1
    if size == 1:
        return None
    number = _number(environment, RANK, 0)
    if number >= size:
        raise UserError(f"rank {number} of {size} processes", where=RANK, allowed=f"0 to {size - 1}")
    for name in (MASTER_ADDR, MASTER_PORT):
        if not environment.get(name):
            raise UserError(
                "it is not set, so this process cannot find the others",
                where=name,
                hint=f"torchrun sets it; without {WORLD_SIZE} this process trains alone",
            )
    local = _number(environment, LOCAL_RANK, 0) if LOCAL_RANK in environment else number
    return Rank(number, size, local)


def _number(environment: Mapping[str, str], name: str, least: int) -> int:
    text = environment.get(name, "")
    if not (text.isascii() and text.isdecimal() and int(text) >= least):
        raise UserError(
            f"{text!r} is no number of processes" if name == WORLD_SIZE else f"{text!r} is no rank",
            where=name,
            allowed=f"a whole number from {least} on",
            hint="torchrun sets it",
        )
    return int(text)
