"""What a finished run tells at the end: the table, the curve, the confusions, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import assert_never

from rich.table import Table

from workbench.cli.console import Console, make_table
from workbench.cli.runs_listing import accuracy_cell, rounds_table
from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Message,
    PoolTaught,
    RanksSeen,
    Resumed,
    RoundLabelled,
    StageStarted,
    StepDone,
)
from workbench.runs.layout import RunDirectory
from workbench.runs.results import Results, most_confused
from workbench.runs.run_history import read_history
from workbench.runs.values import number_words, trained_words
from workbench.support.clean import as_word, clean
from workbench.support.regular_file import UnreadableFile
from workbench.support.units import human_bytes, in_percent, percent

# Two curves are told apart by their strokes, so that no colour is needed.
MARKERS = ("braille", "·")


def curve_chart(
    curves: Mapping[str, Sequence[float]],
    *,
    title: str,
    marks: Sequence[float] = (),
    width: int,
    height: int = 12,
) -> str:
    """Curves over 1, 2, 3 … as lines of text without colour; at most as many curves as `MARKERS`.

    Args:
        curves: name -> values; the names stand in the title line.
        marks: places on the x axis for vertical lines, such as where a round begins.
        width, height: in character cells.
    """
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    key = ", ".join(
        f"{'line' if marker == 'braille' else 'dots'} {name}"
        for name, marker in zip(curves, MARKERS, strict=False)
    )
    figure.title(f"{title}: {key}")
    for values, marker in zip(curves.values(), MARKERS, strict=False):
        signal = figure.signal(list(range(1, len(values) + 1)), list(values), marker=marker)
        if marker == "braille":
            signal.lines()
        figure.draw(signal)
    for mark in marks:
        figure.line(mark, orientation=1)
    return str(figure.build().string(colorless=True)).rstrip("\n")


MOST_CONFUSED = 5
LOWEST_RECALL = 5


def print_report(console: Console, run: RunDirectory, results: Results) -> None:
    """Print the end of a run, at the console's width."""
    console.print(_accuracy_table(results))
    console.print(f"labels: {results.labels.words}; in brackets 95 % intervals")
    for words in filter(None, (results.choice_words, results.student_words)):
        console.print(words)
    if results.rounds:
        console.print(rounds_table(results))
    _print_chart(console, run)
    for line in _confusion_lines(results):
        console.print(line)
    trained = trained_words(results.training_seconds, results.images_per_second, results.devices)
    console.print(f"{trained}, {results.precision}, peak memory {human_bytes(results.peak_memory_bytes)}")
    if results.calibration is not None:
        console.print(f"confidence: {results.calibration.words(results.judged_by)}")
    for warning in results.warnings:
        console.print(f"warning: {clean(warning)}", style="bold yellow")
    console.print(f"\nrun {clean(run.id)}")
    for line in _next_commands(run, results):
        console.print(f"  {line}")


def _accuracy_table(results: Results) -> Table:
    tells_top5 = results.test.told_top5 is not None
    numbers = ("val %", "test %", "macro F1 %", *(("top-5 %",) if tells_top5 else ()), "ECE")
    table = make_table(("", *numbers), right=numbers)
    for model in results.models:
        table.add_row(
            f"{model.name}, final" if results.rounds and model.is_final else model.name,
            accuracy_cell(model.val),
            accuracy_cell(model.test),
            percent(model.test.macro_f1),
            *((percent(model.test.top5),) if tells_top5 else ()),
            number_words("calibration_error", model.test.calibration_error),
        )
    return table


def _print_chart(console: Console, run: RunDirectory) -> None:
    """Train and validation accuracy over all epochs of all stages; a vertical line where a stage begins."""
    validation: list[float] = []
    training: list[float] = []
    marks: list[float] = []
    try:
        history = read_history(run.metrics)
    except UnreadableFile as error:  # the results do not rest on it
        console.print(f"warning: no curve: {clean(error)}", style="bold yellow")
        return
    for event in history.events:
        match event:
            case StageStarted() if validation:
                marks.append(len(validation) + 0.5)
            case EpochDone(split="val") if event.epoch:
                validation.append(event.accuracy)
            case EpochDone(split="train"):
                training.append(event.accuracy)
            case StageStarted() | EpochDone() | StepDone() | ConfusionSeen():
                continue
            case RoundLabelled() | PoolTaught() | RanksSeen() | Message() | Resumed():
                continue
            case _:
                assert_never(event)
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
        (r, name)
        for r, name in zip(results.test.recall, results.classes, strict=True)
        if r is not None and r < 1
    ]
    lowest = ", ".join(f"{clean(name)} {in_percent(r, 0)}" for r, name in sorted(recalls)[:LOWEST_RECALL])
    if lowest:
        yield f"lowest recall: {lowest}"


def _next_commands(run: RunDirectory, results: Results) -> Iterator[str]:
    handle = as_word(run.handle)
    commands = [
        (f"runs show {handle}", "all its numbers"),
        (f"inspect {handle}", "the validation images, least sure first"),
        (f"slices {handle}", "which images it is wrong of more often"),
        (f"predict {handle} PICTURE.jpg", "its word on your own pictures"),
        ("runs ls", "this run among the others"),
    ]
    if results.rounds:
        last = results.rounds[-1].round
        commands.insert(2, (f"inspect {handle} --round {last}", "the pool, least sure first"))
    width = max(len(command) for command, _ in commands)
    for command, meaning in commands:
        yield f"petbench {command:<{width}}  {meaning}"
