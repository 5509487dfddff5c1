"""Where in an image a network sees what it says: Grad-CAM for maps, attention roll-out for transformers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.model.classifier import ImageClassifier, TrunkPart
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
    map is ReLU(Σ_k α_k A_k); of several trunks side by side, each with a last map of its own, the sum over
    all. The network is left as it was: mode, gradients and which parameters learn.

    Args:
        images: (B, 3, H, W) float32 normalised, on the classifier's device.
        classes: (B,) int64.

    Returns: (B, h, w) float32 at the size of the (largest) feature map, each image scaled to a maximum of 1;
        all 0 where nothing speaks for the class.

    Raises:
        UserError: the backbone has no such map: it works on tokens, as transformers do.
    """
    with evaluating(classifier):
        targets = []
        for part in classifier.parts:
            target = _last_map(classifier, part, images[:1])
            if target is None:
                raise UserError(
                    f"Grad-CAM needs a convolutional network; {part.backbone} ends in tokens, not in a map",
                    where="model.backbone",
                    hint="petbench saliency shows where a transformer's attention comes from instead",
                )
            targets.append(target)
        captures = [_Capture() for _ in targets]
        with contextlib.ExitStack() as hooks, torch.enable_grad():
            for part, target, capture in zip(classifier.parts, targets, captures, strict=True):
                hooks.enter_context(_hooked(_trunk(classifier, part), _cutting(target, capture)))
            logits = classifier(images)
            maps = [capture.maps for capture in captures if capture.maps is not None]
            assert len(maps) == len(targets)  # the same network makes the same calls
            wanted = logits.gather(1, classes[:, None]).sum()  # images do not mix in evaluation mode
            gradients = torch.autograd.grad(wanted, maps)
    found = [_weighed(*own) for own in zip(maps, gradients, targets, strict=True)]
    cam = torch.relu(_summed(found)).float()  # (B, h, w)
    highest = cam.amax(dim=(1, 2), keepdim=True)
    return cam / torch.where(highest > 0, highest, torch.ones_like(highest))


def has_map(classifier: ImageClassifier, image: Tensor) -> bool:
    """Whether the network (each of its trunks) ends in a spatial feature map, found out by an image
    (1, 3, H, W)."""
    with evaluating(classifier):
        return all(_last_map(classifier, part, image) is not None for part in classifier.parts)


def _weighed(maps: Tensor, gradients: Tensor, target: _Target) -> Tensor:
    """(B, h, w) Σ_k α_k A_k of a map and its gradients."""
    weights = gradients.mean(dim=target.spatial, keepdim=True)
    channels = ({1, 2, 3} - set(target.spatial)).pop()
    return (weights * maps.detach()).sum(dim=channels)


def _summed(maps: Sequence[Tensor]) -> Tensor:
    """(B, h, w) sum of maps (B, h_t, w_t), at the size of the largest.

    A map's sum over its places is what it adds to the logit: that stays, over however many they are spread.
    """
    side = max(own.shape[-1] for own in maps)
    if all(own.shape[-1] == side for own in maps):
        return torch.stack(list(maps)).sum(dim=0)
    size = (side, side)
    grown = [F.interpolate(own[:, None].float(), size, mode="bilinear")[:, 0] for own in maps]
    shares = [(own.shape[-1] / side) ** 2 for own in maps]
    return torch.stack([own * share for own, share in zip(grown, shares, strict=True)]).sum(dim=0)


def _trunk(classifier: ImageClassifier, part: TrunkPart) -> nn.Module:
    return classifier.trunk.get_submodule(part.path)


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


def _last_map(classifier: ImageClassifier, part: TrunkPart, image: Tensor) -> _Target | None:
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

    with _hooked(_trunk(classifier, part), look), torch.no_grad():
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


# torchvision's VisionTransformer puts its class token first, and has no attribute that says so.
_CLASS_TOKEN = 1


@dataclass(slots=True)
class _Seen:
    """What the attention layers of a pass computed, input to output."""

    weights: list[Tensor] = field(default_factory=list)
    """(B, N, N) each, rows sum to 1: a token's share of each token below, mean over heads."""
    tokens: list[int] = field(default_factory=list)
    """N as each layer was given it: what else has two equal sides is not attention over tokens."""


@torch.no_grad()
def attention_rollout(classifier: ImageClassifier, images: Tensor) -> Tensor:
    """Maps of where the pooled features come from (Abnar and Zuidema 2020, Sec. 3, attention roll-out).

    With W_l the attention of layer l, mean over heads, and ½ I for the residual connection, A_l = ½ W_l + ½ I
    and the roll-out is A_L … A_2 A_1. The map is its row of the class token (for a network that averages its
    patches: the mean of their rows) at the patches. Attention asks for no class: the map is the same for
    every one of them. The network is left as it was.

    Args:
        images: (B, 3, H, W) float32 normalised, on the classifier's device.

    Returns: (B, h, w) float32, a value a patch, each image scaled to a maximum of 1.

    Raises:
        UserError: the network has no global attention over a grid of patches, one layer after the other.
    """
    seen = _Seen()
    with evaluating(classifier), _watched(classifier.trunk, seen):
        classifier(images)
    _refuse_others(classifier, seen)
    rolled = rollout(seen.weights)
    first = _prefix(classifier.trunk)
    patches = rolled[:, :, first:]  # (B, N, h·w)
    side = round(patches.shape[2] ** 0.5)
    if side * side != patches.shape[2]:
        raise _unsuited(classifier, f"its {patches.shape[2]} patches are no square")
    maps = patches[:, _pooled(classifier, first)].mean(dim=1).reshape(-1, side, side)
    return maps / maps.amax(dim=(1, 2), keepdim=True)


def rollout(weights: Sequence[Tensor]) -> Tensor:
    """(B, N, N), rows sum to 1: the product of ½ W + ½ I of every layer's (B, N, N) attention, last first."""
    residual = torch.eye(weights[0].shape[1], device=weights[0].device)
    rolled = residual.expand_as(weights[0])
    for layer in weights:
        rolled = (layer / 2 + residual / 2) @ rolled
    return rolled


@contextlib.contextmanager
def _watched(trunk: nn.Module, seen: _Seen) -> Iterator[None]:
    """Note every attention layer's weights: torch's are asked for them, timm's go the way that makes them."""
    handles: list[Any] = []
    fused: list[Any] = []

    def ask(module: nn.Module, inputs: Any, options: dict[str, Any]) -> Any:
        seen.tokens.append(inputs[0].shape[1])
        return inputs, {**options, "need_weights": True, "average_attn_weights": True}

    def note(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.weights.append(output[1].float())

    def count(module: nn.Module, inputs: Any) -> None:
        seen.tokens.append(inputs[0].shape[1])

    def note_heads(module: nn.Module, inputs: Any, output: Tensor) -> None:
        seen.weights.append(output.float().mean(dim=1))

    for module in trunk.modules():
        if isinstance(module, nn.MultiheadAttention):
            handles.append(module.register_forward_pre_hook(ask, with_kwargs=True))
            handles.append(module.register_forward_hook(note))
        elif _is_timms(module):
            # Its other way, which fused_attn shuts, ends in a dropout that is handed the weights.
            if module.fused_attn:
                fused.append(module)
            handles.append(module.register_forward_pre_hook(count))
            handles.append(module.get_submodule("attn_drop").register_forward_hook(note_heads))
    for module in fused:
        module.fused_attn = False
    try:
        yield
    finally:
        for module in fused:
            module.fused_attn = True
        for handle in handles:
            handle.remove()


def _is_timms(module: nn.Module) -> bool:
    return hasattr(module, "fused_attn") and isinstance(getattr(module, "attn_drop", None), nn.Module)


def _refuse_others(classifier: ImageClassifier, seen: _Seen) -> None:
    """Windows, channels, classes that attend alone, layers side by side: roll-out would multiply nonsense."""
    if len(classifier.parts) > 1:
        raise _unsuited(classifier, "not all of its trunks have a map, and those stand side by side")
    if not seen.weights:
        raise _unsuited(classifier, "it has no attention layers that petbench can look into")
    shapes = {tuple(layer.shape[1:]) for layer in seen.weights}
    if (
        len(seen.weights) != len(seen.tokens)
        or shapes != {(seen.tokens[0],) * 2}
        or len(set(seen.tokens)) > 1
    ):
        raise _unsuited(classifier, "its layers do not attend to all tokens, one to another")
    blocks = getattr(classifier.trunk, "blocks", None)
    if isinstance(blocks, nn.Module) and len(list(blocks.children())) != len(seen.weights):
        raise _unsuited(classifier, "its attention layers do not follow one another")


def _prefix(trunk: Any) -> int:
    """Tokens before the patches: class, distillation, registers."""
    return int(getattr(trunk, "num_prefix_tokens", _CLASS_TOKEN))


def _pooled(classifier: ImageClassifier, first: int) -> slice:
    """The last layer's tokens that the features are made of."""
    trunk: Any = classifier.trunk
    if hasattr(trunk, "head_dist"):
        return slice(0, 2)  # the distilled networks' class and distillation tokens
    pool = getattr(trunk, "global_pool", "token")
    if pool == "token":
        return slice(0, 1)
    if pool == "avg":
        return slice(0 if getattr(trunk, "pool_include_prefix", False) else first, None)
    raise _unsuited(classifier, f"it pools its tokens by {pool!r}")


def _unsuited(classifier: ImageClassifier, why: str) -> UserError:
    return UserError(
        f"{classifier.backbone} has no spatial feature map for Grad-CAM, and attention roll-out does not "
        f"fit it: {why}",
        where="model.backbone",
        hint="petbench predict shows what it says",
    )


Method = Literal["grad-cam", "attention-rollout"]

METHOD_NAMES: dict[Method, str] = {"grad-cam": "Grad-CAM", "attention-rollout": "attention roll-out"}
"""For people."""


def method_for(classifier: ImageClassifier, image: Tensor) -> Method:
    """Grad-CAM where the network ends in a spatial map (Swin too), roll-out where it ends in tokens (ViT).

    Args:
        image: (1, 3, H, W) float32, any; it is passed through the network to see what comes.
    """
    return "grad-cam" if has_map(classifier, image) else "attention-rollout"


def saliency_maps(classifier: ImageClassifier, images: Tensor, classes: Tensor, method: Method) -> Tensor:
    """(B, h, w) float32, each image scaled to a maximum of 1; roll-out looks at no class.

    Args:
        images: (B, 3, H, W) float32 normalised, on the classifier's device.
        classes: (B,) int64.

    Raises:
        UserError: the network is not suited to the method.
    """
    return (
        grad_cam(classifier, images, classes)
        if method == "grad-cam"
        else attention_rollout(classifier, images)
    )
