"""What stays the same during a run: data, division, network, device; made once, before the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.dataset import Catalogue, Corrected, Split, load_split
from workbench.dataset.catalogue import long_words
from workbench.dataset.depth import scale_words
from workbench.dataset.run_data import (
    Catalogues,
    RunData,
    any_images,
    divide,
    network_has_a_say,
    readable_split,
)
from workbench.loader import ImageStore, open_store
from workbench.model import ImageClassifier, build, check_batch, check_network, weights_id
from workbench.recipe import Recipe
from workbench.recipe.data import Data
from workbench.recipe.model import is_weights_file
from workbench.runs.events import Message, Reporter
from workbench.support.errors import UserError
from workbench.support.spans import Part, spanned
from workbench.train.compiled import check_compiler
from workbench.train.memory import keep_freed_memory
from workbench.train.places import Places as Places
from workbench.train.twice import check_twice_differentiable
from workbench.train.typical import TypicalImages


@dataclass(frozen=True)
class Setup:
    """A run's fixed parts. `labels` is the truth that scores; training reads `taught` of labelled images."""

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

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.places.device

    @property
    def extra_images(self) -> dict[str, int]:
        """How many images beside the data set train: `extra_labelled` and `extra_unlabelled`, if any do."""
        counts = {
            "extra_labelled": int(self.catalogue.is_extra[self.split.labelled].sum()),
            "extra_unlabelled": int(self.catalogue.is_extra[self.split.unlabelled].sum()),
        }
        return {part: count for part, count in counts.items() if count}


def find_device(name: str) -> torch.device:
    """`auto` (the first GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UserError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"no device {name!r}", where="--device", allowed="auto, cpu, cuda, cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"no device {name!r}: torch sees {torch.cuda.device_count()} GPUs",
            where="--device",
            hint="petbench doctor says what is wrong with the driver",
        )
    return device


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
            _pinned(pinned, catalogue)
        return catalogue

    data = _fit(recipe, places, open_data, corrections)
    catalogue = data.catalogue
    classifier = _build(recipe, catalogue)
    for note in classifier.weights_notes:
        reporter.event(Message("info", note))
    weights = weights_id(classifier)[:16] if recipe.model.weights != "none" else ""
    _say_passed_over(catalogue, reporter)
    catalogue.know_contents(reporter)
    _say_pixels(catalogue, reporter)
    store = _placed(classifier, catalogue, recipe, places, reporter)
    if recipe.pseudo_label is not None and recipe.pseudo_label.policy == "representative":
        # The one policy that must look at the images before it divides them.
        data = divide(
            recipe,
            catalogue,
            typical=TypicalImages(recipe, places, catalogue, classifier, store, reporter),
            pinned=lambda: _pinned(pinned, catalogue),
            corrections=corrections,
        )
    split = readable_split(data.split, catalogue, store.readable, recipe)
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


def _say_passed_over(catalogue: Catalogue, reporter: Reporter) -> None:
    """Say aloud which files of the data set are not used, and why."""
    for line in catalogue.unused():
        reporter.event(Message("warning", line))


def _say_pixels(catalogue: Catalogue, reporter: Reporter) -> None:
    """How images are read that are not read as they are."""
    words = scale_words(content.deep for content in catalogue.contents)
    if long := long_words(record.size for record in catalogue.records):
        words.append(long)
    for text in words:
        reporter.event(Message("info", text))


def _placed(
    classifier: ImageClassifier, catalogue: Catalogue, recipe: Recipe, places: Places, reporter: Reporter
) -> ImageStore:
    """The decoded images, on the run's device if they fit; puts the network there too."""
    store = open_store(catalogue, recipe.data.image_size, cache=places.cache, reporter=reporter)
    classifier.to(places.device).to(memory_format=torch.channels_last)
    return store.to(places.device) if store.fits_on(places.device) else store


def _pinned(path: Path | None, catalogue: Catalogue) -> Split | None:
    """A run's own division, if it has begun: choosing again could differ in the last bits of a feature."""
    return load_split(path, catalogue, exact=True) if path is not None and path.exists() else None


def _say_small_batch(recipe: Recipe, split: Split, reporter: Reporter) -> None:
    wanted, images = recipe.training.batch_size, len(split.labelled)
    if recipe.training.batch_of(images) < wanted:
        text = f"{images} labelled images do not fill a batch of {wanted}: a step takes all of them"
        reporter.event(Message("warning", text))
