"""A part of a file name from any text."""

from __future__ import annotations

import re
import unicodedata

_LIMIT = 40


def slug(name: str) -> str:
    """ASCII letters, digits, `_` and `-`: `Résumé [1]/../x` -> `Resume-1-x`; `run` when nothing is left."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9_]+", "-", ascii_only).strip("-")[:_LIMIT].strip("-")
    return safe or "run"
