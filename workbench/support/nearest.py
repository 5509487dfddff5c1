"""Did you mean: the closest known name to a mistyped one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name closest to `word`, or None when nothing is close (difflib ratio under 0.6)."""
    matches = difflib.get_close_matches(word, list(known), n=1)
    return matches[0] if matches else None
