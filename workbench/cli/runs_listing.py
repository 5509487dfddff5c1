"""Runs a line each, in a table that fits the terminal, and a run's page of 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from workbench.cli.arguments import Json, RunsDir
from workbench.cli.console import cell, console, make_table, print_json
from workbench.cli.sweep import spread_record, told_interval, told_spread
from workbench.jobs.slurm import SlurmView, ask_about, with_open_tickets
from workbench.runs.calibration import Reliability
from workbench.runs.ensemble import Ensemble
from workbench.runs.export import RunPage
from workbench.runs.filter import filter_runs
from workbench.runs.index import list_runs
from workbench.runs.keys import Value, keys_of, resolve_key, values_of
from workbench.runs.layout import PROFILE, TRACE
from workbench.runs.profile import Profile
from workbench.runs.results import Evaluation, LabelsUsed, Results
from workbench.runs.seed_groups import RunGroup, group_runs
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.runs.values import is_share, number_words, setting_words, trained_words, value_words
from workbench.support.clean import as_word, clean
from workbench.support.paths import runs_home
from workbench.support.units import (
    human_bytes,
    human_seconds,
    human_speed,
    in_percent,
    interval_words,
    percent,
    target_word,
)

# Columns of a listing in the order shown; a narrow screen gets the first of them.
_HANDLE, _PROGRESS = "run", "progress"
_COLUMNS = (
    _HANDLE,
    "name",
    "status",
    _PROGRESS,
    "val.accuracy",
    "test.accuracy",
    "teacher.test.accuracy",
    "created",
    "model.backbone",
    "pseudo_label.strategy",
    "devices",
    "tags",
)
_NEVER_CUT = (_HANDLE, "status", _PROGRESS, "created", "ended")
_TITLES = {
    "val.accuracy": "val %",
    "test.accuracy": "test %",
    "teacher.test.accuracy": "teacher %",
    "model.backbone": "backbone",
    "pseudo_label.strategy": "strategy",
}


def listed(home: Path, *, tell: Callable[[str], None] = lambda _: None) -> tuple[list[RunSummary], SlurmView]:
    """Every run under `home`, newest first, with Slurm's word on those that it has; it is waited for.

    Args:
        tell: as for `list_runs`.

    Raises:
        UserError: as `list_runs`.
    """
    runs = list_runs(home, tell=tell)
    view = ask_about(runs)
    if not with_open_tickets(runs):
        return runs, view
    return list_runs(home, awaited=view.awaited), view


def listing_columns(summaries: Sequence[RunSummary]) -> list[str]:
    """The columns of a listing that any of the runs has a value for."""
    return [key for key in _COLUMNS if _Column.of(key, summaries).has_values]


def listing_table(summaries: Sequence[RunSummary], keys: Sequence[str]) -> Table:
    """A line a run. Where there is little room names are cut; numbers, states and dates never are."""
    columns = [_Column.of(key, summaries) for key in keys]
    table = make_table(
        [column.title for column in columns],
        right=[column.title for column in columns if column.is_number],
        whole=[column.title for column in columns if column.key in _NEVER_CUT],
    )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of a listing with its cells."""

    key: str
    title: str
    cells: list[Text]
    has_values: bool
    is_number: bool

    @classmethod
    def of(cls, key: str, summaries: Sequence[RunSummary]) -> _Column:
        values = [_value(summary, key) for summary in summaries]
        cells = [_listed(summary, key, value) for summary, value in zip(summaries, values, strict=True)]
        held = [value for value in values if value is not None]
        is_number = bool(held) and all(_is_number(value) for value in held)
        return cls(
            key=key,
            title=_title(key),
            cells=cells,
            has_values=bool(held) and held != [[]] * len(held),
            is_number=is_number,
        )


def _value(summary: RunSummary, key: str) -> Value | None:
    if key == _HANDLE:
        return summary.handle
    if key == _PROGRESS:
        return progress_words(summary) or None
    return values_of(summary).get(key)


def trash_table(summaries: Sequence[RunSummary]) -> Table:
    """A line a removed run, with the whole id that it comes back under."""
    table = make_table(("id", "name", "status"), whole=("status",))
    for summary in summaries:
        table.add_row(cell(summary.id), cell(summary.name), cell(summary.status))
    return table


def _title(key: str) -> str:
    return _TITLES.get(key, with_unit(key))


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _listed(summary: RunSummary, key: str, value: Value | None) -> Text:
    if key == "status":
        return Text(summary.status.value, style=STATUS_STYLES[summary.status])
    return cell("" if value is None else value_words(key, value))


def group(
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="KEYS",
            help="Group by these keys, comma-separated, such as backbone,lr; else by all of the recipe but "
            "its seeds.",
        ),
    ] = "",
    filter_text: Annotated[
        str, typer.Option("--filter", "-f", metavar="EXPR", help="Only runs that fit, as for runs ls.")
    ] = "",
    least: Annotated[
        int, typer.Option("--least", min=1, metavar="N", help="Only groups of so many runs or more.")
    ] = 1,
    archived: Annotated[bool, typer.Option("--archived", help="Archived runs too.")] = False,
    as_json: Json = False,
    runs_dir: RunsDir = None,
) -> None:
    """Group runs and print mean ± sample standard deviation of their accuracies, best validation first."""
    everything = list_runs(runs_home(runs_dir))
    known = keys_of(everything)
    keys = [resolve_key(key.strip(), known, where="--by") for key in by.split(",") if key.strip()]
    chosen = filter_runs(filter_text, (run for run in everything if archived or not run.archived))
    groups = [one for one in group_runs(chosen, keys) if len(one.counted) >= least or least == 1]
    groups.sort(key=lambda one: -_validation(one))
    if as_json:
        print_json("runs-group", {"groups": [_record(one) for one in groups]})
        return
    numbers = ("runs", "val %", "val 95 %", "test %", "test 95 %", "teacher test %", "teacher 95 %")
    columns = (*(keys or ("name",)), *numbers, "seeds")
    table = make_table(columns, right=numbers, spare=("teacher 95 %", "val 95 %", "test 95 %"))
    for one in groups:
        table.add_row(
            *([cell("–" if value is None else value) for _, value in one.shared] or [cell(one.name)]),
            str(len(one.counted)),
            *(told(one.over(key)) for key in _NUMBERS for told in (told_spread, told_interval)),
            cell(_seeds(one)),
        )
    console.print(table)
    counted = sum(len(one.counted) for one in groups)
    console.print(
        f"{counted} of {len(chosen)} runs in {len(groups)} groups; ± is the sample standard deviation, "
        "95 % Student's interval of the mean over seeds"
    )
    for line in _other_pictures(groups):
        console.print(Text(clean(line), style="yellow"), soft_wrap=True)
    left_out = [(run, reason) for one in groups for run, reason in one.left_out]
    for run, reason in left_out[:_SHOWN_LEFT_OUT]:
        console.print(Text(clean(f"{run.handle} is left out: {reason}"), style="yellow"), soft_wrap=True)
    if len(left_out) > _SHOWN_LEFT_OUT:
        more = f"… and {len(left_out) - _SHOWN_LEFT_OUT} more: --json tells all"
        console.print(Text(more, style="yellow"), soft_wrap=True)


_NUMBERS = ("val.accuracy", "test.accuracy", "teacher.test.accuracy")
_SHOWN_SEEDS = 8
_SHOWN_LEFT_OUT = 10


def _validation(one: RunGroup) -> float:
    spread = one.over("val.accuracy")
    return -1.0 if spread is None else spread.mean


def _seeds(one: RunGroup) -> str:
    seeds = list(dict.fromkeys(one.seeds))
    more = f" and {len(seeds) - _SHOWN_SEEDS} more" if len(seeds) > _SHOWN_SEEDS else ""
    return ", ".join(seeds[:_SHOWN_SEEDS]) + more


def _other_pictures(groups: Sequence[RunGroup]) -> list[str]:
    """Which names stand for runs on different pictures: in one group, or in several of one recipe."""
    told = [
        f"{one.name}: its runs were trained on different pictures" for one in groups if len(one.pictures) > 1
    ]
    by_name: dict[str, list[RunGroup]] = {}
    for one in groups:
        if not one.shared:
            by_name.setdefault(one.name, []).append(one)
    told += [
        f"{name}: {len(pictures)} of its groups differ in the pictures they were trained on"
        for name, ones in by_name.items()
        if len(pictures := frozenset[str]().union(*(one.pictures for one in ones))) > 1
    ]
    return told


def _record(one: RunGroup) -> dict[str, Any]:
    return {
        "name": one.name,
        "by": dict(one.shared),
        "runs": [run.id for run in one.runs],
        "counted": [run.id for run in one.counted],
        "left_out": [{"id": run.id, "reason": reason} for run, reason in one.left_out],
        "seeds": list(one.seeds),
        **{key: spread_record(one.over(key)) for key in _NUMBERS},
    }


_BAR_WIDTH = 40

STATUS_STYLES = {
    RunStatus.QUEUED: "cyan",
    RunStatus.STARTING: "green",
    RunStatus.LIVE: "green",
    RunStatus.STALLED: "bold yellow",
    RunStatus.STOPPING: "yellow",
    RunStatus.SILENT: "bold yellow",
    RunStatus.LOST: "bold red",
    RunStatus.FINISHED: "",
    RunStatus.FAILED: "red",
    RunStatus.STOPPED: "yellow",
}


def progress_words(summary: RunSummary) -> str:
    """`student 2/5 · 3/5`: the stage, its round of all rounds, and epochs done of all."""
    progress = summary.progress
    if summary.queue_position is not None:
        first = summary.queue_position == 1
        return "next in the queue" if first else f"{summary.queue_position} in the queue"
    if summary.waits_for_slurm:
        return summary.slurm_words
    if progress is None:
        return ""
    round_words = f" {progress.round}/{progress.rounds}" if progress.round else ""
    return f"{progress.stage}{round_words} · {progress.epoch}/{progress.epochs}"


def with_unit(key: str) -> str:
    return clean(f"{key} %" if is_share(key) else key)


def run_page(page: RunPage) -> Iterator[RenderableType]:
    """A run's page, part by part, made for 80 columns."""
    yield _headline(page)
    if page.ensemble is not None:
        yield _members_table(page.ensemble, page.member_labels)
    if page.results is not None:
        yield _results_table(page.results, page.ensemble)
        for words in filter(None, (page.results.choice_words, page.results.student_words)):
            yield Text(words)
        if page.results.rounds:
            yield rounds_table(page.results)
        if page.confused:
            yield _confused_table(page)
        if page.reliability is not None:
            yield _reliability_table(page.reliability, page.results.judged_by)
    elif page.rounds:
        yield _labelled_table(page)
    for warning in page.warnings:
        yield Text(f"warning: {clean(warning)}", style="yellow")
    yield Text(f"\nnext: {_advice(page.summary)}", style="dim")


def _headline(page: RunPage) -> Table:
    summary = page.summary
    recipe = summary.recipe
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    status = Text(summary.status.value, style=STATUS_STYLES[summary.status])
    if summary.reason:
        status.append(f": {clean(summary.reason)}", style="")
    lines: list[tuple[str, str | Text]] = [
        ("run", summary.id),
        ("name", summary.name),
        ("about", str(recipe.get("description", ""))),
        ("status", status),
        ("progress", progress_words(summary)),
        ("created", f"{summary.created:%Y-%m-%d %H:%M}"),
        ("data", _words(_named_target(recipe), "data.dataset", "data.target", "data.image_size")),
        ("model", _words(recipe, "model.backbone", "model.weights", "finetune.layers")),
        (
            "labels",
            _words(
                recipe,
                "pseudo_label.labelled_fraction",
                "pseudo_label.labels_per_class",
                "pseudo_label.strategy",
            ),
        ),
        ("used", _used_words(page)),
        ("extra", _extra_words(page)),
        ("optimizer", _words(recipe, "optimizer.name", "optimizer.learning_rate", "training.epochs", "seed")),
        ("device", _device_words(page)),
        ("ranks", _ranks_words(page)),
        ("profile", _profile_words(page.profile)),
        ("tags", ", ".join(summary.tags)),
        ("note", summary.note),
        ("files", str(summary.path)),
    ]
    for name, value in lines:
        if value:
            table.add_row(name, value if isinstance(value, Text) else cell(value))
    return table


def _profile_words(profile: Profile | None) -> str:
    """`31s: forward 41 %, backward 33 %, augmentation 12 %; profile.json, trace.json`."""
    if profile is None:
        return ""
    most = sorted(profile.parts, key=lambda row: -row.seconds)[:3]
    shares = [f"{row.part} {in_percent(row.seconds / max(1e-9, profile.wall_seconds), 0)}" for row in most]
    return f"{human_seconds(profile.wall_seconds)}: {', '.join(shares)}; {PROFILE}, {TRACE}"


def _device_words(page: RunPage) -> str:
    """`NVIDIA H200, 2 processes`."""
    process, processes = page.summary.process, page.provenance.get("processes")
    device = str(page.provenance.get("device", process.device if process else ""))
    return f"{device}, {processes} processes" if processes else device


def _ranks_words(page: RunPage) -> str:
    """`0: 412 images/s, 1.2 GiB`, a line a rank; empty where one process trained the last epoch alone."""
    if page.ranks is None:
        return ""
    each = zip(page.ranks.images_per_second, page.ranks.memory_bytes, strict=False)
    return "\n".join(
        f"{rank}: {human_speed(speed)} images/s, {human_bytes(memory)}"
        for rank, (speed, memory) in enumerate(each)
    )


def _used_words(page: RunPage) -> str:
    return "" if page.results is None else f"labels: {page.results.labels.words}"


def _extra_words(page: RunPage) -> str:
    """`60 labelled images from /more, 120 unlabelled from /many`; counts once there are results."""
    parts = []
    for kind in ("labelled", "unlabelled"):
        folder = page.summary.recipe.get(f"data.extra_{kind}")
        if folder:
            count = page.summary.metrics.get(f"extra_{kind}")
            number = "" if count is None else f"{count:,.0f} "
            parts.append(f"{number}{kind} images from {folder}")
    return ", ".join(parts)


def _named_target(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    if "data.target" not in recipe:
        return recipe
    return {**recipe, "data.target": target_word(recipe.get("data.dataset"), recipe["data.target"])}


def _words(recipe: Mapping[str, Any], *keys: str) -> str:
    """`resnet18, layers layer4 head`: the first key's value bare, further ones behind the key's last part."""
    parts = []
    for key in keys:
        if key in recipe:
            name = "" if key == keys[0] else f"{key.rpartition('.')[2].replace('_', ' ')} "
            parts.append(name + setting_words(recipe[key]))
    return ", ".join(parts)


def _members_table(ensemble: Ensemble, labels: Sequence[LabelsUsed | None]) -> Table:
    how = "at their temperatures" if ensemble.calibrated else "as they are"
    columns = ("member", "name", "labels", "choosing", "val %", "temperature")
    title = f"The mean log-probabilities of {len(ensemble.members)} runs, {how}"
    if ensemble.by == "val":
        title += f"; the best on validation of {len(ensemble.tried)} combinations"
    if ensemble.differs:
        title += f"; they differ in {', '.join(ensemble.differs)}"
    table = make_table(columns, title=title, right=columns[2:])
    for member, used in zip(ensemble.members, labels, strict=True):
        table.add_row(
            cell(member.folder),
            cell(member.name),
            "–" if used is None else f"{used.training:,}",
            "–" if used is None else f"{used.choosing:,}",
            percent(member.val_accuracy),
            f"{member.temperature:.3f}",
        )
    return table


def _results_table(results: Results, ensemble: Ensemble | None) -> Table:
    title = (
        (
            f"Results: {len(ensemble.members)} runs"
            if ensemble
            else f"Results: best epoch {results.best_epoch}"
        )
        + (f" of round {results.best_round}" if results.best_round else "")
        + f", {trained_words(results.training_seconds, results.images_per_second, results.devices)},"
        + f" {human_bytes(results.peak_memory_bytes)}"
    )
    tells_top5 = results.test.told_top5 is not None
    columns = (
        "split",
        "images",
        "accuracy %",
        "macro F1 %",
        *(("top 5 %",) if tells_top5 else ()),
        "ECE",
        "loss",
    )
    table = make_table(columns, title=title, right=columns[1:])
    rows: list[tuple[str, Evaluation]] = []
    for split in ("val", "test"):
        for model in results.models:
            name = split if model.name == "model" else f"{model.name} {split}"
            rows.append((name, model.val if split == "val" else model.test))
    for name, on in rows:
        table.add_row(
            cell(name, "bold" if on is results.test else ""),
            str(on.images),
            accuracy_cell(on),
            percent(on.macro_f1),
            *((percent(on.top5),) if tells_top5 else ()),
            number_words("calibration_error", on.calibration_error),
            number_words("loss", on.loss),
        )
    return table


def accuracy_cell(on: Evaluation) -> str:
    """`91.23 (89.8–92.4)`, in percent."""
    return f"{percent(on.accuracy)} ({interval_words(on.accuracy_interval)})"


def rounds_table(results: Results) -> Table:
    """The rounds of a pseudo-label run, a line each."""
    columns = ("round", "selected", "coverage %", "labels right %", "flipped", "student val %")
    table = make_table(columns, title="Pseudo-labels", right=columns)
    for row in results.rounds:
        table.add_row(
            str(row.round),
            str(row.selected),
            percent(row.coverage),
            percent(row.pseudo_label_accuracy),
            str(row.flipped),
            percent(row.student_val_accuracy),
        )
    return table


def _labelled_table(page: RunPage) -> Table:
    columns = ("round", "selected", "of", "labels right %", "flipped", "threshold")
    table = make_table(columns, title="Pseudo-labels so far", right=columns)
    for event in page.rounds:
        table.add_row(
            str(event.round),
            str(event.selected),
            str(event.pool),
            percent(event.accuracy),
            str(event.flipped),
            f"{event.threshold:.3f}",
        )
    return table


def _confused_table(page: RunPage) -> Table:
    columns = ("true class", "taken for", "images", "of the class %")
    table = make_table(columns, title="Most confused on the test split", right=columns[2:])
    for pair in page.confused:
        table.add_row(cell(pair.true), cell(pair.predicted), str(pair.count), percent(pair.share))
    return table


def _reliability_table(reliability: Reliability, judged_by: str) -> Table:
    columns = ("sure %", "images", "right %", "bar: right, stroke: sure")
    table = make_table(
        columns, title=f"Confidence: {reliability.calibration.words(judged_by)}", right=columns[1:3]
    )
    for one in reliability.bins:
        span = f"{percent(one.low, 1)}–{percent(one.high, 1)}"
        table.add_row(span, str(one.images), percent(one.accuracy), one.bar(_BAR_WIDTH).rstrip())
    return table


def _advice(summary: RunSummary) -> str:
    run = as_word(summary.handle)
    if summary.status in (RunStatus.STOPPED, RunStatus.SILENT, RunStatus.LOST, RunStatus.FAILED):
        return f"petbench resume {run}"
    if summary.status is RunStatus.QUEUED:
        return f"petbench queue, petbench stop {run} takes it out"
    if summary.status is RunStatus.FINISHED:
        return f"petbench inspect {run}, petbench runs compare {run} OTHER"
    return f"petbench runs show {run} again, for news"
