"""The decoded store: every image decoded once, squashed to a square of bytes, memory-mapped ever after."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor

from workbench.dataset.catalogue import Catalogue, LeftOut
from workbench.loader.decoding import Decoder, decode_square
from workbench.loader.store_build import META, PIXELS, StoreMeta, build
from workbench.loader.transfer import to_device
from workbench.runs.events import Message, Reporter, Silent
from workbench.support.clean import clean
from workbench.support.errors import UserError
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
        return to_device(self.pixels[positions], device)

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

    Of two runs that need the same store one builds it; the other waits and says so. A damaged store, or one
    whose builder was killed, is built again. Unreadable images are reported by name.

    Raises:
        UserError: too little free space, a cache that cannot be written, an image file that is gone, or no
            image that can be decoded.
        RunFailed: the disk filled up while building.
    """
    side = stored_side(image_size)
    folder = cache / "stores" / f"{catalogue.fingerprint}-{side}"
    store = _load(folder, catalogue, side, reporter)
    if store is None:
        with _locked(folder, reporter):
            store = _load(folder, catalogue, side, Silent())  # whoever held the lock may have built it
            if store is None:
                build(folder, catalogue, side, decode, reporter)
                store = _load(folder, catalogue, side, reporter)
    if store is None:
        raise UserError(
            "the decoded store cannot be read back", where=clean(folder), hint="Is the disk sound?"
        )
    _report_unreadable(store, reporter)
    return store


def _load(folder: Path, catalogue: Catalogue, side: int, reporter: Reporter) -> ImageStore | None:
    """The store in `folder`, or None where it is missing, unfinished or damaged; damage is reported."""
    try:
        meta = StoreMeta.model_validate_json((folder / META).read_bytes())
        pixels = _map_pixels(folder / PIXELS, meta, (len(catalogue), 3, side, side))
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError, OSError) as error:
        reason = (
            "its meta.json is not one of this version" if isinstance(error, ValidationError) else str(error)
        )
        reporter.event(
            Message(
                "warning",
                f"The decoded store {clean(folder)} is damaged ({clean(reason)}); building it again.",
            )
        )
        return None
    return ImageStore(
        pixels,
        np.array(meta.sizes, dtype=np.int64),
        tuple(LeftOut(image.id, image.reason) for image in meta.unreadable),
        np.array([image.position for image in meta.unreadable], dtype=np.int64),
    )


def _map_pixels(path: Path, meta: StoreMeta, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Map the pixels read-only; ValueError unless they are all there: reading past a file's end is SIGBUS."""
    length = path.stat().st_size
    if length != meta.pixels_bytes or len(meta.sizes) != shape[0]:
        raise ValueError(f"{length} bytes of pixels for {len(meta.sizes)} images")
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    if pixels.shape != shape or pixels.dtype != np.uint8:
        raise ValueError(f"pixels of shape {pixels.shape}")
    return np.asarray(pixels)


@contextlib.contextmanager
def _locked(folder: Path, reporter: Reporter) -> Iterator[None]:
    """Hold the store's lock; the kernel frees it when its holder dies."""
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            reporter.event(Message("info", "Another run is decoding these images; waiting for it to finish."))
            lock.acquire()
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror}",
            where=clean(folder),
            hint="Set PETBENCH_CACHE to another directory.",
        ) from error
    try:
        yield
    finally:
        lock.release()


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
