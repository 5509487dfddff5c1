"""Where a run stands: all that must survive a crash, as plain values."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter
from torch import Tensor

from workbench.pseudo import Selection
from workbench.runs.events import Message, Reporter, StageName, stage_words
from workbench.runs.results import RoundResult
from workbench.runs.run_history import stays
from workbench.train.compiled import Compilation
from workbench.train.out_of_fold import OutOfFold
from workbench.train.precision import Precision

Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Best:
    """The epoch of a stage with the best validation accuracy; ties go to the lower loss."""

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

    stage: StageName
    round: int
    epoch: int
    accuracy: float
    loss: float
    weights: Weights
    """State-dict entries that training may change, on the CPU."""

    @property
    def label(self) -> str:
        """As the stage's."""
        return stage_words(self.stage, self.round)

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

    __pydantic_config__ = ConfigDict(arbitrary_types_allowed=True)

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
    taught_by_runs: bool = False
    """Whether other, finished runs are the teacher: it competes, and cannot be this run's model."""
    student: Best | None = None
    selection: Selection | None = None
    selection_round: int = 0
    flipped: int = 0
    """Pool images whose pseudo-label changed in that round."""
    pool_predicted: np.ndarray[Any, np.dtype[np.int64]] | None = None
    out_of_fold: OutOfFold | None = None
    """What chooses where no image is held out."""
    met: NDArray[np.float64] | None = None
    """(C,) class shares that validation is weighted for when models are chosen; None: as it is mixed."""
    pace: dict[str, float] | None = None
    """What an online student's knobs came to by its length; decided once, as they decide its weights."""
    rounds: list[RoundResult] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    training_seconds: float = 0.0
    images_trained: int = 0
    peak_memory_bytes: int = 0
    processes: int = 1
    """That train it together; the attempt that saved it had so many."""

    @property
    def best(self) -> Best | None:
        """The best model yet that the run can keep."""
        return self.student if self.taught_by_runs else self.ahead

    @property
    def ahead(self) -> Best | None:
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

    def warn_once(self, text: str, reporter: Reporter) -> None:
        """Say it aloud, and keep it for the results; a resumed run does not say it again."""
        if text not in self.warnings:
            self.warnings.append(text)
            reporter.event(Message("warning", text))


def weights_under(prefix: str, weights: Weights) -> Weights:
    """The entries whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): t for name, t in weights.items() if name.startswith(prefix)}


def pack(state: RunState) -> tuple[Weights, dict[str, Any]]:
    """Split a state into named tensors and what JSON can hold, which says where each tensor belongs.

    Field by field as the classes have them: one that is added is kept without another word.
    """
    tensors: Weights = {}
    plain: dict[str, Any] = _taken_out(_adapter().dump_python(state), "", tensors)
    return tensors, plain


def unpack(tensors: Weights, plain: Mapping[str, Any]) -> RunState:
    """The state that `pack` split; of one that petbench 0.1.0 split too. Fields that it did not know are new.

    Raises:
        KeyError: a tensor is missing.
        ValueError: it is no state.
    """
    values = _told_where(tensors, plain) if "best" in plain else plain
    state: RunState = _adapter().validate_python(_put_back(values, tensors))
    return state


@cache
def _adapter() -> TypeAdapter[RunState]:
    return TypeAdapter(RunState)


# What stands in JSON for an array of numpy's, for a tensor, and for all of either under a name.
_ARRAY, _TENSOR, _ARRAYS, _TENSORS = "$array", "$tensor", "$arrays", "$tensors"


def _taken_out(value: Any, name: str, tensors: Weights) -> Any:
    """`value` with a mark for each tensor and array in it, which go to `tensors`."""
    match value:
        case Tensor():
            tensors[name] = value
            return {_TENSOR: name}
        case np.ndarray():
            tensors[name] = torch.from_numpy(value)
            return {_ARRAY: name}
        case dict():
            whole = {
                key: _taken_out(inner, f"{name}/{key}" if name else key, tensors)
                for key, inner in value.items()
            }
            for one, many in ((_TENSOR, _TENSORS), (_ARRAY, _ARRAYS)):
                if whole and all(isinstance(inner, dict) and one in inner for inner in whole.values()):
                    return {many: name}
            return whole
        case list() | tuple():
            return [_taken_out(inner, f"{name}/{place}", tensors) for place, inner in enumerate(value)]
        case _:
            return value


def _put_back(value: Any, tensors: Weights) -> Any:
    match value:
        case {"$tensor": str(name)}:
            return tensors[name]
        case {"$array": str(name)}:
            return tensors[name].numpy()
        case {"$tensors": str(name)}:
            return weights_under(f"{name}/", tensors)
        case {"$arrays": str(name)}:
            return {key: tensor.numpy() for key, tensor in weights_under(f"{name}/", tensors).items()}
        case dict():
            return {key: _put_back(inner, tensors) for key, inner in value.items()}
        case list():
            return [_put_back(inner, tensors) for inner in value]
        case _:
            return value


def _told_where(tensors: Weights, plain: Mapping[str, Any]) -> dict[str, Any]:
    """What 0.1.0 wrote, with the marks that it did without."""

    def best(name: str) -> dict[str, Any] | None:
        found = plain[name]
        return None if found is None else {**found, "weights": {_TENSORS: name}}

    arrays = {name: {_ARRAY: name} for name in tensors}
    parts = {name.partition("/")[2]: mark for name, mark in arrays.items() if name.startswith("selection/")}
    beside = {"labelled_weight": plain.get("labelled_weight"), "unheard": plain.get("unheard", ())}
    return {
        **plain,
        "progress": {**plain["progress"], "best": best("best")},
        "teacher": best("teacher"),
        "student": best("student"),
        "selection": {**parts, **beside} if parts else None,
        "pool_predicted": arrays.get("pool/predicted"),
        "met": arrays.get("met"),
        "out_of_fold": {"said": {_ARRAYS: "fold"}} if weights_under("fold/", tensors) else None,
    }
