"""Where in an image a network sees what it says, by the method that suits the network."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from workbench.model.classifier import ImageClassifier
from workbench.model.grad_cam import grad_cam, has_map
from workbench.model.rollout import attention_rollout

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
