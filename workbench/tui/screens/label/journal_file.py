"""The journal of a folder on the screen: strokes one after the other, and looks for what others write."""

from __future__ import annotations

import asyncio
from pathlib import Path

from workbench.dataset.table import drawing_order, label_paths
from workbench.labels.journal import read
from workbench.labels.strokes import Stroke, make_stroke
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.screens.label.label_sheet import Tally, tally_of

_UNREAD = (-1, -1)


class JournalFile:
    """One file, and one person who writes to it here."""

    def __init__(self, path: Path, by: str) -> None:
        self.path, self._by = path, by
        self._turn = asyncio.Lock()
        self._seen: tuple[int, int] | None = _UNREAD

    @property
    def is_busy(self) -> bool:
        """Whether a stroke is on its way to the disk."""
        return self._turn.locked()

    async def write(self, stroke: Stroke) -> Tally:
        """Write a stroke, after those before it, off the event loop; the journal with it.

        Raises:
            UserError: as `make_stroke`, and where the disk takes nothing.
        """
        async with self._turn:
            return await asyncio.to_thread(self._write, stroke)

    def _write(self, stroke: Stroke) -> Tally:
        try:
            tally = tally_of(make_stroke(self.path, stroke, self._by))
        except OSError as error:
            raise UserError(
                f"nothing was written: {error.strerror or error}",
                where=clean(self.path),
                hint="make room, or make it writable, and say it again",
            ) from error
        self._seen = _look_of(self.path)
        return tally

    def look(self) -> tuple[Tally | None, str] | None:
        """The journal and what is wrong with it, if the file is another than when it was last looked at."""
        look = _look_of(self.path)
        if look == self._seen:
            return None
        self._seen = look
        try:
            return tally_of(read(self.path)), ""
        except UserError as error:
            return None, str(error)


def _look_of(path: Path) -> tuple[int, int] | None:
    """Time and size; None where there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def images_below(folder: Path) -> tuple[tuple[str, ...], str]:
    """Every image of a folder, in the order in which chance draws them, and what is wrong with it."""
    try:
        found = drawing_order(tuple(label_paths(folder)))
    except UserError as error:
        return (), str(error)
    return found, "" if found or folder.is_dir() else "the folder is not there any more"
