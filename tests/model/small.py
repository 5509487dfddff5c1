"""Small networks, and one training step, for the tests of this room."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from workbench.model import ImageClassifier, build
from workbench.recipe import Model


def random_network(
    backbone: str = "resnet18", classes: int = 5, *, dropout: float = 0.0, stochastic_depth: float = 0.0
) -> ImageClassifier:
    model = Model(backbone=backbone, weights="none", dropout=dropout, stochastic_depth=stochastic_depth)
    return build(model, classes, seed=0)


def images(count: int = 4, side: int = 64, *, seed: int = 0) -> Tensor:
    """(count, 3, side, side) float32, standard normal."""
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def training_step(classifier: ImageClassifier, batch: Tensor) -> None:
    """One plain gradient step with a rate that moves every tensor that has a gradient."""
    optimizer = torch.optim.SGD([p for p in classifier.parameters() if p.requires_grad], lr=0.5)
    targets = torch.arange(len(batch)) % classifier.classes
    torch.autograd.backward(nn.functional.cross_entropy(classifier(batch), targets))
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def snapshot(classifier: ImageClassifier) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in classifier.state_dict().items()}


def changed(classifier: ImageClassifier, before: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that differ from `before`, batch counters apart."""
    after = classifier.state_dict()
    return {n for n, v in after.items() if "num_batches" not in n and not torch.equal(v, before[n])}
