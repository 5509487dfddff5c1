"""The app's own log: tracebacks that the screen does not show."""

from __future__ import annotations

import contextlib
import traceback
from datetime import datetime
from pathlib import Path

from workbench.support.paths import state_home

_SIZE_LIMIT = 1_000_000  # bytes; then the log starts anew


def log_fault(error: BaseException) -> Path:
    """Append the traceback; where the log cannot be written, the app goes on all the same.

    Returns:
        the log's path.
    """
    path = state_home() / "app.log"
    story = "".join(traceback.format_exception(error))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        grown = path.exists() and path.stat().st_size > _SIZE_LIMIT
        with path.open("w" if grown else "a", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(f"{datetime.now():%Y-%m-%d %H:%M:%S}\n{story}\n")
    return path
