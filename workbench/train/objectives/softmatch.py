"""SoftMatch: every image counts, less where the confidence is below the average."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.recipe.online import SoftMatch
from workbench.train.objectives.consistency import ConsistencyObjective
from workbench.train.objectives.objective import Beginning, Pseudo
from workbench.train.objectives.registry import objective_for


@objective_for(SoftMatch)
class SoftMatchObjective(ConsistencyObjective):
    """w = exp(−n²·min(max q' − μ, 0)²/(2σ²)) (Chen et al. 2023, Eq. 7 and 8).

    μ and σ² are averages of the batches' mean and variance of max q', from 1/C and 1. With uniform alignment
    q' = norm(q·(1/C)/p̃), p̃ an average of the batches' mean q that starts at the first one's (Sec. 3.3);
    pseudo-labels come from q itself.
    """

    def __init__(self, knobs: SoftMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._knobs = knobs
        device = beginning.device
        self._mean = torch.tensor(1 / beginning.classes, device=device)
        self._variance = torch.tensor(1.0, device=device)
        self._shares = torch.zeros(beginning.classes, device=device)  # none seen yet

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """The averages take in the batch, then weigh it."""
        labels = probabilities.argmax(dim=1)
        if self._knobs.uniform_alignment:
            probabilities = self._aligned(probabilities)
        confidence = probabilities.max(dim=1).values
        self._mean = self._average(self._mean, confidence.mean())
        if len(confidence) > 1:  # one image has no variance
            self._variance = self._average(self._variance, confidence.var())
        below = (confidence - self._mean).clamp(max=0)
        return Pseudo(labels, torch.exp(-(self._knobs.sigmas**2) * below.square() / (2 * self._variance)))

    def state(self) -> dict[str, Tensor]:
        """The three averages."""
        return {"mean": self._mean, "variance": self._variance, "shares": self._shares}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""
        device = self._shares.device
        self._mean, self._variance = state["mean"].to(device), state["variance"].to(device)
        self._shares = state["shares"].to(device)

    def _aligned(self, probabilities: Tensor) -> Tensor:
        seen = probabilities.mean(dim=0)
        is_first = self._shares.sum() == 0
        self._shares = torch.where(is_first, seen, self._average(self._shares, seen))
        scaled = probabilities / (self._classes * self._shares).clamp(min=1e-12)
        return scaled / scaled.sum(dim=1, keepdim=True)

    def _average(self, old: Tensor, new: Tensor) -> Tensor:
        return self._knobs.momentum * old + (1 - self._knobs.momentum) * new
