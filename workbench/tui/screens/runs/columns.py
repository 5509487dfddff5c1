"""The columns of the runs table: how a run's values read in narrow cells, what each shows, which fit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from rich.text import Text

from workbench.runs.glance import Glance
from workbench.runs.keys import Value, values_of
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.runs.values import value_words
from workbench.support.units import fraction, given_percent, human_eta, progress_percent
from workbench.tui.draw.bars import spark
from workbench.tui.text import STATUS_MARKS, plain
from workbench.tui.themes import Palette

GAP = 1
_BAR = " ▏▎▍▌▋▊▉█"
_CURVE_WIDTH = 8
_OTHER_WIDTH = 14
_RECENT_DAYS = 14


@dataclass(frozen=True, slots=True)
class Row:
    """All that a row is drawn from."""

    summary: RunSummary
    glance: Glance | None
    """None until its metrics have been read."""
    now: datetime


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    key: str
    """What it sorts by: a key of `runs.keys`; empty where there is no order in it."""
    id: str
    title: str
    width: int
    draw: Callable[[Row, Palette], Text]
    right: bool = False
    longest: int = 0
    """The width that it takes where there is room."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A column and where it stands."""

    column: Column
    start: int
    width: int


def share(value: float | None) -> str:
    """`.874`; `1.00` for all; `–` for what there is not."""
    return fraction(value)


def age(then: datetime, now: datetime) -> str:
    """`now`, `5m`, `3h`, `2d`, then the date."""
    passed = now - then
    minutes = int(passed.total_seconds() // 60)
    if minutes < 1:
        return "now"
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 24 * 60:
        return f"{minutes // 60}h"
    if passed < timedelta(days=_RECENT_DAYS):
        return f"{passed.days}d"
    return f"{then:%b %d}" if then.year == now.year else f"{then:%Y-%m}"


def labels(recipe: Mapping[str, Any]) -> str:
    """How much of the training data kept its labels: `10%`, `4/class`, `100%`; `–` where nothing tells."""
    if not is_told(recipe):
        return "–"
    per_class = recipe.get("pseudo_label.labels_per_class")
    if isinstance(per_class, int):
        return f"{per_class}/class"
    fraction = recipe.get("pseudo_label.labelled_fraction")
    if isinstance(fraction, int | float):
        return f"{given_percent(fraction)}%"
    return "100%"


def is_told(recipe: Mapping[str, Any]) -> bool:
    """Whether the recipe could be read, and has pseudo-labels either as a table or not at all."""
    return bool(recipe) and "pseudo_label" not in recipe


def state(summary: RunSummary) -> str:
    """The state's word with what matters most in it: the round, the place in the queue, the reason."""
    status, progress = summary.status, summary.progress
    word = STATUS_MARKS[status].word
    match status:
        case RunStatus.QUEUED if summary.waits_for_slurm:
            return f"{word} {summary.awaited or 'in Slurm'}"
        case RunStatus.QUEUED if summary.queue_position is not None:
            return f"{word} #{summary.queue_position}"
        case RunStatus.FAILED:
            return summary.reason or word
        case RunStatus.STOPPED if summary.reason == "paused":
            return f"paused{_reached(summary)}"
        case RunStatus.STOPPED | RunStatus.SILENT | RunStatus.LOST:
            return f"{word}{_reached(summary)}"
        case RunStatus.LIVE | RunStatus.STALLED | RunStatus.STOPPING if progress is not None:
            where = f"r{progress.round}/{progress.rounds}" if progress.round else progress.stage
            return f"{word} {where}"
    return word


def _reached(summary: RunSummary) -> str:
    progress = summary.progress
    if progress is None:
        return ""
    return f" r{progress.round} ep {progress.epoch}" if progress.round else f" ep {progress.epoch}"


def value_of(summary: RunSummary, key: str) -> Value | None:
    """The run's value under a key; None where it has none."""
    found: Value | None = summary.metrics.get(key)
    if found is None:
        found = summary.recipe.get(key)
    return values_of(summary).get(key) if found is None else found


def is_number(value: Value | None) -> bool:
    """Whether the value is one that a column lines up at the right."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _name(row: Row, colours: Palette) -> Text:
    summary = row.summary
    text = plain(summary.name, colours.muted if summary.archived else "")
    if summary.archived:
        text.append(" (archived)", style=colours.muted)
    if summary.note:
        text.append(" ¶", style=colours.muted)
    return text


def _status(row: Row, colours: Palette) -> Text:
    mark = STATUS_MARKS[row.summary.status]
    text = Text.assemble((f"{mark.sign} ", getattr(colours, mark.colour)))
    quiet = row.summary.status is RunStatus.FINISHED
    text.append_text(plain(state(row.summary), colours.muted if quiet else ""))
    return text


def bar(fraction: float, width: int) -> str:
    """A bar of eighths of a cell: `████▏ `."""
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (_BAR[rest] if rest else "")).ljust(width)


def _progress(row: Row, colours: Palette) -> Text:
    if row.glance is None or row.glance.going is None:
        return Text()
    fraction = row.glance.going.fraction
    return Text.assemble((bar(fraction, 5), colours.accent), f" {progress_percent(fraction):>2}%")


def _eta(row: Row, colours: Palette) -> Text:
    going = row.glance.going if row.glance is not None else None
    if going is None or going.eta_seconds is None:
        return Text()
    return Text(f"{'~' if going.is_rough else ''}{human_eta(going.eta_seconds)}")


def _curve(row: Row, colours: Palette) -> Text:
    return Text("" if row.glance is None else spark(row.glance.accuracies, _CURVE_WIDTH), colours.accent)


def _validation(row: Row, colours: Palette) -> Text:
    metrics = row.summary.metrics
    value = metrics.get("val.accuracy")
    if row.summary.status.is_active:
        value = metrics.get("val.last_accuracy", value)
    return _share_text(value, colours)


def _test(row: Row, colours: Palette) -> Text:
    text = _share_text(row.summary.test_accuracy, colours)
    text.append("↓" if row.summary.keeps_teacher else " ", style=colours.bad)
    return text


def _teacher(row: Row, colours: Palette) -> Text:
    return _share_text(row.summary.teacher_test_accuracy, colours)


def _share_text(value: float | None, colours: Palette) -> Text:
    return Text(share(value), style=colours.muted if value is None else "", end="")


def _labels(row: Row, _: Palette) -> Text:
    return Text(labels(row.summary.recipe))


def _when(row: Row, colours: Palette) -> Text:
    return Text(age(row.summary.created, row.now), style=colours.muted)


def _handle(row: Row, colours: Palette) -> Text:
    return plain(row.summary.handle, colours.muted)


def _tags(row: Row, _: Palette) -> Text:
    return plain(" ".join(row.summary.tags))


def _strategy(row: Row, colours: Palette) -> Text:
    recipe = row.summary.recipe
    value = recipe.get("pseudo_label.strategy")
    if value is None:
        return Text("supervised" if is_told(recipe) else "–", style=colours.muted)
    return plain(value)


# In the order shown. The first that fit are shown unless a person chose others; the curve comes before its
# numbers, yet a narrow screen has no room for it.
STANDARD = (
    Column("name", "name", "name", 14, _name),
    Column("status", "status", "status", 15, _status, longest=30),
    Column("", "progress", "progress", 9, _progress),
    Column("", "eta", "eta", 6, _eta, right=True),
    Column("", "curve", "curve", _CURVE_WIDTH, _curve),
    Column("val.accuracy", "val", "val", 4, _validation, right=True),
    Column("test.accuracy", "test", "test ", 5, _test, right=True),
    Column("teacher.test.accuracy", "teacher", "teacher", 7, _teacher, right=True),
    Column("pseudo_label.labelled_fraction", "labels", "labels", 7, _labels, right=True),
    Column("model.backbone", "backbone", "backbone", 18, lambda row, _: _any("model.backbone", row)),
    Column("pseudo_label.strategy", "strategy", "strategy", 14, _strategy),
    Column("created", "when", "when", 6, _when, right=True),
    Column("tags", "tags", "tags", 12, _tags, longest=30),
    Column("id", "run", "run", 4, _handle),
)
_BY_ID = {column.id: column for column in STANDARD}
_SPARE = ("tags", "run", "backbone", "strategy", "eta", "curve")
"""What a narrower table does without, the first first, before names are cut."""
_THEN = ("labels", "teacher", "progress")
"""And after that."""
_LONGEST_NAME = 28
_OF_GOING = ("progress", "eta")
"""What says nothing while no run goes on."""


def column_ids(known: Iterable[str]) -> list[str]:
    """Every column there could be: the standard ones, then one for each known key that they leave."""
    standard = [column.id for column in STANDARD]
    covered = {*standard, *(column.key for column in STANDARD)}
    return [*standard, *sorted(key for key in known if key not in covered)]


def example_of(run: RunSummary | None, id_: str) -> str:
    """What the column says of a run; empty without one, and where it shows no key."""
    key = column_of(id_).key
    return value_words(key, value_of(run, key), percent=False) if run is not None and key else ""


def _any(key: str, row: Row) -> Text:
    return plain(value_words(key, value_of(row.summary, key), percent=False))


def column_of(id_: str) -> Column:
    """A standard column by its id, or one that shows any key."""
    if id_ in _BY_ID:
        return _BY_ID[id_]

    def draw(row: Row, _: Palette) -> Text:
        value = value_of(row.summary, id_)
        text = plain(value_words(id_, value, percent=False))
        if is_number(value):
            text.justify = "right"
        return text

    parts = id_.split(".")
    title = (
        ".".join(parts[-2:]) if parts[-1] in ("accuracy", "loss", "macro_f1", "top5", "name") else parts[-1]
    )
    return Column(id_, id_, title, max(_OTHER_WIDTH, len(title)), draw)


def place(chosen: Sequence[str], width: int, *, name: int = 0, going: bool = True) -> list[Placed]:
    """The columns with their places: those chosen, however wide; else the standard ones that fit `width`.

    Args:
        name: length of the longest name.
        going: whether a run goes on, so that progress is of interest.
    """
    columns = [column_of(id_) for id_ in chosen]
    if not columns:
        columns = [column for column in STANDARD if going or column.id not in _OF_GOING]
        wanted = max(0, min(name, _LONGEST_NAME) - _BY_ID["name"].width)
        columns = _fitting(_fitting(columns, _SPARE, width - wanted), _THEN, width)
    spare = max(0, width - _width(columns))
    placed, start = [], 0
    for column in sorted(columns, key=lambda column: column.id != "name") if spare else ():
        longest = min(name, _LONGEST_NAME) if column.id == "name" else column.longest
        more = max(0, min(spare, longest - column.width))
        columns[columns.index(column)] = replace(column, width=column.width + more)
        spare -= more
    for column in columns:
        placed.append(Placed(column, start, column.width))
        start += column.width + GAP
    return placed


def _fitting(columns: Sequence[Column], leave: Sequence[str], width: int) -> list[Column]:
    """The columns less as many of `leave`, from its start, as it takes to fit."""
    left = list(columns)
    for id_ in leave:
        if _width(left) <= width:
            break
        left = [column for column in left if column.id != id_]
    return left


def _width(columns: Sequence[Column]) -> int:
    return sum(column.width + GAP for column in columns)
