"""What the app remembers of itself: screen, selection, filter, columns; written while it happens.

Textual has no handler for SIGHUP and a terminal may die at any moment, so nothing waits for a clean exit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.support.atomic import atomic_write
from workbench.support.paths import state_home

_VERSION = 1
_SIZE_LIMIT = 4_000_000  # bytes; a file larger than this is not ours


class Session:
    """Sections of JSON values by name (`app`, `runs`, `compose`, …), kept in one file a runs directory.

    A file that is missing, damaged or of another version starts an empty session; one that cannot be written
    is done without. Values are shown to the reader as they were kept: check their types on the way in.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._sections: dict[str, dict[str, Any]] = _read(path) if path is not None else {}
        self._lock = threading.RLock()  # a signal handler may save while its own thread does
        self._dirty = False

    def section(self, name: str) -> dict[str, Any]:
        """A copy of what was kept under `name`; empty where nothing was."""
        return dict(self._sections.get(name, {}))

    def keep(self, name: str, values: Mapping[str, Any]) -> None:
        """Replace the section; values must be what JSON can hold. It is on disk a moment later."""
        new = dict(values)
        if self._sections.get(name) != new:
            self._sections[name] = new
            self._dirty = True

    def save(self) -> None:
        """Write what changed since the last time; may be called from a thread."""
        with self._lock:
            if not self._dirty or self._path is None:
                return
            self._dirty = False
            text = json.dumps({"version": _VERSION, **self._sections})
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(self._path, text)


def session_path(runs_home: Path) -> Path:
    """The session file that goes with a runs directory."""
    digest = hashlib.sha256(str(runs_home).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return state_home() / f"app-{digest}.json"


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            return {}
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(values, dict) or values.pop("version", None) != _VERSION:
        return {}
    return {name: section for name, section in values.items() if isinstance(section, dict)}
