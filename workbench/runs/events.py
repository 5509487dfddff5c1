"""What a run reports while it goes: one frozen record a kind, each a line of `metrics.jsonl`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from workbench.runs.intervals import share_words
from workbench.support.stages import StageName as StageName
from workbench.support.stages import stage_words as stage_words

SplitName = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True)
class Resumed:
    """A later attempt goes on from here; whatever the record tells beyond is done again."""

    kind: ClassVar[str] = "resumed"
    stage: StageName
    round: int
    epoch: int
    """Epochs of the stage that are done."""
    step: int
    """Optimiser steps since the stage began that are done; with neither it begins."""


@dataclass(frozen=True, slots=True)
class StageStarted:
    """A stage of training begins."""

    kind: ClassVar[str] = "stage"
    stage: StageName
    round: int
    """0 for supervised runs and the teacher; a student's rounds count from 1."""
    epochs: int
    labelled: int
    pseudo_labelled: int
    features: bool
    """Whether the stage runs on cached features of a frozen trunk."""


@dataclass(frozen=True, slots=True)
class StepDone:
    """A logging interval of optimiser steps; loss is its mean."""

    kind: ClassVar[str] = "step"
    stage: StageName
    round: int
    epoch: int
    """Epochs count from 1 within a stage."""
    step: int
    """Optimiser steps since the stage began."""
    loss: float
    learning_rate: float
    images_per_second: float
    memory_bytes: int
    """Device memory of a GPU, else the process's resident memory."""


@dataclass(frozen=True, slots=True)
class EpochDone:
    """A split's loss and accuracy after an epoch; train values are running means over the epoch."""

    kind: ClassVar[str] = "epoch"
    stage: StageName
    round: int
    epoch: int
    split: SplitName
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float
    seconds: float
    images: int = 0
    """That the accuracy is of; 0 in records that do not say."""

    @property
    def words(self) -> str:
        """`88.42 % (86.0–90.5)`: the accuracy with its 95 % interval."""
        return share_words(self.accuracy, self.images)


@dataclass(frozen=True, slots=True)
class ConfusionSeen:
    """The validation confusion after an epoch: counts, rows are true classes, columns predictions."""

    kind: ClassVar[str] = "confusion"
    stage: StageName
    round: int
    epoch: int
    matrix: list[list[int]]


@dataclass(frozen=True, slots=True)
class RoundLabelled:
    """The teacher has labelled the pool for a round."""

    kind: ClassVar[str] = "round"
    round: int
    pool: int
    selected: int
    accuracy: float | None
    """Share of the selected pseudo-labels that are right, where the truth is known; None where it is not."""
    pool_accuracy: float | None
    flipped: int
    """Pool images whose pseudo-label differs from the round before."""
    threshold: float
    """Least confidence among the selected."""
    per_class: list[int]
    """Selected images a class."""
    confidence_histogram: list[int]
    """Counts of the pool's confidences in 20 equal bins of [0, 1]."""


@dataclass(frozen=True, slots=True)
class PoolTaught:
    """What an online strategy made of the pool in an epoch."""

    kind: ClassVar[str] = "pool"
    stage: StageName
    round: int
    epoch: int
    images: int
    """Unlabelled images seen."""
    used: float
    """Mean weight of their pseudo-labels: with a threshold, the share above it (the mask rate)."""
    accuracy: float | None
    """How right those are, by weight; None where none counted or the truth is not known."""
    pool_accuracy: float | None
    """How right all are, used or not; None where the truth is not known."""
    thresholds: list[float]
    """By class at the epoch's end; empty where the strategy has none."""


@dataclass(frozen=True, slots=True)
class RanksSeen:
    """What each of several processes that share a run's batches did in an epoch, by rank."""

    kind: ClassVar[str] = "ranks"
    stage: StageName
    round: int
    epoch: int
    images_per_second: list[float]
    """Of its share of every batch; they wait for each other, so it is not what one could do alone."""
    memory_bytes: list[int]
    """The most yet, as in `StepDone`."""


@dataclass(frozen=True, slots=True)
class Message:
    """Something a person should read: what was chosen, what is odd."""

    kind: ClassVar[str] = "message"
    level: Literal["info", "warning"]
    text: str


Event = (
    Resumed
    | StageStarted
    | StepDone
    | EpochDone
    | ConfusionSeen
    | RoundLabelled
    | PoolTaught
    | RanksSeen
    | Message
)


class Reporter(Protocol):
    """How training tells the world. The JSONL writer and the command line's display are two of these."""

    def event(self, event: Event) -> None:
        """Something happened that belongs into the run's record."""

    def progress(self, task: str, done: int, total: int) -> None:
        """`task` ("decode images", "epoch") is at `done` of `total`, which ends it; shown, not recorded."""


class Silent:
    """A reporter for whoever does not want one."""

    def event(self, event: Event) -> None:
        """Drop it."""

    def progress(self, task: str, done: int, total: int) -> None:
        """Drop it."""
