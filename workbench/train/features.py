"""Features of a frozen trunk on plain views: computed once, kept on disk for every later run.

One file a (data, trunk, image size, arithmetic): a memory-mapped (N, D) float32 matrix and a CRC-32 a row, so
that a row is either what was computed or computed again.
"""

from __future__ import annotations

import contextlib
import io
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue
from workbench.loader import ViewFormat
from workbench.model import FOLDING, ImageClassifier, weights_id
from workbench.recipe import Recipe
from workbench.runs.events import Message, Reporter
from workbench.support.atomic import atomic_write
from workbench.support.fingerprint import fingerprint
from workbench.support.spans import Part, spanned
from workbench.train.precision import Dtype

Ints = NDArray[np.int64]
# (positions) -> for each batch: (features (B, D) float32 on the CPU, positions (B,))
Extract = Callable[[Ints], Iterator[tuple[Tensor, Ints]]]
# Rows between two writes of the checksums: what a crash costs.
CHUNK_BATCHES = 8


def view_format(recipe: Recipe, classifier: ImageClassifier, device: torch.device) -> ViewFormat:
    """How a recipe's network sees an image."""
    data = recipe.data
    return ViewFormat(data.image_size, classifier.mean, classifier.std, device, data.evaluation_views)


def feature_folder(
    cache: Path,
    catalogue: Catalogue,
    classifier: ImageClassifier,
    form: ViewFormat,
    inference: Dtype,
) -> Path:
    """The bank of a trunk's features on a catalogue, named for everything that decides a feature's value."""
    views = [form.side, *form.evaluation]
    parts = [catalogue.fingerprint, weights_id(classifier), views, inference, form.device.type, FOLDING]
    return cache / "features" / f"{classifier.backbone.replace('/', '_')}-{fingerprint(parts)}"


class FeatureBank:
    """Plain-view features of every image of a catalogue, filled as they are asked for.

    Args:
        folder: the bank's own directory, named for everything that decides its content.
        images: N, rows of the matrix.
        width: D, columns.
        extract: runs the trunk on the images it is given.
    """

    def __init__(self, folder: Path, images: int, width: int, extract: Extract, reporter: Reporter) -> None:
        self._folder = folder
        self._shape = (images, width)
        self._extract = extract
        self._reporter = reporter
        self._held = torch.zeros(0, width)
        self._is_held = np.zeros(images, dtype=np.bool_)

    def rows(self, positions: Ints) -> Tensor:
        """(K, D) float32 features of `positions`, on the CPU; those missing on disk are computed first."""
        unseen = np.unique(positions[~self._is_held[positions]])
        if len(unseen):
            self._hold(unseen)
        return self._held[torch.from_numpy(positions)]

    @spanned(Part.FEATURES)
    def _hold(self, positions: Ints) -> None:
        """Bring these rows into memory, where the run's many stages find them again."""
        if not len(self._held):
            self._held = torch.zeros(self._shape)
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._locked():
            matrix, checksums = self._open()
            missing = positions[~self._intact(matrix, checksums, positions)]
            if len(missing):
                self._fill(matrix, checksums, missing)
            self._held[torch.from_numpy(positions)] = torch.from_numpy(matrix[positions])
        self._is_held[positions] = True

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = FileLock(self._folder / "lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            self._reporter.event(Message("info", "another run computes these features; waiting for it"))
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _open(self) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        """The matrix, mapped for writing, and the checksums; both new where they are missing or misshapen."""
        path, checksum_path = self._folder / "features.npy", self._folder / "checksums.npy"
        try:
            matrix = np.lib.format.open_memmap(path, mode="r+")
            checksums = np.load(checksum_path)
            if _is(matrix, self._shape, np.float32) and _is(checksums, self._shape[:1], np.uint32):
                return matrix, checksums
        except (OSError, ValueError, EOFError):
            pass  # a first use, or a file cut short by a crash: start anew
        checksum_path.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=self._shape)
        _claim_space(path)
        return matrix, np.zeros(self._shape[0], dtype=np.uint32)

    def _intact(
        self, matrix: NDArray[np.float32], checksums: NDArray[np.uint32], positions: Ints
    ) -> NDArray[np.bool_]:
        return np.array([checksums[p] == _checksum(matrix[p]) for p in positions], dtype=np.bool_)

    def _fill(self, matrix: NDArray[np.float32], checksums: NDArray[np.uint32], missing: Ints) -> None:
        done = 0
        for batch, (features, positions) in enumerate(self._extract(missing), start=1):
            matrix[positions] = features.numpy()
            checksums[positions] = [_checksum(row) for row in matrix[positions]]
            done += len(positions)
            if batch % CHUNK_BATCHES == 0 or done == len(missing):
                self._save_checksums(checksums)
            self._reporter.progress("features", done, len(missing))

    def _save_checksums(self, checksums: NDArray[np.uint32]) -> None:
        # By way of memory: on a full disk np.save to a file raises an error that does not say so.
        content = io.BytesIO()
        np.save(content, checksums)
        atomic_write(self._folder / "checksums.npy", content.getvalue())


def _is(array: NDArray[Any], shape: tuple[int, ...], dtype: type[np.generic]) -> bool:
    return array.shape == shape and array.dtype == np.dtype(dtype)


def _claim_space(path: Path) -> None:
    """Give every byte of a file its place on the disk now: writing to a map of a full disk ends in SIGBUS.

    Raises:
        OSError: the disk is too full.
    """
    with path.open("r+b") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
        except OSError as error:
            path.unlink()
            raise OSError(error.errno, error.strerror, str(path)) from error


def _checksum(row: NDArray[np.float32]) -> int:
    """CRC-32 of a row's bytes, never 0: that stands for a row not computed yet."""
    return zlib.crc32(row.tobytes()) or 1
