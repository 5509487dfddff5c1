"""Grad-CAM: where in an image a class's logit comes from, on the trunk's last spatial feature map."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workbench.model.classifier import ImageClassifier
from workbench.support.errors import UserError

_MOST_TOKEN_LAYERS = 4
"""Weighted layers on tokens (B, N, K) after the last map. Attention pooling has up to four (query, key,
value, projection) and still reads the map; a transformer's blocks have dozens, and make of it something
else."""


@dataclass(frozen=True, slots=True)
class _Target:
    """The call of a module that made the last spatial map: the `call`-th of all calls of a forward pass."""

    call: int
    spatial: tuple[int, int]
    """The dimensions that are height and width."""


@dataclass(slots=True)
class _Capture:
    """The map of a pass, cut off from what made it, so that the backward pass ends there."""

    maps: Tensor | None = field(default=None)


def grad_cam(classifier: ImageClassifier, images: Tensor, classes: Tensor) -> Tensor:
    """Maps of what speaks for one class of each image (Selvaraju et al. 2017, Grad-CAM, Eq. 1 and 2).

    With A the last spatial feature map and y the class's logit: α_k = mean over places of ∂y/∂A_k, and the
    map is ReLU(Σ_k α_k A_k). The network is left as it was: mode, gradients and which parameters learn.

    Args:
        images: (B, 3, H, W) float32 normalised, on the classifier's device.
        classes: (B,) int64.

    Returns: (B, h, w) float32 at the feature map's own size, each image scaled to a maximum of 1; all 0 where
        nothing speaks for the class.

    Raises:
        UserError: the backbone has no such map: it works on tokens, as transformers do.
    """
    with evaluating(classifier):
        target = _last_map(classifier, images[:1])
        if target is None:
            raise UserError(
                f"Grad-CAM needs a convolutional network; {classifier.backbone} ends in tokens, not in a map",
                where="model.backbone",
                hint="petbench saliency shows where a transformer's attention comes from instead",
            )
        capture = _Capture()
        with _hooked(classifier.trunk, _cutting(target, capture)), torch.enable_grad():
            logits = classifier(images)
            maps = capture.maps
            assert maps is not None  # the same network makes the same calls
            wanted = logits.gather(1, classes[:, None]).sum()  # images do not mix in evaluation mode
            (gradients,) = torch.autograd.grad(wanted, maps)
    weights = gradients.mean(dim=target.spatial, keepdim=True)
    channels = ({1, 2, 3} - set(target.spatial)).pop()
    cam = torch.relu((weights * maps.detach()).sum(dim=channels)).float()  # (B, h, w)
    highest = cam.amax(dim=(1, 2), keepdim=True)
    return cam / torch.where(highest > 0, highest, torch.ones_like(highest))


def has_map(classifier: ImageClassifier, image: Tensor) -> bool:
    """Whether the network ends in a spatial feature map, found out by passing an image (1, 3, H, W)."""
    with evaluating(classifier):
        return _last_map(classifier, image) is not None


@contextlib.contextmanager
def evaluating(classifier: ImageClassifier) -> Iterator[None]:
    """Evaluation mode, and no parameter asks for a gradient."""
    training = classifier.training
    learning = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    classifier.eval()
    for parameter in learning:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)
        classifier.train(training)


Seen = Callable[[int, nn.Module, Any], Any]
"""(number of the call, module, output) -> a new output, or None to keep it."""


@contextlib.contextmanager
def _hooked(trunk: nn.Module, seen: Seen) -> Iterator[None]:
    """Call `seen` after every module of the trunk, as calls end in a forward pass."""
    calls = 0

    def hook(module: nn.Module, _: Any, output: Any) -> Any:
        nonlocal calls
        calls += 1
        return seen(calls, module, output)

    handles = [module.register_forward_hook(hook) for module in trunk.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _cutting(target: _Target, capture: _Capture) -> Seen:
    def seen(call: int, _: nn.Module, output: Any) -> Any:
        if call != target.call:
            return None
        capture.maps = output.detach().requires_grad_()
        # A copy, for layers that work in place, which a leaf of the graph does not allow.
        return capture.maps.clone()

    return seen


def _last_map(classifier: ImageClassifier, image: Tensor) -> _Target | None:
    """The last call in a pass whose output is a map of more than one place; None where tokens follow it."""
    found: list[_Target] = []
    tokens = 0

    def look(call: int, module: nn.Module, output: Any) -> None:
        nonlocal tokens
        if not isinstance(output, Tensor):
            return
        spatial = _spatial(output)
        if spatial is not None:
            found.append(_Target(call, spatial))
            tokens = 0
        elif output.ndim == 3 and any(True for _ in module.parameters(recurse=False)):
            tokens += 1

    with _hooked(classifier.trunk, look), torch.no_grad():
        classifier(image)
    return None if not found or tokens > _MOST_TOKEN_LAYERS else found[-1]


def _spatial(output: Tensor) -> tuple[int, int] | None:
    """Height and width of (B, K, h, w), or of (B, h, w, K) as Swin has it; images are square, so h = w."""
    if output.ndim != 4:
        return None
    _, first, second, third = output.shape
    if second == third > 1:
        return 2, 3
    if first == second > 1:
        return 1, 2
    return None
