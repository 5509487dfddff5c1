"""What `pseudo_label.similarity` compares images by, for neighbours and class means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.model import ImageClassifier
from workbench.pseudo import beside_classes
from workbench.recipe import PseudoLabel
from workbench.support.clean import clean
from workbench.support.errors import UserError


def compared(
    classifier: ImageClassifier, knobs: PseudoLabel, features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, D) float32 features as they are, or (N, D + K) with what the published classifier makes of them.

    Raises:
        UserError: the backbone came without its published classifier.
    """
    if getattr(knobs, "similarity", "features") == "features":
        return features
    head = classifier.published_head
    if head is None:
        raise UserError(
            f"the weights of {clean(classifier.backbone)} came without their published classifier",
            where="pseudo_label.similarity",
            allowed='"features"',
            hint="torchvision's own weights and efficientnet_lite0, 1 and 2 have theirs",
        )
    return beside_classes(features, head.weight.numpy(), head.bias.numpy())
