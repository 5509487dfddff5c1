"""The split: which image trains with its label, which without, which validates, which tests."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.order import shuffled_ranks
from workbench.recipe.data import Data
from workbench.recipe.labels import PseudoLabel
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.fingerprint import fingerprint

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
    where `data.validation` says so; else it is held out of the training part. It does not depend on the label
    policy, and for one seed the labelled images of a smaller share are among those of a larger one. Extra
    images join the labelled part or the pool after all is divided. True labels of the pool decide nothing but
    how many images of a class `stratified` and `per_class` label.

    Args:
        labels: the recipe's [pseudo_label], or None: every training image keeps its label.
        typical: chooses representative images by their features; only that policy calls it.

    Raises:
        UserError: a class without a training image, an empty part, or a label policy that cannot be met.
    """
    own = _divide(catalogue, data, labels, typical)
    if not catalogue.is_extra.any():
        return own
    # They come last in the catalogue, so positions stay ascending.
    return replace(
        own,
        labelled=np.concatenate([own.labelled, catalogue.positions("extra_labelled")]),
        unlabelled=np.concatenate([own.unlabelled, catalogue.positions("extra_unlabelled")]),
    )


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
    else:
        held_out = _validation(catalogue, data, train, truth)
        pool, validation = train[~held_out], train[held_out]
    if labels is None:
        return Split(pool, pool[:0], validation, test)
    if labels.policy == "representative":
        chosen = _representative(labels, pool, len(names), typical)
        return Split(chosen, pool[~np.isin(pool, chosen)], validation, test)
    ranks = shuffled_ranks([catalogue.records[i].id for i in pool], "labels", data.split_seed)
    keeps = _labelled(labels, ranks, truth[pool], names)
    return Split(pool[keeps], pool[~keeps], validation, test)


def _representative(labels: PseudoLabel, pool: Positions, classes: int, typical: Chooser | None) -> Positions:
    """Ascending positions to label: as many in all as the knobs come to, whatever their classes."""
    if labels.labels_per_class is not None:
        count = labels.labels_per_class * classes
    else:
        assert labels.labelled_fraction is not None  # the schema wants one of the two
        count = _rounded(labels.labelled_fraction * len(pool))
    if not 1 <= count <= len(pool):
        raise UserError(
            f"{count} representative images cannot be chosen of {len(pool)}", where="[pseudo_label]"
        )
    if typical is None:
        raise UserError(
            "representative images are chosen by the backbone's features, which are not at hand here",
            where="pseudo_label.representative",
            hint="petbench run computes them, and says how many classes it covers before it trains",
        )
    return np.sort(typical(pool, count))


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
    ranks = shuffled_ranks([catalogue.records[i].id for i in train], "validation", data.split_seed)
    ordered = np.lexsort((ranks, truth[train])) if data.stratified_validation else np.argsort(ranks)
    places = np.empty(len(train), dtype=np.int64)
    places[ordered] = np.arange(len(train))
    if data.folds is not None:
        # Dealing the sorted images out like cards: folds differ by one image at most, also within a class.
        chosen: NDArray[np.bool_] = places % data.folds == (data.fold or 0)
    elif data.stratified_validation:
        chosen = _first_of_each_class(places, truth[train], data.held_out_fraction)
    else:
        chosen = _below(places, _rounded(data.held_out_fraction * len(train)))
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


def _labelled(
    policy: PseudoLabel, ranks: Positions, truth: Positions, names: tuple[str, ...]
) -> NDArray[np.bool_]:
    """(N,) bool: which pool images keep their label, by the policy `random`, `stratified` or `per_class`."""
    counts = np.bincount(truth, minlength=len(names))
    if policy.policy == "random":
        assert policy.labelled_fraction is not None
        count = _rounded(policy.labelled_fraction * len(truth))
        if not count:
            raise UserError(
                f"labelled_fraction = {policy.labelled_fraction:g} of {len(truth)} images is none",
                where="[pseudo_label]",
                allowed=f"at least {_at_least(len(truth))}",
            )
        return _below(ranks, count)
    wanted = (
        _per_class(policy, counts, names) if policy.policy == "per_class" else _shares(policy, counts, names)
    )
    ordered = np.lexsort((ranks, truth))
    within = np.empty(len(truth), dtype=np.int64)
    within[ordered] = np.arange(len(truth)) - (np.cumsum(counts) - counts)[truth[ordered]]
    return _below(within, wanted[truth])


def _per_class(policy: PseudoLabel, counts: Positions, names: tuple[str, ...]) -> Positions:
    wanted = policy.labels_per_class
    assert wanted is not None
    if (counts < wanted).any():
        raise UserError(
            f"labels_per_class = {wanted}, but fewer images to label in {_listed(names, counts < wanted)}",
            where="[pseudo_label]",
            allowed=f"at most {counts.min()} (the validation part is taken out first)",
        )
    return np.full(len(counts), wanted, dtype=np.int64)


def _shares(policy: PseudoLabel, counts: Positions, names: tuple[str, ...]) -> Positions:
    """The same fraction of every class, rounded half up; refused where that is no image at all."""
    fraction = policy.labelled_fraction
    assert fraction is not None
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
    return wanted


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
