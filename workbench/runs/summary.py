"""A run in a line: what listings, filters and exports know of it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any

from workbench.runs.epochs import EpochReader
from workbench.runs.events import EpochDone, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.notes import read_notes
from workbench.runs.process import ExitRecord, ProcessRecord, read_exit, read_process
from workbench.runs.results import EVALUATIONS, read_headline
from workbench.runs.status import RunStatus, derive_status
from workbench.runs.waiting import position_of
from workbench.support.flat import flatten

_EVALUATION_NUMBERS = ("images", "accuracy", "loss", "macro_f1", "top5", "calibration_error")
_RUN_NUMBERS = (
    "training_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "labelled",
    "unlabelled",
    "classes_covered",
)
_EXTRA_NUMBERS = ("extra_labelled", "extra_unlabelled")
"""Of a run that trained on images beside its data set."""
_ROUND_NUMBERS = ("selected", "coverage", "pseudo_label_accuracy", "flipped")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run without results is."""

    stage: str
    round: int
    rounds: int
    """0 for a supervised run."""
    epoch: int
    """Epochs done in the stage."""
    epochs: int


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What is known of a run without opening its images, predictions or confusion."""

    path: Path
    status: RunStatus
    name: str
    created: datetime
    """Local time, without a zone."""
    tags: tuple[str, ...]
    """The recipe's, then the user's."""
    note: str
    archived: bool
    recipe: Mapping[str, Any]
    """Dotted keys to TOML values, of whatever schema the run was made with; empty where it cannot be read."""
    metrics: Mapping[str, float]
    """Dotted keys: `val.accuracy`, `teacher.test.macro_f1`, `training_seconds`, `round.coverage` (of the last
    round). Before there are results, `val.accuracy` is the best seen in the latest kind of stage."""
    progress: Progress | None
    """None once there are results, and before the first event."""
    process: ProcessRecord | None
    ended: ExitRecord | None
    problem: str = ""
    """What about its files cannot be read."""
    queue_position: int | None = None
    """Of a queued run: 1 for the next."""

    @property
    def run(self) -> RunDirectory:
        """Its directory."""
        return RunDirectory(self.path)

    @property
    def id(self) -> str:
        """The directory's name."""
        return self.path.name

    @property
    def handle(self) -> str:
        """The short way to name it."""
        return self.run.handle

    @property
    def val_accuracy(self) -> float | None:
        """Of the final model; before there is one, the best so far."""
        return self.metrics.get("val.accuracy")

    @property
    def test_accuracy(self) -> float | None:
        """Of the final model; None until it has been tested."""
        return self.metrics.get("test.accuracy")

    @property
    def teacher_test_accuracy(self) -> float | None:
        """Of the teacher of a pseudo-label run."""
        return self.metrics.get("teacher.test.accuracy")

    @property
    def reason(self) -> str:
        """What the latest attempt said when it ended; empty while another one is under way."""
        ended = self.ended
        if ended is None or (self.process is not None and ended.attempt < self.process.attempt):
            return ""
        return ended.reason


def summarise(run: RunDirectory, epochs: EpochReader | None = None) -> RunSummary:
    """Read a run's small files into its summary; damaged ones are told in `problem` and taken as absent.

    Args:
        epochs: reads the metrics of a run that grows; whoever looks at it often keeps one for it.
    """
    recipe, problem = _read_recipe(run)
    notes = read_notes(run)
    process, ended = read_process(run), read_exit(run)
    metrics, progress = _read_results(run), None
    if metrics is None:
        metrics, progress = _read_progress(run, recipe, epochs or EpochReader())
        if run.results.exists():
            problem = problem or "results.toml is damaged"
    recipe_tags = recipe.get("tags")
    named_tags = [str(tag) for tag in recipe_tags] if isinstance(recipe_tags, list) else []
    status = derive_status(run, process, ended)
    return RunSummary(
        path=run.path,
        status=status,
        name=str(recipe.get("name", run.slug)),
        created=run.created or datetime.fromtimestamp(run.recipe.stat().st_mtime),
        tags=tuple(dict.fromkeys((*named_tags, *notes.tags))),
        note=notes.note,
        archived=notes.archived,
        recipe=recipe,
        metrics=metrics,
        progress=progress,
        process=process,
        ended=ended,
        problem=problem,
        queue_position=queue_position(run, status),
    )


def queue_position(run: RunDirectory, status: RunStatus) -> int | None:
    """The place of a queued run, 1 for the next; None for any other."""
    return position_of(run) if status is RunStatus.QUEUED else None


def _read_recipe(run: RunDirectory) -> tuple[dict[str, Any], str]:
    """The flattened recipe of any schema, and what is wrong with it."""
    try:
        return _parse_recipe(run.recipe.read_text("utf-8")), ""
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"recipe.toml cannot be read: {error}"


def _parse_recipe(text: str) -> dict[str, Any]:
    """Flattened TOML, parsed a table at a time: runs share most tables, and each text is parsed once.

    A cut at a line that begins with `[` but is inside a string or list leaves text that is no TOML by
    itself; the whole is then parsed in one.
    """
    head, *tables = text.split("\n[")
    try:
        flat = dict(_parse_table(head))
        for table in tables:
            flat.update(_parse_table("[" + table))
        return flat
    except ValueError:
        return _parse_table(text)


@lru_cache(maxsize=4096)
def _parse_table(text: str) -> dict[str, Any]:
    return {key: _without_dates(value) for key, value in flatten(tomllib.loads(text)).items()}


def _without_dates(value: Any) -> Any:
    """TOML's dates and times as text: JSON has none, and no knob is one."""
    if isinstance(value, list):
        return [_without_dates(item) for item in value]
    return value.isoformat() if isinstance(value, date | time) else value


def _read_results(run: RunDirectory) -> dict[str, float] | None:
    """The numbers of `results.toml` under dotted keys; None where it is not there or damaged."""
    try:
        tables = read_headline(run.results)
        top = tables[""]
        numbers = {key: top[key] for key in _RUN_NUMBERS}
        numbers |= {key: top[key] for key in _EXTRA_NUMBERS if key in top}
        numbers |= {"best.round": top["best_round"], "best.epoch": top["best_epoch"]}
        if "probe_val_accuracy" in top:
            numbers["probe.val.accuracy"] = top["probe_val_accuracy"]
        for name in EVALUATIONS:
            if name in tables:
                prefix = name.replace("_", ".")
                numbers |= {f"{prefix}.{key}": tables[name][key] for key in _EVALUATION_NUMBERS}
        last = tables.get("rounds", {})
        return numbers | {f"round.{key}": last[key] for key in _ROUND_NUMBERS if key in last}
    except (OSError, ValueError, KeyError):
        return None


def _read_progress(
    run: RunDirectory, recipe: Mapping[str, Any], epochs: EpochReader
) -> tuple[dict[str, float], Progress | None]:
    """The numbers so far, and how far that is, of a run without results."""
    try:
        events = epochs.read(run.metrics)
    except OSError:
        return {}, None
    stages = [event for event in events if isinstance(event, StageStarted)]
    if not stages:
        return {}, None
    now = stages[-1]
    passed = [e for e in events if isinstance(e, EpochDone) and e.stage == now.stage and e.split != "test"]
    numbers: dict[str, float] = {}
    validated = [e.accuracy for e in passed if e.split == "val"]
    if validated:
        numbers = {"val.accuracy": max(validated), "val.last_accuracy": validated[-1]}
    epoch = max((e.epoch for e in passed if e.round == now.round and e.split == "val"), default=0)
    return numbers, Progress(now.stage, now.round, _rounds(recipe), epoch, now.epochs)


def _rounds(recipe: Mapping[str, Any]) -> int:
    strategy = recipe.get("pseudo_label.strategy")
    if strategy is None:
        return 0
    rounds = recipe.get("pseudo_label.rounds", 1)
    return rounds if isinstance(rounds, int) else 0
