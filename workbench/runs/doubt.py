"""Which images to look at: the least sure, the wrong ones, a class, a cell, those of two minds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import read_ledger
from workbench.runs.opinions import Opinion, Opinions, class_names
from workbench.runs.predictions import Predictions, load_predictions
from workbench.runs.results import Confusion, read_results
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

    def of(self, opinion: Opinion) -> float | None:
        """Larger for more doubt; None where it is not known."""
        match self:
            case Doubt.CONFIDENCE:
                return -opinion.confidence
            case Doubt.MARGIN:
                return -opinion.margin
            case Doubt.ENTROPY:
                return opinion.entropy
            case Doubt.DISAGREEMENT:
                return opinion.disagreement
            case Doubt.FLIPS:
                return opinion.flips
            case Doubt.SELF_CONFIDENCE:
                return None if opinion.self_confidence is None else -opinion.self_confidence
            case Doubt.LABEL_MARGIN:
                return None if opinion.label_margin is None else -opinion.label_margin


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

    def fits(self, opinion: Opinion) -> bool:
        """Whether the opinion is to be shown."""
        return bool(
            (not self.wrong or opinion.wrong is True)
            and (not self.selected or opinion.selected is True)
            and (not self.flipped or opinion.flipped is True)
            and self.class_name in (None, opinion.true, opinion.said)
            and self.pair in (None, (opinion.true, opinion.said))
            and (not self.issues or opinion.issue or opinion.too_few or opinion.twin is not None)
        )


def choose(opinions: Opinions, choice: Choice) -> list[Opinion]:
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
    return [opinion for opinion in opinions.rows if choice.fits(opinion)]


def rank(opinions: Iterable[Opinion], doubt: Doubt, *, surest_first: bool = False) -> list[Opinion]:
    """Sorted by doubt, the most doubtful first; ties keep their order; those of unknown doubt come last.

    Flips are few and alike: among equals the least confident come first. Where labels are judged, those that
    are likely wrong come before all others, then those of which too few labels tell.
    """
    sign = 1 if surest_first else -1

    def place(opinion: Opinion) -> tuple[bool, float, float, float]:
        value = doubt.of(opinion)
        sound = 0.0 if opinion.issue else 1.0 if opinion.too_few else 2.0
        sound = -sign * sound if doubt.judges_labels else 0.0
        second = -sign * opinion.confidence if doubt is Doubt.FLIPS else 0.0
        return (value is None, sound, sign * (value or 0.0), second)

    rows = list(opinions)
    keys = np.array([place(row) for row in rows], dtype=np.float64).reshape(-1, 4)
    return [rows[at] for at in np.lexsort(keys.T[::-1]).tolist()]


def known_orders(opinions: Opinions) -> list[Doubt]:
    """The measures that the opinions can be ranked by, the usual one first."""
    if any(row.self_confidence is not None for row in opinions.rows):
        return [doubt for doubt in Doubt if doubt.judges_labels]
    return [
        doubt
        for doubt in Doubt
        if not doubt.judges_labels
        and (not doubt.compares or any(doubt.of(row) is not None for row in opinions.rows))
    ]


def confused_pairs(opinions: Sequence[Opinion]) -> list[Confusion]:
    """Every pair (true, said) with errors, most errors first, then by name; shares are of the true class."""
    known = [(opinion.true, opinion.said) for opinion in opinions if opinion.true is not None]
    totals = Counter(true for true, _ in known)
    pairs = Counter(pair for pair in known if pair[0] != pair[1])
    return [
        Confusion(true, said, count, count / totals[true])
        for (true, said), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    ]


@dataclass(frozen=True, slots=True)
class Likely:
    """A class and how probable the model found it."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Choices:
    """Looks up what a model found probable for an image."""

    predictions: Predictions
    names: Mapping[int, str | None]
    """Class index -> name; in an unfinished run some are not known."""
    places: Mapping[str, int]
    """Image id -> row of the predictions."""

    def top(self, image: str, count: int = 5) -> tuple[Likely, ...]:
        """The most probable classes, highest first; empty for an image that is not there."""
        place = self.places.get(image)
        if place is None:
            return ()
        row = self.predictions.probabilities[place]  # (C,) float32
        best = np.argsort(-row, kind="stable")[:count].tolist()
        return tuple(Likely(self.names.get(index) or f"class {index}", float(row[index])) for index in best)


def choices_of(run: RunDirectory, source: Source) -> Choices | None:
    """The choices behind a source's opinions; None where the predictions are gone.

    Raises:
        UserError: the predictions, the ledger or the results are damaged.
    """
    try:
        predictions = load_predictions(run.predictions(source.predictions))
        if isinstance(source, RoundSource):
            ledger = read_ledger(run.ledger(source.round))
            if predictions.ids != tuple(row.id for row in ledger):
                return None
            names = class_names(run, predictions, ledger)
        else:
            names = dict(enumerate(read_results(run.results).classes))
    except FileNotFoundError:
        return None
    return Choices(predictions, names, {id_: place for place, id_ in enumerate(predictions.ids)})


def with_changes(run: RunDirectory, opinions: Opinions, source: Source) -> Opinions:
    """The same opinions with `disagreement`, and in rounds `flips`, where the run has the files to tell them.

    Raises:
        UserError: one of those files is damaged.
    """
    apart = disagreements(run, source)
    flips = flip_counts(run) if isinstance(source, RoundSource) else {}
    rows = [replace(row, disagreement=apart.get(row.id), flips=flips.get(row.id)) for row in opinions.rows]
    return replace(opinions, rows=tuple(rows))


def disagreements(run: RunDirectory, source: Source) -> dict[str, float]:
    """Image id -> total variation distance, ½ Σ |p − q| in 0 … 1, between two models' probabilities.

    Of a split the teacher's and the final model's. Of a round its own and the last round's, whose teacher is
    the student of all rounds before; of the last round its own and the first's. Empty where one is missing,
    and of labelled images.

    Raises:
        UserError: one of the two files is damaged.
    """
    pair: tuple[str, str]
    if isinstance(source, IssueSource):
        return {}
    if isinstance(source, SplitSource):
        pair = (source.split, f"teacher-{source.split}")
    else:
        rounds = [number for number, _ in run.ledgers()]
        if len(rounds) < 2:
            return {}
        other = rounds[0] if source.round == rounds[-1] else rounds[-1]
        pair = (f"unlabelled-{source.round:02d}", f"unlabelled-{other:02d}")
    try:
        first, second = (load_predictions(run.predictions(name)) for name in pair)
    except FileNotFoundError:
        return {}
    return _distances(first, second)


def flip_counts(run: RunDirectory) -> dict[str, int]:
    """Image id -> how often its pseudo-label changed from one round to the next, over all rounds so far.

    Raises:
        UserError: a ledger is damaged.
    """
    counts: Counter[str] = Counter()
    for _, path in run.ledgers():
        counts.update({row.id: int(row.flipped) for row in read_ledger(path)})
    return dict(counts)


def _distances(first: Predictions, second: Predictions) -> dict[str, float]:
    """Total variation distances of the images that both have."""
    if first.probabilities.shape[1] != second.probabilities.shape[1]:
        return {}
    place = {id_: index for index, id_ in enumerate(second.ids)}
    shared = [(index, place[id_]) for index, id_ in enumerate(first.ids) if id_ in place]
    if not shared:
        return {}
    here, there = np.array(shared).T  # (K,) int64 each
    apart = np.abs(first.probabilities[here] - second.probabilities[there]).sum(axis=1) / 2
    return {first.ids[index]: float(value) for index, value in zip(here.tolist(), apart, strict=True)}
