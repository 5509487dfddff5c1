"""Meta Pseudo Labels: a teacher that learns from how its student fares."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.compute import full_precision
from workbench.loader import PoolBatch
from workbench.model import ImageClassifier, parameter_groups, put_back
from workbench.recipe.strategies.online import MetaPseudoLabels
from workbench.support.spans import Part, span
from workbench.train.loss_scale import LossScale
from workbench.train.objectives.fixmatch import three_views
from workbench.train.objectives.objective import (
    Beginning,
    Clock,
    Labelled,
    Loss,
    Objective,
    Pseudo,
    objective_for,
)
from workbench.train.optim import begin_state, make_optimizer, optimizer_tensors, restore_optimizer, set_rates


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
    student: nn.Module
    """What computes its outputs."""


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
        self._baseline, self._rampup = map(knobs.given, ("baseline", "uda_rampup_epochs"))
        self._label_smoothing = beginning.label_smoothing
        self._device = beginning.device
        self._teacher = copy.deepcopy(beginning.module)
        self._twin: nn.Module = self._teacher
        self._mixes_batch = beginning.mixes_batch
        assert isinstance(self._teacher, ImageClassifier)
        groups = parameter_groups(self._teacher, beginning.optimizer)
        self._optimizer = make_optimizer(beginning.optimizer, groups)
        self._scale = LossScale(beginning.device) if beginning.scales_loss else None
        self._world = beginning.world
        self._usual = torch.zeros((), device=beginning.device)
        self._clock = Clock(0, 1, 1.0)
        self._waiting: _Waiting | None = None

    def know_twins(self, twin: Callable[[nn.Module], nn.Module]) -> None:
        """The teacher takes what the student takes."""
        self._twin = twin(self._teacher)

    def begin_step(self, clock: Clock) -> None:
        """The teacher learns at the student's rate."""
        self._clock = clock
        set_rates(self._optimizer, clock.rate)
        self._teacher.train()

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The student's loss on what the teacher says; the teacher's own waits for `end_step`."""
        assert unlabelled is not None
        certain, weak, strong = three_views(self._twin, labelled, unlabelled, as_one=self._mixes_batch)
        labels = self._labels(torch.softmax(weak.detach(), dim=1))
        own = labelled.cross_entropy(certain, self._label_smoothing)
        weight = self._knobs.uda_weight * self._ramp()
        if weight:
            own = own + weight * uda_loss(
                weak.detach(), strong, self._knobs.uda_temperature, self._knobs.uda_threshold
            )
        seen = _un_noised(model, labelled.inputs)
        before = labelled.cross_entropy(seen, 0.0)
        self._waiting = _Waiting(own, F.cross_entropy(strong, labels), before, labelled, model)
        value = F.cross_entropy(model(unlabelled.strong).float(), labels)
        return Loss(value, seen, Pseudo(labels, torch.ones_like(labels, dtype=torch.float32)))

    def end_step(self, model: nn.Module) -> None:
        """The teacher's step, with the feedback where it is on."""
        assert self._waiting is not None
        waiting, self._waiting = self._waiting, None
        value = waiting.own
        if self._knobs.feedback:
            seen = _un_noised(waiting.student, waiting.labelled.inputs)
            after = waiting.labelled.cross_entropy(seen, 0.0)
            helped = waiting.before - after
            self._usual = self._usual + self._baseline * (helped - self._usual)
            value = value + (helped - self._usual) * waiting.said
        self._optimizer.zero_grad(set_to_none=True)
        with full_precision(self._device), span(Part.BACKWARD, "teacher"):
            scaled = value if self._scale is None else self._scale.scaled(value)
            scaled.backward()  # type: ignore[no-untyped-call]
        self._world.sum_gradients(self._teacher.parameters())
        if self._scale is None:
            begin_state(self._optimizer)
            self._optimizer.step()
        else:
            self._scale.step(self._optimizer)

    def state(self) -> dict[str, Tensor]:
        """The teacher, its optimiser, and the usual feedback."""
        teacher = {f"teacher/{name}": tensor for name, tensor in self._teacher.state_dict().items()}
        moments = {f"optimizer/{name}": tensor for name, tensor in optimizer_tensors(self._optimizer).items()}
        scale = {} if self._scale is None else self._scale.state()
        of_scale = {f"scale/{name}": tensor for name, tensor in scale.items()}
        return {**teacher, **moments, **of_scale, "usual": self._usual}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {key.removeprefix(prefix): t for key, t in state.items() if key.startswith(prefix)}

        put_back(self._teacher, part("teacher/"))
        restore_optimizer(self._optimizer, part("optimizer/"))
        if self._scale is not None:
            self._scale.restore(part("scale/"))
        self._usual = state["usual"].to(self._device)

    def _labels(self, probabilities: Tensor) -> Tensor:
        """(U,) int64 hard labels for (U, C) probabilities."""
        if self._knobs.labels == "argmax":
            return probabilities.argmax(dim=1)
        return drawn_classes(probabilities)

    def _ramp(self) -> float:
        """Linear from 0 to 1 over `uda_rampup_epochs`."""
        return min(1.0, self._clock.epochs / self._rampup) if self._rampup else 1.0


def drawn_classes(probabilities: Tensor) -> Tensor:
    """(U,) int64 a class for each row of (U, C), drawn from torch's generator of their device.

    What `torch.multinomial` draws, which would have the host wait to see that they are probabilities.
    """
    return (probabilities / torch.empty_like(probabilities).exponential_()).argmax(dim=1)


def uda_loss(weak: Tensor, strong: Tensor, temperature: float, threshold: float) -> Tensor:
    """Mean of 1[max q ≥ threshold]·H(q, p(A(u))), () float32, with q the weak view's sharpened softmax.

    The threshold is on the sharpened q, as in the authors' code (google-research/google-research,
    meta_pseudo_labels/training_utils.py, `UDA.build_uda_cross_entropy`: `largest_probs` of `labels['u_ori']`,
    the softmax of logits / uda_temp). Xie et al. 2020, UDA, Sec. 2.4, put it on the plain softmax.

    Args:
        weak: (U, C) float32 logits, without gradient; q is the softmax of these over the temperature.
        strong: (U, C) float32 logits.
    """
    sharpened = torch.softmax(weak / temperature, dim=1)
    sure = (sharpened.max(dim=1).values >= threshold).float()
    return (sure * F.cross_entropy(strong, sharpened, reduction="none")).mean()


@torch.no_grad()
def _un_noised(model: nn.Module, inputs: Tensor) -> Tensor:
    """(B, C) logits without dropout and with fixed statistics; the model is left in training mode."""
    model.eval()
    logits: Tensor = model(inputs)
    model.train()
    return logits
