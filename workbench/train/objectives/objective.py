"""What an objective is: a loss over a labelled and an unlabelled batch, and what it keeps between steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from workbench.loader import HeadMasks, PoolBatch
from workbench.recipe import Optimizer
from workbench.recipe.online import Online
from workbench.support.errors import UserError
from workbench.support.plugins import import_all
from workbench.train.objective import weighted_cross_entropy
from workbench.train.world import ALONE, World


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled batch, or a part of one."""

    inputs: Tensor
    """(B, 3, side, side) float32 images, or (B, D) features."""
    targets: Tensor
    """(B, C) float32, rows sum to 1."""
    weights: Tensor
    """(B,) float32."""
    total_weight: float
    """As in `Batch`, of the whole batch: so the losses of its parts add up."""
    heads: HeadMasks | None = None
    """Where the animals' heads are, for a loss that asks."""

    def cross_entropy(self, logits: Tensor, label_smoothing: float) -> Tensor:
        """The supervised loss of logits (B, C), () float32."""
        return weighted_cross_entropy(
            logits, self.targets, self.weights, self.total_weight, label_smoothing=label_smoothing
        )


@dataclass(frozen=True, slots=True)
class Pseudo:
    """What an unlabelled batch was taught."""

    labels: Tensor
    """(U,) int64 classes."""
    weights: Tensor
    """(U,) float32 in [0, 1]: 0 or 1 where a threshold decides."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A step's loss, and what it was made of."""

    value: Tensor
    """() float32, to be differentiated."""
    logits: Tensor
    """(B, C) of the labelled images."""
    pseudo: Pseudo | None = None


@dataclass(frozen=True, slots=True)
class Clock:
    """Where a stage stands before a step."""

    step: int
    """Steps done since the stage began."""
    steps: int
    """Steps an epoch."""
    rate: float
    """What every peak learning rate is multiplied by now."""

    @property
    def epochs(self) -> float:
        """Epochs done, with a fraction."""
        return self.step / self.steps


@dataclass(frozen=True, slots=True)
class Beginning:
    """What an objective is made of as its stage begins."""

    module: nn.Module
    """The network that the stage trains, as it stands."""
    classes: int
    pool: int
    """Unlabelled images."""
    device: torch.device
    label_smoothing: float
    optimizer: Optimizer
    """The knobs of the stage's own optimiser."""
    mixes_batch: bool = True
    """Whether batch norm learns statistics, so that all views must pass the network as one batch."""
    scales_loss: bool = False
    """Training is in fp16: an optimiser of the objective's own needs a loss scale of its own."""
    world: World = ALONE
    """The processes that share a step: gradients of a network of the objective's own are to be summed."""


class Objective:
    """A loss. What it keeps between steps is in `state`, so that a resumed run goes on exactly.

    A step is `begin_step`, `loss`, the gradient and the optimiser's step, `end_step`. `loss` is under the
    autocast of training; random numbers come from torch's global generator, which is seeded every step.
    """

    can_be_cut = False
    """Whether the losses of a batch's parts add up to the batch's own."""

    def know_twins(self, twin: Callable[[nn.Module], nn.Module]) -> None:
        """Batches may hold maps: `twin` gives what computes the outputs of a network like the stage's own."""

    def begin_step(self, clock: Clock) -> None:
        """A step is about to begin."""

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The loss of one batch; `unlabelled` is there for objectives with a pool."""
        raise NotImplementedError

    def end_step(self, model: nn.Module) -> None:
        """The optimiser has taken its step."""

    @property
    def evaluated(self) -> nn.Module | None:
        """A network to evaluate in place of the trained one, such as a teacher; None: that one."""
        return None

    @property
    def thresholds(self) -> Tensor | None:
        """(C,) float32, the confidence that each class's pseudo-labels need now; None without thresholds."""
        return None

    def weights_now(self, probabilities: Tensor) -> Tensor:
        """(U,) float32 what pseudo-labels of these (U, C) weak views would weigh now; nothing moves on."""
        confidence, labels = probabilities.max(dim=1)
        thresholds = self.thresholds
        return (
            torch.ones_like(confidence) if thresholds is None else (confidence >= thresholds[labels]).float()
        )

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on, by name."""
        return {}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""


# (knobs, what it begins with) -> objective
Maker = Callable[[Any, Beginning], Objective]
_OWN = "workbench.train.objectives"
_MAKERS: dict[type[Online], Maker] = {}
MakerT = TypeVar("MakerT", bound=Maker)


def objective_for(knobs: type[Online]) -> Callable[[MakerT], MakerT]:
    """Register the decorated class as the objective of a strategy's knob model."""

    def register(maker: MakerT) -> MakerT:
        if knobs in _MAKERS:
            raise ValueError(f"{knobs.__name__} has an objective already: {_MAKERS[knobs]}")
        _MAKERS[knobs] = maker
        return maker

    return register


def implemented() -> frozenset[type[Online]]:
    """The knob models that have an objective."""
    import_all(_OWN)
    return frozenset(_MAKERS)


def make_objective(knobs: Online, beginning: Beginning) -> Objective:
    """The objective of an online strategy.

    Raises:
        UserError: nobody has registered any.
    """
    import_all(knobs.code or _OWN)
    maker = _MAKERS.get(type(knobs))
    if maker is None:
        raise UserError(
            f"the strategy {knobs.strategy} has no objective: nothing was registered for its knobs",
            where="pseudo_label.strategy",
            hint="workbench.train.objectives.objective_for does, in the module that the knobs' code names",
        )
    return maker(knobs, beginning)
