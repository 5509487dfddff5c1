"""Mean Teacher: agree with the average of one's own past weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from workbench.loader import PoolBatch
from workbench.model import put_back
from workbench.recipe.strategies.online import MeanTeacher
from workbench.train.objectives.objective import (
    Beginning,
    Clock,
    Labelled,
    Loss,
    Objective,
    Pseudo,
    objective_for,
)


@objective_for(MeanTeacher)
class MeanTeacherObjective(Objective):
    """H(y, p(x)) + w(t)·mean (p(u) − p'(u'))², θ' = mθ' + (1 − m)θ (Tarvainen and Valpola 2017, Sec. 2).

    u and u' are two weak views; the teacher p' has its own dropout masks and batch-norm statistics, and is
    what is evaluated. Consistency is asked of the pool; labelled images have their labels.
    """

    def __init__(self, knobs: MeanTeacher, beginning: Beginning) -> None:
        self._consistency = knobs.consistency
        self._rampup, self._early, self._late = map(knobs.given, ("rampup_epochs", "early_ema", "late_ema"))
        self._label_smoothing = beginning.label_smoothing
        self._teacher = copy.deepcopy(beginning.module).requires_grad_(False)
        self._twin: nn.Module = self._teacher
        self._mixes_batch = beginning.mixes_batch
        self._clock = Clock(0, 1, 1.0)

    def know_twins(self, twin: Callable[[nn.Module], nn.Module]) -> None:
        """The teacher takes what the student takes."""
        self._twin = twin(self._teacher)

    def begin_step(self, clock: Clock) -> None:
        """The teacher's noise is on, also after an evaluation."""
        self._clock = clock
        self._teacher.train()

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The labelled loss and the weighted disagreement with the teacher."""
        assert unlabelled is not None
        own: Tensor = model(torch.cat([labelled.inputs, unlabelled.weak])).float()
        with torch.no_grad():
            beside = [labelled.inputs] if self._mixes_batch else []
            other: Tensor = self._twin(torch.cat([*beside, unlabelled.strong])).float()
        certain, student = own.tensor_split([len(labelled.inputs)])
        taught = torch.softmax(other[-len(student) :], dim=1)
        disagreement = (torch.softmax(student, dim=1) - taught).square().mean()
        weight = self._consistency * ramp(self._clock.epochs, self._rampup)
        value = labelled.cross_entropy(certain, self._label_smoothing) + weight * disagreement
        labels = taught.argmax(dim=1)
        return Loss(value, certain, Pseudo(labels, torch.ones_like(labels, dtype=torch.float32)))

    @torch.no_grad()
    def end_step(self, model: nn.Module) -> None:
        """The teacher's weights move towards the student's."""
        decay = self._early if self._clock.epochs < self._rampup else self._late
        pairs = zip(self._teacher.parameters(), model.parameters(), strict=True)
        moving = [(mine, theirs) for mine, theirs in pairs if theirs.requires_grad]
        torch._foreach_lerp_([mine for mine, _ in moving], [theirs for _, theirs in moving], 1 - decay)

    @property
    def evaluated(self) -> nn.Module:
        """The teacher."""
        return self._teacher

    def state(self) -> dict[str, Tensor]:
        """The teacher's weights and statistics."""
        return dict(self._teacher.state_dict())

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""
        put_back(self._teacher, state)


def ramp(epochs: float, length: float) -> float:
    """exp(−5(1 − t)²) with t = epochs/length, 1 from `length` on (Laine and Aila 2017, Sec. 2.1)."""
    if epochs >= length:
        return 1.0
    return math.exp(-5 * (1 - epochs / length) ** 2)
