"""A run at a glance, for a row of a table: its validation curve, how far it is, how long it has to go."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.runs.ensemble import is_ensemble
from workbench.runs.results import read_top
from workbench.runs.run_history import HistoryReader, RunHistory, read_history
from workbench.runs.summary import RunSummary, problem_of

if TYPE_CHECKING:
    from workbench.runs.estimate import Going

_KEPT = 400
"""Runs remembered: what a person scrolls through."""
_LARGEST_BYTES = 64 * 2**20
"""A longer record of a run that has ended is not read for a curve of ten characters."""


@dataclass(frozen=True, slots=True)
class Glance:
    """What a row shows beside the summary."""

    accuracies: tuple[float, ...]
    """Validation accuracy after every epoch of the whole run."""
    going: Going | None
    """None for a run that has ended or not begun."""


_NOTHING = Glance((), None)


class Glances:
    """Looks at runs, and remembers: one that grows is read on, one that has ended is read once.

    Belongs to one thread at a time.
    """

    def __init__(self) -> None:
        self._readers: dict[str, HistoryReader] = {}
        self._ended: OrderedDict[tuple[str, float | None], Glance] = OrderedDict()

    def look(self, summary: RunSummary) -> Glance:
        """The run as it is now; one whose metrics cannot be read shows nothing."""
        if summary.status.is_active:
            reader = self._readers.setdefault(summary.id, HistoryReader(summary.run.metrics))
            return _glance(summary, _read(reader, summary))
        self._readers.pop(summary.id, None)
        key = (summary.id, summary.ended.ended if summary.ended else None)
        found = self._ended.pop(key, None)
        if found is None:
            found = _glance(summary, _read(HistoryReader(summary.run.metrics), summary))
        self._ended[key] = found
        while len(self._ended) > _KEPT:
            self._ended.popitem(last=False)
        return found


def _read(reader: HistoryReader, summary: RunSummary) -> RunHistory:
    path = summary.run.metrics
    try:
        if not summary.status.is_active and path.stat().st_size > _LARGEST_BYTES:
            return RunHistory()
        return reader.read()
    except OSError:
        return RunHistory()


def _glance(summary: RunSummary, history: RunHistory) -> Glance:
    if not history.stages:
        return _NOTHING
    accuracies = tuple(epoch.accuracy for epoch in history.epochs("val"))
    if not summary.status.is_running:
        return Glance(accuracies, None)
    # Here, since it brings the recipe's schema with it, which a table of ended runs does without.
    from workbench.runs.estimate import epoch_seconds, going, planned_stages, recipe_of_run

    now = history.stages[-1]
    validated = history.epochs("val", now)
    done = validated[-1].epoch if validated else 0
    planned = planned_stages(recipe_of_run(summary.run), history.stages, history.rounds)
    passed = (*history.epochs("train", now), *validated)
    seconds = epoch_seconds((event.epoch, event.seconds) for event in passed)
    return Glance(accuracies, going(planned, now, done, seconds))


@dataclass(frozen=True, slots=True)
class CloserLook:
    """What is read of one run alone, when a person stops at it."""

    warnings: tuple[str, ...] = ()
    """What a person should read of it, as its results and its messages say; each once."""
    epochs: str = ""
    """Of its plan, in a few words; empty where today's schema cannot read its recipe."""


def look_closer(summary: RunSummary) -> CloserLook:
    """Read a run's warnings and its plan; what cannot be read is left out or said as a warning."""
    # Here, since it brings the recipe's schema with it, which a table of ended runs does without.
    from workbench.recipe.plan import epochs_words, plan
    from workbench.runs.estimate import recipe_of_run

    recipe = None if is_ensemble(summary.run) else recipe_of_run(summary.run)
    return CloserLook(_warnings(summary), "" if recipe is None else epochs_words(plan(recipe)))


def _warnings(summary: RunSummary) -> tuple[str, ...]:
    run = summary.run
    try:
        head = read_top(run.results)
    except OSError:
        head = {}
    concluded = head.get("warnings", [])
    try:
        is_long = run.metrics.stat().st_size > _LARGEST_BYTES
        history = RunHistory() if is_long else read_history(run.metrics)
        skipped = history.skipped
        damage = [f"metrics.jsonl: {skipped:,} line{'s' * (skipped != 1)} cannot be read"] if skipped else []
    except FileNotFoundError:
        history, damage = RunHistory(), []
    except OSError as error:
        history, damage = RunHistory(), [problem_of(run.metrics, error)]
    told = map(str, concluded) if isinstance(concluded, list) else ()
    return tuple(dict.fromkeys([*damage, *told, *history.warnings]))
