"""The draft at work: steps back and forth, the sweep over it, drafts set aside, what a session keeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from workbench.recipe.source import split_values
from workbench.tui.screens.compose.draft import Draft, checked_on, draft_of, edit, retext, taken_out
from workbench.tui.screens.compose.knob_fields import FormField
from workbench.tui.screens.compose.networks import Network

MOST_SHELVED = 5
_MOST_STEPS = 200
_LONGEST_TEXT = 200_000
"""Characters of a kept text; a longer one was not kept by petbench."""
_LONGEST_OPTIONS = 4000
_NOT_SWEPT = ("name", "description", "tags")
_BROKEN = "Mend the TOML first: tab goes there."


class History:
    """The draft as it is, and the ones before and after it: typing in one place is one step."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self._before: list[Draft] = []
        self._after: list[Draft] = []
        self._step = ""

    @property
    def can_undo(self) -> bool:
        """Whether there is a step to take back."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """Whether a step was taken back and nothing changed since."""
        return bool(self._after)

    def push(self, draft: Draft, step: str = "") -> None:
        """Go on with another draft. Changes of the same named `step`, one after the other, are taken back at
        once; "" is a step of its own."""
        if draft == self.draft:
            return
        if not step or step != self._step or not self._before:
            self._before = [*self._before[-_MOST_STEPS + 1 :], self.draft]
        self._after = []
        self._step = step
        self.draft = draft

    def replace(self, draft: Draft) -> None:
        """Exchange the draft as it is without a step, such as when it was saved."""
        self.draft = draft
        self.close_step()

    def close_step(self) -> None:
        """What comes next is a step of its own."""
        self._step = ""

    def undo(self) -> bool:
        """Take a step back; whether there was one."""
        if not self._before:
            return False
        self._after.append(self.draft)
        self.draft = self._before.pop()
        self.close_step()
        return True

    def redo(self) -> bool:
        """Take a step forward again; whether there was one."""
        if not self._after:
            return False
        self._before.append(self.draft)
        self.draft = self._after.pop()
        self.close_step()
        return True


class DraftModel:
    """The draft that is being written, with all that goes along with it; a screen draws it and changes it.

    `draft` is the recipe as written, `checked` the same with what its backbone refuses.
    """

    def __init__(self, draft: Draft) -> None:
        self.history = History(draft)
        self.network: Network | None = None
        """The draft's backbone, once it is known."""
        self.grid: dict[str, str] = {}
        """Dotted key to the values of a sweep, as typed."""
        self.slurm: str | None = None
        """What Slurm is asked for over the user's file, as typed; None: this machine's own queue launches."""
        self.shelf: list[Draft] = []
        """Drafts set aside, the latest first."""
        self.as_opened = draft.text
        """The draft's text when it was opened; one that is still that need not be set aside."""

    @property
    def draft(self) -> Draft:
        """The recipe as it is being written."""
        return self.history.draft

    @property
    def checked(self) -> Draft:
        """The draft with what the backbone refuses among its problems, where the backbone is known."""
        return checked_on(self.draft, self.network)

    # Changing it

    def begin(self, draft: Draft) -> bool:
        """Begin with another draft; whether the one before, which had changes, was set aside."""
        old = self.draft
        sets_aside = old.is_changed and old.text not in (self.as_opened, draft.text)
        if sets_aside:
            self.shelf = _shelve(self.shelf, old)
        self.shelf = [one for one in self.shelf if one.text != draft.text]
        self.grid = {}
        self.as_opened = draft.text if draft.saved in ("", draft.text) else ""
        self.history = History(draft)
        return sets_aside

    def take(self, draft: Draft, step: str = "") -> None:
        """Go on with a draft; of one named `step` only the last counts for undo."""
        self.history.push(draft, step)
        self._drop_what_is_not_offered()

    def set_value(self, key: str, literal: str | None, step: str = "") -> list[str]:
        """Set a field to a TOML value, or leave it out; what else that took out of the text.

        Raises:
            UserError: the text is no TOML now, or resists a change of this key.
        """
        before = self.draft
        self.take(edit(before, key, literal), step)
        return [one for one in taken_out(before, self.draft) if one != key]

    def set_text(self, text: str, step: str = "") -> None:
        """Exchange the TOML."""
        self.take(retext(self.draft, text), step)

    def undo(self) -> bool:
        """Take a step back; whether there was one."""
        return self._after(self.history.undo())

    def redo(self) -> bool:
        """Take a step forward again; whether there was one."""
        return self._after(self.history.redo())

    def learn(self, network: Network | None) -> None:
        """Take up what is known of the backbone now."""
        self.network = network
        self._drop_what_is_not_offered()

    def saved(self, draft: Draft) -> None:
        """Take up the draft as `draft.save` wrote it."""
        self.history.replace(draft)
        self.as_opened = draft.text

    def sweep(self, key: str, typed: str) -> None:
        """Sweep over a field's values as typed, with commas between them; over none: no more."""
        self.grid.pop(key, None)
        if split_values(typed):
            self.grid[key] = typed.strip()
        self._drop_what_is_not_offered()

    @property
    def run_count(self) -> int:
        """Runs of the sweep; 0 without one."""
        count = 1
        for typed in self.grid.values():
            count *= max(1, len(split_values(typed)))
        return count if self.grid else 0

    def _after(self, has_moved: bool) -> bool:
        self._drop_what_is_not_offered()
        return has_moved

    def _drop_what_is_not_offered(self) -> None:
        if self.grid:
            offered = {one.key for one in self.checked.offered()}
            self.grid = {key: typed for key, typed in self.grid.items() if key in offered}

    # Why not

    def why_not_edit(self) -> str | None:
        """Why the form can change nothing now."""
        return None if self.draft.broken is None else _BROKEN

    def why_not_launch(self) -> str | None:
        """Why no run can start from it."""
        problems = self.checked.all_problems
        return f"Not before the recipe is valid: {problems[0].what}." if problems else None

    def why_not_sweep(self, one: FormField | None) -> str | None:
        """Why a sweep cannot be over a field."""
        if one is None:
            return "Put the cursor on the field to sweep over."
        return f"{one.key} makes no run different." if one.key in _NOT_SWEPT else None

    def why_not_reset(self, one: FormField | None) -> str | None:
        """Why a field cannot be put back to its default."""
        if self.draft.broken is not None:
            return _BROKEN
        if one is None:
            return "Put the cursor on the field to put back."
        return f"{one.key} is at its default." if self.draft.look().written(one.key) is None else None

    # What a session keeps

    def kept(self) -> dict[str, Any]:
        """The draft, those set aside, the sweep and who launches as JSON values; steps back are not kept."""
        return {
            "draft": _pack(self.draft),
            "as_opened": self.as_opened,
            "shelf": [_pack(draft) for draft in self.shelf],
            "grid": dict(self.grid),
            "slurm": self.slurm,
        }

    def restore(self, values: Mapping[str, Any], left: Iterable[Mapping[str, Any]] = ()) -> bool:
        """Take up what `kept` told in an earlier life; whether a draft was among it.

        Args:
            values: not to be trusted.
            left: what windows that were closed had kept: their drafts go on the shelf.
        """
        self.shelf = _unpack_all(values.get("shelf"))
        slurm = values.get("slurm")
        self.slurm = slurm if isinstance(slurm, str) and len(slurm) <= _LONGEST_OPTIONS else None
        draft = _unpack(values.get("draft"))
        for section in left:
            self.shelf = _with_left(self.shelf, section, draft)
        if draft is None:
            return False
        self.history = History(draft)
        self.as_opened = str(values.get("as_opened", ""))
        grid = values.get("grid")
        if isinstance(grid, Mapping):
            self.grid = {str(key): str(typed) for key, typed in grid.items()}
            self._drop_what_is_not_offered()
        return True

    def others(self, sections: Iterable[Mapping[str, Any]]) -> list[Draft]:
        """The drafts of other windows, from what these keep."""
        found = [_unpack(section.get("draft")) for section in sections]
        return [draft for draft in found if draft is not None and draft.text != self.draft.text]


def _pack(draft: Draft) -> dict[str, Any]:
    """A draft as JSON values."""
    return {
        "text": draft.text,
        "origin": draft.origin,
        "path": "" if draft.path is None else str(draft.path),
        "read_from": "" if draft.read_from is None else str(draft.read_from),
        "saved": draft.saved,
        "parked": dict(draft.parked),
    }


def _unpack(values: object) -> Draft | None:
    """The draft that `_pack` packed; None for anything else."""
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


def _shelve(shelf: Sequence[Draft], draft: Draft) -> list[Draft]:
    """The shelf with another draft in front, once, and the oldest gone."""
    return [draft, *(one for one in shelf if one.text != draft.text)][:MOST_SHELVED]


def _with_left(shelf: Sequence[Draft], left: Mapping[str, Any], own: Draft | None) -> list[Draft]:
    """The shelf with what a window that was closed had written and set aside."""
    draft = _unpack(left.get("draft"))
    untouched = draft is None or not draft.is_changed or draft.text == left.get("as_opened")
    found = [] if draft is None or untouched else [draft]
    for one in (*reversed(_unpack_all(left.get("shelf"))), *found):
        if own is None or one.text != own.text:
            shelf = _shelve(shelf, one)
    return list(shelf)


def _unpack_all(values: object) -> list[Draft]:
    """The drafts of a shelf that can be read."""
    found = [_unpack(one) for one in values] if isinstance(values, list) else []
    return [draft for draft in found if draft is not None][:MOST_SHELVED]
