"""Taking turns: what each side did in each round, and the ratios of rounds.

Sides of a comparison run one after the other, again and again, in one process tree. What slows the machine
for a while slows all sides of that round, so a round's ratio keeps its meaning, and the median of the ratios
is what is reported.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Turn:
    """Work done in one go."""

    images: int
    seconds: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / max(1e-9, self.seconds)


@dataclass(frozen=True, slots=True)
class Epoch:
    """One side's epoch: training, then validation."""

    training: Turn
    validation: Turn
    accuracy: float
    """On the validation images; NaN where the side does not learn (the bare step)."""

    @property
    def seconds(self) -> float:
        """Of both parts."""
        return self.training.seconds + self.validation.seconds


class Side(Protocol):
    """One of those compared."""

    @property
    def name(self) -> str:
        """For tables."""

    def epoch(self) -> Epoch:
        """Train and validate once more."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Several measurements of one thing."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Raises: ValueError, without values."""
        known = list(values)
        if not known:
            raise ValueError("nothing was measured")
        return cls(statistics.median(known), min(known), max(known), len(known))

    def text(self, digits: int = 2) -> str:
        """Such as `0.97 (0.95–0.98, 5 rounds)`."""
        rounds = "1 round" if self.count == 1 else f"{self.count} rounds"
        return f"{self.median:.{digits}f} ({self.low:.{digits}f}–{self.high:.{digits}f}, {rounds})"


def ratios(upper: Sequence[float], lower: Sequence[float]) -> Spread:
    """Of each round's `upper` over `lower`.

    Raises:
        ValueError: the sides did not take equally many turns, or none.
    """
    return Spread.of(above / below for above, below in zip(upper, lower, strict=True))


def rounds_of(sides: Sequence[Side], rounds: int, *, warm: bool = False) -> dict[str, list[Epoch]]:
    """Each side's turns, after one that does not count, unless they are `warm` already."""
    found: dict[str, list[Epoch]] = {side.name: [] for side in sides}
    for _ in range(rounds + (not warm)):
        for side in sides:
            found[side.name].append(side.epoch())
    return {name: epochs[-rounds:] for name, epochs in found.items()}
