"""A run's page, made for 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from workbench.cli.console import cell, make_table, percent
from workbench.cli.runs_values import STATUS_STYLES, progress_words
from workbench.runs.layout import PROFILE, TRACE
from workbench.runs.page import RunPage
from workbench.runs.profile import Profile
from workbench.runs.results import Evaluation, Results
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import as_word, clean
from workbench.support.units import human_bytes, human_seconds, target_word


def run_page(page: RunPage) -> Iterator[RenderableType]:
    """A run's page, part by part, made for 80 columns."""
    yield _headline(page)
    if page.results is not None:
        yield _results_table(page.results)
        if page.results.rounds:
            yield rounds_table(page.results)
        if page.confused:
            yield _confused_table(page)
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
        ("extra", _extra_words(page)),
        ("optimizer", _words(recipe, "optimizer.name", "optimizer.learning_rate", "training.epochs", "seed")),
        ("device", str(page.provenance.get("device", summary.process.device if summary.process else ""))),
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
    shares = [f"{row.part} {100 * row.seconds / max(1e-9, profile.wall_seconds):.0f} %" for row in most]
    return f"{human_seconds(profile.wall_seconds)}: {', '.join(shares)}; {PROFILE}, {TRACE}"


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
            parts.append(name + recipe_value(recipe[key]))
    return ", ".join(parts)


def _results_table(results: Results) -> Table:
    title = (
        f"Results: best epoch {results.best_epoch}"
        + (f" of round {results.best_round}" if results.best_round else "")
        + f", trained {human_seconds(results.training_seconds)} at {results.images_per_second:.0f} images/s,"
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
            percent(on.accuracy),
            percent(on.macro_f1),
            *((percent(on.top5),) if tells_top5 else ()),
            f"{on.calibration_error:.4f}",
            f"{on.loss:.4f}",
        )
    return table


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
            f"{event.threshold:.4f}",
        )
    return table


def _confused_table(page: RunPage) -> Table:
    columns = ("true class", "taken for", "images", "of the class %")
    table = make_table(columns, title="Most confused on the test split", right=columns[2:])
    for pair in page.confused:
        table.add_row(cell(pair.true), cell(pair.predicted), str(pair.count), percent(pair.share))
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


def recipe_value(value: object) -> str:
    """A value of the recipe in a table: lists without brackets, a dash for none."""
    if value is None:
        return "–"
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
