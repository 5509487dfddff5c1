"""Which images to look at: the least sure first, the wrong ones, a class, a cell of the confusion matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from workbench.runs.opinions import Opinion, Opinions
from workbench.runs.results import Confusion
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest


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
    """Only likely label issues: wrong labels, near-duplicates."""

    def fits(self, opinion: Opinion) -> bool:
        """Whether the opinion is to be shown."""
        return (
            (not self.wrong or opinion.wrong is True)
            and (not self.selected or opinion.selected is True)
            and (not self.flipped or opinion.flipped is True)
            and self.class_name in (None, opinion.true, opinion.said)
            and self.pair in (None, (opinion.true, opinion.said))
            and (not self.issues or opinion.issue is True or opinion.twin is not None)
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
    are likely wrong come before all others.
    """
    sign = 1 if surest_first else -1

    def place(opinion: Opinion) -> tuple[bool, float, float, float]:
        value = doubt.of(opinion)
        sound = -sign * float(opinion.issue is not True) if doubt.judges_labels else 0.0
        second = -sign * opinion.confidence if doubt is Doubt.FLIPS else 0.0
        return (value is None, sound, sign * (value or 0.0), second)

    return sorted(opinions, key=place)


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
