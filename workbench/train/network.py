"""The network as stages use it: features, probabilities, weights that change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.compute import Dtype, fetched
from workbench.loader import Samples, prepared
from workbench.model import ImageClassifier, Tuning, find_cut, frozen_copy, put_back, tune
from workbench.recipe import Augmentation
from workbench.runs.events import Reporter
from workbench.train.compiled import compiled
from workbench.train.feature_bank import INFERENCE_BATCH, features_of
from workbench.train.host import seed_device
from workbench.train.inference import (
    KeptMaps,
    Prefix,
    TrunkFeatures,
    balance_trunks,
    form_of,
    image_batches,
    maps_of,
    plain_images,
    shares_by_head,
    shares_of,
)
from workbench.train.memory import Passes
from workbench.train.near_rows import NeighbourSearch
from workbench.train.precision import Precision
from workbench.train.setup import Setup
from workbench.train.state import Weights

Ints = NDArray[np.int64]


class Network:
    """A classifier with its data: how training and evaluation look at images.

    Args:
        setup: the run's fixed parts.
        precision: the arithmetic to use.
        is_trained: the classifier is a finished run's, whose several trunks have their scales.
    """

    def __init__(
        self, setup: Setup, precision: Precision, reporter: Reporter, *, is_trained: bool = False
    ) -> None:
        if not is_trained:
            balance_trunks(setup, precision, reporter)
        self.setup = setup
        self.classifier = setup.classifier
        self.precision = precision
        self.reporter = reporter
        self._initial = clone_weights(setup.classifier.state_dict())
        self.tuning = tune(setup.classifier, setup.recipe.finetune)
        self._changing = changing_weights(setup.classifier, self.tuning).keys()
        self._frozen: nn.Module | None = None
        self.pretrained = TrunkFeatures(setup, precision, reporter, self._frozen_trunk)
        self._form = form_of(setup)
        self._cut = find_cut(setup.classifier, self.tuning)
        self._kept_maps = KeptMaps(setup.device)
        size = self._form.images_a_pass(INFERENCE_BATCH)
        self._passes = Passes(size, setup.device, reporter, self._kept_maps.forget)
        self.neighbours = NeighbourSearch(setup.device)

    @cached_property
    def prefix(self) -> Prefix | None:
        """The groups that no stage of the run changes, for inference; None: the network cannot be cut."""
        return self._prefix(self.precision.inference)

    @cached_property
    def training_prefix(self) -> Prefix | None:
        """The same groups in the arithmetic of training, so that steps see what the whole network would."""
        if self.precision.training == self.precision.inference:
            return self.prefix
        return self._prefix(self.precision.training)

    def _prefix(self, dtype: Dtype) -> Prefix | None:
        if self._cut is None:
            return None
        size = self.setup.recipe.data.image_size
        return Prefix(self._cut, self.classifier, size, dtype, self.setup.device)

    @cached_property
    def compiled(self) -> nn.Module:
        """The classifier's compiled twin; one for all stages, so that none compiles what another has."""
        return compiled(self.classifier)

    def reset(self) -> None:
        """Back to the pretrained weights and the first head."""
        put_back(self.classifier, self._initial)

    def weights(self) -> Weights:
        """A copy on the CPU of every state-dict entry that the run may change."""
        state = self.classifier.state_dict()
        return clone_weights({name: state[name] for name in self._changing})

    def load(self, weights: Weights) -> None:
        """Put back entries that training changed; the others stay."""
        put_back(self.classifier, weights, strict=False)

    def sample_maps(self, samples: Samples, augmentation: Augmentation) -> Tensor | None:
        """(K, C, h, w) what the prefix makes of every sample's fixed view; None: too large to keep."""
        if self.training_prefix is None:
            return None
        passes = Passes(INFERENCE_BATCH, self.setup.device, self.reporter, self._kept_maps.forget)
        return passes.within(partial(self._maps, self.training_prefix, samples, augmentation), len(samples))

    def _maps(
        self, prefix: Prefix, samples: Samples, augmentation: Augmentation, images_a_pass: int
    ) -> Tensor | None:
        batches = image_batches(self.setup, samples, augmentation, images_a_pass).in_order()
        return maps_of(prefix, prepared(batches, self.setup.device), len(samples))

    def _above_prefix(self, inputs: Tensor) -> Tensor:
        """(V·B, D) features, by the trunk as it now is, of what `_evaluation` yields."""
        if self._cut is None:
            return self.classifier.features(inputs)
        return self._cut.features(self.classifier, inputs)

    def _frozen_trunk(self) -> nn.Module:
        """The pretrained trunk for inference, whatever the run's own has learned meanwhile."""
        if self._frozen is None:
            learned = clone_weights(self.classifier.state_dict())
            self.reset()
            size = self.setup.recipe.data.image_size
            self._frozen = frozen_copy(self.classifier.trunk, size, self.precision.inference)
            self.load(learned)
        return self._frozen

    def _evaluation(self, positions: Ints, images_a_pass: int) -> Iterator[tuple[Tensor, Ints]]:
        """Plain views of `positions` in their order: what the prefix makes of them, else the images."""
        images = prepared(plain_images(self.setup, positions, images_a_pass), self.setup.device)
        if self.prefix is None:
            return images
        prefix = self.prefix
        return self._kept_maps.batches(positions, ((prefix.maps(views), batch) for views, batch in images))

    def features(self, positions: Ints, *, trunk_fixed: bool, task: str) -> Tensor:
        """(K, D) float32 features of plain views on the CPU, by the trunk as it now is."""
        if trunk_fixed:
            return self.pretrained.on_host(positions)
        self.classifier.eval()
        own = self._own(positions)
        found = torch.zeros(0, self.classifier.linear.in_features)
        if len(own):
            found = self._passes.within(partial(self._features, own, task), len(own))
        return torch.from_numpy(self.setup.world.join(found.numpy()))

    def _own(self, positions: Ints) -> Ints:
        """Which of these images this process looks at, in the very passes that one alone would take."""
        return positions[self.setup.world.share(len(positions), self._form.images_a_pass(INFERENCE_BATCH))]

    def _features(self, positions: Ints, task: str, images_a_pass: int) -> Tensor:
        def look(inputs: Tensor) -> Tensor:
            return features_of(inputs, self._above_prefix, self._form, self.precision.inference)

        return self._looked(positions, look, task, images_a_pass)

    def _looked(
        self, positions: Ints, look: Callable[[Tensor], Tensor], task: str, images_a_pass: int
    ) -> Tensor:
        """(K, …) on the CPU, what `look` makes of what `_evaluation` yields, batch by batch."""
        seen = ((look(inputs), batch) for inputs, batch in self._evaluation(positions, images_a_pass))
        found, done = torch.empty(0), 0
        for rows, batch in fetched(seen, self.setup.device):
            if not done:
                found = torch.empty(len(positions), *rows.shape[1:])
            found[done : done + len(batch)] = rows
            done += len(batch)
            self.reporter.progress(task, done, len(positions))
        return found

    @torch.inference_mode()
    def noisy_logits(self, features: Tensor, passes: int, *, dropout: float, seed: int) -> Tensor:
        """(P, K, C) float32 logits on the CPU of the head with dropout on, drawn from `seed`.

        The head's own dropout rate is put back afterwards.
        """
        head: Any = self.classifier.head
        layer = head.get_submodule("dropout")
        before, layer.p = layer.p, dropout
        seed_device(seed, self.setup.device)
        inputs = features.to(self.setup.device)
        try:
            head.train()
            drawn = ((head(inputs).float(), number) for number in range(passes))
            return torch.stack([logits for logits, _ in fetched(drawn, self.setup.device)])
        finally:
            layer.p = before
            head.eval()

    def evaluated(self, module: nn.Module, *, trunk_fixed: bool) -> nn.Module:
        """The part of `module` to evaluate: the head alone, on the bank's features, if the trunk is fixed."""
        return module.head if trunk_fixed and isinstance(module, ImageClassifier) else module

    def probabilities(self, positions: Ints, module: nn.Module, *, task: str) -> NDArray[np.float32]:
        """(K, C) float32 softmax outputs on plain views, un-noised: dropout off, statistics fixed.

        Args:
            module: the classifier (or its average), or a head alone, which then gets the bank's features.
        """
        module.eval()
        if isinstance(module, ImageClassifier):
            logits = module if self._cut is None else partial(self._cut.logits, module)
            own = self._own(positions)
            found = np.zeros((0, module.classes), dtype=np.float32)
            if len(own):
                found = self._passes.within(partial(self._shares, own, logits, task), len(own))
            return self.setup.world.join(found)
        blocks = self.pretrained.blocks(positions)
        parts = [shares_by_head(features, module).cpu().numpy() for features in blocks]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _shares(
        self, positions: Ints, logits: Callable[[Tensor], Tensor], task: str, images_a_pass: int
    ) -> NDArray[np.float32]:
        def look(inputs: Tensor) -> Tensor:
            return shares_of(inputs, logits, self._form, self.precision.inference)

        return self._looked(positions, look, task, images_a_pass).numpy()


def changing_weights(classifier: ImageClassifier, tuning: Tuning) -> Weights:
    """References to the state-dict entries of every group in which anything may change while training."""
    changing = [
        group
        for group, facts in zip(classifier.groups, tuning.groups, strict=True)
        if facts.learns or facts.batch_norm_learns or facts.layer_norm_learns or facts.statistics_update
    ]
    return {
        name: tensor
        for name, tensor in classifier.state_dict().items()
        if any(group.holds(name) for group in changing)
    }


def clone_weights(weights: Weights) -> Weights:
    """A copy on the CPU that later training does not touch."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in weights.items()}
