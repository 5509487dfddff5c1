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
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.compute import Dtype, arithmetic_name, autocast, fetched
from workbench.dataset import Catalogue
from workbench.loader import ViewFormat, stored_side
from workbench.loader.store_build import decoding_id
from workbench.model import FOLDING, ImageClassifier, TrunkPart, balance, part_id
from workbench.model.backbones import JoinedTrunk
from workbench.recipe import Recipe
from workbench.runs.events import Message, Reporter
from workbench.support.atomic import atomic_write
from workbench.support.caches import DamagedCache, discard, locked_cache, make_folder, map_table
from workbench.support.clean import clean
from workbench.support.digests import fingerprint
from workbench.support.spans import Part, spanned
from workbench.train.memory import Passes, has_room

Ints = NDArray[np.int64]
Look = Callable[[Ints], Tensor]
"""(B,) positions of images -> (B, D) float32 features, on whatever device."""
LookBy = Callable[[TrunkPart, ViewFormat], Look]
"""(a trunk, how it sees an image) -> what computes its features."""
INFERENCE_BATCH = 64
"""Views a forward pass of inference: more gain nothing on a CPU and little on a GPU."""
_CPU = torch.device("cpu")
FEATURES_TASK = "features"
FEATURES, CHECKSUMS = "features.npy", "checksums.npy"
# Rows between two writes of the checksums: what a crash costs.
CHUNK_BATCHES = 8


def view_format(recipe: Recipe, classifier: ImageClassifier, device: torch.device) -> ViewFormat:
    """How a recipe's network sees an image."""
    data, views = recipe.data, recipe.evaluation_views
    return ViewFormat(data.image_size, classifier.mean, classifier.std, device, views, data.store_scale)


def feature_folder(
    cache: Path,
    catalogue: Catalogue,
    classifier: ImageClassifier,
    part: TrunkPart,
    form: ViewFormat,
    inference: Dtype,
) -> Path:
    """The bank of a trunk's features on a catalogue, named for everything that decides a feature's value."""
    views: list[int | str] = [form.side, *form.evaluation]
    if form.stored_side != stored_side(form.side):
        views.append(f"from {form.stored_side}")
    pixels = [catalogue.pixels, decoding_id()]
    how = [arithmetic_name(inference, form.device), form.device.type, FOLDING]
    parts = [pixels, part_id(classifier, part), views, *how]
    return cache / "features" / f"{part.backbone.replace('/', '_')}-{fingerprint(parts)}"


@spanned(Part.FORWARD)
@torch.inference_mode()
def features_of(views: Tensor, trunk: Callable[[Tensor], Tensor], form: ViewFormat, dtype: Dtype) -> Tensor:
    """(B, D) float32 features of (V·B, …) views, the mean over an image's, in the arithmetic of inference."""
    with autocast(form.device, dtype):
        features = trunk(views)
    return form.averaged(features.float())


class FeatureBanks:
    """Plain-view features of a catalogue's images by all of a classifier's trunks, each in its own bank.

    So another trunk beside others costs its own pass alone, and shares what runs of it alone have kept.

    Args:
        form: how the classifier sees an image; each trunk sees it normalised for its own weights.
        task_of: what the reporter calls the work on these images.
    """

    def __init__(
        self,
        cache: Path,
        catalogue: Catalogue,
        classifier: ImageClassifier,
        form: ViewFormat,
        inference: Dtype,
        look_by: LookBy,
        reporter: Reporter,
        task_of: Callable[[Ints], str] = lambda _: FEATURES_TASK,
    ) -> None:
        self._classifier = classifier
        self._banks = []
        for part in classifier.parts:
            own = replace(form, mean=part.mean, std=part.std)
            folder = feature_folder(cache, catalogue, classifier, part, own, inference)
            size = own.images_a_pass(INFERENCE_BATCH)
            look = look_by(part, own)
            width = part.feature_width
            shape = len(catalogue), width
            self._banks.append(FeatureBank(folder, *shape, look, size, reporter, form.device, task_of))

    def rows(self, positions: Ints) -> Tensor:
        """(K, D) float32 features of `positions` as the head sees them, on the CPU."""
        return self._join(self.apart(positions))

    def apart(self, positions: Ints) -> list[Tensor]:
        """(K, D_t) float32 features of `positions` by each trunk alone, on the CPU."""
        return [bank.rows(positions) for bank in self._banks]

    def source(self, positions: Ints, device: torch.device) -> BankRows:
        """The same rows, read from the disk as they are asked for."""
        return BankRows([bank.mapped(positions) for bank in self._banks], positions, self._join, device)

    def has_room(self, count: int, device: torch.device) -> bool:
        """Whether the features of so many images may be held on the device."""
        return has_room(4 * count * sum(part.feature_width for part in self._classifier.parts), device)

    def _join(self, found: list[Tensor]) -> Tensor:
        trunk = self._classifier.trunk
        return trunk.join(found) if isinstance(trunk, JoinedTrunk) else found[0]

    def balance(self, positions: Ints) -> None:
        """Let the classifier's trunks count alike, by their features of these images."""
        if len(self._banks) > 1:
            balance(self._classifier, self.apart(positions))


class BankRows:
    """(K, D) float32 features that stay on the disk; the page cache holds what there is room for.

    Args:
        matrices: (N, D_t) float32 maps, one a trunk.
        positions: (K,) the rows of them that are meant.
        join: makes (B, D) of (B, D_t) of each trunk.
        device: where rows are wanted.
    """

    def __init__(
        self,
        matrices: list[NDArray[np.float32]],
        positions: Ints,
        join: Callable[[list[Tensor]], Tensor],
        device: torch.device,
    ) -> None:
        self._matrices, self._positions, self._join = matrices, positions, join
        self.device = device

    def __len__(self) -> int:
        return len(self._positions)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """(B, D) of these of K rows, on the device, as a tensor that held them would give it; `dim` is 0."""
        if dim:
            raise ValueError("features are read row by row")
        rows = self._positions[index.cpu().numpy()]
        return self._join([torch.from_numpy(matrix[rows]) for matrix in self._matrices]).to(self.device)


class FeatureBank:
    """Plain-view features of every image of a catalogue, filled as they are asked for.

    Args:
        folder: the bank's own directory, named for everything that decides its content.
        images: N, rows of the matrix.
        width: D, columns.
        look: runs the trunk on a batch of images.
        batch: B, how many it is always given; fewer where the device's memory is short.
        task_of: as in `FeatureBanks`.
    """

    def __init__(
        self,
        folder: Path,
        images: int,
        width: int,
        look: Look,
        batch: int,
        reporter: Reporter,
        device: torch.device = _CPU,
        task_of: Callable[[Ints], str] = lambda _: FEATURES_TASK,
    ) -> None:
        self._folder = folder
        self._shape = (images, width)
        self._look, self._passes = look, Passes(batch, device, reporter)
        self._device = device
        self._reporter, self._task_of = reporter, task_of
        self._is_kept = has_room(4 * images * width, _CPU)
        self._held = torch.zeros(0, width)
        self._matrix: NDArray[np.float32] | None = None
        self._is_there = np.zeros(images, dtype=np.bool_)
        """(N,) which rows were found whole, and are held where they are kept."""

    def rows(self, positions: Ints) -> Tensor:
        """(K, D) float32 features of `positions`, on the CPU; those missing on disk are computed first."""
        if not self._is_kept:
            return torch.from_numpy(self.mapped(positions)[positions])
        self._see_to(positions)
        return self._held[torch.from_numpy(positions)]

    def mapped(self, positions: Ints) -> NDArray[np.float32]:
        """(N, D) float32 on the disk, not to be written, that has these rows; missing ones are computed."""
        self._see_to(positions)
        if self._matrix is None:
            with self._locked():
                self._matrix, _ = self._open()
        found = self._matrix.view()
        found.flags.writeable = False
        return found

    def _see_to(self, positions: Ints) -> None:
        unseen = np.unique(positions[~self._is_there[positions]])
        if len(unseen):
            self._bring(unseen)

    @spanned(Part.FEATURES)
    def _bring(self, positions: Ints) -> None:
        """See that these rows are whole; keep them in memory where the run's many stages find them again."""
        if not len(self._held) and self._is_kept:
            self._held = torch.zeros(self._shape)
        with self._locked():
            matrix, checksums = self._open()
            if not self._is_kept:  # the file may be another one than before
                positions = np.union1d(positions, np.flatnonzero(self._is_there & (checksums == 0)))
            missing = positions[~self._intact(matrix, checksums, positions)]
            if len(missing):
                self._fill(matrix, checksums, missing)
            if self._is_kept:
                self._held[torch.from_numpy(positions)] = torch.from_numpy(matrix[positions])
            self._matrix = matrix
        self._is_there[positions] = True

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
        # The last bits of a row depend on how many images pass with it. A bank that was filled in pieces (by
        # a run that was killed, or by several runs) must hold what one pass would have: every batch is full.
        done = number = 0
        task = self._task_of(missing)

        def fill(batch: int) -> None:
            """From where it stands: where memory is short, what was done with larger batches stays."""
            nonlocal done, number
            for rows, own in fetched(self._looked(missing[done:], batch), self._device):
                matrix[own] = rows.numpy()
                checksums[own] = [_checksum(row) for row in matrix[own]]
                done, number = done + len(own), number + 1
                if number % CHUNK_BATCHES == 0 or done == len(missing):
                    self._save_checksums(checksums)
                self._reporter.progress(task, done, len(missing))

        self._passes.within(fill, self._passes.size)

    def _looked(self, missing: Ints, batch: int) -> Iterator[tuple[Tensor, Ints]]:
        """(K, D) features on the device, and their (K,) images, so many at a time."""
        for start in range(0, len(missing), batch):
            own = missing[start : start + batch]
            filled = np.concatenate([own, np.repeat(own[-1:], batch - len(own))])
            yield self._look(filled)[: len(own)], own

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
