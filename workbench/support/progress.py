"""Progress as the lower floors tell it; every `runs.events.Reporter` is one."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Whoever shows how far a long job is."""

    def progress(self, task: str, done: int, total: int) -> None:
        """`task` ("read images") is at `done` of `total`; done == total ends it."""


class NoProgress:
    """Shows nothing."""

    def progress(self, task: str, done: int, total: int) -> None:
        """Drop it."""


QUIET = NoProgress()
