"""FlexMatch: a threshold a class, lower for those that are learned more slowly."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.recipe.online import FlexMatch
from workbench.train.objectives.consistency import ConsistencyObjective, histogram
from workbench.train.objectives.objective import Beginning, Pseudo
from workbench.train.objectives.registry import objective_for

NONE = -1
"""Of an image that no class has been sure of yet."""


@objective_for(FlexMatch)
class FlexMatchObjective(ConsistencyObjective):
    """w = 1[max q ≥ τ·β/(2 − β)] at c = argmax q (Zhang et al. 2021, Eq. 5 to 7 and 11).

    û_n is the class of pool image n when max q last reached τ; σ(c) = #{û = c};
    β(c) = σ(c) / max(max σ, #{û = none}), which is Eq. 7's warm-up.
    """

    def __init__(self, knobs: FlexMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._tau = knobs.threshold
        self._learned = torch.full((beginning.pool,), NONE, dtype=torch.int64, device=beginning.device)

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """Those at or above their class's threshold, which comes from what was learned before this batch."""
        confidence, labels = probabilities.max(dim=1)
        weights = (confidence >= self.thresholds[labels]).float()
        learned = torch.where(confidence >= self._tau, labels, self._learned[rows])
        self._learned = self._learned.scatter(0, rows, learned)
        return Pseudo(labels, weights)

    @property
    def thresholds(self) -> Tensor:
        """(C,) τ·β/(2 − β)."""
        ones = torch.ones_like(self._learned, dtype=torch.float32)
        counts = histogram(self._learned + 1, ones, self._classes + 1)  # those of no class come first
        status = counts[1:] / counts.max()
        return self._tau * status / (2 - status)

    def state(self) -> dict[str, Tensor]:
        """û of the whole pool."""
        return {"learned": self._learned}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put û back."""
        self._learned = state["learned"].to(self._learned.device)
