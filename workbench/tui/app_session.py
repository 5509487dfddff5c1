"""What the app remembers of itself: screen, selection, filter, columns; written while it happens.

Textual has no handler for SIGHUP and a terminal may die at any moment, so nothing waits for a clean exit.

Several windows (processes) may be open on one runs directory. Each keeps sections of its own in the file:
the first under their plain names, the second under `NAME@2`. None writes over another's, and what a window
left behind is found by the next one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.support.atomic import atomic_write
from workbench.support.locks import beside, try_lock
from workbench.support.paths import state_home
from workbench.support.regular_file import read_json

_VERSION = 1
_SIZE_LIMIT = 4_000_000  # bytes; a file larger than this is not ours
_MOST_WINDOWS = 99
_WORK = ("compose",)
"""Sections that hold what a person wrote."""
_LOCK_SECONDS = 2.0  # a window that was stopped in the middle of a write must not stop the others


class Session:
    """Sections of JSON values by name (`app`, `runs`, `compose`, …), kept in one file a runs directory.

    A file that is missing, damaged or of another version starts an empty session; one that cannot be written
    is done without. Values are shown to the reader as they were kept: check their types on the way in.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._sections: dict[str, dict[str, Any]] = _read(path) if path is not None else {}
        self._own: set[str] = set()
        """What this window kept; all else in the file is written back as it is found there."""
        self._gone: set[str] = set()
        self._lock = threading.RLock()  # a signal handler may save while its own thread does
        self._writing = False
        self._dirty = False
        self._claim: int | None = None
        self.window = 1
        """Of those open on this runs directory, counting from 1."""

    def claim(self) -> None:
        """Take the first number that no open window has, until this process ends."""
        if self._path is None:
            return
        with contextlib.suppress(OSError):  # where there are no locks, there is one window
            self._path.parent.mkdir(parents=True, exist_ok=True)
            for number in range(1, _MOST_WINDOWS + 1):
                self._claim = try_lock(self._window_lock(number))
                if self._claim is not None:
                    self.window = number
                    return

    def section(self, name: str) -> dict[str, Any]:
        """A copy of what was kept under `name`; empty where nothing was.

        A further window begins with how the first looks at things, and with work of its own.
        """
        own = self._sections.get(self._key(name))
        if own is None and name not in _WORK:
            own = self._sections.get(name)
        return dict(own or {})

    def keep(self, name: str, values: Mapping[str, Any]) -> None:
        """Replace the section; values must be what JSON can hold. It is on disk a moment later."""
        key, new = self._key(name), dict(values)
        if self._sections.get(key) != new:
            self._sections[key] = new
            self._own.add(key)
            self._gone.discard(key)
            self._dirty = True

    def elsewhere(self, name: str) -> list[dict[str, Any]]:
        """The section as the other windows that are open have it now."""
        return [section for number, section in self._others(name) if self._is_open(number)]

    def take_left(self, name: str) -> list[dict[str, Any]]:
        """The section as windows left it that are closed; it is forgotten there, and the caller's to keep."""
        left = [(number, section) for number, section in self._others(name) if not self._is_open(number)]
        left = [(number, section) for number, section in left if number > 1]  # the first's is nobody else's
        for number, _ in left:
            self._gone.add(_key(name, number))
            self._dirty = True
        return [section for _, section in left]

    def forget(self) -> None:
        """Begin as if for the first time; other windows that are open keep what they have."""
        names = {key.partition("@")[0] for key in self._sections}
        left = {_key(name, number) for name in names for number, _ in self._others(name)}
        closed = {key for key in left if not self._is_open(_window_of(key))}
        self._gone |= {*map(self._key, names), *closed}
        self._sections, self._own, self._dirty = {}, set(), True

    def save(self) -> None:
        """Write what changed since the last time; may be called from a thread."""
        with self._lock:
            if not self._dirty or self._path is None:
                return
            self._dirty = False
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with self._turn():
                    there = {key: value for key, value in _read(self._path).items() if key not in self._gone}
                    own = {key: self._sections[key] for key in self._own}
                    atomic_write(self._path, json.dumps({"version": _VERSION, **there, **own}))

    def _key(self, name: str) -> str:
        return _key(name, self.window)

    def _others(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """The section of each other window, by its number, as the file has it now."""
        found = _read(self._path) if self._path is not None else {}
        for key, section in found.items():
            number = _window_of(key)
            if key == _key(name, number) and number != self.window and key not in self._gone:
                yield number, section

    def _window_lock(self, number: int) -> Path:
        assert self._path is not None
        return self._path.with_name(f".{self._path.name}.window-{number}")

    def _is_open(self, number: int) -> bool:
        """Whether that window holds its number."""
        try:
            held = try_lock(self._window_lock(number))
        except OSError:
            return False
        if held is None:
            return True
        os.close(held)
        return False

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Alone with the file; without it after a while, and in a signal handler that has come between."""
        assert self._path is not None
        if self._writing:
            yield
            return
        self._writing, held = True, None
        try:
            until = time.monotonic() + _LOCK_SECONDS
            while (held := try_lock(beside(self._path))) is None:
                if time.monotonic() > until:
                    break
                time.sleep(0.01)
            yield
        finally:
            self._writing = False
            if held is not None:
                os.close(held)


def session_path(runs_home: Path) -> Path:
    """The session file that goes with a runs directory."""
    digest = hashlib.sha256(str(runs_home).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return state_home() / f"app-{digest}.json"


def _key(name: str, window: int) -> str:
    return name if window == 1 else f"{name}@{window}"


def _window_of(key: str) -> int:
    number = key.partition("@")[2]
    return int(number) if number.isdecimal() and len(number) < 3 else 1


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        values = read_json(path, _SIZE_LIMIT)
    except OSError:
        return {}
    if not isinstance(values, dict) or values.pop("version", None) != _VERSION:
        return {}
    return {name: section for name, section in values.items() if isinstance(section, dict)}
