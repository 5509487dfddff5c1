"""Drafts in the session, so that nothing typed is lost to a crash, a kill or another recipe opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.tui.screens.compose.draft import Draft, draft_of, retext

MOST_SHELVED = 5
_LONGEST_TEXT = 200_000


def pack(draft: Draft) -> dict[str, Any]:
    """A draft as JSON values."""
    return {
        "text": draft.text,
        "origin": draft.origin,
        "path": "" if draft.path is None else str(draft.path),
        "read_from": "" if draft.read_from is None else str(draft.read_from),
        "saved": draft.saved,
        "parked": dict(draft.parked),
    }


def unpack(values: object) -> Draft | None:
    """The draft that `pack` packed; None for anything else."""
    if not isinstance(values, Mapping):
        return None
    words = {key: values.get(key) for key in ("text", "origin", "path", "read_from", "saved")}
    if not all(isinstance(word, str) and len(word) <= _LONGEST_TEXT for word in words.values()):
        return None
    path = Path(str(words["path"])) if words["path"] else None
    read_from = Path(str(words["read_from"])) if words["read_from"] else None
    parked = values.get("parked")
    known = parked if isinstance(parked, Mapping) else {}
    draft = draft_of(str(words["saved"]), str(words["origin"]), path, read_from=read_from)
    return replace(
        retext(draft, str(words["text"])), parked={str(key): str(word) for key, word in known.items()}
    )


def shelve(shelf: Sequence[Draft], draft: Draft) -> list[Draft]:
    """The shelf with another draft in front, once, and the oldest gone."""
    return [draft, *(one for one in shelf if one.text != draft.text)][:MOST_SHELVED]


def with_left(shelf: Sequence[Draft], left: Mapping[str, Any], own: Draft | None) -> list[Draft]:
    """The shelf with what a window that was closed had written and set aside."""
    draft = unpack(left.get("draft"))
    untouched = draft is None or not draft.is_changed or draft.text == left.get("as_opened")
    found = [] if draft is None or untouched else [draft]
    for one in (*reversed(unpack_all(left.get("shelf"))), *found):
        if own is None or one.text != own.text:
            shelf = shelve(shelf, one)
    return list(shelf)


def unpack_all(values: object) -> list[Draft]:
    """The drafts of a shelf that can be read."""
    found = [unpack(one) for one in values] if isinstance(values, list) else []
    return [draft for draft in found if draft is not None][:MOST_SHELVED]
