"""Which images a person labels next, and why these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from workbench.active.grouping import Groups
from workbench.active.head import Labels, Learner
from workbench.dataset.table import drawing_order
from workbench.labels.journal import NO_CLASSES, Journal
from workbench.labels.protocol import Offer, Offered, OfferedImage, Order
from workbench.labels.strokes import strokes_of
from workbench.support.clean import clean

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_RANDOM_EVERY = 5
"""One offer in so many is drawn at random, for an honest estimate."""
_LEAST_TYPICAL = 12
_WITHOUT_NEWS = 6
"""The typical ones come first for so many strokes at least, and until so many have named no new class."""
_KNOWN_WORTH = 0.05
"""What the label of an image is worth that the model is sure of, as a share of one that it knows nothing of.
Chosen with the class balance below on other draws of breeds than those reported."""


@dataclass(frozen=True, eq=False)
class _Chosen:
    order: Order
    rows: Ints
    why: str


class Queue:
    """Chooses among the images of a folder.

    Args:
        paths: of N images, as the journal has them.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)
        self._rows = {path: row for row, path in enumerate(paths)}
        self._by_chance = np.array([self._rows[path] for path in drawing_order(self.paths)], dtype=np.int64)
        self._offered: list[Ints] = []
        self._misfits: list[tuple[Ints, Ints]] = []
        self._used: set[int] = set()
        self._turns = 0

    def random_sample(self, labels: Labels) -> Ints:
        """(M,) rows of `dataset.table.random_sample`, quickly: images that tell how right the model is."""
        free = labels.free[self._by_chance]
        looked_at = self._by_chance[: int(free.argmax())] if free.any() else self._by_chance
        return looked_at[labels.of[looked_at] >= 0]

    def offer(
        self, request: Offer, journal: Journal, labels: Labels, learner: Learner | None, groups: Groups | None
    ) -> Offered:
        """The next images; never one that is labelled, set aside, or to be skipped.

        Args:
            learner, groups: None while features are computed: chance draws then.
        """
        free = labels.free.copy()
        free[[self._rows[path] for path in request.skip if path in self._rows]] = False
        if learner is None or groups is None:
            chosen = _Chosen(
                "random", self._drawn(free, request.most), "drawn at random while the images are looked at"
            )
        else:
            self._follow_up(labels)
            chosen = self._chosen(request, journal, labels, free, learner, groups)
            if request.group and len(chosen.rows) > 1 and chosen.order != "random":
                self._offered.append(chosen.rows)
        return Offered(
            request.serial,
            chosen.order,
            chosen.why,
            tuple(self._image(row, learner) for row in chosen.rows.tolist()),
            random=chosen.order == "random",
        )

    def _image(self, row: int, learner: Learner | None) -> OfferedImage:
        if learner is None or learner.probabilities is None:
            return OfferedImage(self.paths[row])
        shares = learner.probabilities[row]
        best = int(shares.argmax())
        return OfferedImage(self.paths[row], learner.names[best], round(float(shares[best]), 4))

    def _chosen(
        self,
        request: Offer,
        journal: Journal,
        labels: Labels,
        free: NDArray[np.bool_],
        learner: Learner,
        groups: Groups,
    ) -> _Chosen:
        if not free.any():
            return _Chosen("random", np.empty(0, dtype=np.int64), "every image is labelled or skipped")
        most = max(1, request.most)
        match request.order:
            case "auto":
                return self._next(most, request.group, journal, labels, free, learner, groups)
            case "random":
                return self._random(free, 1 if request.group else most)
            case "typical":
                return self._typical(labels, free, groups, most)
            case "doubtful":
                return self._doubtful(labels, free, learner, groups, most, request.group) or self._typical(
                    labels, free, groups, most
                )
            case "short":
                return self._short(labels, free, learner, most) or self._typical(labels, free, groups, most)
            case "near_mistake":
                return self._near_mistake(labels, free, learner, groups, most) or self._random(free, 1)
            case _:
                assert_never(request.order)

    def _next(
        self,
        most: int,
        group: bool,
        journal: Journal,
        labels: Labels,
        free: NDArray[np.bool_],
        learner: Learner,
        groups: Groups,
    ) -> _Chosen:
        """Random ones in their turn, what did not fit, typical ones, and then what the model doubts."""
        self._turns += 1
        if self._turns % _RANDOM_EVERY == 0:
            return self._random(free, 1 if group else most)
        if (misfits := self._misfit(free, groups, most)) is not None:
            return misfits
        if _classes_still_come(journal):
            return self._typical(labels, free, groups, most)
        return self._doubtful(labels, free, learner, groups, most, group) or self._typical(
            labels, free, groups, most
        )

    def _drawn(self, free: NDArray[np.bool_], count: int) -> Ints:
        return self._by_chance[free[self._by_chance]][:count]

    def _random(self, free: NDArray[np.bool_], count: int) -> _Chosen:
        return _Chosen("random", self._drawn(free, count), "drawn at random, to tell how right the model is")

    def _typical(self, labels: Labels, free: NDArray[np.bool_], groups: Groups, most: int) -> _Chosen:
        number, rows = groups.typical(free, labels.labelled, self._used)
        self._used.add(number)
        return _Chosen("typical", rows[:most], "alike, and unlike what is labelled so far")

    def _follow_up(self, labels: Labels) -> None:
        """See which groups were labelled since, and what of each was left over."""
        waiting = []
        for rows in self._offered:
            fits, left = rows[labels.of[rows] >= 0], rows[labels.free[rows]]
            if not len(fits):
                waiting.append(rows)
            elif len(left):
                self._misfits.append((left, fits))
        self._offered = waiting[-8:]

    def _misfit(self, free: NDArray[np.bool_], groups: Groups, most: int) -> _Chosen | None:
        """What was unticked in a group, the latest first: the model was wrong there, or knew no better."""
        while self._misfits:
            left, fits = self._misfits.pop()
            left = left[free[left]]
            if not len(left):
                continue
            rows = groups.alike(left, fits)[:most]
            rest = np.setdiff1d(left, rows)
            if len(rest):
                self._misfits.append((rest, fits))
            return _Chosen("near_mistake", rows, "did not fit a group before")
        return None

    def _near_mistake(
        self, labels: Labels, free: NDArray[np.bool_], learner: Learner, groups: Groups, most: int
    ) -> _Chosen | None:
        if (misfits := self._misfit(free, groups, most)) is not None:
            return misfits
        if learner.probabilities is None or learner.names != labels.names:
            return None
        rows = labels.labelled
        wrong = rows[learner.probabilities[rows].argmax(axis=1) != labels.of[rows]]
        if not len(wrong):
            return None
        row = int(wrong[0])
        why = f"near one labelled {clean(labels.names[labels.of[row]], 30)} that the model takes for another"
        return _Chosen("near_mistake", groups.nearest(row, free)[:most], why)

    def _short(self, labels: Labels, free: NDArray[np.bool_], learner: Learner, most: int) -> _Chosen | None:
        if learner.probabilities is None or learner.names != labels.names:
            return None
        number = int(labels.counts.argmin())
        rows = np.flatnonzero(free)
        rows = rows[np.argsort(-learner.probabilities[rows, number], kind="stable")][:most]
        count = int(labels.counts[number])
        name, labelled = clean(labels.names[number], 30), f"{count} label{'' if count == 1 else 's'}"
        why = f"{name} has {labelled}: these may be more"
        return _Chosen("short", rows, why)

    def _doubtful(
        self,
        labels: Labels,
        free: NDArray[np.bool_],
        learner: Learner,
        groups: Groups,
        most: int,
        group: bool,
    ) -> _Chosen | None:
        """A group of one guess or a single image: what teaches most a stroke.

        A group costs a stroke and one for each image that does not fit. Its images count by how little the
        model knows of them, times the chance that they fit, more in classes with few labels.
        """
        if learner.probabilities is None or learner.names != labels.names:
            return None
        rows = np.flatnonzero(free)
        shares = learner.probabilities[rows]
        ranked = np.sort(shares, axis=1)
        doubt = 1 - (ranked[:, -1] - ranked[:, -2])
        if not group or most == 1:
            return self._singles(rows, shares, doubt, groups, learner.names, most if not group else 1)
        best, chosen = float(doubt.max()) + _KNOWN_WORTH, rows[[int(doubt.argmax())]]
        guesses, sure = shares.argmax(axis=1), ranked[:, -1]
        scarcity = np.median(labels.counts) / np.maximum(labels.counts, 1)
        for number in np.unique(guesses).tolist():
            own = np.flatnonzero(guesses == number)
            own = own[np.argsort(sure[own], kind="stable")]
            if len(own) < 2:
                continue
            worth = np.concatenate([[0], np.cumsum((doubt[own] + _KNOWN_WORTH) * sure[own])])
            wrong = np.concatenate([[0], np.cumsum(1 - sure[own])])
            first = np.arange(len(own) - 1)
            last = np.minimum(first + most, len(own))
            scores = scarcity[number] * (worth[last] - worth[first]) / (1 + wrong[last] - wrong[first])
            place = int(scores.argmax())
            if scores[place] > best:
                best, chosen = float(scores[place]), rows[own[first[place] : last[place]]]
        if len(chosen) == 1:
            place = int(np.searchsorted(rows, chosen[0]))
            return _Chosen("doubtful", chosen, _between(shares[place], learner.names))
        low, high = (float(value) for value in np.quantile(learner.probabilities[chosen].max(axis=1), (0, 1)))
        name = learner.names[int(learner.probabilities[chosen[0]].argmax())]
        why = f"the model says {clean(name, 30)} of all, {low * 100:.0f} to {high * 100:.0f} % sure"
        return _Chosen("doubtful", chosen, why)

    def _singles(
        self,
        rows: Ints,
        shares: Floats,
        doubt: Floats,
        groups: Groups,
        names: tuple[str, ...],
        most: int,
    ) -> _Chosen:
        """The most doubtful, one of a cluster, so that they differ."""
        order = np.argsort(-doubt, kind="stable")
        _, firsts = np.unique(groups.of[rows[order]], return_index=True)
        picked = order[np.sort(firsts)][:most]
        return _Chosen("doubtful", rows[picked], _between(shares[picked[0]], names))


def _between(shares: Floats, names: tuple[str, ...]) -> str:
    second, first = np.argsort(shares, kind="stable")[-2:]
    told = " or ".join(f"{clean(names[k], 30)} ({shares[k] * 100:.0f} %)" for k in (first, second))
    return f"the model wavers: {told}"


def _classes_still_come(journal: Journal) -> bool:
    """Whether the last strokes named classes that none before had."""
    known: set[str] = set()
    last_new = count = 0
    for count, rows in enumerate(strokes_of(journal), 1):
        named = {row.class_name for row in rows} - NO_CLASSES - known
        if named:
            known |= named
            last_new = count
    return count < _LEAST_TYPICAL or count - last_new < _WITHOUT_NEWS or len(known) < 2
