"""The decoded store: every image decoded once, squashed to a square of bytes, memory-mapped ever after.

Images are decoded when something asks for them; several processes may fill one store.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Collection, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.compute import accelerator_of, is_out_of_device_memory, runs_ahead
from workbench.dataset.catalogue import Catalogue, LeftOut, heads_of
from workbench.dataset.probe import UnreadableImage
from workbench.loader.geometry import WHOLE, Floats
from workbench.loader.store_build import (
    META,
    PIXELS,
    Decoder,
    HeadDecoder,
    Rows,
    StoreMeta,
    begin,
    decode_row,
    decode_square,
    decoding_id,
    fill,
    write_at,
)
from workbench.runs.events import Message, Reporter
from workbench.support.caches import DamagedCache, discard, locked_cache, map_table, read_sealed
from workbench.support.clean import clean
from workbench.support.digests import fingerprint
from workbench.support.errors import RunFailed, UserError
from workbench.support.locks import beside
from workbench.support.regular_file import regular_descriptor
from workbench.support.spans import Part, span, spanned


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """The array as a tensor on `device`; on the CPU it may share the array's memory.

    Where the host runs ahead it goes through pinned memory: it would wait for a copy from pageable memory.
    """
    tensor = accelerator_of(device).pinned(torch.from_numpy(np.ascontiguousarray(array)))
    return tensor.to(device, non_blocking=runs_ahead(device))


_RESIDENT_SHARE = 0.25
"""Most of a device's free memory that a resident store may take: the rest is for training."""

_COPY_ROWS = 256

DECODING = "decode images"

Boxes = NDArray[np.float32]
"""(B, 4) left, top, right, bottom as fractions, as in `Samples`."""


def stored_side(image_size: int, scale: float | None = None) -> int:
    """Side S of the stored squares for views of this size: 256 for 224, what the plain crop is cut from.

    Args:
        scale: `data.store_scale`.
    """
    return round(image_size * (8 / 7 if scale is None else scale))


@dataclass(eq=False)
class ImageStore:
    """N images as squares of bytes, by their position in the catalogue. Only where they lie ever changes."""

    pixels: NDArray[np.uint8]
    """(N, 3, S, S), memory-mapped and read-only; black where `unreadable`."""
    sizes: NDArray[np.int64]
    """(N, 2) true width and height of each image in pixels; 0 of one that is not decoded yet."""
    unreadable: tuple[LeftOut, ...]
    """Images that could not be decoded, as far as that was tried; nothing may train on or be scored with
    them."""
    unreadable_positions: NDArray[np.int64]
    """(K,) ascending positions of `unreadable`."""
    resident: Tensor | None = None
    """(N, 3, S, S) uint8 copy in the memory of a device."""
    guard: RowGuard | None = None
    """Checks rows as they are first used; None of pixels that come from no disk."""
    heads: HeadStore | None = None
    """Squares of the heads alone; without them a head is a part of its image's square."""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def side(self) -> int:
        """S in pixels."""
        return int(self.pixels.shape[-1])

    def fill(self, positions: NDArray[np.int64], task: str = DECODING) -> None:
        """Decode those of these images that are not there yet, and say which cannot be.

        Args:
            task: what the reporter calls it.

        Raises:
            UserError: an image file that is gone or changed; none of these can be decoded.
            RunFailed: the disk filled up, or another process made the store anew.
        """
        if self.guard is None:
            return
        self.guard.fill(positions, task)
        self.unreadable, self.unreadable_positions = self.guard.unreadable
        self.guard.report_unreadable(positions)

    def fill_heads(self, positions: NDArray[np.int64]) -> None:
        """The same for the heads of these images. Raises: as `fill`."""
        if self.heads is not None:
            rows = self.heads.rows[positions]
            self.heads.store.require(rows[rows >= 0])

    def require(self, positions: NDArray[np.int64]) -> None:
        """See that these are there, whoever forgot to ask for them. Raises: as `fill`."""
        if self.guard is not None:
            self.guard.fill(positions, DECODING)

    def readable(self, positions: NDArray[np.int64], task: str = DECODING) -> NDArray[np.int64]:
        """The positions (K,) without those of unreadable images, in their order. Raises: as `fill`."""
        self.fill(positions, task)
        return positions[~np.isin(positions, self.unreadable_positions)]

    def parts(self, positions: NDArray[np.int64], boxes: Boxes) -> tuple[Floats, Floats]:
        """(B, 2) true sizes of what `gather_parts` gathers, (B, 4) the boxes in it, as fractions."""
        self.require(positions)
        sizes, windows = self.sizes[positions].astype(np.float64), boxes.astype(np.float64)
        if self.heads is not None:
            own = self.has_own_square(boxes)
            self.heads.store.require(self.heads.rows[positions[own]])
            sizes[own] = self.heads.store.sizes[self.heads.rows[positions[own]]]
            windows[own] = WHOLE
        return sizes, windows

    def has_own_square(self, boxes: Boxes) -> NDArray[np.bool_]:
        """(B,) whether each box is a head with a square of its own."""
        if self.heads is None:
            return np.zeros(len(boxes), dtype=np.bool_)
        own: NDArray[np.bool_] = (boxes != np.array(WHOLE, dtype=boxes.dtype)).any(axis=1)
        return own

    def gather_parts(self, positions: NDArray[np.int64], boxes: Boxes, device: torch.device) -> Tensor:
        """(B, 3, S, S) uint8 squares on `device` of images or, where the box is one, of heads."""
        own = np.flatnonzero(self.has_own_square(boxes))
        if self.heads is None or not len(own):
            return self.gather(positions, device)
        heads = self.heads.store.gather(self.heads.rows[positions[own]], device)
        if len(own) == len(positions):
            return heads
        whole = np.setdiff1d(np.arange(len(positions)), own)
        squares = torch.empty((len(positions), *heads.shape[1:]), dtype=torch.uint8, device=device)
        squares[to_device(own, device)] = heads
        squares[to_device(whole, device)] = self.gather(positions[whole], device)
        return squares

    @spanned(Part.DATA, "gather")
    def gather(self, positions: NDArray[np.int64], device: torch.device) -> Tensor:
        """(B, 3, S, S) uint8 squares on `device`; the host does not wait for it."""
        resident = self.resident  # another thread may withdraw it
        if resident is not None and _is_on(resident, device):
            accelerator_of(device).hold(resident)
            return resident.index_select(0, to_device(positions, device))
        self._check(positions)
        return to_device(self.pixels[positions], device)

    def _check(self, positions: NDArray[np.int64]) -> None:
        if self.guard is not None:
            self.guard.check(positions)

    def near(self, device: torch.device, reporter: Reporter) -> ImageStore:
        """The same store, with a copy on the device if that leaves most of its memory to training.

        Where another program takes that memory meanwhile, the store stays with the host, and that is said.
        """
        own = accelerator_of(device)
        if not own.has_own_memory or self._bytes > _RESIDENT_SHARE * own.free_bytes(device):
            return self
        try:
            return self.to(device)
        except RuntimeError as error:
            if not is_out_of_device_memory(error):
                raise
        own.release(device)
        reporter.event(Message("warning", "out of device memory: the decoded images stay with the host"))
        return self

    @property
    def _bytes(self) -> int:
        return self.pixels.nbytes + (0 if self.heads is None else self.heads.store.pixels.nbytes)

    def withdraw(self) -> bool:
        """Give the device's memory back: from now on images come from the host. False: there was none."""
        was_near = self.resident is not None
        self.resident = None
        if self.heads is not None:
            was_near = self.heads.store.withdraw() or was_near
        return was_near

    def to(self, device: torch.device) -> ImageStore:
        """The same store with a copy on `device`; one that shares the host's memory reads the map."""
        if not accelerator_of(device).has_own_memory:
            return self
        resident = torch.empty(self.pixels.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self), _COPY_ROWS):
            rows = slice(start, start + _COPY_ROWS)
            self._check(np.arange(len(self))[rows])
            resident[rows] = to_device(np.array(self.pixels[rows]), device)
        heads = self.heads and replace(self.heads, store=self.heads.store.to(device))
        return replace(self, resident=resident, heads=heads)


@dataclass(frozen=True, eq=False)
class HeadStore:
    """Squares of the heads in a catalogue's images, cut from their files."""

    store: ImageStore
    """M heads."""
    rows: NDArray[np.int64]
    """(N,) the head of each image; -1 where it has none."""

    @classmethod
    def of(cls, store: ImageStore, positions: Collection[int], images: int) -> HeadStore:
        """A store of the heads of the images at these positions, in order."""
        rows = np.full(images, -1, dtype=np.int64)
        rows[list(positions)] = np.arange(len(positions))
        return cls(store, rows)


def _is_on(tensor: Tensor, device: torch.device) -> bool:
    """Whether the tensor lies on the device; one without a number, "cuda", takes any of its kind."""
    return tensor.device.type == device.type and device.index in (None, tensor.device.index)


@spanned(Part.STORE)
def open_store(
    catalogue: Catalogue,
    image_size: int,
    *,
    cache: Path,
    reporter: Reporter,
    decode: Decoder = decode_square,
    scale: float | None = None,
    with_heads: bool = False,
    by_need: bool = False,
) -> ImageStore:
    """The store of a catalogue for views of `image_size`, with all images decoded unless told otherwise.

    A store is known by what the images hold. Of two runs that need the same rows, one decodes them; the other
    waits and says so. A damaged store, or one whose builder was killed, is built again; a damaged row is
    decoded again as it is first used. Unreadable images are reported by name.

    Args:
        scale: `data.store_scale`.
        with_heads: keep squares of the heads, too, in a store of their own.
        by_need: decode nothing yet: `fill` and `readable` do.

    Raises:
        UserError: too little free space, a cache that cannot be written, an image file that is gone, or no
            image that can be decoded.
        RunFailed: the disk filled up while building.
    """
    side = stored_side(image_size, scale)
    catalogue.know_contents(reporter)
    folder = cache / "stores" / f"{fingerprint([catalogue.pixels, decoding_id()])}-{side}"
    store = _opened(folder, catalogue, side, decode, reporter)
    if with_heads:
        store = replace(store, heads=_open_heads(catalogue, side, cache, reporter))
    if not by_need:
        store.fill(every := np.arange(len(store)))
        store.fill_heads(every)
    return store


def _open_heads(catalogue: Catalogue, side: int, cache: Path, reporter: Reporter) -> HeadStore | None:
    boxes = heads_of(catalogue.records)
    if not boxes:
        return None
    few = catalogue.subset(list(boxes))
    decode = HeadDecoder({catalogue.records[i].path: box for i, box in boxes.items()}, catalogue.scale)
    named = [few.pixels, decoding_id(), str(catalogue.scale), [astuple(box) for box in boxes.values()]]
    folder = cache / "stores" / f"{fingerprint(named)}-heads-{side}"
    return HeadStore.of(_opened(folder, few, side, decode, reporter), boxes, len(catalogue))


def _opened(folder: Path, catalogue: Catalogue, side: int, decode: Decoder, reporter: Reporter) -> ImageStore:
    store = _load(folder, catalogue, side, decode, reporter)
    if store is None:
        with _locked(folder, reporter):
            # Whoever held the lock may have built it.
            store = _load(folder, catalogue, side, decode, reporter, quiet=True)
            if store is None:
                begin(folder, len(catalogue), side)
                store = _load(folder, catalogue, side, decode, reporter)
    if store is None:
        raise UserError(
            "the decoded store cannot be read back", where=clean(folder), hint="Is the disk sound?"
        )
    return store


def _load(
    folder: Path, catalogue: Catalogue, side: int, decode: Decoder, reporter: Reporter, *, quiet: bool = False
) -> ImageStore | None:
    """The store in `folder`, or None where it is missing, unfinished or damaged; damage is reported."""
    try:
        content = read_sealed(folder / META)
        pixels = map_table(folder / PIXELS, (len(catalogue), 3, side, side), np.uint8)
        if content is None:
            return None
        meta = StoreMeta.model_validate_json(content)
        rows = Rows.of(meta)
        if pixels is None or len(rows.sizes) != len(catalogue):
            raise DamagedCache("its files do not belong together")
        if meta.store != folder.name:
            raise DamagedCache(f"{META} is another store's")
    except (DamagedCache, ValueError) as error:
        reason = error.reason if isinstance(error, DamagedCache) else f"{META} is not one of this version"
        if not quiet:
            text = f"The decoded store {clean(folder)} is damaged ({clean(reason)}); building it again."
            reporter.event(Message("warning", text))
        return None
    guard = RowGuard(folder, np.asarray(pixels), rows, catalogue, decode, reporter)
    return ImageStore(np.asarray(pixels), rows.sizes, *guard.unreadable, guard=guard)


class RowGuard:
    """Fills a store's rows, and compares each with its checksum once, before a run first uses it.

    A damaged row is decoded again from its image, in the file, too. Of some threads that ask at once each
    checks for itself: that is quicker than to wait.
    """

    def __init__(
        self,
        folder: Path,
        pixels: NDArray[np.uint8],
        rows: Rows,
        catalogue: Catalogue,
        decode: Decoder,
        reporter: Reporter,
    ) -> None:
        self._folder, self._pixels, self._rows = folder, pixels, rows
        self._file = _identity(folder / PIXELS)
        self._told: set[int] = set()
        self._catalogue, self._decode, self._reporter = catalogue, decode, reporter
        self._is_sound = np.zeros(len(pixels), dtype=np.bool_)

    @property
    def unreadable(self) -> tuple[tuple[LeftOut, ...], NDArray[np.int64]]:
        """The images known to be unreadable, and their positions (K,), ascending."""
        positions, records = sorted(self._rows.reasons), self._catalogue.records
        images = tuple(LeftOut(records[p].id, self._rows.reasons[p]) for p in positions)
        return images, np.array(positions, dtype=np.int64)

    def fill(self, positions: NDArray[np.int64], task: str) -> None:
        """Decode those of these images that are not there yet, and that no other process does first.

        Raises:
            UserError: an image file that is gone or changed, or a cache that cannot be written.
            RunFailed: the disk filled up, or another process made the store anew.
        """
        if self._rows.is_there[positions].all():
            return
        with span(Part.STORE), _locked(self._folder, self._reporter):
            self._catch_up()
            absent = np.unique(positions[~self._rows.is_there[positions]]).tolist()
            if absent:
                own = self._catalogue, absent, self._pixels.shape[-1], self._decode, self._rows
                fill(self._folder, *own, self._reporter, task)

    def _catch_up(self) -> None:
        """Learn what other processes have decoded meanwhile."""
        if _identity(self._folder / PIXELS) != self._file:
            raise RunFailed(
                f"the decoded store {clean(self._folder)} was removed or made anew while this run used it",
                advice="resume the run",
            )
        with contextlib.suppress(DamagedCache, ValueError):  # it is written anew from what is known here
            content = read_sealed(self._folder / META)
            meta = None if content is None else StoreMeta.model_validate_json(content)
            if meta is not None and meta.store == self._folder.name:
                others = Rows.of(meta)
                if len(others.sizes) == len(self._catalogue):
                    self._rows.learn(others)

    def report_unreadable(self, positions: NDArray[np.int64]) -> None:
        """Say by name, once, which of these images cannot be decoded. Raises: UserError, where all cannot."""
        rows, records = self._rows, self._catalogue.records
        images = [
            (p, LeftOut(records[p].id, rows.reasons[p])) for p in positions.tolist() if p in rows.reasons
        ]
        if not images:
            return
        if len(images) == len(positions):
            first = images[0][1]
            raise UserError(
                f"none of the images ({len(images):,}) can be decoded; "
                f"{clean(first.id)}: {clean(first.reason)}"
            )
        new = [image for position, image in images if position not in self._told]
        self._told.update(position for position, _ in images)
        if not new:
            return
        names = "; ".join(f"{clean(image.id)}: {clean(image.reason)}" for image in new)
        count = len(new)
        told = (
            "1 image cannot be decoded and is"
            if count == 1
            else f"{count:,} images cannot be decoded and are"
        )
        self._reporter.event(Message("warning", f"{told} left out. {names}"))

    def check(self, positions: NDArray[np.int64]) -> None:
        """Make sure that these rows are there and are what was decoded.

        Raises:
            RunFailed: a row is not, and cannot be made so.
        """
        self.fill(positions, DECODING)
        unseen = np.unique(positions[~self._is_sound[positions]])
        damaged = [p for p in unseen.tolist() if zlib.crc32(self._pixels[p]) != self._rows.checksums[p]]
        if damaged:
            self._mend(damaged)
        self._is_sound[unseen] = True

    def _mend(self, damaged: list[int]) -> None:
        for position in damaged:
            self._write(position, self._decoded(position))
        names = ", ".join(clean(self._catalogue.ids[p], 60) for p in damaged[:3])
        text = (
            f"{len(damaged)} rows of the decoded store {clean(self._folder)} were damaged; "
            f"decoded again: {names}{', …' if len(damaged) > 3 else ''}"
        )
        self._reporter.event(Message("warning", text))

    def _decoded(self, position: int) -> bytes:
        """The row as it was. Raises: RunFailed."""
        side = self._pixels.shape[-1]
        try:
            row = decode_row(self._catalogue, position, side, self._decode).pixels.tobytes()
        except UnreadableImage:
            row = bytes(3 * side * side)  # as of every image that cannot be decoded
        except UserError as error:
            raise RunFailed(f"a row of the decoded store is damaged, and {error}") from error
        if zlib.crc32(row) != self._rows.checksums[position]:
            with contextlib.suppress(OSError):
                discard(self._folder / META)
            raise RunFailed(
                f"{clean(self._catalogue.ids[position], 60)} is decoded otherwise than before",
                advice="the decoded store is built anew when the run is resumed",
            )
        return row

    def _write(self, position: int, row: bytes) -> None:
        path = self._folder / PIXELS
        try:
            file = regular_descriptor(path, os.O_RDWR)
            try:
                write_at(file, row, os.fstat(file).st_size - len(row) * (len(self._pixels) - position))
            finally:
                os.close(file)
        except OSError as error:
            raise RunFailed(
                f"a damaged row of the decoded store cannot be mended: {error.strerror or error}",
                advice=f"delete {clean(self._folder)}, or set PETBENCH_CACHE to another directory",
            ) from error
        if zlib.crc32(self._pixels[position]) != self._rows.checksums[position]:
            raise RunFailed(
                f"the decoded store {clean(self._folder)} does not keep what is written to it",
                advice="the disk may be failing: set PETBENCH_CACHE to another, then resume the run",
            )


@contextlib.contextmanager
def _locked(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the store's lock; the kernel frees it when its holder dies."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(
                locked_cache(
                    beside(folder),
                    lambda: reporter.event(
                        Message("info", "Another run is decoding these images; waiting for it to finish.")
                    ),
                )
            )
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror}",
                where=clean(folder),
                hint="Set PETBENCH_CACHE to another directory.",
            ) from error
        yield


def _identity(path: Path) -> tuple[int, int] | None:
    """Equal as long as the very same file lies there; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
