"""FixMatch: one threshold for all."""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.recipe.online import FixMatch
from workbench.train.objectives.consistency import ConsistencyObjective
from workbench.train.objectives.objective import Beginning, Pseudo
from workbench.train.objectives.registry import objective_for


@objective_for(FixMatch)
class FixMatchObjective(ConsistencyObjective):
    """w = 1[max q ≥ τ] (Sohn et al. 2020, Eq. 4)."""

    def __init__(self, knobs: FixMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._threshold = torch.full((beginning.classes,), knobs.threshold, device=beginning.device)

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """Those at or above the threshold."""
        confidence, labels = probabilities.max(dim=1)
        return Pseudo(labels, (confidence >= self._threshold[labels]).float())

    @property
    def thresholds(self) -> Tensor:
        """τ for every class."""
        return self._threshold
