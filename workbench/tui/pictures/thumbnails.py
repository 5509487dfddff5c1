"""Thumbnails kept on disk: a page of Inspect is there at once when it was looked at before."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.support.caches import DamagedCache, clear_way, read_sealed, sealed
from workbench.support.paths import cache_home
from workbench.tui.pictures.blocks import Blocks, Pixels, fit, shrink

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDES = (48, 96, 192, 384)
"""Longest sides kept, in pixels. Few, so that a window being resized finds what it had."""
_QUALITY = 92
_THREADS = 2  # decoding releases the GIL; a run in training needs the other cores
_MAX_BYTES = 256 * 1024 * 1024
_SWEEP_EVERY = 500  # new thumbnails between looks at the folder's size
_TOUCH_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A file at a size in cells, or the reason why it cannot be shown."""

    path: Path
    pixels: Pixels | None
    reason: str = ""


class Thumbnails:
    """Small copies of image files below `folder`, made when first wanted; safe to delete at any time.

    A copy's name is made from the file's path and how it looks from outside, so that a replaced file gets a
    new one. Several threads and processes may use one folder.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        blocks: Blocks = Blocks.QUADRANT,
        max_bytes: int = _MAX_BYTES,
    ) -> None:
        """Nothing is read or made yet.

        Args:
            folder: default below the cache home.
            blocks: what they are drawn with.
            max_bytes: those unused longest go beyond this.
        """
        self._blocks = blocks
        self._folder = folder or cache_home() / "thumbnails"
        self._max_bytes = max_bytes
        self._made = 0

    def many(
        self, paths: Sequence[Path], columns: int, rows: int, *, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[Thumbnail]:
        """The files fitted into columns × rows cells, in the order in which they are ready.

        Args:
            stopped: asked between two files; once true nothing more comes.
        """
        if len(paths) == 1:
            yield self.one(paths[0], columns, rows)
            return
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="thumbnails") as pool:
            waiting = [pool.submit(self.one, path, columns, rows) for path in paths]
            for done in as_completed(waiting):
                if stopped():
                    pool.shutdown(wait=False, cancel_futures=True)
                    return
                yield done.result()

    def one(self, path: Path, columns: int, rows: int) -> Thumbnail:
        """One file, fitted into columns × rows cells."""
        from workbench.dataset.probe import UnreadableImage

        try:
            small = self._small(path, _side(columns, rows, self._blocks))
        except UnreadableImage as error:
            return Thumbnail(path, None, error.reason)
        return Thumbnail(path, shrink(small, *fit(small.size, columns, rows), self._blocks))

    def _small(self, path: Path, side: int) -> Image:
        """The copy of a file with this longest side; from disk, or made and kept."""
        from PIL import Image as Pillow

        from workbench.dataset.probe import decode_image

        kept = self._place(path, side)
        if kept is not None:
            # A damaged copy is made again.
            with contextlib.suppress(DamagedCache, OSError, ValueError, SyntaxError):
                small = Pillow.open(io.BytesIO(read_sealed(kept) or b""), formats=["JPEG"])
                small.load()
                _touch(kept)
                return small
        image = Pillow.fromarray(decode_image(path))
        image.thumbnail((side, side), Pillow.Resampling.LANCZOS)
        if kept is not None:
            with contextlib.suppress(OSError):  # a full disk costs time, not pictures
                self._keep(kept, image)
        return image

    def _place(self, path: Path, side: int) -> Path | None:
        """Where the copy belongs; None when the file cannot even be looked at."""
        from workbench.dataset.contents import stamp_of

        try:
            stamp = stamp_of(path)
        except (OSError, ValueError):
            return None
        told = f"{stamp} ".encode() + os.fsencode(path)
        digest = hashlib.sha256(told).hexdigest()[:32]
        return self._folder / digest[:2] / f"{digest[2:]}-{side}.sealed"

    def _keep(self, place: Path, image: Image) -> None:
        # Renamed into place, but not forced to disk as atomic_write does: making it anew takes less.
        stream = io.BytesIO()
        image.convert("RGB").save(stream, "JPEG", quality=_QUALITY, subsampling=0)
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary = place.with_name(f".{place.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        temporary.write_bytes(sealed(stream.getvalue()))
        clear_way(place)
        temporary.replace(place)
        self._made += 1
        if self._made % _SWEEP_EVERY == 1:
            self.sweep()

    def sweep(self) -> None:
        """Where the allowed size is exceeded, delete what was unused longest until four fifths are left."""
        found: list[tuple[float, int, Path]] = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in found)
        if total <= self._max_bytes:
            return
        for _, size, path in sorted(found, key=lambda item: item[0]):
            if total <= 0.8 * self._max_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size


def _side(columns: int, rows: int, blocks: Blocks) -> int:
    """The smallest kept side from which columns × rows cells can be drawn sharply."""
    needed = 1.5 * max(blocks.across * columns, blocks.down * rows)
    return next((side for side in _SIDES if side >= needed), _SIDES[-1])


def _touch(kept: Path) -> None:
    """Mark a copy as used, once a day at most."""
    now = time.time()
    if now - kept.stat().st_mtime > _TOUCH_SECONDS:
        os.utime(kept, (now, now))
