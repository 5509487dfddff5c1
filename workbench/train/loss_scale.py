"""Loss scaling: gradients of fp16 passes, kept in fp16's range (Micikevicius et al. 2018, Sec. 3.2).

The factor is found as one goes, by torch's and Apex's constants; where a gradient overflows the step is left
out. All of it stays on the device: the host looks when it looks at the losses.
"""

from __future__ import annotations

import torch
from torch import Tensor

from workbench.train.optim import begin_state

INITIAL, GROWTH, BACKOFF, PATIENCE = 2.0**16, 2.0, 0.5, 2000
"""As `torch.amp.GradScaler`: the first factor, what it grows and falls by, and steps without an overflow
until it grows."""
LEAST = 1.0
"""A gradient that overflows at less was too large before it was scaled."""


class LossScale:
    """The factor of one optimiser's loss.

    Attributes:
        skipped: () bool, whether the last step was left out.
    """

    def __init__(self, device: torch.device) -> None:
        self._factor = torch.full((), INITIAL, device=device)  # () float32
        self._calm = torch.zeros((), dtype=torch.int64, device=device)
        self.skipped = torch.zeros((), dtype=torch.bool, device=device)

    @property
    def factor(self) -> float:
        """What the loss is multiplied by now; the host waits for it."""
        return float(self._factor)

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to differentiate."""
        return loss * self._factor

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Unscale the gradients and take the optimiser's step, or leave it out; then move the factor on.

        The optimiser is fused: its kernel itself looks at the device's word on whether to go on.
        """
        gradients = [
            p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None
        ]
        if not gradients:
            return
        begin_state(optimizer)  # a first step that is left out would leave SGD's momentum as memory was
        torch._foreach_mul_(gradients, 1 / self._factor)
        norms = torch.stack(torch._foreach_norm(gradients, float("inf")))
        self.skipped = ~torch.isfinite(norms).all()
        optimizer.found_inf = self.skipped.float()  # type: ignore[attr-defined]
        try:
            optimizer.step()
        finally:
            del optimizer.found_inf  # type: ignore[attr-defined]
        self._calm = torch.where(self.skipped, 0, self._calm + 1)
        grows = self._calm >= PATIENCE
        grown = torch.where(grows, GROWTH, 1.0) * self._factor
        self._factor = torch.where(self.skipped, self._factor * BACKOFF, grown)
        self._calm = torch.where(grows, 0, self._calm)

    def state(self) -> dict[str, Tensor]:
        """The factor, and how long it has stood."""
        return {"factor": self._factor, "calm": self._calm}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back; a checkpoint without them begins anew."""
        if state:
            device = self._factor.device
            self._factor, self._calm = state["factor"].to(device), state["calm"].to(device)
