"""The run under the cursor in short: three lines below a narrow table, a panel beside a wide one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget

from workbench.runs.ensemble import MEMBERS_KEY, members_words
from workbench.runs.glance import CloserLook, Glance
from workbench.runs.results import LabelsUsed, tells_top5
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.units import (
    given_percent,
    human_bytes,
    human_eta,
    human_seconds,
    human_speed,
    interval_fractions,
    progress_percent,
    target_word,
)
from workbench.tui.draw.bars import spark
from workbench.tui.screens.runs.columns import age, bar, labels, share, state
from workbench.tui.text import STATUS_MARKS, plain, plain_lines
from workbench.tui.themes import Palette, palette_of

PANEL_COLUMNS = 50
_EVALUATIONS = (
    ("val", "val"),
    ("test", "test"),
    ("teacher.val", "teacher val"),
    ("teacher.test", "teacher test"),
    ("student.val", "student val"),
    ("student.test", "student test"),
)
"""A student has rows of its own where the teacher was kept; else the run's own are the student's."""
_MOST_WARNINGS = 4


@dataclass(frozen=True, slots=True)
class Seen:
    """What the preview shows."""

    summary: RunSummary
    glance: Glance | None
    closer: CloserLook
    """Nothing until it has been read."""
    now: datetime


class Preview(Widget):
    """Draws `seen`; how, its height tells: a panel from eight lines on, else lines."""

    DEFAULT_CSS = """
    Preview { height: 4; width: 1fr; padding: 0 1; border-top: solid $panel; }
    """

    seen: reactive[Seen | None] = reactive(None)

    def render(self) -> RenderResult:
        if self.seen is None:
            return Text()
        colours = palette_of(self.app.theme)
        if self.size.height >= 8:
            return _panel(self.seen, colours, self.size.width)
        return _lines(self.seen, colours, self.size.width)


def recipe_words(recipe: Mapping[str, Any], epochs: str) -> str:
    """`efficientnet_lite0 · head + blocks5 · bn tuned · iterative 10% top 20% · 60 epochs`."""
    if not recipe:
        return ""
    if mean := members_words(recipe):
        return f"{mean}: {', '.join(map(str, recipe[MEMBERS_KEY]))}"
    parts = [_joined(recipe.get("model.backbone")), _joined(recipe.get("finetune.layers"))]
    if "finetune.batch_norm" in recipe:
        parts.append(f"bn {_joined(recipe['finetune.batch_norm'])}")
    parts += [strategy_words(recipe), epochs]
    if "optimizer.learning_rate" in recipe:
        parts.append(f"{recipe.get('optimizer.name', 'lr')} {recipe['optimizer.learning_rate']:g}")
    return " · ".join(part for part in parts if part)


def strategy_words(recipe: Mapping[str, Any]) -> str:
    """`iterative 10% top 20%`; empty for a supervised run."""
    strategy = recipe.get("pseudo_label.strategy")
    if strategy is None:
        return ""
    words = [str(strategy).replace("_", "-"), labels(recipe)]
    fraction, threshold = recipe.get("pseudo_label.fraction"), recipe.get("pseudo_label.threshold")
    if isinstance(fraction, int | float):
        words.append(f"top {given_percent(fraction)}%")
    elif isinstance(threshold, int | float):
        words.append(f"above {threshold:g}")
    return " ".join(words)


def _joined(value: object) -> str:
    return "+".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _lines(seen: Seen, colours: Palette, width: int) -> Text:
    """Three lines: how it goes, what it is, what it ended with or what a person said."""
    lines = [
        _headline(seen, colours),
        plain(recipe_words(seen.summary.recipe, seen.closer.epochs), colours.muted),
        _told(seen, colours),
    ]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", end="").join(lines)


def _headline(seen: Seen, colours: Palette) -> Text:
    summary, glance = seen.summary, seen.glance
    line = plain(summary.name, "bold", limit=40)
    if glance is not None and len(glance.accuracies) > 1:
        line.append(f"  {spark(glance.accuracies, 16)}", style=colours.accent)
    if summary.val_accuracy is not None:
        line.append(f"  val {share(summary.val_accuracy)}")
    if summary.test_accuracy is not None:
        line.append(f"  test {_with_interval(summary, 'test.accuracy')}")
    line.append(f"  {_where(seen)}" if summary.progress is not None else "")
    line.append_text(_eta(seen))
    if summary.tags:
        line.append(f"  tags: {clean(' '.join(summary.tags))}", style=colours.muted)
    return line


def _with_interval(summary: RunSummary, key: str) -> str:
    """`.874 (.860–.888)`: an accuracy with its 95 % interval; alone before there are results."""
    told, interval = share(summary.metrics.get(key)), summary.interval(key)
    return told if interval is None else f"{told} ({interval_fractions(interval)})"


def _where(seen: Seen) -> str:
    progress = seen.summary.progress
    if progress is None:
        return ""
    stage = f"{progress.stage} round {progress.round}/{progress.rounds}" if progress.round else progress.stage
    return f"{stage} ep {progress.epoch}/{progress.epochs}"


def _eta(seen: Seen) -> Text:
    going = seen.glance.going if seen.glance is not None else None
    if going is None or going.eta_seconds is None:
        return Text(end="")
    return Text(f"  eta {'~' if going.is_rough else ''}{human_eta(going.eta_seconds)}", end="")


def _told(seen: Seen, colours: Palette) -> Text:
    """The reason of an end before the first warning before the note."""
    summary = seen.summary
    if summary.problem:
        return plain(summary.problem, colours.bad)
    if summary.reason and summary.status is not RunStatus.FINISHED:
        mark = STATUS_MARKS[summary.status]
        said = summary.reason if mark.word in summary.reason else f"{mark.word}: {summary.reason}"
        return plain(said, getattr(colours, mark.colour))
    if seen.closer.warnings:
        more = f" (+{len(seen.closer.warnings) - 1})" if len(seen.closer.warnings) > 1 else ""
        return plain(f"! {seen.closer.warnings[0]}{more}", colours.warning)
    if summary.note:
        return plain(f"¶ {summary.note}")
    return plain(str(summary.recipe.get("description", "")), colours.muted)


def _panel(seen: Seen, colours: Palette, width: int) -> Table:
    grid = Table.grid(padding=0)
    grid.add_column(width=width, overflow="fold")
    for part in _parts(seen, colours, width):
        grid.add_row(part)
    return grid


def _parts(seen: Seen, colours: Palette, width: int) -> Iterator[Text | Table]:
    summary = seen.summary
    mark = STATUS_MARKS[summary.status]
    yield plain(summary.name, "bold")
    status = Text(f"{mark.sign} ", style=getattr(colours, mark.colour))
    failed = summary.reason and summary.status is not RunStatus.FINISHED
    status.append_text(plain(mark.word if failed else state(summary)))
    status.append(f"   {age(summary.created, seen.now)}", style=colours.muted)
    yield status
    if failed:
        yield plain_lines(summary.reason, getattr(colours, mark.colour))
    if summary.problem:
        yield plain_lines(summary.problem, colours.bad)
    yield from _progress(seen, colours, width)
    yield Text()
    yield _facts(summary, seen.closer.epochs, colours)
    if "val.macro_f1" in summary.metrics:
        yield Text()
        yield _results(summary, colours)
    for warning in seen.closer.warnings[:_MOST_WARNINGS]:
        yield Text()
        yield plain_lines(f"! {warning}", colours.warning)
    if summary.note:
        yield Text()
        yield plain_lines(f"¶ {summary.note}")
    yield Text()
    name = plain(summary.id, colours.muted)
    name.no_wrap, name.overflow = False, "fold"
    yield name


def _progress(seen: Seen, colours: Palette, width: int) -> Iterator[Text]:
    glance = seen.glance
    if glance is not None and glance.going is not None:
        line = Text(bar(glance.going.fraction, width - 20), style=colours.accent)
        line.append(f" {progress_percent(glance.going.fraction)}%", style="not bold")
        line.append_text(_eta(seen))
        yield line
    if seen.summary.progress is not None:
        yield Text(_where(seen))
    if glance is not None and len(glance.accuracies) > 1:
        yield Text()
        yield Text("validation accuracy by epoch", style=colours.muted)
        yield Text(spark(glance.accuracies, width - 14), style=colours.accent).append(
            f"  best {share(max(glance.accuracies))}", style=colours.text
        )


def _facts(summary: RunSummary, epochs: str, colours: Palette) -> Table:
    recipe, metrics = summary.recipe, summary.metrics
    size, views = recipe.get("data.image_size"), recipe.get("data.evaluation_views", ["centre"])
    rows = {
        "about": str(recipe.get("description", "")),
        "data": " · ".join(
            str(part)
            for part in (
                recipe.get("data.dataset"),
                recipe.get("data.target")
                and target_word(recipe.get("data.dataset"), recipe.get("data.target")),
                size and f"{size} px",
                views != ["centre"] and f"evaluated {'+'.join(views)}",
                (recipe.get("data.extra_labelled") or recipe.get("data.extra_unlabelled")) and "extra images",
            )
            if part
        ),
        "model": " · ".join(
            part
            for part in (_joined(recipe.get("model.backbone")), _joined(recipe.get("finetune.layers")))
            if part
        ),
        "labels": strategy_words(recipe) or labels(recipe),
        "used": _used(metrics),
        "training": " · ".join(
            part
            for part in (
                epochs,
                f"{recipe.get('optimizer.name')} {recipe['optimizer.learning_rate']:g}"
                if "optimizer.learning_rate" in recipe
                else "",
                f"seed {recipe['seed']}" if "seed" in recipe else "",
            )
            if part
        ),
        "tags": " ".join(summary.tags),
        "device": summary.process.device if summary.process else "",
        "took": _took(metrics),
    }
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style=colours.muted, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(name, plain_lines(value))
    return table


def _used(metrics: Mapping[str, float]) -> str:
    """How many true labels were used for what."""
    counts = [metrics.get(f"labels.{use}") for use in ("training", "choosing", "testing")]
    training, choosing, testing = (int(count or 0) for count in counts)
    return "" if None in counts else f"labels: {LabelsUsed(training, choosing, testing).words}"


def _took(metrics: Mapping[str, float]) -> str:
    if "training_seconds" not in metrics:
        return ""
    words = human_seconds(metrics["training_seconds"])
    if "images_per_second" in metrics:
        words += f" at {human_speed(metrics['images_per_second'])} images/s"
    if "devices" in metrics:
        words += f" on {metrics['devices']:.0f} devices"
    if "peak_memory_bytes" in metrics:
        words += f", {human_bytes(metrics['peak_memory_bytes'])}"
    return words


def _results(summary: RunSummary, colours: Palette) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    metrics = ["macro_f1", "top5", "calibration_error"]
    titles = ["", "accuracy (95 %)", "F1", "top 5", "ECE"]
    if not tells_top5(summary.metrics.get("classes")):
        metrics.remove("top5")
        titles.remove("top 5")
    for title in titles:
        table.add_column(justify="left" if not title else "right", no_wrap=True)
    table.add_row(*(Text(title, style=colours.muted) for title in titles))
    for prefix, name in _EVALUATIONS:
        if f"{prefix}.accuracy" not in summary.metrics:
            continue
        others = (summary.metrics.get(f"{prefix}.{metric}") for metric in metrics)
        style = "bold" if prefix == "test" else ""
        table.add_row(
            Text(name, style=style),
            Text(_with_interval(summary, f"{prefix}.accuracy"), style=style),
            *(Text(share(v)) for v in others),
        )
    return table
