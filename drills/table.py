"""What a drill is, how one attempt can end, and the table of how often each did."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drills.ground import Ground


class Verdict(StrEnum):
    """How an attempt ended; the last five are faults of petbench."""

    SAME = "same"
    """The answers are those of an undisturbed run."""
    TOLD = "told"
    """The answers are right, or one is missing, and petbench said what was wrong (and made it anew)."""
    REFUSED = "refused"
    """It ended in words, with exit code 1, 2 or 130, and changed nothing."""
    LEFT = "LEFT BEHIND"
    """The same, and files that nobody will ever need or remove."""
    SILENT = "SILENT"
    """Other answers, and not a word about it."""
    HANG = "HANG"
    """It was not over after `PATIENCE_SECONDS`."""
    TRACEBACK = "TRACEBACK"
    """It ended in a traceback, a signal, or "this is a fault in petbench"."""
    STUCK = "STUCK"
    """The disturbance is over, and still the run does not come to its results."""


FAULTS = (Verdict.LEFT, Verdict.SILENT, Verdict.HANG, Verdict.TRACEBACK, Verdict.STUCK)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one attempt ended."""

    verdict: Verdict
    what: str
    """What was done to petbench, for a person."""
    said: str = ""
    """What petbench printed, or what differs; kept for faults."""
    times: int = 1
    """How many kills, damages or full disks were in it."""


class Skipped(Exception):
    """This machine cannot hold the drill: no right to mount, for one."""


Attempt = Callable[["Ground", Random, int], Outcome]
"""(the ground, dice that only this attempt throws, its number) -> how it ended."""


@dataclass(frozen=True, slots=True)
class Drill:
    """A kind of fault that can be tried as often as one likes."""

    name: str
    kind: str
    """The module it is in: what it is listed and tested under."""
    what: str
    """One line for the list."""
    attempt: Attempt
    count: int
    """Attempts unless told otherwise."""
    short: int
    """Attempts of the short form that CI runs."""


DRILLS: dict[str, Drill] = {}


def drill(name: str, *, count: int, short: int) -> Callable[[Attempt], Attempt]:
    """Register an attempt under a name; the first line of its docstring says what it does."""

    def register(attempt: Attempt) -> Attempt:
        kind = attempt.__module__.rpartition(".")[2]
        what = (attempt.__doc__ or "").partition("\n")[0].rstrip(".")
        DRILLS[name] = Drill(name, kind, what, attempt, count, short)
        return attempt

    return register


def dice(seed: int, name: str, number: int) -> Random:
    """The dice of one attempt: the same for the same seed, whichever attempts came before it."""
    return Random(f"{seed} {name} {number}")


def in_turn(number: int, length: int) -> int:
    """Which of `length` places is visited `number`-th: each before any twice, neighbours far apart."""
    stride = next(n for n in range(max(1, round(0.618 * length)), length + 2) if math.gcd(n, length) == 1)
    return (length // 3 + number * stride) % length


@dataclass(slots=True)
class Tally:
    """How the attempts of one drill ended."""

    drill: Drill
    verdicts: Counter[Verdict] = field(default_factory=Counter)
    times: int = 0
    seconds: float = 0.0
    faults: list[tuple[int, Outcome]] = field(default_factory=list)
    """(number of the attempt, how it ended)."""
    skipped: str = ""
    """Why the drill could not be held here."""

    def add(self, number: int, outcome: Outcome) -> None:
        """Count one more."""
        self.verdicts[outcome.verdict] += 1
        self.times += outcome.times
        if outcome.verdict in FAULTS:
            self.faults.append((number, outcome))

    @property
    def attempts(self) -> int:
        """All that were made."""
        return self.verdicts.total()

    def record(self, seed: int) -> dict[str, Any]:
        """For `--json`."""
        return {
            "drill": self.drill.name,
            "kind": self.drill.kind,
            "what": self.drill.what,
            "attempts": self.attempts,
            "times": self.times,
            "seconds": round(self.seconds, 1),
            "skipped": self.skipped or None,
            "verdicts": {verdict.name.lower(): self.verdicts[verdict] for verdict in Verdict},
            "faults": [
                {
                    "number": number,
                    "verdict": outcome.verdict.name.lower(),
                    "what": outcome.what,
                    "said": outcome.said,
                    "repeat": repeat(self.drill, seed, number),
                }
                for number, outcome in self.faults
            ],
        }


def repeat(drill: Drill, seed: int, number: int) -> str:
    """The command that makes one attempt again."""
    return f"python -m drills {drill.name} --seed {seed} --first {number} --count 1"


def table(tallies: Sequence[Tally]) -> str:
    """Markdown, as docs/reliability.md has it: a row a drill, a column a verdict, the sums last."""
    header = ("drill", "attempts", "faults tried", *(verdict.value for verdict in Verdict), "min")
    rows = [_row(tally.drill.name, [tally]) for tally in tallies if not tally.skipped]
    if len(rows) > 1:
        rows.append(_row("all", tallies))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [_line(header, widths), "|" + "|".join(f"{'-' * (width + 1)}:" for width in widths) + "|"]
    lines += [_line(row, widths) for row in rows]
    return "\n".join(lines)


def _row(name: str, tallies: Iterable[Tally]) -> tuple[str, ...]:
    those = list(tallies)
    counts = [sum(tally.verdicts[verdict] for tally in those) for verdict in Verdict]
    attempts, times = sum(tally.attempts for tally in those), sum(tally.times for tally in those)
    minutes = sum(tally.seconds for tally in those) / 60
    return (name, str(attempts), str(times), *map(str, counts), f"{minutes:.1f}")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.ljust(width) if not column else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "| " + " | ".join([first, *rest]) + " |"
