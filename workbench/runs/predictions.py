"""`predictions/*.npz`: what a model said of every image of a split."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from workbench.runs.layout import RunDirectory
from workbench.support.clean import as_word, clean
from workbench.support.digests import require_sum, summed_path
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, open_regular
from workbench.support.units import human_bytes

_ENCRYPTED = 0x1  # bit of a zip member's flags
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
            probabilities=probabilities,
            labels=labels.astype(np.int64, copy=False),
        )


def load_predictions(path: Path) -> Predictions:
    """The predictions in `path`; probabilities come as float32 however they were stored.

    Raises:
        FileNotFoundError: the run has none of this name.
        UserError: the file is damaged.
    """
    try:
        with open_regular(path) as stream, zipfile.ZipFile(stream) as arrays:
            size = os.fstat(stream.fileno()).st_size
            found = _checked(*(_array(arrays, name, size) for name in ("ids", "probabilities", "labels")))
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
    """An array of an archive of `size` bytes, read only where it is as large as it says.

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
    with archive.open(member) as stream:
        shape, dtype = _header(stream)
        told, there = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if dtype.hasobject or told != there:
            raise ValueError(f"{name} is no array of {shape} {dtype.name} in {human_bytes(there)}")
        stream.seek(0)
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    return shape, dtype


def _checked(ids: NDArray[Any], probabilities: NDArray[Any], labels: NDArray[Any]) -> Predictions:
    """The three arrays as predictions. Raises: ValueError, where they are none."""
    if (ids.dtype.kind, probabilities.dtype.kind, labels.dtype.kind) != ("U", "f", "i"):
        raise ValueError(f"{ids.dtype} ids, {probabilities.dtype} probabilities and {labels.dtype} labels")
    if probabilities.ndim != 2 or ids.shape != labels.shape or ids.shape != probabilities.shape[:1]:
        raise ValueError(f"shapes {ids.shape}, {probabilities.shape} and {labels.shape} do not agree")
    width = probabilities.shape[1]
    if width < 2:
        raise ValueError(f"probabilities of {width} classes")
    shares = probabilities.astype(np.float32)
    # Written so that NaN is wrong, too.
    wrong = ~((shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) <= _ROUNDING))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"{int(wrong.sum())} of {len(ids)} images have probabilities that do not sum to 1, "
            f"first {ids[at]} with {shares[at].sum():g}"
        )
    outside = (labels < -1) | (labels >= width)
    if outside.any():
        at = int(outside.argmax())
        raise ValueError(f"{ids[at]} has label {labels[at]}, of {width} classes")
    return Predictions(tuple(str(i) for i in ids.tolist()), shares, labels.astype(np.int64))
