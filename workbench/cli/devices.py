"""The devices that a command in the foreground computes on: it never waits, so it takes what is free."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from workbench.recipe.source import Change
from workbench.support.errors import UserError
from workbench.support.toml_text import toml_literal

if TYPE_CHECKING:
    import torch

    from workbench.jobs.device import Demand
    from workbench.support.ranks import Rank

HowMany = Annotated[
    str | None,
    typer.Option(
        "--devices",
        metavar="N",
        help="How many GPUs train a run together, or all; without a GPU so many processes on the CPU, which "
        "share its cores. Else as its recipe says: training.devices.",
        show_default=False,
    ),
]


def how_many(given: str | None) -> int | Literal["all"] | None:
    """What `--devices` says. Raises: UserError, for what is no number of devices."""
    if given is None:
        return None
    if given == "all":
        return "all"
    if given.isascii() and given.isdecimal() and int(given) > 0:
        return int(given)
    raise UserError(
        f"{given!r} is no number of devices",
        where="--devices",
        allowed="1, 2 …, or all",
        hint="--device cuda:0,cuda:1 says which ones",
    )


def with_devices(changes: Sequence[Change], given: str | None) -> list[Change]:
    """A recipe's changes and what `--devices` says. Raises: UserError."""
    asked = how_many(given)
    said = [] if asked is None else [f"training.devices={toml_literal(asked)}"]
    return [*changes, *said]


def foreground_devices(name: str, asked: int | Literal["all"]) -> Demand:
    """Exactly the devices that one process, or several together, shall compute on; of many the free ones.

    Of several GPUs this process, and what it starts, sees no others from here on.

    Args:
        asked: `training.devices`; of `all` those that no run has, or one where there are none.

    Raises:
        UserError: no such device here, or not so many.
    """
    from workbench.jobs.device import Demand, demand_of, environment_of
    from workbench.jobs.lease import order_free

    demand = demand_of(name, asked)
    free, taken = order_free(demand.devices)
    count = max(1, len(free)) if asked == "all" and demand.count > 1 else demand.count
    chosen = tuple([*free, *taken][:count])
    if count > 1 or chosen[0].is_slice:  # CUDA shows a process one slice, the one that it names
        os.environ.update(environment_of(chosen))
    return Demand(chosen, count if chosen[0].visible else demand.processes)


def foreground_device(name: str) -> torch.device:
    """`auto`, `cpu`, `cuda`, `cuda:N` or several with commas; of several devices one that no run has.

    Raises:
        UserError: no such device here, or this torch has no code for it.
    """
    return torch_device(foreground_devices(name, 1), name)


def rank_device(name: str, rank: Rank) -> torch.device:
    """The device of a process that torchrun or a run's first process has started: its host's of its number.

    Raises:
        UserError: no such device here, or none is left for it.
    """
    from workbench.compute import find_device
    from workbench.jobs.device import wanted_devices

    wanted = wanted_devices(name)
    if not wanted[0].visible:
        return find_device(wanted[0].name)
    if rank.local >= len(wanted):
        raise UserError(
            f"{len(wanted)} GPUs are too few for process {rank.local + 1} of this host",
            where="--nproc-per-node",
            allowed=f"1 to {len(wanted)}",
        )
    return find_device(wanted[rank.local].name)


def torch_device(demand: Demand, name: str, place: int = 0) -> torch.device:
    """What torch calls the device of the `place`-th process of those that `foreground_devices` chose.

    Args:
        name: as the user said it.

    Raises:
        UserError: this torch has no code for it.
    """
    from workbench.compute import find_device

    first = demand.devices[0]
    if demand.count > 1:
        return find_device(f"{first.name_alone}:{place}")
    try:
        return find_device(first.name_alone if first.is_slice else first.name)
    except UserError:
        if name != "auto":
            raise
        return find_device(name)  # the driver has it, and torch cannot use it
