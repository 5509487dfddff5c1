"""The split: which image trains with its label, which without, which validates, which tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue, shuffled_ranks
from workbench.dataset.groups import group_folds, held_out_groups
from workbench.recipe.data import Data
from workbench.recipe.pseudo_label import PseudoLabel
from workbench.support.clean import clean
from workbench.support.digests import fingerprint
from workbench.support.errors import UserError

Positions = NDArray[np.int64]
# (pool, how many) -> the positions of the pool to label
Chooser = Callable[[Positions, int], Positions]


@dataclass(frozen=True)
class Split:
    """A division of a catalogue: four disjoint (K,) int64 arrays of ascending positions.

    Labels of `unlabelled` are hidden from training; they score pseudo-labels and nothing else.
    """

    labelled: Positions
    unlabelled: Positions
    validation: Positions
    test: Positions

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal divisions, whatever made them."""
        parts = (self.labelled, self.unlabelled, self.validation, self.test)
        return fingerprint([part.tolist() for part in parts])


def make_split(
    catalogue: Catalogue, data: Data, labels: PseudoLabel | None, typical: Chooser | None = None
) -> Split:
    """Divide a catalogue as a recipe says; every choice follows from `data.split_seed` and the image ids.

    The test part is the data set's own (or what `open_catalogue` held out), and so is the validation part
    where `data.validation` says so; else it is held out of the training part, groups whole. It does not
    depend on the label policy, and for one seed the labelled images of a smaller share are among those of a
    larger one. Images that nobody has labelled join the pool, but for those of groups that validate or test,
    and extra images the labelled part or the pool, after all is divided. True labels of the pool decide
    nothing but how many images of a class `stratified` and `per_class` label.

    Args:
        labels: the recipe's [pseudo_label], or None: every training image keeps its label.
        typical: chooses representative images by their features; only that policy calls it.

    Raises:
        UserError: a class without a training image, an empty part, or a label policy that cannot be met.
    """
    own = _divide(catalogue, data, labels, typical)
    if labels is not None:
        own = _with_pool(own, catalogue)
    if not catalogue.is_extra.any():
        return own
    # They come last in the catalogue, so positions stay ascending.
    return replace(
        own,
        labelled=np.concatenate([own.labelled, catalogue.positions("extra_labelled")]),
        unlabelled=np.concatenate([own.unlabelled, catalogue.positions("extra_unlabelled")]),
    )


def _with_pool(split: Split, catalogue: Catalogue) -> Split:
    """With the data set's own unlabelled images in the pool."""
    pool = catalogue.positions("unlabelled")
    if catalogue.groups is not None:
        measuring = catalogue.groups[np.concatenate([split.validation, split.test])]
        pool = pool[~np.isin(catalogue.groups[pool], measuring)]
    return replace(split, unlabelled=np.sort(np.concatenate([split.unlabelled, pool])))


def _divide(catalogue: Catalogue, data: Data, labels: PseudoLabel | None, typical: Chooser | None) -> Split:
    """The division of the data set's own images."""
    train = catalogue.positions("train")
    truth = catalogue.labels(data.target)
    names = catalogue.classes(data.target)
    test = catalogue.positions("test")
    _check_parts(train, test, truth, names)
    if data.validation == "own":
        pool, validation = train, catalogue.positions("validation")
        if not len(validation):
            raise UserError("the folder's own validation part has no image", where="data.validation")
    elif data.label_folds is not None:
        pool, validation = train, train[:0]
    else:
        held_out = _validation(catalogue, data, train, truth)
        pool, validation = train[~held_out], train[held_out]
    if labels is None:
        return Split(pool, pool[:0], validation, test)
    ranks = shuffled_ranks([catalogue.ids[i] for i in pool], "labels", data.split_seed)
    keeps = _KEEPS[labels.policy](Choice(labels, pool, ranks, truth[pool], names, typical))
    return Split(pool[keeps], pool[~keeps], validation, test)


def label_folds(catalogue: Catalogue, labelled: Positions, taught: Positions, data: Data) -> Positions:
    """(L,) int64: which of `data.label_folds` judges each labelled image.

    Folds share a class to within one image, or where groups must stay whole as evenly as these allow.

    Args:
        labelled: (L,) positions.
        taught: (L,) their classes.
    """
    assert data.label_folds is not None  # whoever asks has looked
    ids = [catalogue.ids[position] for position in labelled.tolist()]
    ranks = shuffled_ranks(ids, "label folds", data.split_seed)
    groups = None if catalogue.groups is None else catalogue.groups[labelled]
    return even_folds(taught, ranks, data.label_folds, groups)


def even_folds(classes: Positions, ranks: Positions, folds: int, groups: Positions | None) -> Positions:
    """(N,) int64 in [0, folds): a class is shared to within one image, or as evenly as whole groups allow.

    Args:
        classes: (N,) from 0.
        ranks: (N,) the place of each image in a drawn order.
        groups: (N,) equal for images of one group; None where there are none.
    """
    if groups is not None:
        return group_folds(groups, classes, ranks, folds)
    places = np.empty(len(classes), dtype=np.int64)
    places[np.lexsort((ranks, classes))] = np.arange(len(classes))
    dealt: Positions = places % folds
    return dealt


def without_fold(catalogue: Catalogue, split: Split, held: Positions) -> Split:
    """The split less the labelled images that a fold judges, and less what belongs to their groups.

    Args:
        held: (K,) positions of labelled images.
    """
    unlabelled = split.unlabelled
    if catalogue.groups is not None:
        unlabelled = unlabelled[~np.isin(catalogue.groups[unlabelled], catalogue.groups[held])]
    return replace(split, labelled=np.setdiff1d(split.labelled, held), unlabelled=unlabelled)


def _check_parts(train: Positions, test: Positions, truth: Positions, names: tuple[str, ...]) -> None:
    if not len(test):
        raise UserError("the data set has no test image", hint="petbench data check tells what is there")
    counts = np.bincount(truth[train], minlength=len(names))
    if not counts.all():
        raise UserError(
            f"classes without a training image: {_listed(names, counts == 0)}",
            hint="petbench data check tells what is there",
        )


def _validation(catalogue: Catalogue, data: Data, train: Positions, truth: Positions) -> NDArray[np.bool_]:
    """(len(train),) bool: which training images validate.

    Stratified: every class gives its share, to within one image, and the sum is right to within one too.
    """
    ranks = shuffled_ranks([catalogue.ids[i] for i in train], "validation", data.split_seed)
    if catalogue.groups is not None:
        chosen = _whole_groups(catalogue.groups[train], truth[train], ranks, data)
        return _checked(chosen, train, truth, data)
    ordered = np.lexsort((ranks, truth[train])) if data.stratified_validation else np.argsort(ranks)
    places = np.empty(len(train), dtype=np.int64)
    places[ordered] = np.arange(len(train))
    if data.folds is not None:
        # Dealing the sorted images out like cards: folds differ by one image at most, also within a class.
        chosen = places % data.folds == (data.fold or 0)
    elif data.stratified_validation:
        chosen = _first_of_each_class(places, truth[train], data.held_out_fraction(len(train)))
    else:
        chosen = _below(places, _rounded(data.held_out_fraction(len(train)) * len(train)))
    return _checked(chosen, train, truth, data)


def _whole_groups(groups: Positions, classes: Positions, ranks: Positions, data: Data) -> NDArray[np.bool_]:
    """(N,) bool: which of the training images validate, where groups must stay whole."""
    if not data.stratified_validation:
        classes = np.zeros_like(classes)
    if data.folds is not None:
        is_fold: NDArray[np.bool_] = group_folds(groups, classes, ranks, data.folds) == (data.fold or 0)
        return is_fold
    counts = np.bincount(classes)
    wanted = np.floor(data.held_out_fraction(len(classes)) * counts + 0.5).astype(np.int64)
    return held_out_groups(groups, classes, ranks, np.minimum(wanted, np.maximum(counts - 1, 0)))


def _checked(chosen: NDArray[np.bool_], train: Positions, truth: Positions, data: Data) -> NDArray[np.bool_]:
    """The choice of validation images, if it leaves images on both sides. Raises: UserError."""
    if data.validation_images is not None and data.validation_images >= len(train):
        raise UserError(
            f"validation_images = {data.validation_images} leaves none of {len(train)} training images",
            where="data.validation_images",
            allowed=f"at most {len(train) - len(set(truth[train].tolist()))}, so that each class keeps one",
        )
    if not chosen.any() or chosen.all():
        what = "no image to validate on" if chosen.all() == chosen.any() else "no image to train on"
        raise UserError(f"{len(train)} training images leave {what}", where="[data]")
    return chosen


def _first_of_each_class(places: Positions, classes: Positions, fraction: float) -> NDArray[np.bool_]:
    """(N,) bool, true for the first `fraction` of each class by place; never for the whole of a class.

    `places` count through the classes one after the other. The shares are rounded where they add up, at each
    class's end, so that 37 roundings do not sum to a different share of the whole.
    """
    counts = np.bincount(classes)
    ends = np.cumsum(counts)
    until = np.floor(fraction * ends + 0.5).astype(np.int64)
    take = np.minimum(np.diff(until, prepend=0), np.maximum(counts - 1, 0))
    within = places - (ends - counts)[classes]
    return _below(within, take[classes])


@dataclass(frozen=True, slots=True)
class Choice:
    """What a label policy chooses from: the training images that are not held out."""

    labels: PseudoLabel
    pool: Positions
    """(N,) positions."""
    ranks: Positions
    """(N,) their places in a shuffle that hangs on the seed and their ids alone."""
    truth: Positions
    """(N,) their classes: only how many images of a class are labelled may hang on them."""
    names: tuple[str, ...]
    typical: Chooser | None
    """Chooses by features; None where nobody can."""

    def of_each_class(self, wanted: Positions) -> NDArray[np.bool_]:
        """(N,) bool: of class c the first `wanted[c]` of the shuffle."""
        ordered = np.lexsort((self.ranks, self.truth))
        counts = np.bincount(self.truth, minlength=len(self.names))
        within = np.empty(len(self.truth), dtype=np.int64)
        within[ordered] = np.arange(len(self.truth)) - (np.cumsum(counts) - counts)[self.truth[ordered]]
        return _below(within, wanted[self.truth])


Keeps = Callable[[Choice], NDArray[np.bool_]]
"""(N,) bool: which images keep their label. Raises UserError where the knobs cannot be met."""
_KEEPS: dict[str, Keeps] = {}


def keeps_labels(policy: str) -> Callable[[Keeps], Keeps]:
    """Register the decorated function as what a label policy of `recipe.label_policies` does."""

    def register(keeps: Keeps) -> Keeps:
        _KEEPS[policy] = keeps
        return keeps

    return register


@keeps_labels("all")
def _all(choice: Choice) -> NDArray[np.bool_]:
    return np.ones(len(choice.pool), dtype=np.bool_)


@keeps_labels("random")
def _random(choice: Choice) -> NDArray[np.bool_]:
    fraction, images = choice.labels.labelled_fraction, len(choice.pool)
    assert fraction is not None  # which the policy goes by
    count = _rounded(fraction * images)
    if not count:
        raise UserError(
            f"labelled_fraction = {fraction:g} of {images} images is none",
            where="[pseudo_label]",
            allowed=f"at least {_at_least(images)}",
        )
    return _below(choice.ranks, count)


@keeps_labels("per_class")
def _per_class(choice: Choice) -> NDArray[np.bool_]:
    wanted, names = choice.labels.labels_per_class, choice.names
    assert wanted is not None  # which the policy goes by
    counts = np.bincount(choice.truth, minlength=len(names))
    if (counts < wanted).any():
        raise UserError(
            f"labels_per_class = {wanted}, but fewer images to label in {_listed(names, counts < wanted)}",
            where="[pseudo_label]",
            allowed=f"at most {counts.min()} (the validation part is taken out first)",
        )
    return choice.of_each_class(np.full(len(counts), wanted, dtype=np.int64))


@keeps_labels("stratified")
def _stratified(choice: Choice) -> NDArray[np.bool_]:
    """The same fraction of every class, rounded half up; refused where that is no image at all."""
    fraction, names = choice.labels.labelled_fraction, choice.names
    assert fraction is not None  # which the policy goes by
    counts = np.bincount(choice.truth, minlength=len(names))
    wanted: Positions = np.floor(fraction * counts + 0.5).astype(np.int64)
    if not wanted.all():
        smallest = int(counts.min())
        enough = f"at least {_at_least(smallest)}, or labels_per_class" if smallest else ""
        raise UserError(
            f"labelled_fraction = {fraction:g} leaves classes without a label: {_listed(names, wanted == 0)}",
            where="[pseudo_label]",
            allowed=enough,
            hint="stratified = false draws without regard to classes, as the paper does",
        )
    return choice.of_each_class(wanted)


@keeps_labels("representative")
def _representative(choice: Choice) -> NDArray[np.bool_]:
    """As many in all as the knobs come to, whatever their classes."""
    labels, images = choice.labels, len(choice.pool)
    if labels.labels_per_class is not None:
        count = labels.labels_per_class * len(choice.names)
    else:
        assert labels.labelled_fraction is not None  # the schema wants one of the two
        count = _rounded(labels.labelled_fraction * images)
    if not 1 <= count <= images:
        raise UserError(f"{count} representative images cannot be chosen of {images}", where="[pseudo_label]")
    if choice.typical is None:
        raise UserError(
            "representative images are chosen by the backbone's features, which are not at hand here",
            where="pseudo_label.representative",
            hint="petbench run computes them, and says how many classes it covers before it trains",
        )
    return np.isin(choice.pool, choice.typical(choice.pool, count))


def _below(values: Positions, limit: Positions | int) -> NDArray[np.bool_]:
    below: NDArray[np.bool_] = values < limit
    return below


def _rounded(value: float) -> int:
    return math.floor(value + 0.5)


def _at_least(images: int) -> str:
    """The smallest fraction, in four places, of which so many images give one."""
    return f"{math.ceil(5000 / images) / 10000:g}"


def _listed(names: tuple[str, ...], where: NDArray[np.bool_], most: int = 5) -> str:
    chosen = [clean(names[i]) for i in np.flatnonzero(where)]
    rest = f" and {len(chosen) - most} more" if len(chosen) > most else ""
    return ", ".join(chosen[:most]) + rest


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Images of a class (or of all images together, those of unknown class too) in each part."""

    name: str
    labelled: int
    unlabelled: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class SplitSummary:
    """Counts of a split."""

    classes: tuple[ClassCounts, ...]
    total: ClassCounts
    covered: int
    """Classes that have a labelled image."""
    ceiling: float
    """Share of the test images whose class has a labelled image: no model can name a class it never saw."""
    extra_labelled: int = 0
    """Of the labelled images those that are not the data set's own."""
    extra_unlabelled: int = 0
    """Likewise of the pool."""

    @property
    def labelled_words(self) -> str:
        """The labelled images, extra ones apart: `294`, `294 + 60 extra`."""
        return counted_apart(self.total.labelled, self.extra_labelled)

    @property
    def unlabelled_words(self) -> str:
        """The pool likewise."""
        return counted_apart(self.total.unlabelled, self.extra_unlabelled)


def counted_apart(images: int, extra: int) -> str:
    """`294` images of which none is extra; `294 + 60 extra` of 354."""
    return f"{images - extra:,} + {extra:,} extra" if extra else f"{images:,}"


def split_summary(
    catalogue: Catalogue,
    split: Split,
    target: Literal["breed", "species"],
    taught: Positions | None = None,
) -> SplitSummary:
    """Count a split's images by class.

    Args:
        taught: (N,) int64 classes by catalogue position that training is told, by which the labelled images
            count (`Corrected.taught`); None: their true ones.
    """
    truth, names = catalogue.labels(target), catalogue.classes(target)

    def count(labels: Positions, positions: Positions) -> Positions:
        known = labels[positions]
        return np.bincount(known[known >= 0], minlength=len(names))

    positions = (split.labelled, split.unlabelled, split.validation, split.test)
    parts = [count(truth if taught is None else taught, split.labelled)]
    parts += [count(truth, part) for part in positions[1:]]
    labelled, test = parts[0], parts[3]
    rows = zip(names, *(part.tolist() for part in parts), strict=True)
    return SplitSummary(
        classes=tuple(ClassCounts(*row) for row in rows),
        total=ClassCounts("all", *map(len, positions)),
        covered=int((labelled > 0).sum()),
        ceiling=float(test[labelled > 0].sum() / max(1, test.sum())),
        extra_labelled=int(catalogue.is_extra[split.labelled].sum()),
        extra_unlabelled=int(catalogue.is_extra[split.unlabelled].sum()),
    )
