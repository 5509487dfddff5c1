"""Moments of a process that can be hit: each file that it opens for writing, each that it renames.

Every file that matters is renamed into its place, so these are the moments between which the disk's state
differs. The audit hook that watches for them (PEP 578) changes nothing in the program.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drills.processes import Place

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
# Random parts of names: of a run's id, of a temporary file.
_RANDOM = re.compile(r"\d{8}-\d{6}-|-[0-9a-f]{4}(?=/)|\.\d+-[0-9a-f]{8}\.tmp$")


@dataclass(frozen=True, slots=True)
class Step:
    """A file opened for writing, or put into its place."""

    event: str
    """`open` or `os.rename`."""
    name: str
    """From the place's home, without what differs from run to run."""


class _Watch:
    """Calls back at each step below a directory."""

    def __init__(self, home: Path, at: Callable[[Step], None], between: Callable[[], None]) -> None:
        self._home, self._at, self._between = f"{home}/", at, between

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        self._between()
        if event == "os.rename":
            path = arguments[1]
        elif event == "open" and _writes(arguments):
            path = arguments[0]
        else:
            return
        if isinstance(path, str | bytes | os.PathLike):
            name = os.fsdecode(path)
            if name.startswith(self._home):
                self._at(Step(event, _RANDOM.sub("", name.removeprefix(self._home))))


def _writes(arguments: tuple[object, ...]) -> bool:
    _, mode, flags = arguments
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & _WRITING)


@dataclass(frozen=True, slots=True)
class Recording:
    """Writes down every step of a process."""

    place: Place
    path: Path

    def arm(self) -> None:
        """Watch this process."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def note(step: Step) -> None:
            os.write(descriptor, f"{step.event}\t{step.name}\n".encode())

        sys.addaudithook(_Watch(self.place.home, note, lambda: None))

    def steps(self) -> tuple[Step, ...]:
        """All that were written down."""
        lines = self.path.read_text().splitlines()
        return tuple(Step(*line.split("\t", 1)) for line in lines)


@dataclass(frozen=True, slots=True)
class AtStep:
    """Does something as a step is about to be taken, or once it has been."""

    place: Place
    number: int
    """From 0, of all steps or of those whose name ends in `name`."""
    act: Callable[[], None]
    after: bool = False
    """At the first thing that happens after the step."""
    name: str = ""
    event: str = ""
    """Of steps of this kind alone, if given."""

    def arm(self) -> None:
        """Watch this process."""
        left = self.number
        is_due = False

        def at(step: Step) -> None:
            nonlocal left, is_due
            if not step.name.endswith(self.name) or self.event not in ("", step.event):
                return
            if left == 0 and not self.after:
                left -= 1  # first: what is done may itself open files
                self.act()
            elif left == 0:
                is_due = True
                left -= 1
            elif left > 0:
                left -= 1

        def between() -> None:
            nonlocal is_due
            if is_due:
                is_due = False
                self.act()

        sys.addaudithook(_Watch(self.place.home, at, between))


def die() -> None:
    """SIGKILL to this very process."""
    os.kill(os.getpid(), signal.SIGKILL)


def freeze() -> None:
    """SIGSTOP to this very process: it is there and does nothing, as on a machine that hangs."""
    os.kill(os.getpid(), signal.SIGSTOP)
