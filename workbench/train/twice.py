"""Whether a network can be differentiated twice, as saliency-guided training does: found out by doing it."""

from __future__ import annotations

import torch

from workbench.loader import HeadMasks
from workbench.model import ImageClassifier, tune
from workbench.recipe import Recipe
from workbench.support.errors import UserError
from workbench.train.objectives import Labelled, SaliencyGuided, Supervised

_IMAGES = 2


def check_twice_differentiable(classifier: ImageClassifier, recipe: Recipe) -> None:
    """Refuse saliency guidance for a network that torch cannot take through it; leaves no trace in it.

    Two images of noise go through it in evaluation mode, forwards and backwards twice.

    Raises:
        UserError: a layer's gradient has no gradient of its own (MobileNetV3's hard sigmoid), or it is not
            finite (Swin V2 normalises the zeros that it pads with).
    """
    if not recipe.training.saliency_weight:
        return
    tune(classifier, recipe.finetune)
    side, device = recipe.data.image_size, classifier.linear.weight.device
    images = torch.randn(_IMAGES, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    targets = torch.eye(classifier.classes, device=device)[torch.arange(_IMAGES) % classifier.classes]
    equal = torch.full((_IMAGES,), 1 / _IMAGES, device=device)
    everywhere = torch.ones(_IMAGES, 1, side, side, dtype=torch.bool, device=device)
    batch = Labelled(images, targets, equal, 1.0, HeadMasks(everywhere, equal))
    learning = [parameter for parameter in classifier.parameters() if parameter.requires_grad]
    classifier.eval()
    try:
        loss = SaliencyGuided(Supervised(), 1.0).loss(classifier, batch, None).value
        gradients = torch.autograd.grad(loss, learning, allow_unused=True)
    except RuntimeError as error:  # torch has no narrower class for a derivative that nobody wrote
        if "derivative" not in str(error):
            raise
        raise _refused(classifier, str(error).partition("\n")[0]) from error
    finally:
        classifier.train()
    if not all(bool(gradient.isfinite().all()) for gradient in gradients if gradient is not None):
        raise _refused(classifier, "its second derivative is not finite")


def _refused(classifier: ImageClassifier, why: str) -> UserError:
    return UserError(
        f"{classifier.backbone} cannot be differentiated twice: {why}",
        where="training.saliency_weight",
        allowed="0 with this backbone",
        hint="ResNet, EfficientNet, ConvNeXt, ViT and Swin can",
    )
