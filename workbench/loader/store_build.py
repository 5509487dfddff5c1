"""Filling a decoded store: images decoded by threads, as they are asked for, and a record of what is there.

Pixels are written in place and the sidecar after them, whole each time: a row that a crash leaves half
written is not among those that are there.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from workbench.dataset.catalogue import Catalogue, HeadBox, kept_part
from workbench.dataset.contents import still_holds
from workbench.dataset.depth import Scale
from workbench.dataset.probe import UnreadableImage, decode_bytes, read_bytes
from workbench.runs.events import Reporter
from workbench.support.atomic import atomic_path
from workbench.support.caches import discard, make_folder, table_header, write_sealed
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError
from workbench.support.regular_file import regular_descriptor
from workbench.support.units import human_bytes


@dataclass(frozen=True, slots=True)
class Square:
    """An image squashed to a square, and what it was before."""

    pixels: NDArray[np.uint8]
    """(3, S, S) red, green, blue."""
    width: int
    height: int
    """Of what was squashed: the image, the middle of a long one, or a head."""


Decoder = Callable[[Path, int, Scale | None], Square]
"""(file, S, the data set's scale) -> square; raises `UnreadableImage` alone, for a file without a picture."""

_FORMAT = 2
"""Raised when decoding or resizing change."""


def decoding_id() -> str:
    """Names how squares are made: stores and features of squares made otherwise are made anew."""
    return f"{_FORMAT}-pillow-{PIL.__version__}"


def decode_square(path: Path, side: int, scale: Scale | None = None) -> Square:
    """Decode with PIL and resize what is kept of the image, bicubic over all pixels of an output pixel.

    A large JPEG is decoded at a reduced scale first, where that suffices.

    Raises:
        UnreadableImage: the file is missing or holds no picture that can be decoded.
    """
    decoded = decode_bytes(read_bytes(path), scale, side=side)
    return square_of(decoded.pixels, side, decoded.header.size)


@dataclass(frozen=True, slots=True)
class HeadDecoder:
    """A `Decoder` of heads alone, each cut from its file's own pixels: an image's square has far fewer."""

    heads: Mapping[Path, HeadBox]
    """In fractions of what is kept of the image."""
    scale: Scale | None
    """Of the whole data set, whichever images of it have heads."""

    def __call__(self, path: Path, side: int, scale: Scale | None = None) -> Square:
        """The head's square. Raises: UnreadableImage."""
        head = self.heads[path]
        least = min(head.right - head.left, head.bottom - head.top)
        decoded = decode_bytes(read_bytes(path), self.scale, side=math.ceil(side / least))
        return square_of(decoded.pixels, side, decoded.header.size, head)


def square_of(
    pixels: NDArray[np.uint8],
    side: int,
    size: tuple[int, int] | None = None,
    head: HeadBox | None = None,
) -> Square:
    """Squash what is kept of (H, W, 3) uint8 pixels to side x side, as the store keeps them.

    Args:
        size: (width, height) of the image, where it was decoded at a reduced scale.
        head: squash this alone, in fractions of what is kept; to whole pixels outwards.
    """
    across, down = pixels.shape[1], pixels.shape[0]
    width, height = size or (across, down)
    left, top, right, bottom = kept_part((width, height))
    if head is not None:
        wide, high = right - left, bottom - top
        right, bottom = left + math.ceil(head.right * wide), top + math.ceil(head.bottom * high)
        left, top = left + math.floor(head.left * wide), top + math.floor(head.top * high)
    columns = slice(left * across // width, right * across // width)
    rows = slice(top * down // height, bottom * down // height)
    kept = Image.fromarray(np.ascontiguousarray(pixels[rows, columns]))
    resized = np.asarray(kept.resize((side, side), Image.Resampling.BICUBIC))
    return Square(np.ascontiguousarray(resized.transpose(2, 0, 1)), right - left, bottom - top)


PIXELS = "pixels.npy"
META = "meta.sealed"

Result = TypeVar("Result")

_SPARE_BYTES = 32 * 2**20
"""Left free beside the store: the run directory may lie on the same disk."""

_PROGRESS_EVERY = 16

_RECORD_ROWS = 4096
"""Rows between two writes of the sidecar: what a crash costs."""

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Unreadable(BaseModel):
    """An image that could not be decoded; its row of the store is black."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    position: int
    reason: str


class StoreMeta(BaseModel):
    """`meta.sealed`: what is known of a store's rows, and which are there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[2] = 2
    """Raised when the layout changes, so that older stores are built again."""
    store: str = ""
    """The folder's name: one from another store is as well-formed, and of other pixels."""
    sizes: list[tuple[int, int]]
    """(width, height) of what was squashed of every image."""
    checksums: list[int]
    """CRC-32 of each row of pixels."""
    unreadable: list[Unreadable]
    absent: list[int] = []
    """Positions of the rows that nothing has asked for yet: they are not there."""


@dataclass(frozen=True, eq=False)
class Rows:
    """What a process knows of a store's rows, by position. Grows as rows are decoded, here or elsewhere."""

    sizes: NDArray[np.int64]
    """(N, 2) width and height of what was squashed; 0 of rows that are not there."""
    checksums: NDArray[np.uint32]
    """(N,) CRC-32."""
    is_there: NDArray[np.bool_]
    """(N,) whether the row has been written; black where the image is unreadable."""
    reasons: dict[int, str]
    """Position of each unreadable image, and why it is."""

    @classmethod
    def none(cls, images: int) -> Rows:
        """Of a store in which nothing is there yet."""
        sizes, checksums = np.zeros((images, 2), dtype=np.int64), np.zeros(images, dtype=np.uint32)
        return cls(sizes, checksums, np.zeros(images, dtype=np.bool_), {})

    @classmethod
    def of(cls, meta: StoreMeta) -> Rows:
        """As the sidecar tells. Raises: ValueError, of one that contradicts itself."""
        sizes = np.array(meta.sizes, dtype=np.int64).reshape(-1, 2)
        rows = cls(sizes, np.array(meta.checksums, dtype=np.uint32), np.ones(len(sizes), dtype=np.bool_), {})
        told = [*meta.absent, *(image.position for image in meta.unreadable)]
        if len(rows.checksums) != len(sizes) or any(not 0 <= position < len(sizes) for position in told):
            raise ValueError("its numbers do not belong together")
        rows.is_there[meta.absent] = False
        rows.reasons.update({image.position: image.reason for image in meta.unreadable})
        return rows

    def meta(self, store: str) -> StoreMeta:
        """For the sidecar of the store of that name."""
        return StoreMeta(
            store=store,
            sizes=[(width, height) for width, height in self.sizes.tolist()],
            checksums=self.checksums.tolist(),
            unreadable=[
                Unreadable(position=position, reason=self.reasons[position])
                for position in sorted(self.reasons)
            ],
            absent=np.flatnonzero(~self.is_there).tolist(),
        )

    def learn(self, other: Rows) -> None:
        """Take over what another process has written meanwhile."""
        new = other.is_there & ~self.is_there
        self.sizes[new], self.checksums[new] = other.sizes[new], other.checksums[new]
        self.reasons.update({p: reason for p, reason in other.reasons.items() if new[p]})
        self.is_there[new] = True


def begin(folder: Path, images: int, side: int) -> None:
    """Make a store without rows in `folder`, replacing what is there: (N, 3, side, side) uint8.

    Whoever calls holds the store's lock.

    Raises:
        UserError: too little free space, or a cache that cannot be written.
        RunFailed: the disk filled up on the way.
    """
    with disk_told(folder, needed := images * 3 * side * side):
        _clear(folder)
        _require_space(folder, needed)
        with atomic_path(folder / PIXELS) as temporary, temporary.open("wb") as stream:
            stream.truncate(stream.write(table_header((images, 3, side, side), np.uint8)) + needed)
        _write_down(folder, Rows.none(images))


def fill(
    folder: Path,
    catalogue: Catalogue,
    positions: Sequence[int],
    side: int,
    decode: Decoder,
    rows: Rows,
    reporter: Reporter,
    task: str,
) -> None:
    """Decode the images at these positions into the store in `folder`, and into `rows`.

    Whoever calls holds the store's lock. What was decoded before an error or an interrupt stays.

    Args:
        task: what the reporter calls it.

    Raises:
        UserError: a cache that cannot be written, or an image file that is gone or changed meanwhile.
        RunFailed: the disk filled up on the way.
    """
    whole = len(catalogue) * 3 * side * side
    with disk_told(folder, whole):
        try:
            file = regular_descriptor(folder / PIXELS, os.O_RDWR)
            try:
                filler = _Filler(catalogue, side, decode, file, os.fstat(file).st_size - whole)
                for start in range(0, len(positions), _RECORD_ROWS):
                    chunk = positions[start : start + _RECORD_ROWS]
                    try:
                        for done, outcome in enumerate(_in_threads(filler.fill, chunk), start + 1):
                            filler.note(*outcome, rows)
                            if done % _PROGRESS_EVERY == 0 or done == len(positions):
                                reporter.progress(task, done, len(positions))
                    finally:
                        os.fsync(file)
                        _write_down(folder, rows)
            finally:
                os.close(file)
        except OSError as error:
            if error.errno in _FULL and not rows.is_there.any():
                _clear(folder)  # what is of no use shall not keep the disk full
            raise


def _write_down(folder: Path, rows: Rows) -> None:
    write_sealed(folder / META, rows.meta(folder.name).model_dump_json().encode())


@contextlib.contextmanager
def disk_told(folder: Path, needed: int) -> Iterator[None]:
    """Within, what the disk refuses is told in words. Raises: UserError, RunFailed."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
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
    make_folder(folder)
    for name in (META, PIXELS):
        discard(folder / name)
    for leftover in folder.glob(".*.tmp"):
        discard(leftover)


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE_BYTES:
        raise UserError(
            f"the decoded store needs {human_bytes(needed)} and only {human_bytes(free)} is free",
            where=clean(folder),
            hint="Free some space or set PETBENCH_CACHE to a larger disk.",
        )


@dataclass(frozen=True, slots=True)
class Row:
    """What a row was made of, and the checksum of what it became."""

    width: int
    height: int
    checksum: int


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

    def fill(self, position: int) -> Row | Unreadable:
        """Write the row of one image, or say why there is none.

        Raises:
            UserError: the image file is gone or changed.
            OSError: the row cannot be written.
        """
        try:
            square = decode_row(self.catalogue, position, self.side, self.decode)
        except UnreadableImage as error:
            return Unreadable(position=position, reason=str(error))
        data = square.pixels.tobytes()
        # Not through a memory map: on a full disk that ends the process with SIGBUS, this with an error.
        write_at(self.file, data, self.start + position * len(data))
        return Row(square.width, square.height, zlib.crc32(data))

    def note(self, position: int, outcome: Row | Unreadable, rows: Rows) -> None:
        """Know of a row that is there now; a file's space reads as black where nothing was written."""
        if isinstance(outcome, Unreadable):
            rows.reasons[position] = outcome.reason
            rows.sizes[position] = self.catalogue.records[position].size
            rows.checksums[position] = zlib.crc32(bytes(3 * self.side**2))
        else:
            rows.sizes[position] = outcome.width, outcome.height
            rows.checksums[position] = outcome.checksum
        rows.is_there[position] = True


def decode_row(catalogue: Catalogue, position: int, side: int, decode: Decoder) -> Square:
    """The square of an image, of the very content that the catalogue's fingerprint speaks of.

    Raises:
        UnreadableImage: it holds no picture that can be decoded.
        UserError: its file is gone, or another than when its content was read.
    """
    record = catalogue.records[position]
    try:
        square = decode(record.path, side, catalogue.scale)
    except UnreadableImage:
        _require_unchanged(catalogue, position)  # a store must not remember what is not the image's fault
        raise
    _require_unchanged(catalogue, position)
    return square


def _require_unchanged(catalogue: Catalogue, position: int) -> None:
    path = catalogue.records[position].path
    if not path.is_file():
        raise UserError(
            "the image is gone", where=clean(path), hint="petbench data check tells what else changed."
        )
    if not still_holds(path, catalogue.contents[position]):
        raise UserError(
            "the image was changed while it was read",
            where=clean(path),
            hint="Start again when nothing writes there any more.",
        )


def _in_threads(work: Callable[[int], Result], items: Sequence[int]) -> Iterator[tuple[int, Result]]:
    """(i, work(i)) of each item, as they are done; an error or an interrupt drops what has not begun.

    Threads are enough: PIL lets go of the interpreter's lock while it decodes and resizes.
    """
    pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="decode")
    try:
        futures = {pool.submit(work, i): i for i in items}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def write_at(file: int, data: bytes, offset: int) -> None:
    """Write all of `data`. Raises: OSError."""
    while data:
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written
