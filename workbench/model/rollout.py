"""Attention roll-out: through which patches of an image a transformer's last tokens have their content."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from workbench.model.classifier import ImageClassifier
from workbench.model.grad_cam import evaluating
from workbench.support.errors import UserError

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
