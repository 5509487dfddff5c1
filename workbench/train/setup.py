"""What stays the same during a run: data, division, network, device; made once, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workbench.compute import accelerator_of
from workbench.dataset import Catalogue, Corrected, Split, load_split
from workbench.dataset.catalogue import long_words
from workbench.dataset.depth import scale_words
from workbench.dataset.run_data import (
    Catalogues,
    RunData,
    any_images,
    check_label_folds,
    divide,
    network_has_a_say,
    readable_split,
    require_readable,
)
from workbench.dataset.split_file import as_it_was
from workbench.loader import HeadMasks, ImageStore, ViewFormat, open_store
from workbench.loader.views import plain_views
from workbench.model import (
    ImageClassifier,
    TrunkPart,
    build,
    check_batch,
    check_network,
    frozen_copy,
    tune,
    weights_id,
)
from workbench.pseudo import most_typical
from workbench.recipe import Recipe
from workbench.recipe.data import Data
from workbench.recipe.model import is_weights_file
from workbench.recipe.pseudo_label import LABEL_POLICIES
from workbench.runs.events import Message, Reporter
from workbench.support.errors import UserError
from workbench.support.spans import Part, spanned
from workbench.train.compiled import check_compiler
from workbench.train.feature_bank import FeatureBanks, Look, features_of, view_format
from workbench.train.host import keep_freed_memory
from workbench.train.objectives import Labelled, SaliencyGuided, Supervised
from workbench.train.precision import check_precision
from workbench.train.world import ALONE, World

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Places:
    """Where a run finds its data, keeps what can be computed again, and computes."""

    data_home: Path
    cache: Path
    device: torch.device
    world: World = ALONE
    """The processes that train the run together."""


_TRIAL_IMAGES = 2


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
    images = torch.randn(_TRIAL_IMAGES, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device)
    targets = torch.eye(classifier.classes, device=device)[torch.arange(_TRIAL_IMAGES) % classifier.classes]
    equal = torch.full((_TRIAL_IMAGES,), 1 / _TRIAL_IMAGES, device=device)
    everywhere = torch.ones(_TRIAL_IMAGES, 1, side, side, dtype=torch.bool, device=device)
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


class TypicalImages:
    """Chooses the images to label, by float32 features whatever the run computes in: one choice a recipe.

    Args:
        classifier: with its pretrained trunk, on the run's device.
    """

    def __init__(
        self,
        recipe: Recipe,
        places: Places,
        catalogue: Catalogue,
        classifier: ImageClassifier,
        store: ImageStore,
        reporter: Reporter,
    ) -> None:
        self._recipe = recipe
        self._classifier, self._store = classifier, store
        self._form = view_format(recipe, classifier, places.device)
        self._bank = FeatureBanks(
            places.cache,
            catalogue,
            classifier,
            self._form,
            "fp32",
            self._look,
            reporter,
        )

    def __call__(self, pool: Ints, count: int) -> Ints:
        """(count,) int64 positions of the pool; of images that cannot be read none."""
        labels = self._recipe.pseudo_label
        assert labels is not None and labels.representative != "off"  # noqa: PT018
        readable = self._store.readable(pool, _NEED["unlabelled"])
        self._bank.balance(readable)
        features = self._bank.rows(readable).numpy()
        rows = most_typical(features, count, labels.representative, self._recipe.data.split_seed)
        return readable[rows]

    def _look(self, part: TrunkPart, form: ViewFormat) -> Look:
        @cache
        def trunk() -> nn.Module:
            return frozen_copy(self._classifier.trunk.get_submodule(part.path), form.side, "fp32")

        return lambda positions: features_of(plain_views(self._store, positions, form), trunk(), form, "fp32")


PartByNeed = Literal["unlabelled", "test"]
"""The parts that a run does not look at before its first step."""
_FIRST = "decode labelled and validation images"
_NEED: dict[PartByNeed, str] = {"unlabelled": "decode the pool", "test": "decode the test images"}


@dataclass(eq=False)
class Setup:
    """A run's fixed parts. `labels` is the truth that scores; training reads `taught` of labelled images.

    Only `split` ever changes, by `need`: of parts that were not decoded yet it names what cannot be, too.
    """

    recipe: Recipe
    places: Places
    catalogue: Catalogue
    split: Split
    labels: NDArray[np.int64]
    """(N,) int64 true classes by catalogue position; -1 where nobody knows."""
    taught: NDArray[np.int64]
    """(N,) int64 classes as training is told them: `labels` but where a correction says otherwise."""
    corrected: Corrected
    """What the corrections changed, before unreadable images left the split."""
    corrections: str
    """The corrections' fingerprint; "" where the recipe has none."""
    classes: tuple[str, ...]
    classifier: ImageClassifier
    weights: str
    """The fingerprint of the trunk's pretrained weights; "" where it has none."""
    store: ImageStore

    def need(self, *parts: PartByNeed) -> bool:
        """Decode these parts before they are looked at; returns whether the split lost images to that.

        Raises:
            UserError: an image file is gone or changed, or what is left of a part is not enough.
            RunFailed: the disk filled up.
        """
        before = self.split
        for part in parts:
            positions = getattr(self.split, part)
            if len(readable := self.store.readable(positions, _NEED[part])) < len(positions):
                self.split = replace(self.split, **{part: readable})
        if self.split is before:
            return False
        require_readable(before, self.split, self.catalogue, self.recipe)
        return True

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.places.device

    @property
    def world(self) -> World:
        """The processes that train the run together."""
        return self.places.world

    @property
    def own_labelled(self) -> NDArray[np.int64]:
        """(K,) the labelled images of the data set itself, drawn as its others were, without extra ones."""
        labelled = self.split.labelled
        own: NDArray[np.int64] = labelled[~self.catalogue.is_extra[labelled]]
        return own

    @property
    def extra_images(self) -> dict[str, int]:
        """How many images beside the data set train: `extra_labelled` and `extra_unlabelled`, if any do."""
        counts = {
            "extra_labelled": int(self.catalogue.is_extra[self.split.labelled].sum()),
            "extra_unlabelled": int(self.catalogue.is_extra[self.split.unlabelled].sum()),
        }
        return {part: count for part, count in counts.items() if count}


def check(
    recipe: Recipe,
    places: Places,
    reporter: Reporter,
    *,
    open_data: Callable[[Data], Catalogue] | None = None,
) -> RunData:
    """Whether a run of the recipe would begin, found out by what `prepare` does first.

    Headers of all images are read; no image is decoded. Weights are opened where the recipe names a file, but
    none are fetched.

    Args:
        open_data: opens the catalogue, such as for many recipes of the same data.

    Raises:
        UserError: whatever in the recipe does not fit the backbone, this machine or the data.
    """
    check_network(recipe)
    data = _fit(recipe, places, open_data or Catalogues(places.data_home, reporter).open, None)
    if is_weights_file(recipe.model.weights):
        _build(recipe, data.catalogue)
    return data


@spanned(Part.OPENING)
def prepare(
    recipe: Recipe,
    places: Places,
    reporter: Reporter,
    *,
    corrections: Path | None = None,
    pinned: Path | None = None,
) -> Setup:
    """Open the data, divide it, build the network; what is quick to go wrong comes first.

    Args:
        corrections: the review to apply in place of the file that `data.corrections` names, such as a run's
            own copy of it.
        pinned: a run's own split file. If it is there, the data must be as they were then, and a
            representative choice of labels is read from it.

    Raises:
        UserError: whatever in the recipe does not fit the data or the backbone.
    """
    keep_freed_memory()
    check_network(recipe)

    def open_data(named: Data) -> Catalogue:
        catalogue = Catalogues(places.data_home, reporter).open(named)
        if pinned is not None and pinned.exists():
            catalogue.know_contents(reporter)
            catalogue = as_it_was(pinned, catalogue)
            _pinned(pinned, catalogue)
        return catalogue

    data = _fit(recipe, places, open_data, corrections)
    catalogue = data.catalogue
    classifier = _build(recipe, catalogue)
    for note in classifier.weights_notes:
        reporter.event(Message("info", note))
    weights = weights_id(classifier)[:16] if recipe.model.weights != "none" else ""
    _say_what_is_used(recipe, catalogue, reporter)
    catalogue.know_contents(reporter)
    _say_pixels(catalogue, reporter)
    store = _placed(classifier, catalogue, recipe, places, reporter)
    labels = recipe.pseudo_label
    if labels is not None and LABEL_POLICIES[labels.policy].looks_at_images:
        data = divide(
            recipe,
            catalogue,
            typical=TypicalImages(recipe, places, catalogue, classifier, store, reporter),
            pinned=lambda: _pinned(pinned, catalogue),
            corrections=corrections,
        )
    store.fill_heads(data.split.labelled)
    split = readable_split(data.split, catalogue, partial(store.readable, task=_FIRST), recipe)
    check_label_folds(recipe, catalogue, split, data.corrected.taught)
    _say_small_batch(recipe, split, reporter)
    return Setup(
        recipe=recipe,
        places=places,
        catalogue=catalogue,
        split=split,
        labels=catalogue.labels(recipe.data.target),
        taught=data.corrected.taught,
        corrected=data.corrected,
        corrections=data.review.fingerprint if recipe.data.corrections else "",
        classes=catalogue.classes(recipe.data.target),
        classifier=classifier,
        weights=weights,
        store=store,
    )


def _fit(
    recipe: Recipe, places: Places, open_data: Callable[[Data], Catalogue], corrections: Path | None
) -> RunData:
    """All of data and machine that may speak against a run and is quick to find out. Raises: UserError."""
    check_precision(recipe.training.precision, places.device)
    data = divide(recipe, open_data(recipe.data), typical=any_images, corrections=corrections)
    labelled = len(data.split.labelled)
    if network_has_a_say(recipe, labelled):
        check_compiler(recipe.training.compile, places.device)
        check_batch(recipe, labelled)
        if recipe.training.saliency_weight:
            untrained = recipe.model.model_copy(update={"weights": "none"})
            network = _build(recipe.model_copy(update={"model": untrained}), data.catalogue)
            check_twice_differentiable(network, recipe)
    return data


def _build(recipe: Recipe, catalogue: Catalogue) -> ImageClassifier:
    classes = len(catalogue.classes(recipe.data.target))
    return build(recipe.model, classes, seed=recipe.seed, image_size=recipe.data.image_size)


def _say_what_is_used(recipe: Recipe, catalogue: Catalogue, reporter: Reporter) -> None:
    """Say aloud how the data set was understood, and which of its files are not used and why."""
    for line in catalogue.understood:
        reporter.event(Message("info", line))
    if recipe.pseudo_label is None and (pool := len(catalogue.positions("unlabelled"))):
        text = f"{pool:,} images have no label and are not used: [pseudo_label] would learn from them"
        reporter.event(Message("info", text))
    for line in catalogue.unused():
        reporter.event(Message("warning", line))


def _say_pixels(catalogue: Catalogue, reporter: Reporter) -> None:
    """How images are read that are not read as they are."""
    words = scale_words(catalogue.contents.deep.values())
    if long := long_words(catalogue.columns.long_sizes):
        words.append(long)
    for text in words:
        reporter.event(Message("info", text))


def _placed(
    classifier: ImageClassifier, catalogue: Catalogue, recipe: Recipe, places: Places, reporter: Reporter
) -> ImageStore:
    """The decoded images, on the run's device if they fit; puts the network there too."""
    data = recipe.data
    store = open_store(
        catalogue,
        data.image_size,
        cache=places.cache,
        reporter=reporter,
        scale=data.store_scale,
        with_heads=data.head_crops != "off",
        # A device's own copy is made of all at once.
        by_need=not accelerator_of(places.device).has_own_memory,
    )
    classifier.to(places.device).to(memory_format=torch.channels_last)
    return store.near(places.device, reporter)


def _pinned(path: Path | None, catalogue: Catalogue) -> Split | None:
    """A run's own division, if it has begun: choosing again could differ in the last bits of a feature."""
    return load_split(path, catalogue, exact=True) if path is not None and path.exists() else None


def _say_small_batch(recipe: Recipe, split: Split, reporter: Reporter) -> None:
    wanted, images = recipe.training.batch_size, len(split.labelled)
    if recipe.training.batch_of(images) < wanted:
        text = f"{images} labelled images do not fill a batch of {wanted}: a step takes all of them"
        reporter.event(Message("warning", text))
