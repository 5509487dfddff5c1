"""Which epoch is the best: one rule for the weights that are kept, and for all that is said of them.

The highest validation accuracy, of equals the least loss, and of complete equals the latest.
"""

from __future__ import annotations

from collections.abc import Iterable

from workbench.runs.events import EpochDone


def is_better(accuracy: float, loss: float, than: EpochDone) -> bool:
    """Whether an epoch that comes after `than` takes its place."""
    return not stays(than.accuracy, than.loss, accuracy, loss)


def stays(accuracy: float, loss: float, later_accuracy: float, later_loss: float) -> bool:
    """Whether the best so far is kept against a later epoch."""
    return (accuracy, -loss) > (later_accuracy, -later_loss)


def best_epoch(epochs: Iterable[EpochDone]) -> EpochDone | None:
    """The best of the validated epochs among those given, in order; None where there is none."""
    best: EpochDone | None = None
    for epoch in epochs:
        if epoch.split == "val" and (best is None or is_better(epoch.accuracy, epoch.loss, best)):
            best = epoch
    return best


def best_of_run(epochs: Iterable[EpochDone]) -> EpochDone | None:
    """The epoch whose weights a run would keep if it ended now; None before the first is validated.

    Of a pseudo-label run that is the best of its students once there is one, else the teacher's; a probe's
    only while there is nothing else. A last fit on the labels begins with the student as it is (epoch 0):
    that one is no epoch of its own.

    Args:
        epochs: of the run's `timeline`, in order.
    """
    validated = [epoch for epoch in epochs if epoch.split == "val"]
    for stages in (("student", "fit"), ("teacher",), ("probe",)):
        best = best_epoch(e for e in validated if e.stage in stages and (e.epoch or not e.round))
        if best is not None:
            return best
    return None
