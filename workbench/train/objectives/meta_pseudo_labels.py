"""Meta Pseudo Labels: a teacher that learns from how its student fares."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.loader import PoolBatch
from workbench.model import ImageClassifier, parameter_groups, put_back
from workbench.recipe.online import MetaPseudoLabels
from workbench.support.spans import Part, span
from workbench.train.objectives.objective import Beginning, Clock, Labelled, Loss, Objective, Pseudo
from workbench.train.objectives.registry import objective_for
from workbench.train.optim import make_optimizer, optimizer_tensors, restore_optimizer, set_rates


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What the teacher learns once the student has taken its step."""

    own: Tensor
    """() its loss on labels and consistency."""
    said: Tensor
    """() H(ŷ, T(A(u))), which the feedback weighs."""
    before: Tensor
    """() the student's loss on the labelled batch before its step."""
    labelled: Labelled


@objective_for(MetaPseudoLabels)
class MetaPseudoLabelsObjective(Objective):
    """Student: θ' = θ − η∇H(ŷ, S(A(u))); teacher: H(y, T(x)) + λ(t)·UDA + h·H(ŷ, T(A(u))) (Pham et al. 2021).

    ŷ is a hard label that the teacher draws for the weak view. h = ℓ_L(θ) − ℓ_L(θ') is how much the step
    lowered the student's loss on the labelled batch, less its running average; to first order it is
    η∇ℓ_L·∇ℓ_u (Eq. 12). It is measured with the student un-noised, so that it tells of the step and not of
    two dropout masks. With soft targets q = T(A(u)) of its own the gradient of H(q, T(A(u))) is 0 and h could
    teach nothing: so labels are hard. The student never sees a label here.
    """

    def __init__(self, knobs: MetaPseudoLabels, beginning: Beginning) -> None:
        self._knobs = knobs
        self._label_smoothing = beginning.label_smoothing
        self._device = beginning.device
        self._teacher = copy.deepcopy(beginning.module)
        assert isinstance(self._teacher, ImageClassifier)
        groups = parameter_groups(self._teacher, beginning.optimizer)
        self._optimizer = make_optimizer(beginning.optimizer, groups)
        self._usual = torch.zeros((), device=beginning.device)
        self._clock = Clock(0, 1, 1.0)
        self._waiting: _Waiting | None = None

    def begin_step(self, clock: Clock) -> None:
        """The teacher learns at the student's rate."""
        self._clock = clock
        set_rates(self._optimizer, clock.rate)
        self._teacher.train()

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The student's loss on what the teacher says; the teacher's own waits for `end_step`."""
        assert unlabelled is not None
        count = len(unlabelled.positions)
        views = torch.cat([labelled.inputs, unlabelled.weak, unlabelled.strong])
        logits: Tensor = self._teacher(views).float()
        first = len(labelled.inputs)
        certain, weak, strong = logits.tensor_split([first, first + count])
        labels = self._labels(torch.softmax(weak.detach(), dim=1))
        own = labelled.cross_entropy(certain, self._label_smoothing)
        weight = self._knobs.uda_weight * self._ramp()
        if weight:
            own = own + weight * uda_loss(
                weak.detach(), strong, self._knobs.uda_temperature, self._knobs.uda_threshold
            )
        seen = _un_noised(model, labelled.inputs)
        before = labelled.cross_entropy(seen, 0.0)
        self._waiting = _Waiting(own, F.cross_entropy(strong, labels), before, labelled)
        value = F.cross_entropy(model(unlabelled.strong).float(), labels)
        return Loss(value, seen, Pseudo(labels, torch.ones_like(labels, dtype=torch.float32)))

    def end_step(self, model: nn.Module) -> None:
        """The teacher's step, with the feedback where it is on."""
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        value = waiting.own
        if self._knobs.feedback:
            after = waiting.labelled.cross_entropy(_un_noised(model, waiting.labelled.inputs), 0.0)
            helped = waiting.before - after
            self._usual = self._usual + self._knobs.baseline * (helped - self._usual)
            value = value + (helped - self._usual) * waiting.said
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device.type, enabled=False), span(Part.BACKWARD, "teacher"):
            value.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def state(self) -> dict[str, Tensor]:
        """The teacher, its optimiser, and the usual feedback."""
        teacher = {f"teacher/{name}": tensor for name, tensor in self._teacher.state_dict().items()}
        moments = {f"optimizer/{name}": tensor for name, tensor in optimizer_tensors(self._optimizer).items()}
        return {**teacher, **moments, "usual": self._usual}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): t for key, t in state.items() if key.startswith(prefix)}

        put_back(self._teacher, part("teacher/"))
        restore_optimizer(self._optimizer, part("optimizer/"))
        self._usual = state["usual"].to(self._device)

    def _labels(self, probabilities: Tensor) -> Tensor:
        """(U,) int64 hard labels for (U, C) probabilities."""
        if self._knobs.labels == "argmax":
            return probabilities.argmax(dim=1)
        return torch.multinomial(probabilities, 1)[:, 0]

    def _ramp(self) -> float:
        """Linear from 0 to 1 over `uda_rampup_epochs`."""
        length = self._knobs.uda_rampup_epochs
        return min(1.0, self._clock.epochs / length) if length else 1.0


def uda_loss(weak: Tensor, strong: Tensor, temperature: float, threshold: float) -> Tensor:
    """Mean of 1[max q ≥ threshold]·H(sharpened q, p(A(u))), () float32 (Xie et al. 2020, UDA, Sec. 2.2, 2.4).

    Args:
        weak: (U, C) float32 logits, without gradient; q is their softmax, sharpened by the temperature.
        strong: (U, C) float32 logits.
    """
    sure = (torch.softmax(weak, dim=1).max(dim=1).values >= threshold).float()
    return (sure * F.cross_entropy(strong, torch.softmax(weak / temperature, dim=1), reduction="none")).mean()


@torch.no_grad()
def _un_noised(model: nn.Module, inputs: Tensor) -> Tensor:
    """(B, C) logits without dropout and with fixed statistics; the model is left in training mode."""
    model.eval()
    logits: Tensor = model(inputs)
    model.train()
    return logits
