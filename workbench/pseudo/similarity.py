"""What images are compared by: the trunk's features alone, or beside what the published classifier says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.graph import unit_rows

Features = NDArray[np.float32]
# Softens a classifier that is too sure of its thousand classes. Of 1, 2 and 4 the pool's labels were most
# often right with 2 (EfficientNet-Lite0 on pets, one label a class).
TEMPERATURE = 2.0


def beside_classes(features: Features, weight: Features, bias: Features) -> Features:
    """(N, D + K) float32: each image's features, scaled to length 1, then √softmax((f·Wᵀ + b)/2).

    Both halves have length 1, so a cosine of two rows is the mean of the features' cosine and of the
    Bhattacharyya coefficient (1 − squared Hellinger distance) of the two answers.

    Args:
        features: (N, D) float32 of the trunk.
        weight, bias: (K, D) and (K,) float32 of the classifier that was published with it.
    """
    logits = (features @ weight.T + bias) / TEMPERATURE
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    answers = np.sqrt(powers / powers.sum(axis=1, keepdims=True))
    return np.concatenate([unit_rows(features), answers.astype(np.float32)], axis=1)
