"""Building a decoded store: images decoded by threads, written so that a crash leaves nothing half done."""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.probe import UnreadableImage
from workbench.loader.decoding import Decoder
from workbench.runs.events import Reporter
from workbench.support.atomic import atomic_path, atomic_write
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError
from workbench.support.units import human_bytes

PIXELS = "pixels.npy"
META = "meta.json"

Result = TypeVar("Result")

_SPARE_BYTES = 32 * 2**20
"""Left free beside the store: the run directory may lie on the same disk."""

_PROGRESS_EVERY = 16


class Unreadable(BaseModel):
    """An image that could not be decoded; its row of the store is black."""

    model_config = ConfigDict(frozen=True)

    position: int
    id: str
    reason: str


class StoreMeta(BaseModel):
    """`meta.json`, written after the pixels: a store without it was never finished."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    """Raised when decoding, resizing or the layout change, so that older stores are built again."""
    pixels_bytes: int
    sizes: list[tuple[int, int]]
    """(width, height) of every image before it was squashed."""
    unreadable: list[Unreadable]


def build(folder: Path, catalogue: Catalogue, side: int, decode: Decoder, reporter: Reporter) -> None:
    """Write `pixels.npy`, (N, 3, side, side) uint8, and `meta.json` into `folder`, replacing what is there.

    Whoever calls holds the store's lock.

    Raises:
        UserError: too little free space, a cache that cannot be written, or an image file that is gone.
        RunFailed: the disk filled up on the way.
    """
    needed = len(catalogue) * 3 * side * side
    try:
        _clear(folder)
        _require_space(folder, needed)
        with atomic_path(folder / PIXELS) as temporary:
            sizes, unreadable = _decode_all(temporary, catalogue, side, decode, reporter)
        written = (folder / PIXELS).stat().st_size
        meta = StoreMeta(pixels_bytes=written, sizes=sizes, unreadable=unreadable)
        atomic_write(folder / META, meta.model_dump_json())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunFailed(
                f"the disk filled up: the decoded store needs {human_bytes(needed)} in {clean(folder)}",
                advice="Free some space or set PETBENCH_CACHE to a larger disk, then resume the run.",
            ) from error
        raise UserError(
            f"cannot be written: {error.strerror}",
            where=clean(folder),
            hint="Set PETBENCH_CACHE to another directory.",
        ) from error


def _clear(folder: Path) -> None:
    """Remove a damaged store and what killed builders left; runs that have its pixels mapped keep them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (META, PIXELS):
        (folder / name).unlink(missing_ok=True)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise UserError(
            f"the decoded store needs {human_bytes(needed)} and only {human_bytes(free)} is free",
            where=clean(folder),
            hint="Free some space or set PETBENCH_CACHE to a larger disk.",
        )


@dataclass(frozen=True)
class _Filler:
    """Decodes images into the rows of an open .npy file; threads share it, since each writes its own row."""

    catalogue: Catalogue
    side: int
    decode: Decoder
    file: int
    """Descriptor."""
    start: int
    """Where the first row begins, in bytes."""

    def fill(self, position: int) -> tuple[int, int] | Unreadable:
        """Write the row of one image; returns its (width, height), or why there is none.

        Raises:
            UserError: the image file is gone.
            OSError: the row cannot be written.
        """
        record = self.catalogue.records[position]
        try:
            square = self.decode(record.path, self.side)
        except UnreadableImage as error:
            if not record.path.is_file():  # not the image's fault: a store must not remember this
                raise UserError(
                    "the image is gone",
                    where=clean(record.path),
                    hint="petbench data check tells what else changed.",
                ) from error
            return Unreadable(position=position, id=record.id, reason=str(error))
        # Not through a memory map: on a full disk that ends the process with SIGBUS, this with an error.
        _write_at(self.file, square.pixels.tobytes(), self.start + position * square.pixels.nbytes)
        return square.width, square.height


def _decode_all(
    path: Path, catalogue: Catalogue, side: int, decode: Decoder, reporter: Reporter
) -> tuple[list[tuple[int, int]], list[Unreadable]]:
    """Write the .npy file at `path`; returns the images' true sizes and those that could not be decoded."""
    shape = (len(catalogue), 3, side, side)
    sizes = [record.size for record in catalogue.records]
    unreadable: list[Unreadable] = []
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
        stream.flush()
        filler = _Filler(catalogue, side, decode, stream.fileno(), stream.tell())
        stream.truncate(filler.start + math.prod(shape))
        for done, (position, outcome) in enumerate(_in_threads(filler.fill, len(catalogue)), 1):
            if isinstance(outcome, Unreadable):
                unreadable.append(outcome)
            else:
                sizes[position] = outcome
            if done % _PROGRESS_EVERY == 0 or done == len(catalogue):
                reporter.progress("decode images", done, len(catalogue))
    return sizes, sorted(unreadable, key=lambda image: image.position)


def _in_threads(work: Callable[[int], Result], count: int) -> Iterator[tuple[int, Result]]:
    """(i, work(i)) for i under `count`, as they are done; an error or an interrupt drops what has not begun.

    Threads are enough: PIL lets go of the interpreter's lock while it decodes and resizes.
    """
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="decode")
    try:
        futures = {pool.submit(work, i): i for i in range(count)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _write_at(file: int, data: bytes, offset: int) -> None:
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
