"""FreeMatch: thresholds from the model's own confidence, and a loss that keeps classes in balance."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.recipe.online import FreeMatch
from workbench.train.objectives.consistency import ConsistencyObjective, histogram
from workbench.train.objectives.objective import Beginning, Pseudo
from workbench.train.objectives.registry import objective_for

_TINY = 1e-12


@objective_for(FreeMatch)
class FreeMatchObjective(ConsistencyObjective):
    """w = 1[max q ≥ τ·p̃(c)/max p̃] at c = argmax q (Wang et al. 2023, Eq. 5 to 8).

    τ, p̃ and h̃ are averages of the batches' mean confidence, mean q and shares of argmax q; all start at 1/C.
    The fairness loss is Σ norm(p̃/h̃)·log norm(p̄/h̄) (Eq. 9 to 11), with p̄ and h̄ the mean and the shares of
    argmax of the strong views that pass.
    """

    def __init__(self, knobs: FreeMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._momentum = knobs.momentum
        self._fairness_weight = knobs.fairness_weight
        even = torch.full((beginning.classes,), 1 / beginning.classes, device=beginning.device)
        self._confidence, self._shares, self._histogram = even[0].clone(), even.clone(), even.clone()

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """The averages take in the batch, then the thresholds judge it."""
        confidence, labels = probabilities.max(dim=1)
        even = torch.full_like(confidence, 1 / len(labels))
        self._confidence = self._average(self._confidence, confidence.mean())
        self._shares = self._average(self._shares, probabilities.mean(dim=0))
        self._histogram = self._average(self._histogram, histogram(labels, even, self._classes))
        return Pseudo(labels, (confidence >= self.thresholds[labels]).float())

    def completed(self, value: Tensor, strong: Tensor, pseudo: Pseudo) -> Tensor:
        """With the fairness loss."""
        if not self._fairness_weight:
            return value
        return value + self._fairness_weight * fairness_loss(
            strong, pseudo.weights, self._shares, self._histogram
        )

    @property
    def thresholds(self) -> Tensor:
        """(C,) τ·p̃/max p̃."""
        return self._confidence * self._shares / self._shares.max()

    def state(self) -> dict[str, Tensor]:
        """The three averages."""
        return {"confidence": self._confidence, "shares": self._shares, "histogram": self._histogram}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""
        device = self._shares.device
        self._confidence, self._shares = state["confidence"].to(device), state["shares"].to(device)
        self._histogram = state["histogram"].to(device)

    def _average(self, old: Tensor, new: Tensor) -> Tensor:
        return self._momentum * old + (1 - self._momentum) * new


def fairness_loss(strong: Tensor, passed: Tensor, shares: Tensor, counts: Tensor) -> Tensor:
    """Σ_c norm(p̃/h̃)·log norm(p̄/h̄), () float32; 0 where nothing passed.

    Args:
        strong: (U, C) logits of the strong views.
        passed: (U,) 1 for those whose weak view is above its threshold, else 0.
        shares, counts: (C,) p̃ and h̃.

    A class that no view's argmax names has no h̄ to divide by: its share counts as 0, as in the authors' code.
    """
    probabilities = torch.softmax(strong, dim=1)
    number = passed.sum().clamp(min=1)
    mean = (probabilities * passed[:, None]).sum(dim=0) / number
    named = histogram(probabilities.argmax(dim=1), passed / number, strong.shape[1])
    expected = _normalised(_ratio(shares, counts))
    found = _normalised(_ratio(mean, named))
    loss = (expected * torch.log(found + _TINY)).sum()
    return torch.where(passed.sum() > 0, loss, torch.zeros_like(loss))


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below.clamp(min=_TINY), torch.zeros_like(above))


def _normalised(values: Tensor) -> Tensor:
    return values / values.sum().clamp(min=_TINY)
