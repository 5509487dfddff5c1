"""The decoded store: every image decoded once, squashed to a square of bytes, memory-mapped ever after."""

from __future__ import annotations

import contextlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from workbench.dataset.catalogue import Catalogue, LeftOut
from workbench.dataset.probe import UnreadableImage
from workbench.loader.decoding import Decoder, decode_square, decoding_id
from workbench.loader.store_build import META, PIXELS, StoreMeta, build, decode_row, write_at
from workbench.loader.transfer import to_device
from workbench.runs.events import Message, Reporter
from workbench.support.caches import DamagedCache, discard, locked_cache, map_table, read_sealed
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError
from workbench.support.fingerprint import fingerprint
from workbench.support.regular_file import regular_descriptor
from workbench.support.spans import Part, spanned

_RESIDENT_SHARE = 0.25
"""Most of a device's free memory that a resident store may take: the rest is for training."""

_COPY_ROWS = 256


def stored_side(image_size: int) -> int:
    """Side S of the stored squares for views of this size: 256 for 224, what the plain crop is cut from."""
    return round(image_size * 8 / 7)


@dataclass(frozen=True, eq=False)
class ImageStore:
    """N images as squares of bytes, by their position in the catalogue."""

    pixels: NDArray[np.uint8]
    """(N, 3, S, S), memory-mapped and read-only; black where `unreadable`."""
    sizes: NDArray[np.int64]
    """(N, 2) true width and height of each image in pixels."""
    unreadable: tuple[LeftOut, ...]
    """Images that could not be decoded; nothing may train on or be scored with them."""
    unreadable_positions: NDArray[np.int64]
    """(K,) ascending positions of `unreadable`."""
    resident: Tensor | None = None
    """(N, 3, S, S) uint8 copy in the memory of a device."""
    guard: RowGuard | None = None
    """Checks rows as they are first used; None of pixels that come from no disk."""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def side(self) -> int:
        """S in pixels."""
        return int(self.pixels.shape[-1])

    def readable(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions (K,) without those of unreadable images, in their order."""
        return positions[~np.isin(positions, self.unreadable_positions)]

    @spanned(Part.DATA, "gather")
    def gather(self, positions: NDArray[np.int64], device: torch.device) -> Tensor:
        """(B, 3, S, S) uint8 squares on `device`; the host does not wait for it."""
        if self.resident is not None and _is_on(self.resident, device):
            return self.resident.index_select(0, to_device(positions, device))
        self._check(positions)
        return to_device(self.pixels[positions], device)

    def _check(self, positions: NDArray[np.int64]) -> None:
        if self.guard is not None:
            self.guard.check(positions)

    def fits_on(self, device: torch.device) -> bool:
        """Whether a resident copy would leave most of a CUDA device's free memory to training; else false."""
        if device.type != "cuda":
            return False
        free, _ = torch.cuda.mem_get_info(device)
        return self.pixels.nbytes <= _RESIDENT_SHARE * free

    def to(self, device: torch.device) -> ImageStore:
        """The same store with a copy on `device` that `gather` reads; on the CPU the map itself serves."""
        if device.type == "cpu":
            return self
        resident = torch.empty(self.pixels.shape, dtype=torch.uint8, device=device)
        for start in range(0, len(self), _COPY_ROWS):
            rows = slice(start, start + _COPY_ROWS)
            self._check(np.arange(len(self))[rows])
            resident[rows] = torch.from_numpy(np.array(self.pixels[rows])).to(device)
        return replace(self, resident=resident)


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
) -> ImageStore:
    """The store of a catalogue for views of `image_size`, built first if `cache` has none.

    A store is known by what the images hold. Of two runs that need the same one, one builds it; the other
    waits and says so. A damaged store, or one whose builder was killed, is built again; a damaged row is
    decoded again as it is first used. Unreadable images are reported by name.

    Raises:
        UserError: too little free space, a cache that cannot be written, an image file that is gone, or no
            image that can be decoded.
        RunFailed: the disk filled up while building.
    """
    side = stored_side(image_size)
    catalogue.know_contents(reporter)
    folder = cache / "stores" / f"{fingerprint([catalogue.pixels, decoding_id()])}-{side}"
    store = _load(folder, catalogue, side, decode, reporter)
    if store is None:
        with _locked(folder, reporter):
            # Whoever held the lock may have built it.
            store = _load(folder, catalogue, side, decode, reporter, quiet=True)
            if store is None:
                build(folder, catalogue, side, decode, reporter)
                store = _load(folder, catalogue, side, decode, reporter)
    if store is None:
        raise UserError(
            "the decoded store cannot be read back", where=clean(folder), hint="Is the disk sound?"
        )
    _report_unreadable(store, reporter)
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
        if pixels is None or not len(meta.sizes) == len(meta.checksums) == len(catalogue):
            raise DamagedCache("its files do not belong together")
        if meta.store != folder.name:
            raise DamagedCache(f"{META} is another store's")
    except (DamagedCache, ValidationError) as error:
        reason = error.reason if isinstance(error, DamagedCache) else f"{META} is not one of this version"
        if not quiet:
            text = f"The decoded store {clean(folder)} is damaged ({clean(reason)}); building it again."
            reporter.event(Message("warning", text))
        return None
    records, checksums = catalogue.records, np.array(meta.checksums, dtype=np.uint32)
    return ImageStore(
        np.asarray(pixels),
        np.array(meta.sizes, dtype=np.int64),
        tuple(LeftOut(records[image.position].id, image.reason) for image in meta.unreadable),
        np.array([image.position for image in meta.unreadable], dtype=np.int64),
        guard=RowGuard(folder, np.asarray(pixels), checksums, catalogue, decode, reporter),
    )


class RowGuard:
    """Compares each row of a store's pixels with its checksum once, before a run first uses it.

    A damaged row is decoded again from its image, in the file, too. Of some threads that ask at once each
    checks for itself: that is quicker than to wait.
    """

    def __init__(
        self,
        folder: Path,
        pixels: NDArray[np.uint8],
        checksums: NDArray[np.uint32],
        catalogue: Catalogue,
        decode: Decoder,
        reporter: Reporter,
    ) -> None:
        self._folder, self._pixels, self._checksums = folder, pixels, checksums
        self._catalogue, self._decode, self._reporter = catalogue, decode, reporter
        self._is_sound = np.zeros(len(pixels), dtype=np.bool_)

    def check(self, positions: NDArray[np.int64]) -> None:
        """Make sure that these rows are what was decoded.

        Raises:
            RunFailed: a row is not, and cannot be made so.
        """
        unseen = np.unique(positions[~self._is_sound[positions]])
        damaged = [p for p in unseen.tolist() if zlib.crc32(self._pixels[p]) != self._checksums[p]]
        if damaged:
            self._mend(damaged)
        self._is_sound[unseen] = True

    def _mend(self, damaged: list[int]) -> None:
        for position in damaged:
            self._write(position, self._decoded(position))
        names = ", ".join(clean(self._catalogue.records[p].id, 60) for p in damaged[:3])
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
        if zlib.crc32(row) != self._checksums[position]:
            with contextlib.suppress(OSError):
                discard(self._folder / META)
            raise RunFailed(
                f"{clean(self._catalogue.records[position].id, 60)} is decoded otherwise than before",
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
        if zlib.crc32(self._pixels[position]) != self._checksums[position]:
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
                    folder.with_name(f".{folder.name}.lock"),
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


def _report_unreadable(store: ImageStore, reporter: Reporter) -> None:
    if not store.unreadable:
        return
    if len(store.unreadable) == len(store):
        first = store.unreadable[0]
        raise UserError(
            f"none of the {len(store)} images can be decoded; {clean(first.id)}: {clean(first.reason)}"
        )
    names = "; ".join(f"{clean(image.id)}: {clean(image.reason)}" for image in store.unreadable)
    reporter.event(
        Message("warning", f"{len(store.unreadable)} images cannot be decoded and are left out. {names}")
    )
