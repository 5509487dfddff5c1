"""The one error that is the user's to mend: printed as one clear message, exit code 2, no traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(word: str, known: Iterable[str], *, alike: float = 0.6) -> str | None:
    """The known name closest to `word`, or None when none has a difflib ratio of at least `alike`."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=alike)
    return matches[0] if matches else None


class UserError(Exception):
    """Input that petbench cannot work with.

    Args:
        what: what is wrong, with the offending value.
        where: the file (and line) or dotted key it was found at; empty if it has no place.
        allowed: what would be accepted; a sentence or a list of values.
        hint: what to do about it, best as a command to type.
    """

    def __init__(
        self, what: str, *, where: str = "", allowed: str | Sequence[str] = "", hint: str = ""
    ) -> None:
        self.what = what
        self.where = where
        self.allowed = allowed if isinstance(allowed, str) else ", ".join(allowed)
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [f"{self.where}: {self.what}" if self.where else self.what]
        if self.allowed:
            lines.append(f"allowed: {self.allowed}")
        if self.hint:
            lines.append(self.hint)
        return "\n".join(lines)


class RunFailed(Exception):
    """A run that could not go on (NaN loss, disk full, out of memory): exit code 1; the run directory stays.

    Args:
        reason: one line for `exit.json` and the runs table.
        advice: what the user can do next.
    """

    def __init__(self, reason: str, *, advice: str = "") -> None:
        self.reason = reason
        self.advice = advice
        super().__init__(f"{reason}\n{advice}" if advice else reason)
