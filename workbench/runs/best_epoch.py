"""Which epoch is the best: one rule for the weights that are kept, and for all that is said of them.

The highest validation accuracy, of equals the least loss, and of complete equals the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

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


class RunningBest:
    """The epoch whose weights a run would keep if it ended now, while epochs come and a resume goes back.

    Of a pseudo-label run that is the best of its students where it beats the teacher, else the teacher's; a
    probe's only while there is nothing else. A last fit on the labels begins with the student as it is (epoch
    0): that one is no epoch of its own.
    """

    def __init__(self) -> None:
        # Each epoch that was the best when it came: to go back is to take some off the end.
        self._bests: dict[str, list[EpochDone]] = {"final": [], "teacher": [], "probe": []}

    @property
    def best(self) -> EpochDone | None:
        """None before an epoch is validated."""
        final, teacher, probe = (bests[-1] if bests else None for bests in self._bests.values())
        if final is None or teacher is None:
            return final or teacher or probe
        return teacher if is_better(teacher.accuracy, teacher.loss, final) else final

    def kept(self, round: int, epoch: int) -> EpochDone | None:
        """The epoch that a finished run says it kept; the best where it names none of those that were.

        Runs of an older petbench kept their student also where it had lost against its teacher.
        """
        tops = (bests[-1] for bests in self._bests.values() if bests)
        return next((top for top in tops if (top.round, top.epoch) == (round, epoch)), self.best)

    @property
    def teacher(self) -> EpochDone | None:
        """The best of the teacher; None where there is none."""
        bests = self._bests["teacher"]
        return bests[-1] if bests else None

    def add(self, epoch: EpochDone) -> None:
        """Take up the next epoch; one that was not validated has no say."""
        if epoch.split != "val" or (epoch.round and not epoch.epoch):
            return
        bests = self._bests["final" if epoch.stage in ("student", "fit") else epoch.stage]
        if not bests or is_better(epoch.accuracy, epoch.loss, bests[-1]):
            bests.append(epoch)

    def take_back(self, goes: Callable[[EpochDone], bool]) -> None:
        """Forget the latest epochs, as far as they go."""
        for bests in self._bests.values():
            while bests and goes(bests[-1]):
                bests.pop()


def best_of_run(epochs: Iterable[EpochDone]) -> EpochDone | None:
    """As `RunningBest`, of all epochs of a run's `timeline`, in order."""
    running = RunningBest()
    for epoch in epochs:
        running.add(epoch)
    return running.best


def epoch_words(epoch: EpochDone) -> str:
    """`12`, `r3 1` in the third round, `teacher 4`: an epoch counts from 1 within its stage."""
    if epoch.stage == "teacher":
        return f"teacher {epoch.epoch}"
    return f"r{epoch.round} {epoch.epoch}" if epoch.round else str(epoch.epoch)
