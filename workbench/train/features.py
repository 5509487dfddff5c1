"""Features of a frozen trunk on plain views: computed once, kept on disk for every later run.

One file a (data, trunk, image size, arithmetic): a memory-mapped (N, D) float32 matrix and a CRC-32 a row, so
that a row is either what was computed or computed again. Data are known by what the images hold and how they
are decoded, so a bank never outlives its pixels; those are checked against their own checksums before a trunk
sees them.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue
from workbench.loader import ViewFormat
from workbench.loader.decoding import decoding_id
from workbench.model import FOLDING, ImageClassifier, weights_id
from workbench.recipe import Recipe
from workbench.runs.events import Message, Reporter
from workbench.support.atomic import atomic_write
from workbench.support.caches import DamagedCache, discard, locked_cache, make_folder, map_table
from workbench.support.clean import clean
from workbench.support.fingerprint import fingerprint
from workbench.support.spans import Part, spanned
from workbench.train.precision import Dtype

Ints = NDArray[np.int64]
# (positions) -> for each batch: (features (B, D) float32 on the CPU, positions (B,))
Extract = Callable[[Ints], Iterator[tuple[Tensor, Ints]]]
FEATURES, CHECKSUMS = "features.npy", "checksums.npy"
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
    pixels = [catalogue.pixels, decoding_id()]
    parts = [pixels, weights_id(classifier), views, inference, form.device.type, FOLDING]
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
        with self._locked():
            matrix, checksums = self._open()
            missing = positions[~self._intact(matrix, checksums, positions)]
            if len(missing):
                self._fill(matrix, checksums, missing)
            self._held[torch.from_numpy(positions)] = torch.from_numpy(matrix[positions])
        self._is_held[positions] = True

    def _locked(self) -> AbstractContextManager[None]:
        make_folder(self._folder.parent)
        return locked_cache(
            self._folder / "lock",
            lambda: self._reporter.event(
                Message("info", "another run computes these features; waiting for it")
            ),
        )

    def _open(self) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
        """The matrix, mapped for writing, and the checksums; both new where they are missing or damaged."""
        path, checksum_path = self._folder / FEATURES, self._folder / CHECKSUMS
        try:
            matrix = map_table(path, self._shape, np.float32, writable=True)
            checksums = map_table(checksum_path, self._shape[:1], np.uint32)
            if matrix is not None and checksums is not None:
                return matrix, np.array(checksums)
        except DamagedCache as error:
            self._say(f"are damaged ({clean(error.reason)})")
        discard(checksum_path)
        discard(path)
        matrix = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=self._shape)
        _claim_space(path)
        return matrix, np.zeros(self._shape[0], dtype=np.uint32)

    def _intact(
        self, matrix: NDArray[np.float32], checksums: NDArray[np.uint32], positions: Ints
    ) -> NDArray[np.bool_]:
        intact = np.array([checksums[p] == _checksum(matrix[p]) for p in positions], dtype=np.bool_)
        if damaged := int((~intact & (checksums[positions] != 0)).sum()):
            self._say(f"have {damaged} damaged rows")
        return intact

    def _say(self, what: str) -> None:
        text = f"the kept features {clean(self._folder)} {what}; computing them again"
        self._reporter.event(Message("warning", text))

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
        atomic_write(self._folder / CHECKSUMS, content.getvalue())


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
