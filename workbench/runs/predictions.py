"""`predictions/*.npz`: what a model said of every image of a split."""

from __future__ import annotations

import math
import os
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from workbench.runs.image_ids import ImageIds
from workbench.runs.layout import RunDirectory
from workbench.support.clean import as_word, clean
from workbench.support.digests import require_sum, summed_path
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, open_regular
from workbench.support.units import human_bytes

_ENCRYPTED = 0x1  # bit of a zip member's flags
_LOCAL_HEADER = 30  # bytes before a zip member's name, the last four the lengths of it and of what follows it
_BLOCK = 2**21
"""Probabilities that are read at once, 8 MB."""
_ROUNDING = 0.01
"""How far from 1 float16 probabilities of thousands of classes may sum."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """Class probabilities of N images; `labels` is -1 where the truth is not known."""

    ids: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """(N, C) float32; rows sum to 1."""
    labels: NDArray[np.int64]
    """(N,) int64."""

    def of_known_label(self) -> Predictions:
        """Those of the images whose truth is known."""
        known = np.flatnonzero(self.labels >= 0)
        if len(known) == len(self.labels):
            return self
        ids = tuple(self.ids[row] for row in known.tolist())
        return Predictions(ids, self.probabilities[known], self.labels[known])


def save_predictions(
    path: Path,
    ids: Sequence[str],
    probabilities: NDArray[np.float32] | NDArray[np.float16],
    labels: NDArray[np.int64],
) -> None:
    """Write the predictions of N images.

    Probabilities are (N, C) and keep their type: float32, or float16 for half the size.

    Raises:
        ValueError: the three do not agree in length or shape.
    """
    if probabilities.ndim != 2 or labels.shape != (len(ids),) or len(probabilities) != len(ids):
        raise ValueError(
            f"{len(ids)} ids, probabilities {probabilities.shape} and labels {labels.shape} do not agree"
        )
    path.parent.mkdir(exist_ok=True)
    # Through an open file: given a name, numpy would add `.npz` to the temporary one.
    with summed_path(path, path.parent.parent) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            ids=np.array(ids, dtype=np.str_),
            probabilities=np.ascontiguousarray(probabilities),
            labels=labels.astype(np.int64, copy=False),
        )


@dataclass(frozen=True, eq=False)
class SavedPredictions:
    """Class probabilities of N images that stay in their file, which was found whole."""

    path: Path
    ids: ImageIds
    labels: NDArray[np.int64]
    """(N,) int64; -1 where the truth is not known."""
    _stored: _Stored

    @property
    def width(self) -> int:
        """C."""
        return self._stored.shape[1]

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Some rows and their (B, C) float32 probabilities, in the file's order.

        Raises:
            UserError: the file is gone, or was changed since.
        """
        try:
            with open_regular(self.path) as stream:
                self._stored.go_to(stream, 0)
                yield from self._stored.blocks(stream)
        except (OSError, ValueError) as error:
            raise UserError(f"damaged predictions: {clean(error, 200)}", where=clean(self.path)) from error

    def row(self, place: int) -> NDArray[np.float32] | None:
        """(C,) float32 of one image; None where the file is gone, or was changed since."""
        try:
            with open_regular(self.path) as stream:
                self._stored.go_to(stream, place)
                ((_, shares),) = self._stored.blocks(stream, place, place + 1)
                found: NDArray[np.float32] = shares[0]
                return found
        except (OSError, ValueError):
            return None

    def loaded(self) -> Predictions:
        """All of them in memory. Raises: as `blocks`."""
        found = np.empty((len(self.ids), self.width), dtype=np.float32)
        for rows, shares in self.blocks():
            found[rows] = shares
        return Predictions(tuple(self.ids), found, self.labels)


@dataclass(frozen=True, slots=True, eq=False)
class _Stored:
    """Where the (N, C) array of an archive lies in it, row after row."""

    start: int
    """Its first byte's place in the file."""
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    stamp: tuple[int, int]
    """What the file looked like: `_stamp`."""

    def go_to(self, stream: BinaryIO, place: int) -> None:
        """Raises: ValueError, the file is another one."""
        if _stamp(stream) != self.stamp:
            raise ValueError("it changed while it was read")
        stream.seek(self.start + place * self.shape[1] * self.dtype.itemsize)

    def blocks(
        self, stream: IO[bytes], first: int = 0, end: int | None = None
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Rows `first` … `end` of a stream that is at the first. Raises: ValueError, it ends before."""
        width, end = self.shape[1], self.shape[0] if end is None else end
        height = max(1, _BLOCK // max(1, width))
        for here in range(first, end, height):
            rows = slice(here, min(here + height, end))
            content = stream.read((rows.stop - here) * width * self.dtype.itemsize)
            yield rows, np.frombuffer(content, self.dtype).reshape(-1, width).astype(np.float32)


def _stamp(stream: BinaryIO) -> tuple[int, int]:
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


def load_predictions(path: Path) -> Predictions:
    """The predictions in `path`; probabilities come as float32 however they were stored.

    Raises:
        FileNotFoundError: the run has none of this name.
        UserError: the file is damaged.
    """
    return open_predictions(path).loaded()


def open_predictions(path: Path) -> SavedPredictions:
    """The same; the probabilities stay in the file, which is read once, a block at a time.

    Raises: as `load_predictions`.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as arrays:
            size = os.fstat(stream.fileno()).st_size
            ids, labels = (_array(arrays, name, size) for name in ("ids", "labels"))
            member = _member(arrays, "probabilities", size)
            with arrays.open(member) as inside:  # as the archive has it, so that its check sum is looked at
                shape, dtype = _header(inside, member, rows_first=True)
                start = _begin(stream, member) + inside.tell()
                _require_fit(ids, shape, dtype, labels)
                stored = _Stored(start, (shape[0], shape[1]), dtype, _stamp(stream))
                found = SavedPredictions(path, ImageIds.of_array(ids), labels.astype(np.int64), stored)
                _require_shares(found.ids, stored.blocks(inside))
            _require_labels(found)
        require_sum(path)  # whole, but another run's or another round's
        return found
    except FileNotFoundError:
        raise
    except UnreadableFile as error:
        raise UserError(f"damaged predictions: {error.reason}", where=clean(path)) from error
    except Exception as error:  # what zipfile and numpy raise of odd bytes is in no list of theirs
        said = clean(error, 200) or type(error).__name__
        raise UserError(f"damaged predictions: {said}", where=clean(path)) from error


def finished_predictions(run: RunDirectory, split: str) -> Predictions:
    """What a finished run's model said of a split, which every such run has kept.

    Args:
        split: as `Evaluated.predictions` names it, such as `val` and `teacher-test`.

    Raises:
        UserError: the file is gone or damaged.
    """
    try:
        return load_predictions(run.predictions(split))
    except FileNotFoundError as error:
        raise UserError(
            "its predictions are gone",
            where=clean(error.filename),
            hint=f"petbench resume {as_word(run.handle)} writes them anew, from its weights",
        ) from error


def _array(archive: zipfile.ZipFile, name: str, size: int) -> NDArray[Any]:
    """An array of an archive of `size` bytes. Raises: ValueError, as `_member` and `_header`."""
    member = _member(archive, name, size)
    with archive.open(member) as stream:
        _header(stream, member)
        stream.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _member(archive: zipfile.ZipFile, name: str, size: int) -> zipfile.ZipInfo:
    """An array's entry in an archive of `size` bytes.

    Raises:
        ValueError: the archive has no such array, or not as `save_predictions` writes it.
    """
    try:
        member = archive.getinfo(f"{name}.npy")
    except KeyError:
        raise ValueError(f"no array named {name}") from None
    if member.flag_bits & _ENCRYPTED:
        raise ValueError(f"{name} is encrypted")
    # What is stored as it is cannot grow as it is read.
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed, as petbench never writes it")
    if member.file_size > size:
        raise ValueError(f"{name} is said to be {human_bytes(member.file_size)} of {human_bytes(size)}")
    return member


def _begin(stream: BinaryIO, member: zipfile.ZipInfo) -> int:
    """Where in the archive's file a member's content begins: behind a header, its name and what is extra."""
    stream.seek(member.header_offset)
    name, extra = struct.unpack_from("<HH", stream.read(_LOCAL_HEADER), _LOCAL_HEADER - 4)
    return member.header_offset + _LOCAL_HEADER + int(name) + int(extra)


def _header(
    stream: IO[bytes], member: zipfile.ZipInfo, *, rows_first: bool = False
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array, which is as large as they say.

    Raises:
        ValueError: it is not, or lies in memory column after column.
    """
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(stream)
    told, there = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if dtype.hasobject or told != there:
        name = member.filename.removesuffix(".npy")
        raise ValueError(f"{name} is no array of {shape} {dtype.name} in {human_bytes(there)}")
    if rows_first and by_columns:
        raise ValueError("probabilities class after class, as petbench never writes them")
    return shape, dtype


def _require_fit(
    ids: NDArray[Any], shape: tuple[int, ...], dtype: np.dtype[Any], labels: NDArray[Any]
) -> None:
    """Raises: ValueError, where the arrays are no predictions."""
    if (ids.dtype.kind, dtype.kind, labels.dtype.kind) != ("U", "f", "i"):
        raise ValueError(f"{ids.dtype} ids, {dtype} probabilities and {labels.dtype} labels")
    if len(shape) != 2 or ids.shape != labels.shape or ids.shape != shape[:1]:
        raise ValueError(f"shapes {ids.shape}, {shape} and {labels.shape} do not agree")
    if shape[1] < 2:
        raise ValueError(f"probabilities of {shape[1]} classes")


def _require_shares(ids: ImageIds, blocks: Iterable[tuple[slice, NDArray[np.float32]]]) -> None:
    """Raises: ValueError, where they do not sum to 1."""
    number, first = 0, ""
    for rows, shares in blocks:
        # Written so that NaN is wrong, too.
        wrong = ~((shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) <= _ROUNDING))
        if wrong.any() and not number:
            at = int(wrong.argmax())
            first = f"{ids[rows.start + at]} with {shares[at].sum():g}"
        number += int(wrong.sum())
    if number:
        raise ValueError(
            f"{number} of {len(ids)} images have probabilities that do not sum to 1, first {first}"
        )


def _require_labels(found: SavedPredictions) -> None:
    """Raises: ValueError, where there are no such classes."""
    outside = (found.labels < -1) | (found.labels >= found.width)
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(f"{found.ids[at]} has label {found.labels[at]}, of {found.width} classes")
