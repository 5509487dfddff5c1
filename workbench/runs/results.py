"""`results.toml`: the headline numbers of a finished run, written once, last."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model on one split. Shares are in [0, 1]; per-class values follow the run's `classes`."""

    images: int
    accuracy: float
    loss: float
    macro_f1: float
    top5: float
    calibration_error: float
    """Expected calibration error, 15 equal bins (Guo et al. 2017, Eq. 3)."""
    recall: tuple[float | None, ...]
    """None for a class with no image in the split."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts; rows are true classes, columns predictions."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """One round of pseudo-labels and the student it made."""

    round: int
    selected: int
    coverage: float
    pseudo_label_accuracy: float | None
    flipped: int
    student_val_accuracy: float


@dataclass(frozen=True, slots=True)
class Results:
    """All that a finished run says of itself.

    `test` and `val` are the run's final model: the fit of a supervised run, the student of a pseudo-label run.
    """

    classes: tuple[str, ...]
    val: Evaluation
    test: Evaluation
    best_stage: str
    best_round: int
    best_epoch: int
    training_seconds: float
    images_per_second: float
    peak_memory_bytes: int
    precision: str
    labelled: int
    unlabelled: int
    classes_covered: int
    """Classes with at least one labelled image."""
    teacher_val: Evaluation | None = None
    teacher_test: Evaluation | None = None
    probe_val_accuracy: float | None = None
    rounds: tuple[RoundResult, ...] = ()
    warnings: tuple[str, ...] = ()
