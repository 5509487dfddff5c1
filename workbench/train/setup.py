"""What stays the same during a run: data, division, network, device; made once, before the first step."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.dataset import (
    Catalogue,
    Corrected,
    Review,
    Split,
    apply_corrections,
    load_review,
    load_split,
    make_split,
    open_catalogue,
)
from workbench.dataset.catalogue import long_words
from workbench.dataset.depth import scale_words
from workbench.dataset.review import named_review
from workbench.loader import ImageStore, head_boxes, open_store
from workbench.model import ImageClassifier, build, check_network, weights_id
from workbench.recipe import Recipe
from workbench.runs.events import Message, Reporter
from workbench.support.errors import UserError
from workbench.support.spans import Part, spanned
from workbench.train.compiled import check_compiler
from workbench.train.memory import keep_freed_memory
from workbench.train.places import Places as Places
from workbench.train.twice import check_twice_differentiable
from workbench.train.typical import TypicalImages

_KINDS_TOLD = 12
"""Kinds of files passed over that are told when a run begins."""


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
    check_compiler(recipe.training.compile, places.device)
    catalogue = open_catalogue(recipe.data, data_home=places.data_home, reporter=reporter)
    classes = catalogue.classes(recipe.data.target)
    if pinned is not None and pinned.exists():
        catalogue.know_contents(reporter)
        _pinned(pinned, catalogue)
    classifier = build(recipe.model, len(classes), seed=recipe.seed, image_size=recipe.data.image_size)
    weights = weights_id(classifier)[:16] if recipe.model.weights != "none" else ""
    store = None
    if recipe.pseudo_label is not None and recipe.pseudo_label.policy == "representative":
        # The one policy that must look at the images before it divides them.
        store = _placed(classifier, catalogue, recipe, places, reporter)
        typical = TypicalImages(recipe, places, catalogue, classifier, store, reporter)
        split = _pinned(pinned, catalogue) or make_split(catalogue, recipe.data, recipe.pseudo_label, typical)
    else:
        split = make_split(catalogue, recipe.data, recipe.pseudo_label)
    review, corrected = _corrected(recipe, catalogue, split, corrections)
    split = corrected.split
    _check_batch(recipe, split)
    _check_pool(recipe, split)
    _check_heads(recipe, catalogue, split)
    check_twice_differentiable(classifier, recipe)
    _say_passed_over(catalogue, reporter)
    catalogue.know_contents(reporter)
    _say_pixels(catalogue, reporter)
    store = store or _placed(classifier, catalogue, recipe, places, reporter)
    split = _without_unreadable(split, store)
    return Setup(
        recipe=recipe,
        places=places,
        catalogue=catalogue,
        split=split,
        labels=catalogue.labels(recipe.data.target),
        taught=corrected.taught,
        corrected=corrected,
        corrections=review.fingerprint if recipe.data.corrections else "",
        classes=classes,
        classifier=classifier,
        weights=weights,
        store=store,
    )


def _say_passed_over(catalogue: Catalogue, reporter: Reporter) -> None:
    """Say aloud which files of the data set are not used, and why."""
    for image in catalogue.left_out:
        reporter.event(Message("warning", f"left out {image.id}: {image.reason}"))
    for line in catalogue.passed_over[:_KINDS_TOLD]:
        reporter.event(Message("warning", f"passed over {line}"))
    if len(catalogue.passed_over) > _KINDS_TOLD:
        more = len(catalogue.passed_over) - _KINDS_TOLD
        reporter.event(Message("warning", f"passed over {more} more kinds: petbench data check lists them"))


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


def _corrected(
    recipe: Recipe, catalogue: Catalogue, split: Split, pinned: Path | None
) -> tuple[Review, Corrected]:
    """The review that the recipe names, and the split under it."""
    if not recipe.data.corrections:
        return Review(), Corrected(split, catalogue.labels(recipe.data.target))
    path = pinned or named_review(recipe.data.corrections)
    review = load_review(path)
    return review, apply_corrections(review, catalogue, split, recipe.data.target, where=path)


def _without_unreadable(split: Split, store: ImageStore) -> Split:
    """The split less the images that the store could not decode; it has reported them by name."""
    return Split(
        labelled=store.readable(split.labelled),
        unlabelled=store.readable(split.unlabelled),
        validation=store.readable(split.validation),
        test=store.readable(split.test),
    )


def _check_batch(recipe: Recipe, split: Split) -> None:
    if len(split.labelled) < recipe.training.batch_size:
        raise UserError(
            f"{len(split.labelled)} labelled images do not fill one batch of {recipe.training.batch_size}",
            where="training.batch_size",
            allowed=f"1 to {len(split.labelled)}",
            hint="lower training.batch_size, or label more images",
        )


def _check_pool(recipe: Recipe, split: Split) -> None:
    if recipe.pseudo_label is not None and not len(split.unlabelled):
        raise UserError(
            f"all {len(split.labelled)} training images are labelled: none is left to pseudo-label",
            where="[pseudo_label]",
            hint="label fewer, or leave the table out for supervised training",
        )


def _check_heads(recipe: Recipe, catalogue: Catalogue, split: Split) -> None:
    if not recipe.training.saliency_weight or not np.isnan(head_boxes(catalogue, split.labelled)).all():
        return
    raise UserError(
        f"none of the {len(split.labelled)} labelled images has a head box to guide training",
        where="training.saliency_weight",
        allowed="0, or a data set with the XML files of annotations/xmls",
    )
