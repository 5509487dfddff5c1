"""What was done to runs here and can be taken back, newest last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from workbench.support.errors import UserError

_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Done:
    """A deed and how to take it back."""

    what: str
    """Such as `archived 3 runs`."""
    runs: tuple[str, ...]
    """Ids of the runs it was done to."""
    moves: Literal["", "archive", "trash"]
    """Where the runs went, or where they came from."""
    take_back: Callable[[], object]
    """Runs off the screen's loop; raises UserError where it cannot be taken back."""
    problem: UserError | None = None
    """Why it was not done to one of those it was meant for."""


class UndoStack:
    """The last deeds."""

    def __init__(self) -> None:
        self._done: list[Done] = []

    @property
    def newest(self) -> Done | None:
        """What undo would take back."""
        return self._done[-1] if self._done else None

    def push(self, done: Done) -> None:
        """Remember a deed."""
        self._done = [*self._done, done][-_DEEPEST:]

    def pop(self) -> Done | None:
        """Forget and return the newest."""
        return self._done.pop() if self._done else None
