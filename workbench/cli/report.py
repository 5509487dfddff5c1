"""What a finished run tells at the end: the table, the curve, the confusions, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from workbench.cli.chart import curve_chart
from workbench.cli.console import Console, make_table, percent
from workbench.cli.runs_pages import rounds_table
from workbench.runs.events import EpochDone, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import read_events
from workbench.runs.results import Results, most_confused
from workbench.runs.timeline import timeline
from workbench.support.clean import as_word, clean
from workbench.support.regular_file import UnreadableFile
from workbench.support.units import human_bytes, human_seconds

MOST_CONFUSED = 5
LOWEST_RECALL = 5


def print_report(console: Console, run: RunDirectory, results: Results) -> None:
    """Print the end of a run, at the console's width."""
    console.print(_accuracy_table(results))
    if results.student_words:
        console.print(results.student_words)
    if results.rounds:
        console.print(rounds_table(results))
    _print_chart(console, run)
    for line in _confusion_lines(results):
        console.print(line)
    console.print(
        f"trained {human_seconds(results.training_seconds)} at {results.images_per_second:.0f} images/s, "
        f"{results.precision}, peak memory {human_bytes(results.peak_memory_bytes)}"
    )
    for warning in results.warnings:
        console.print(f"warning: {clean(warning)}", style="bold yellow")
    console.print(f"\nrun {clean(run.id)}")
    for line in _next_commands(run, results):
        console.print(f"  {line}")


def _accuracy_table(results: Results) -> Table:
    tells_top5 = results.test.told_top5 is not None
    numbers = ("val %", "test %", "macro F1", *(("top-5 %",) if tells_top5 else ()), "ECE")
    table = make_table(("", *numbers), right=numbers)
    for model in results.models:
        table.add_row(
            f"{model.name}, final" if results.rounds and model.is_final else model.name,
            percent(model.val.accuracy),
            percent(model.test.accuracy),
            f"{model.test.macro_f1:.4f}",
            *((percent(model.test.top5),) if tells_top5 else ()),
            f"{model.test.calibration_error:.4f}",
        )
    return table


def _print_chart(console: Console, run: RunDirectory) -> None:
    """Train and validation accuracy over all epochs of all stages; a vertical line where a stage begins."""
    validation: list[float] = []
    training: list[float] = []
    marks: list[float] = []
    try:
        records = read_events(run.metrics).records
    except UnreadableFile as error:  # the results do not rest on it
        console.print(f"warning: no curve: {clean(error)}", style="bold yellow")
        return
    for event in timeline([record.event for record in records]):
        match event:
            case StageStarted() if validation:
                marks.append(len(validation) + 0.5)
            case EpochDone(split="val") if event.epoch:
                validation.append(event.accuracy)
            case EpochDone(split="train"):
                training.append(event.accuracy)
            case _:
                continue
    if len(validation) > 1:
        width = min(console.width, 100)
        curves = {"validation": validation, "train": training}
        console.print(curve_chart(curves, title="accuracy by epoch", marks=marks, width=width))


def _confusion_lines(results: Results) -> Iterator[str]:
    pairs = most_confused(results.test.confusion, results.classes, MOST_CONFUSED)
    if pairs:
        said = ", ".join(f"{clean(p.true)} as {clean(p.predicted)} {p.count}" for p in pairs)
        yield f"most confused on the test images: {said}"
    recalls = [
        (r, name) for r, name in zip(results.test.recall, results.classes, strict=True) if r is not None
    ]
    lowest = ", ".join(f"{clean(name)} {100 * r:.0f} %" for r, name in sorted(recalls)[:LOWEST_RECALL])
    yield f"lowest recall: {lowest}"


def _next_commands(run: RunDirectory, results: Results) -> Iterator[str]:
    handle = as_word(run.handle)
    commands = [
        (f"runs show {handle}", "all its numbers"),
        (f"inspect {handle}", "the validation images, least sure first"),
        (f"predict {handle} PICTURE.jpg", "its word on your own pictures"),
        ("runs ls", "this run among the others"),
    ]
    if results.rounds:
        last = results.rounds[-1].round
        commands.insert(2, (f"inspect {handle} --round {last}", "the pool, least sure first"))
    width = max(len(command) for command, _ in commands)
    for command, meaning in commands:
        yield f"petbench {command:<{width}}  {meaning}"
