"""Findings, and checks that cannot take each other down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    """Something works less well, or not for every recipe."""
    ERROR = "error"
    """No run can train until it is mended."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    name: str
    level: Level
    text: str
    advice: str = ""
    """What to do, where something is to be done."""


@dataclass(frozen=True, slots=True)
class Check:
    """A look at one thing; `look` may find several things and may raise anything."""

    name: str
    look: Callable[[], Iterable[Finding]]


def run_checks(checks: Sequence[Check]) -> Iterator[Finding]:
    """Every finding as it is made; a check that breaks becomes a warning with its reason."""
    for check in checks:
        try:
            yield from check.look()
        except Exception as error:
            reason = " ".join(str(error).split()) or "no reason given"
            yield Finding(
                check.name, Level.WARNING, f"could not be checked: {type(error).__name__}: {reason[:300]}"
            )
