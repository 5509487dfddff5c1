"""What is exported: a run's evaluation as one module, with or without the way from pixels to views.

Both are plain tensor arithmetic (no sampling or resizing operators), which every format and runtime has.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from workbench.dataset.catalogue import KEPT, LONGEST
from workbench.loader.colours import WHITE
from workbench.loader.geometry import CROP_SHARES
from workbench.loader.store import stored_side
from workbench.loader.views import ViewFormat
from workbench.model import ImageClassifier, frozen_copy
from workbench.recipe.fields import EvaluationView
from workbench.train.predict import Predictor

_OFF_THE_EDGE = 2**-10


class ViewsToLogits(nn.Module):
    """Normalised views -> logits, in float32, as the run's evaluation averages them.

    With one view images are (B, 3, S, S); with V views (B, V, 3, S, S). Logits are (B, C).
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, views: int) -> None:
        super().__init__()
        self.trunk, self.head, self.views = trunk, head, views

    @classmethod
    def of(cls, predictor: Predictor, classifier: ImageClassifier | None = None) -> ViewsToLogits:
        """A run's network as it evaluates, or another with the run's way to bring views together."""
        network = classifier or predictor.classifier
        trunk = frozen_copy(network.trunk, predictor.form.side, "fp32").requires_grad_(False)
        head = copy.deepcopy(network.linear).requires_grad_(False)
        return cls(trunk, head, len(predictor.form.evaluation)).cpu().eval()

    def forward(self, views: Tensor) -> Tensor:
        """(B, [V,] 3, S, S) float32 normalised -> (B, C) float32."""
        if self.views > 1:
            # The head is linear: the mean of its logits is that of the mean features.
            views = views.flatten(0, 1)
        features: Tensor = self.trunk(views)
        if self.views > 1:
            features = features.view(-1, self.views, features.shape[1]).mean(dim=1)
        logits: Tensor = self.head(features)
        return logits


class PixelsToProbabilities(nn.Module):
    """An image's own pixels -> probabilities: resizing, views and normalisation inside.

    The resizing is Pillow's, bicubic over all pixels of an output pixel with a rounding to bytes after each
    of its two passes, the horizontal one first (of a tall picture Pillow 13 takes it last, which moves a byte
    by one or two); the crops are the run's plain views, sampled bilinearly.
    """

    shares: Tensor
    whole: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, network: ViewsToLogits, form: ViewFormat) -> None:
        super().__init__()
        self.network = network
        self.side = form.side
        self.stored = stored_side(form.side)
        self.views: tuple[EvaluationView, ...] = form.evaluation
        shares = [CROP_SHARES.get(view, 1.0) for view in form.evaluation]
        whole = [float(view == "squash") for view in form.evaluation]
        self.register_buffer("shares", torch.tensor(shares), persistent=False)
        self.register_buffer("whole", torch.tensor(whole), persistent=False)
        self.register_buffer("mean", torch.tensor(form.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(form.std).view(3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(H, W, 3) uint8 red, green, blue of any size -> (C,) float32 probabilities that sum to 1."""
        image = pixels.to(torch.float32).permute(2, 0, 1)  # (3, H, W)
        # Lengths as tensors: every later step is arithmetic, whatever the size.
        rows, columns = torch.ones_like(image[0, :, 0]), torch.ones_like(image[0, 0, :])
        height, width = rows.sum(), columns.sum()
        shorter = torch.minimum(height, width)
        is_long = torch.maximum(height, width) > LONGEST * shorter
        kept_height = torch.where(is_long, torch.minimum(height, KEPT * shorter), height)
        kept_width = torch.where(is_long, torch.minimum(width, KEPT * shorter), width)
        across = _resizing(columns, torch.floor((width - kept_width) / 2), kept_width, self.stored)
        down = _resizing(rows, torch.floor((height - kept_height) / 2), kept_height, self.stored)
        square = _as_bytes(down @ _as_bytes(image @ across.T))  # (3, P, P)
        shorter = torch.minimum(kept_height, kept_width)
        across = self._cropping(shorter / kept_width)  # (V, S, P)
        down = self._cropping(shorter / kept_height)
        crops = down[:, None] @ square[None] @ across[:, None].transpose(2, 3)  # (V, 3, S, S)
        views = (crops / WHITE - self.mean) / self.std
        logits = self.network(views if len(self.views) == 1 else views[None])
        return torch.softmax(logits, dim=1)[0]

    def _cropping(self, square_share: Tensor) -> Tensor:
        """(V, S, P) bilinear weights along one side, whose share `square_share` is the image's short side."""
        extent = torch.where(self.whole > 0, torch.ones_like(self.shares), self.shares * square_share)
        places = (torch.arange(self.side, device=extent.device) + 0.5) / self.side
        points = (1 - extent[:, None]) / 2 + extent[:, None] * places  # (V, S) in [0, 1]
        centres = (points * self.stored - 0.5).clamp(0, self.stored - 1)
        pixels = torch.arange(self.stored, device=extent.device, dtype=torch.float32)
        return torch.relu(1 - (centres[:, :, None] - pixels).abs())


def _resizing(ones: Tensor, start: Tensor, kept: Tensor, side: int) -> Tensor:
    """(side, N) weights that resize `kept` of N pixels from `start` on, as Pillow's bicubic does."""
    scale = kept / side
    support = torch.maximum(scale, torch.ones_like(scale))
    pixels = torch.cumsum(ones, dim=0) - 1 - start  # 0 at the first pixel that is kept
    centres = (torch.arange(side, device=ones.device) + 0.5) * scale
    weights = _cubic((pixels[None] + 0.5 - centres[:, None]) / support)
    weights = weights * ((pixels >= 0) & (pixels < kept)).to(weights.dtype)
    return weights / weights.sum(dim=1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """The cubic kernel with a = -1/2 (Keys 1981, Eq. 15), which Pillow uses."""
    x = x.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _as_bytes(values: Tensor) -> Tensor:
    # Halves are frequent where sizes have small ratios. Pushed off the edge, they round alike everywhere.
    return torch.floor(values + 0.5 + _OFF_THE_EDGE).clamp(0, 255)
