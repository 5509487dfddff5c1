"""Undo and redo of drafts: typing in one place is one step."""

from __future__ import annotations

from workbench.tui.screens.compose.draft import Draft

_LONGEST = 200


class History:
    """The draft as it is, and the ones before and after it."""

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
            self._before = [*self._before[-_LONGEST + 1 :], self.draft]
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
