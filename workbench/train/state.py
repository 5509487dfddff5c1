"""Where a run stands: all that must survive a crash, as plain values."""

from __future__ import annotations

import dataclasses
import itertools
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.pseudo import Selection
from workbench.runs.best_epoch import stays
from workbench.runs.events import StageName
from workbench.runs.results import RoundResult
from workbench.train.compiled import Compilation
from workbench.train.precision import Precision

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Best:
    """The epoch of a stage with the best validation accuracy; ties go to the lower loss."""

    stage: StageName
    round: int
    epoch: int
    accuracy: float
    loss: float
    weights: Weights
    """State-dict entries that training may change, on the CPU."""

    def better_than(self, accuracy: float, loss: float) -> bool:
        """Whether this one is kept against another; on a complete tie the other, later one is."""
        return stays(self.accuracy, self.loss, accuracy, loss)


@dataclass(slots=True)
class StageProgress:
    """How far the stage under way has come."""

    epoch: int = 0
    """Epochs completed."""
    step: int = 0
    """Optimiser steps done in the epoch after those."""
    stale_epochs: int = 0
    """Epochs since the best one."""
    loss_sum: float = 0.0
    right_sum: float = 0.0
    images: int = 0
    seconds: float = 0.0
    pool_images: int = 0
    pool_weight: float = 0.0
    pool_unknown: int = 0
    pool_unknown_weight: float = 0.0
    """Of those the images, and their weight, whose truth nobody knows: they score nothing."""
    pool_right: int = 0
    pool_right_weight: float = 0.0
    """Sums over the steps of the epoch under way, over all attempts; `pool_` of online pseudo-labels."""
    pool_share: float | None = None
    pool_accuracy: float | None = None
    """Of the last whole epoch: the pool's mean weight, and how right its labels were by that weight."""
    best: Best | None = None

    @property
    def accuracy_by_weight(self) -> float | None:
        """How right the epoch's pseudo-labels are so far, by weight; None where no known one counted."""
        known = self.pool_weight - self.pool_unknown_weight
        # The two are summed apart, so that nothing left may be a last bit.
        return self.pool_right_weight / known if known > 1e-9 * self.pool_weight else None

    def count(self, losses: list[float], images: list[int], right: float) -> None:
        """Add steps to the epoch: each one's mean loss and labelled images, and how many came out right."""
        self.loss_sum += sum(loss * seen for loss, seen in zip(losses, images, strict=True))
        self.right_sum += right
        self.images += sum(images)

    def count_pool(
        self, labels: NDArray[np.int64], weights: NDArray[np.float64], truth: NDArray[np.int64]
    ) -> None:
        """Add (U,) pseudo-labels and their weights to the epoch, scored by the truth; -1 where unknown."""
        right, unknown = labels == truth, truth < 0
        self.pool_images += len(truth)
        self.pool_weight += float(weights.sum())
        self.pool_unknown += int(unknown.sum())
        self.pool_unknown_weight += float(weights[unknown].sum())
        self.pool_right += int(right.sum())
        self.pool_right_weight += float(weights[right].sum())

    def end_epoch(self, epoch: int) -> None:
        """Keep what the pool of `epoch` came to, and count the next one's steps from nothing."""
        if self.pool_images:
            self.pool_share = self.pool_weight / self.pool_images
            self.pool_accuracy = self.accuracy_by_weight
        self.epoch, self.step = epoch, 0
        self.loss_sum, self.right_sum, self.images, self.seconds = 0.0, 0.0, 0, 0.0
        self.pool_images, self.pool_weight = 0, 0.0
        self.pool_unknown, self.pool_unknown_weight = 0, 0.0
        self.pool_right, self.pool_right_weight = 0, 0.0


@dataclass(slots=True)
class RunState:
    """Everything a resumed run needs beside the recipe, the data and the pretrained weights."""

    stage_index: int = 0
    """Position in the plan of the stage under way."""
    progress: StageProgress = field(default_factory=StageProgress)
    precision: Precision | None = None
    """Timed once; a resumed run keeps it, or its weights would differ."""
    compilation: Compilation | None = None
    """Decided once, for the same reason."""
    micro_batch: int = 0
    """Images a forward pass after running out of memory; 0: the whole batch."""
    probe_accuracy: float | None = None
    teacher: Best | None = None
    student: Best | None = None
    selection: Selection | None = None
    selection_round: int = 0
    flipped: int = 0
    """Pool images whose pseudo-label changed in that round."""
    pool_predicted: np.ndarray[Any, np.dtype[np.int64]] | None = None
    rounds: list[RoundResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    training_seconds: float = 0.0
    images_trained: int = 0
    peak_memory_bytes: int = 0

    @property
    def best(self) -> Best | None:
        """The best model yet on validation: the student only where it beats the teacher."""
        teacher, student = self.teacher, self.student
        if teacher is None or student is None:
            return teacher or student
        return student if student.better_than(teacher.accuracy, teacher.loss) else teacher

    @property
    def rounds_lost(self) -> int:
        """Rounds in a row, up to the last, whose student did not become the best model."""
        results = (bool(result.improved) for result in reversed(self.rounds))
        return sum(1 for _ in itertools.takewhile(operator.not_, results))


def weights_under(prefix: str, weights: Weights) -> Weights:
    """The entries whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}


def under(prefix: str, weights: Weights) -> Weights:
    """The same entries, their names beginning with `prefix`: what `weights_under` takes off."""
    return {prefix + name: tensor for name, tensor in weights.items()}


def pack(state: RunState) -> tuple[Weights, dict[str, Any]]:
    """Split a state into named tensors and what JSON can hold."""
    tensors: Weights = {}
    plain: dict[str, Any] = {
        name: getattr(state, name)
        for name in (
            "stage_index",
            "micro_batch",
            "probe_accuracy",
            "selection_round",
            "flipped",
            "warnings",
            "training_seconds",
            "images_trained",
            "peak_memory_bytes",
        )
    }
    progress = state.progress
    plain["progress"] = {
        f.name: getattr(progress, f.name) for f in dataclasses.fields(progress) if f.name != "best"
    }
    plain["precision"] = dataclasses.asdict(state.precision) if state.precision else None
    plain["compilation"] = dataclasses.asdict(state.compilation) if state.compilation else None
    plain["rounds"] = [dataclasses.asdict(r) for r in state.rounds]
    for name, best in (("best", progress.best), ("teacher", state.teacher), ("student", state.student)):
        plain[name] = _pack_best(name, best, tensors)
    if state.selection is not None:
        plain["labelled_weight"] = state.selection.labelled_weight
        for part in ("rows", "targets", "weights"):
            tensors[f"selection/{part}"] = torch.from_numpy(getattr(state.selection, part))
        for part in ("marginal", "prior"):
            if getattr(state.selection, part) is not None:
                tensors[f"selection/{part}"] = torch.from_numpy(getattr(state.selection, part))
    if state.pool_predicted is not None:
        tensors["pool/predicted"] = torch.from_numpy(state.pool_predicted)
    return tensors, plain


def unpack(tensors: Weights, plain: dict[str, Any]) -> RunState:
    """The state that `pack` split. Raises: KeyError or TypeError for what it did not write."""
    selection = None
    if "selection/rows" in tensors:
        parts = {part: tensors[f"selection/{part}"].numpy() for part in ("rows", "targets", "weights")}
        for part in ("marginal", "prior"):
            if f"selection/{part}" in tensors:
                parts[part] = tensors[f"selection/{part}"].numpy()
        selection = Selection(**parts, labelled_weight=plain["labelled_weight"])
    predicted = tensors.get("pool/predicted")
    return RunState(
        stage_index=plain["stage_index"],
        progress=StageProgress(**plain["progress"], best=_unpack_best("best", plain, tensors)),
        precision=Precision(**plain["precision"]) if plain["precision"] else None,
        compilation=Compilation(**plain["compilation"]) if plain["compilation"] else None,
        micro_batch=plain["micro_batch"],
        probe_accuracy=plain["probe_accuracy"],
        teacher=_unpack_best("teacher", plain, tensors),
        student=_unpack_best("student", plain, tensors),
        selection=selection,
        selection_round=plain["selection_round"],
        flipped=plain["flipped"],
        pool_predicted=None if predicted is None else predicted.numpy(),
        rounds=[RoundResult(**r) for r in plain["rounds"]],
        warnings=plain["warnings"],
        training_seconds=plain["training_seconds"],
        images_trained=plain["images_trained"],
        peak_memory_bytes=plain["peak_memory_bytes"],
    )


def _pack_best(name: str, best: Best | None, tensors: Weights) -> dict[str, Any] | None:
    if best is None:
        return None
    tensors.update({f"{name}/{key}": tensor for key, tensor in best.weights.items()})
    return {f: getattr(best, f) for f in ("stage", "round", "epoch", "accuracy", "loss")}


def _unpack_best(name: str, plain: dict[str, Any], tensors: Weights) -> Best | None:
    if plain[name] is None:
        return None
    return Best(**plain[name], weights=weights_under(f"{name}/", tensors))
