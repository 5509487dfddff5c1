"""A step that two processes share: each has half of the rows, and both take the step of one."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tests.loader.conftest import Recorder
from tests.train.worlds import alone, in_world
from workbench.loader import Batch
from workbench.loader.drawn_rows import AskedRows, DrawnRows
from workbench.train.objectives import Labelled, Loss, Objective, Supervised
from workbench.train.precision import Precision
from workbench.train.shared_pass import ELSEWHERE, SharedPass
from workbench.train.step import Stepper
from workbench.train.world import World

CPU = torch.device("cpu")
CLOSE = 1e-5
"""Of a step's own length."""
SAID = ("loss", "right")


@dataclass(frozen=True)
class Case:
    """A step of a small network."""

    norms_learn: bool
    images: int = 12
    micro_batch: int = 0
    uncut: bool = False


CASES = {
    "frozen norms": Case(norms_learn=False),
    "learning norms": Case(norms_learn=True),
    "in passes": Case(norms_learn=False, micro_batch=4),
    "too short for all": Case(norms_learn=True, images=2),
    "a loss of the whole batch": Case(norms_learn=True, uncut=True),
}


class _Spread(Objective):
    """A loss that does not add up in parts: outputs of the whole batch shall lie apart."""

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: object) -> Loss:
        """The variance of the outputs, turned round."""
        logits = model(labelled.inputs)
        return Loss(-logits.var(dim=0).log().sum() + labelled.cross_entropy(logits, 0.0), logits)


def _network(*, norms_learn: bool) -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    )
    network.train()
    norm = network[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.train(norms_learn)
    return network


def _step(world: World, case: Case) -> dict[str, Tensor]:
    """What a step changed, and what it says of the batch."""
    network = _network(norms_learn=case.norms_learn)
    before = copy.deepcopy(network.state_dict())
    torch.manual_seed(1)
    # Rows differ in scale: half of the batch is no fair sample of it.
    inputs = torch.randn(case.images, 3, 8, 8) * torch.linspace(0.1, 3, case.images)[:, None, None, None]
    targets = torch.eye(5)[torch.arange(case.images) % 5]
    batch = Batch(inputs, targets, torch.rand(case.images) + 0.5, 7.0, torch.arange(case.images).numpy())
    forward: nn.Module = network
    if not world.is_alone:
        forward = SharedPass(network, world, mixes_batch=case.norms_learn)
    stepper = Stepper(
        network,
        torch.optim.SGD(network.parameters(), lr=0.1),
        Precision("fp32", "fp32", ""),
        CPU,
        Recorder(),
        _Spread() if case.uncut else Supervised(),
        on_features=False,
        micro_batch=case.micro_batch,
        forward=forward,
        world=world,
    )
    said = stepper.step(batch)
    moved = {name: tensor - before[name] for name, tensor in network.state_dict().items()}
    return {**moved, **dict(zip(SAID, (said.loss, said.right), strict=True))}


def _steps(world: World) -> dict[str, dict[str, Tensor]]:
    return {name: _step(world, case) for name, case in CASES.items()}


def _memory_ends(world: World) -> dict[str, Any]:
    """The second process finds no room for more than two images at a time."""
    network = _network(norms_learn=False)
    taken: list[int] = []

    class Narrow(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            if world.rank == 1 and len(images) > 2:
                raise torch.OutOfMemoryError("as a device would")
            taken.append(len(images))
            found: Tensor = network(images)
            return found

    stepper = Stepper(
        network,
        torch.optim.SGD(network.parameters(), lr=0.1),
        Precision("fp32", "fp32", ""),
        CPU,
        Recorder(),
        Supervised(),
        on_features=False,
        micro_batch=0,
        forward=SharedPass(Narrow(), world, mixes_batch=False),
        world=world,
    )
    batch = Batch(
        torch.randn(12, 3, 8, 8),
        torch.eye(5)[torch.arange(12) % 5],
        torch.ones(12),
        12.0,
        torch.arange(12).numpy(),
    )
    stepper.step(batch)
    return {"micro_batch": stepper.micro_batch, "weights": network.state_dict()["5.weight"].tolist()}


def _drawn(world: World) -> dict[str, Any]:
    """Which rows each process draws of a batch of seven; then the second has no room to draw any."""
    views = torch.arange(7.0).view(7, 1, 1, 1).expand(7, 3, 8, 8)
    drawn: list[int] = []

    def draw(rows: NDArray[np.int64]) -> Tensor:
        if len(drawn) > 2 and not world.is_first:
            raise torch.OutOfMemoryError("as a device would")
        drawn.extend(rows.tolist())
        return views[torch.from_numpy(rows)]

    def batch() -> Tensor:
        return DrawnRows.of(draw, views.shape, CPU, AskedRows())

    shared = SharedPass(nn.Flatten(), world, mixes_batch=False)
    outputs = shared(batch())
    try:
        shared(batch())
        ended = ""
    except torch.OutOfMemoryError as error:
        ended = str(error)
    return {"rows": drawn[:4], "right": torch.equal(outputs, views.flatten(1)), "ended": ended}


def _all(world: World) -> tuple[Any, ...]:
    return _steps(world), _memory_ends(world), _noise(world), _drawn(world)


def _noise(world: World) -> tuple[list[list[float]], float]:
    """Dropout's outputs of equal rows, and what torch draws after them."""
    torch.manual_seed(3)
    shared = SharedPass(nn.Dropout(0.5), world, mixes_batch=False).train()
    return shared(torch.ones(4, 16)).tolist(), float(torch.rand(()))


@pytest.fixture(scope="module")
def together() -> list[Any]:
    """What each of two processes found."""
    return in_world(2, _all)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_step_of_one(together: list[Any], name: str) -> None:
    one = alone(_steps)[name]
    first, second = (steps[name] for steps, *_ in together)
    assert first.keys() == one.keys()
    assert all(torch.equal(first[key], second[key]) for key in one)
    apart = torch.cat([(first[key] - one[key]).float().flatten() for key in one])
    length = torch.cat([moved.float().flatten() for key, moved in one.items() if key not in SAID]).norm()
    assert float(apart.norm()) <= CLOSE * float(length)


@pytest.mark.slow
def test_all_processes_make_do_with_the_memory_of_the_poorest(together: list[Any]) -> None:
    first, second = (memory for _, memory, *_ in together)
    assert first == second
    assert first["micro_batch"] == 3


@pytest.mark.slow
def test_dropout_differs_between_ranks_and_the_generators_stay_together(together: list[Any]) -> None:
    (outputs, after), other = (noise for _, _, noise, _ in together)
    assert other == (outputs, after)
    assert len({tuple(row) for row in outputs}) == 4


@pytest.mark.slow
def test_each_process_draws_its_own_rows_alone_and_all_hear_of_one_that_cannot(together: list[Any]) -> None:
    first, second = (drawn for *_, drawn in together)
    assert (first["rows"], second["rows"]) == ([0, 1, 2, 3], [4, 5, 6])
    assert first["right"]
    assert second["right"]
    assert first["ended"] == second["ended"] == ELSEWHERE
