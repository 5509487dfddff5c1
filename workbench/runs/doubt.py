"""Which images to look at: the least sure, the wrong ones, a class, a cell, those of two minds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from workbench.runs.image_ids import ImageIds
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import read_ledger_columns
from workbench.runs.opinion_columns import Opinion, OpinionRows
from workbench.runs.opinions import Opinions
from workbench.runs.predictions import SavedPredictions, open_predictions
from workbench.runs.results import Confusion
from workbench.runs.sources import IssueSource, RoundSource, Source, SplitSource
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest


class Doubt(StrEnum):
    """Ways to measure how unsure a model is of an image."""

    CONFIDENCE = "confidence"
    """One less the highest probability."""
    MARGIN = "margin"
    """How close the second choice is."""
    ENTROPY = "entropy"
    """How far the probability is spread over all classes."""
    DISAGREEMENT = "disagreement"
    """How far the teacher's and the student's probabilities are apart."""
    FLIPS = "flips"
    """How often the pseudo-label changed over the rounds."""
    SELF_CONFIDENCE = "self-confidence"
    """How improbable the given label is to models that never saw it; likely mislabelled images first."""
    LABEL_MARGIN = "label-margin"
    """How far another class is ahead of the given label; likely mislabelled images first."""

    @property
    def compares(self) -> bool:
        """Whether it sets several models beside each other, so that `changes.with_changes` is needed."""
        return self in (Doubt.DISAGREEMENT, Doubt.FLIPS)

    @property
    def judges_labels(self) -> bool:
        """Whether it is about given labels, so that the opinions must be out of fold."""
        return self in (Doubt.SELF_CONFIDENCE, Doubt.LABEL_MARGIN)

    @property
    def column(self) -> str:
        """The field of an opinion that it goes by."""
        return self.value.replace("-", "_")

    @property
    def sign(self) -> int:
        """1 where a larger number there is more doubt, else -1."""
        return 1 if self in (Doubt.ENTROPY, Doubt.DISAGREEMENT, Doubt.FLIPS) else -1

    def of(self, opinion: Opinion) -> float | None:
        """Larger for more doubt; None where it is not known."""
        value: float | None = getattr(opinion, self.column)
        return None if value is None else self.sign * value


@dataclass(frozen=True, slots=True)
class Choice:
    """Which opinions to show; every condition must hold."""

    wrong: bool = False
    selected: bool = False
    flipped: bool = False
    class_name: str | None = None
    """True class or what was said."""
    pair: tuple[str, str] | None = None
    """(true class, what was said)."""
    issues: bool = False
    """Only likely label issues: wrong labels, those of which too few labels tell, near-duplicates."""

    def fits(self, rows: OpinionRows) -> NDArray[np.bool_]:
        """(K,) whether each opinion is to be shown."""
        fitting = np.ones(len(rows), dtype=np.bool_)
        if self.wrong:
            fitting &= rows.is_wrong
        if self.selected:
            fitting &= rows.flag("selected")
        if self.flipped:
            fitting &= rows.flag("flipped")
        if self.class_name is not None:
            fitting &= rows.named("true", self.class_name) | rows.named("said", self.class_name)
        if self.pair is not None:
            fitting &= rows.named("true", self.pair[0]) & rows.named("said", self.pair[1])
        if self.issues:
            fitting &= rows.flag("issue") | ~np.isnan(rows.numbers("too_few")) | rows.is_twin
        return fitting


def choose(opinions: Opinions, choice: Choice) -> OpinionRows:
    """The opinions that fit, in their order.

    Raises:
        UserError: the choice names a class that the run does not know.
    """
    for name in (choice.class_name, *(choice.pair or ())):
        if name is not None and name not in opinions.classes:
            close = nearest(name, opinions.classes)
            raise UserError(
                f"no class '{clean(name, 80)}'",
                allowed=[clean(known) for known in opinions.classes],
                hint=f"did you mean {clean(close)}?" if close else "",
            )
    return opinions.rows.where(choice.fits(opinions.rows))


def rank(opinions: Iterable[Opinion], doubt: Doubt, *, surest_first: bool = False) -> OpinionRows:
    """Sorted by doubt, the most doubtful first; ties keep their order; those of unknown doubt come last.

    Flips are few and alike: among equals the least confident come first. Where labels are judged, those that
    are likely wrong come before all others, then those of which too few labels tell.
    """
    rows = OpinionRows.of(opinions)
    sign = 1 if surest_first else -1
    values = doubt.sign * rows.numbers(doubt.column)
    unknown = np.isnan(values)
    keys = [sign * np.where(unknown, 0.0, values), unknown]  # the last counts most
    if doubt is Doubt.FLIPS:
        keys.insert(0, -sign * rows.numbers("confidence"))
    if doubt.judges_labels:
        few = np.where(np.isnan(rows.numbers("too_few")), 2.0, 1.0)
        keys.insert(1, -sign * np.where(rows.flag("issue"), 0.0, few))
    return OpinionRows(rows.columns, rows.places[np.lexsort(keys)])


def known_orders(opinions: Opinions) -> list[Doubt]:
    """The measures that the opinions can be ranked by, the usual one first."""

    def is_told(doubt: Doubt) -> bool:
        return not np.isnan(opinions.rows.numbers(doubt.column)).all()

    if is_told(Doubt.SELF_CONFIDENCE):
        return [doubt for doubt in Doubt if doubt.judges_labels]
    return [doubt for doubt in Doubt if not doubt.judges_labels and (not doubt.compares or is_told(doubt))]


def confused_pairs(opinions: Iterable[Opinion]) -> list[Confusion]:
    """Every pair (true, said) with errors, most errors first, then by name; shares are of the true class."""
    rows = OpinionRows.of(opinions)
    names, count = rows.columns.names, len(rows.columns.names)
    true, said = (column[rows.places].astype(np.int64) for column in (rows.columns.true, rows.columns.said))
    totals = np.bincount(true[true >= 0], minlength=count)
    wrong = rows.is_wrong
    cells, counts = np.unique(true[wrong] * count + said[wrong], return_counts=True)
    pairs = [
        (names[cell // count], names[cell % count], number, number / int(totals[cell // count]))
        for cell, number in zip(cells.tolist(), counts.tolist(), strict=True)
    ]
    return [Confusion(*pair) for pair in sorted(pairs, key=lambda pair: (-pair[2], pair[:2]))]


def with_changes(run: RunDirectory, opinions: Opinions, source: Source) -> Opinions:
    """The same opinions with `disagreement`, and in rounds `flips`, where the run has the files to tell them.

    Raises:
        UserError: one of those files is damaged.
    """
    columns = opinions.rows.columns
    changed = replace(
        columns,
        disagreement=disagreements(run, source, columns.ids),
        flips=flip_counts(run, columns.ids) if isinstance(source, RoundSource) else None,
    )
    return replace(opinions, rows=OpinionRows(changed, opinions.rows.places))


def disagreements(run: RunDirectory, source: Source, ids: ImageIds) -> NDArray[np.float64] | None:
    """(N,) total variation distance, ½ Σ |p − q| in 0 … 1, between two models' probabilities of each image.

    Of a split the teacher's and the final model's. Of a round its own and the last round's, whose teacher is
    the student of all rounds before; of the last round its own and the first's. NaN where one says nothing of
    the image; None where one is missing, and of labelled images.

    Raises:
        UserError: one of the two files is damaged.
    """
    pair: tuple[str, str]
    if isinstance(source, IssueSource):
        return None
    if isinstance(source, SplitSource):
        pair = (source.split, f"teacher-{source.split}")
    else:
        rounds = [number for number, _ in run.ledgers()]
        if len(rounds) < 2:
            return None
        other = rounds[0] if source.round == rounds[-1] else rounds[-1]
        pair = (f"unlabelled-{source.round:02d}", f"unlabelled-{other:02d}")
    try:
        first, second = (open_predictions(run.predictions(name)) for name in pair)
    except FileNotFoundError:
        return None
    return _distances(first, second, ids)


def flip_counts(run: RunDirectory, ids: ImageIds) -> NDArray[np.int32]:
    """(N,) how often each image's pseudo-label changed from one round to the next, over all rounds so far.

    -1 of an image that is in no round.

    Raises:
        UserError: a ledger is damaged.
    """
    counts = np.full(len(ids), -1, dtype=np.int32)
    for _, path in run.ledgers():
        ledger = read_ledger_columns(path, only=frozenset(["flipped"]))
        rows, there = _shared(ids, ledger.ids)
        counts[rows] = np.maximum(counts[rows], 0) + ledger.columns["flipped"][there]
    return counts


def _distances(
    first: SavedPredictions, second: SavedPredictions, ids: ImageIds
) -> NDArray[np.float64] | None:
    """(N,) total variation distances of the images that both have; None where their classes differ."""
    if first.width != second.width:
        return None
    apart = np.full(len(ids), np.nan)
    if first.ids == second.ids == ids:
        for (rows, here), (_, there) in zip(first.blocks(), second.blocks(), strict=True):
            apart[rows] = np.abs(here - there).sum(axis=1) / 2
        return apart
    known, both = _shared(first.ids, second.ids)
    of_first, of_second = first.loaded().probabilities[known], second.loaded().probabilities[both]
    told = np.full(len(first.ids), np.nan)
    told[known] = np.abs(of_first - of_second).sum(axis=1) / 2
    own, others = _shared(ids, first.ids)
    apart[own] = told[others]
    return apart


def _shared(ids: ImageIds, others: ImageIds) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(K,) places of the images that both have, and (K,) where each is in the other."""
    if ids == others:
        return np.arange(len(ids)), np.arange(len(ids))
    there = others.places(ids)
    known = np.flatnonzero(there >= 0)
    return known, there[known]
