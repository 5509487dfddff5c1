"""A run in a line: what listings, filters and exports know of it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from workbench.runs.ensemble import is_ensemble, recipe_of_members
from workbench.runs.intervals import Interval, of_share
from workbench.runs.layout import RunDirectory
from workbench.runs.notes import Notes, load_notes
from workbench.runs.process import ExitRecord, ProcessRecord
from workbench.runs.results import EVALUATIONS, read_headline
from workbench.runs.run_history import HistoryReader, RunHistory
from workbench.runs.status import RunStatus, derive_status
from workbench.runs.ticket import Ticket
from workbench.runs.waiting import position_of
from workbench.support.clean import clean
from workbench.support.digests import require_sum
from workbench.support.errors import UserError
from workbench.support.records import load_record
from workbench.support.regular_file import UnreadableFile, as_text, read_bytes
from workbench.support.toml_text import MAX_BYTES, flatten, parse_toml

T = TypeVar("T")
_Timed = TypeVar("_Timed", ProcessRecord, ExitRecord)
_EVALUATION_NUMBERS = ("images", "accuracy", "loss", "macro_f1", "top5", "calibration_error")
_RUN_NUMBERS = (
    "training_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "labelled",
    "unlabelled",
    "classes_covered",
)
_RARE_NUMBERS = ("extra_labelled", "extra_unlabelled", "devices")
"""Of a run that trained on images beside its data set, or on several devices."""
_LABELS = (("choosing", "val"), ("testing", "test"))
_SHARES = (
    "accuracy",
    "macro_f1",
    "top5",
    "coverage",
    "calibration_error",
)
_LARGEST = 1e18
"""No count and no number of seconds comes near it."""
_END_OF_TIME = 2.0**35
"""In seconds since 1970; a calendar ends in the year 10000."""
_LARGEST_PROVENANCE = 2**20
_LONGEST_PROBLEM = 300
BOUNDS = ("accuracy_low", "accuracy_high")
"""Beside each accuracy of a finished run the ends of its 95 % interval."""
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
    """Dotted keys to TOML values, of whatever schema the run was made with; empty where it cannot be read. Of
    an ensemble of runs that of the best, and as `recipe_of_members` has it."""
    metrics: Mapping[str, float]
    """Dotted keys: `val.accuracy`, `teacher.test.macro_f1`, `training_seconds`, `round.coverage` (of the last
    round). Before there are results, `val.accuracy` is of the epoch it would keep (`RunHistory.bests`)."""
    progress: Progress | None
    """None once there are results, and before the first event."""
    process: ProcessRecord | None
    ended: ExitRecord | None
    problem: str = ""
    """What about its files cannot be read: `notes.toml: a named pipe, not a regular file`."""
    queue_position: int | None = None
    """Of a queued run: 1 for the next; None where it waits for Slurm."""
    ticket: Ticket | None = None
    """The job that Slurm has, or had, for it."""
    awaited: str = ""
    """Of a run that Slurm keeps waiting: why, in Slurm's word or about Slurm; empty until it is asked."""
    pictures: str = ""
    """What its images held (`Catalogue.pictures`); empty where that was not written down."""

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
    def waits_for_slurm(self) -> bool:
        """Whether Slurm has its job and has not started it, or not again."""
        return self.status is RunStatus.QUEUED and self.ticket is not None and self.ticket.is_open

    @property
    def slurm_words(self) -> str:
        """Where a run that waits for Slurm stands: `pending in Slurm, job 12: Resources`; else empty."""
        if not self.waits_for_slurm or self.ticket is None:
            return ""
        latest = max((one.attempt for one in (self.process, self.ended) if one is not None), default=0)
        word = "requeued" if latest > self.ticket.after else "pending"
        return f"{word} in Slurm, {self.ticket.words}{f': {self.awaited}' if self.awaited else ''}"

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

    def interval(self, key: str) -> Interval | None:
        """The 95 % interval of an accuracy such as `test.accuracy`; None where there are no results."""
        ends = [self.metrics.get(key.removesuffix("accuracy") + bound) for bound in BOUNDS]
        low, high = ends
        return None if low is None or high is None else (low, high)

    @property
    def keeps_teacher(self) -> bool:
        """Whether no student beat the teacher on validation, so that the final model is the teacher."""
        return "student.val.accuracy" in self.metrics

    @property
    def student_test_accuracy(self) -> float | None:
        """Of the best student of a pseudo-label run, whether or not it is the final model."""
        if self.teacher_test_accuracy is None:
            return None
        return self.metrics.get("student.test.accuracy", self.test_accuracy)

    @property
    def reason(self) -> str:
        """What the latest attempt said when it ended; empty while another one is under way."""
        ended = self.ended
        ticket = self.ticket
        if ticket is not None and (ended is None or ended.attempt <= ticket.after):
            if self.status is RunStatus.STOPPED and ticket.is_held:
                return "paused"
            if self.status is RunStatus.LOST and ticket.closed:
                return ticket.closed
        if ended is None or (self.process is not None and ended.attempt < self.process.attempt):
            return ""
        return ended.reason


def summarise(run: RunDirectory, reader: HistoryReader | None = None) -> RunSummary:
    """Read a run's small files into its summary. What cannot be read, for whatever reason, is told in
    `problem` and taken as absent: one bad run must not take a listing down.

    Args:
        reader: reads the metrics of a run that grows; whoever looks at it often keeps one for it.

    Raises:
        FileNotFoundError: the run is gone.
    """
    if not os.path.lexists(run.recipe):
        raise FileNotFoundError(str(run.recipe))
    read = Reading()
    recipe = read(run.recipe, lambda: _read_recipe(run), dict[str, Any]())
    recipe = {**recipe, **read(run.ensemble, lambda: recipe_of_members(run), dict[str, Any]())}
    pictures = read(run.provenance, lambda: _read_pictures(run), "")
    notes = read(run.notes, lambda: load_notes(run), Notes())
    process = read(run.process, lambda: _in_our_time(run.process, ProcessRecord), None)
    ended = read(run.exit, lambda: _in_our_time(run.exit, ExitRecord), None)
    nothing: tuple[dict[str, float], Progress | None] = {}, None
    metrics = read(run.results, lambda: _read_results(run), None)
    progress = None
    if metrics is not None:
        read.problems += _gone(run)
    else:
        history = (reader or HistoryReader(run.metrics)).read
        metrics, progress = read(run.metrics, lambda: _progress(history(), recipe), nothing)
    recipe_tags = recipe.get("tags")
    named_tags = [str(tag) for tag in recipe_tags] if isinstance(recipe_tags, list) else []
    ticket = read(run.ticket, lambda: load_record(run.ticket, Ticket), None)
    status = read(run.path, lambda: derive_status(run, process, ended, ticket), RunStatus.LOST)
    return RunSummary(
        path=run.path,
        status=status,
        name=str(recipe.get("name", run.slug)),
        created=run.created or read(run.recipe, lambda: _changed(run.recipe), datetime.fromtimestamp(0)),
        tags=tuple(dict.fromkeys((*named_tags, *notes.tags))),
        note=notes.note,
        archived=notes.archived,
        recipe=recipe,
        metrics=metrics,
        progress=progress,
        process=process,
        ended=ended,
        problem="; ".join(read.problems),
        queue_position=queue_position(run, status),
        ticket=ticket,
        pictures=pictures,
    )


class Reading:
    """Reads a run's files one after another, and keeps what was wrong with them."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def __call__(self, path: Path, read: Callable[[], T], absent: T) -> T:
        """What `read` makes of the file; `absent` where there is none, or something is wrong with it."""
        try:
            return read()
        except FileNotFoundError:
            return absent
        except Exception as error:  # whatever a stranger's file brings about is this row's problem alone
            self.problems.append(problem_of(path, error))
            return absent


def problem_of(path: Path, error: Exception) -> str:
    """What is wrong with a file, in a line that names it."""
    match error:
        case UnreadableFile():
            reason = error.reason
        case UserError():
            reason = error.what
        case OSError():
            reason = f"cannot be read: {error.strerror or error}"
        case _:
            reason = f"cannot be read: {error or type(error).__name__}"
    return clean(f"{path.name}: {reason}", _LONGEST_PROBLEM)


Awaited = Callable[[Ticket], str]
"""Why Slurm has not started a job, in a few words; empty where nobody knows."""


def unasked(_: Ticket) -> str:
    """Nobody has asked Slurm."""
    return ""


def with_awaited(summary: RunSummary, awaited: Awaited) -> RunSummary:
    """With what Slurm says of a run that waits for it."""
    word = awaited(summary.ticket) if summary.waits_for_slurm and summary.ticket is not None else ""
    return summary if word == summary.awaited else replace(summary, awaited=word)


def queue_position(run: RunDirectory, status: RunStatus) -> int | None:
    """The place of a queued run, 1 for the next; None for any other."""
    return position_of(run) if status is RunStatus.QUEUED else None


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime)


def _in_our_time(path: Path, kind: type[_Timed]) -> _Timed:
    """The record in `path`, whose time must be one that a calendar has."""
    record = load_record(path, kind)
    seconds = record.started if isinstance(record, ProcessRecord) else record.ended
    if not 0 <= seconds < _END_OF_TIME:
        raise UnreadableFile(path, f"{seconds:g} seconds since 1970 is no time")
    return record


def _read_recipe(run: RunDirectory) -> dict[str, Any]:
    content = read_bytes(run.recipe, MAX_BYTES)
    require_sum(run.recipe, content)
    return _parse_recipe(as_text(run.recipe, content))


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
    except UserError:
        return _parse_table(text)


@lru_cache(maxsize=4096)
def _parse_table(text: str) -> dict[str, Any]:
    values = parse_toml(text, "").values
    return {key: _without_dates(value) for key, value in flatten(values).items()}


def _without_dates(value: Any) -> Any:
    """TOML's dates and times as text: JSON has none, and no knob is one."""
    if isinstance(value, list):
        return [_without_dates(item) for item in value]
    return value.isoformat() if isinstance(value, date | time) else value


def _read_results(run: RunDirectory) -> dict[str, float]:
    """The numbers of `results.toml` under dotted keys.

    Raises:
        FileNotFoundError: there is none.
        UnreadableFile: it is damaged.
    """
    tables = read_headline(run.results)
    try:
        top = tables[""]
        numbers = {key: top[key] for key in _RUN_NUMBERS}
        numbers |= {key: top[key] for key in _RARE_NUMBERS if key in top}
        if not is_ensemble(run):  # which has no epochs
            numbers |= {"best.round": top["best_round"], "best.epoch": top["best_epoch"]}
        if "probe_val_accuracy" in top:
            numbers["probe.val.accuracy"] = top["probe_val_accuracy"]
        if classes := tables.get("test", {}).get("classes"):
            numbers["classes"] = classes
        for name in EVALUATIONS:
            if name in tables:
                prefix = name.replace("_", ".")
                numbers |= {f"{prefix}.{key}": tables[name][key] for key in _EVALUATION_NUMBERS}
                ends = of_share(tables[name]["accuracy"], tables[name]["images"])
                numbers |= {f"{prefix}.{bound}": end for bound, end in zip(BOUNDS, ends, strict=True)}
        used = tables.get("labels", {})
        for key, derived in (("training", top["labelled"]), *((k, tables[t]["images"]) for k, t in _LABELS)):
            numbers[f"labels.{key}"] = used.get(key, derived)
    except KeyError as error:
        raise UnreadableFile(run.results, f"it lacks {error.args[0]}") from error
    last = tables.get("rounds", {})
    numbers |= {f"round.{key}": last[key] for key in _ROUND_NUMBERS if key in last}
    for key, value in numbers.items():  # a loss may be any number, and even none
        if not key.endswith(".loss") and not 0 <= value <= (1 if key.endswith(_SHARES) else _LARGEST):
            raise UnreadableFile(run.results, f"{key} is {value:g}")
    return numbers


def _gone(run: RunDirectory) -> Iterator[str]:
    """What a run with results must have had, and has not any more. One that was cut down to its results on
    purpose, without split and provenance, lacks nothing."""
    if not os.path.lexists(run.split) and not os.path.lexists(run.provenance):
        return
    for path, lost in (
        (run.split, "which image was for what"),
        (run.provenance, "what it was made with"),
        (run.metrics, "its epochs"),
        (run.predictions("val"), "what it said of each validation image"),
        (run.predictions("test"), "what it said of each test image"),
    ):
        if not os.path.lexists(path):
            yield f"{path.relative_to(run.path)}: it is gone, and with it {lost}"


def _read_pictures(run: RunDirectory) -> str:
    """The fingerprint of what its images held; empty where it has none. One line is looked for: thousands of
    runs are listed, and the rest of their provenance is of no use to a line.

    Raises:
        FileNotFoundError: the run has no provenance yet.
        UnreadableFile: the file cannot be read.
    """
    content = read_bytes(run.provenance, _LARGEST_PROVENANCE)
    require_sum(run.provenance, content)
    found = _PICTURES.search(as_text(run.provenance, content))
    return found[1] if found else ""


_PICTURES = re.compile(r'^pictures_fingerprint = "([0-9a-f]+)"$', re.MULTILINE)


def _progress(history: RunHistory, recipe: Mapping[str, Any]) -> tuple[dict[str, float], Progress | None]:
    """The numbers so far, and how far that is, of a run without results."""
    if not history.stages:
        return {}, None
    now, validated, best = history.stages[-1], history.epochs("val"), history.bests.best
    numbers = {"val.accuracy": best.accuracy, "val.last_accuracy": validated[-1].accuracy} if best else {}
    here = history.epochs("val", now)
    epoch = here[-1].epoch if here else 0
    return numbers, Progress(now.stage, now.round, planned_rounds(recipe), epoch, now.epochs)


def planned_rounds(recipe: Mapping[str, Any]) -> int:
    """Of the plan, whose schema a listing does without."""
    strategy = recipe.get("pseudo_label.strategy")
    if strategy is None:
        return 0
    rounds = recipe.get("pseudo_label.rounds", 1)
    return rounds if isinstance(rounds, int) else 0
