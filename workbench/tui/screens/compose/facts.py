"""What follows from a draft, in words: what trains, which labels it has and where, how long it will take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult, RenderResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.dataset.split import ClassCounts, SplitSummary
from workbench.recipe.problems import Problem
from workbench.runs.estimate import Estimate
from workbench.support.clean import clean
from workbench.support.units import human_bytes, human_count, human_seconds, in_percent
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.compose.fact_finder import SplitFacts
from workbench.tui.screens.compose.knob_fields import LAYERS
from workbench.tui.screens.compose.networks import Network
from workbench.tui.screens.place import GuardedLoop
from workbench.tui.themes import Palette, palette_of

_COLUMN = 26
"""Cells of a class with its count."""
_NAME = 30
"""Cells of a class's name in the table of a split."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that is known of a draft; None while it is being found out or cannot be."""

    draft: Draft
    network: Network | None = None
    network_problem: str = ""
    split: SplitFacts | None = None
    estimate: Estimate | None = None
    runs: int = 0
    """Runs that a sweep makes; 0 without one."""


class FactsPanel(Widget):
    """The facts of a draft: all of them, or as two lines for a small screen."""

    def __init__(self, *, id: str, is_short: bool = False) -> None:
        super().__init__(id=id)
        self._is_short = is_short
        self._facts: Facts | None = None

    def show(self, facts: Facts) -> None:
        """Tell these facts."""
        self._facts = facts
        self.refresh()

    def render(self) -> RenderResult:
        facts, colours = self._facts, palette_of(self.app.theme)
        if facts is None:
            return ""
        if self._is_short:
            return short_facts(facts, colours)
        width, height = self.content_size
        return full_facts(facts, max(30, width), max(6, height), colours)


def short_facts(facts: Facts, colours: Palette) -> Text:
    """Two lines for a small screen: labels and ceiling, then what trains and for how long."""
    return Text("\n").join([_labels(facts, colours), _cost_line(facts, colours)])


def full_facts(facts: Facts, width: int, height: int, colours: Palette) -> Text:
    """Everything, with the labelled images of each class as far as there is room."""
    lines = [_labels(facts, colours), *_training(facts, colours), *_cost(facts, colours)]
    lines += [_problem(one, colours) for one in facts.draft.all_problems]
    lines += _classes(facts, width, height - len(lines) - 1, colours)
    return Text("\n").join(lines)


def _labels(facts: Facts, colours: Palette) -> Text:
    split = facts.split
    if facts.draft.recipe is None:
        return Text("labels: once the recipe is valid", style=colours.muted)
    if split is None:
        return Text("labels: counting…", style=colours.muted)
    if split.summary is None:
        return Text(clean(split.problem.replace("\n", "; ")), style=colours.warning)
    total, classes = split.summary.total, len(split.summary.classes)
    extra = split.summary.extra_labelled + split.summary.extra_unlabelled
    text = Text(f"labels: {split.summary.labelled_words}", style="bold")
    text.append(f" of {total.labelled + total.unlabelled - extra:,}", style="not bold")
    if split.summary.extra_unlabelled:
        text.append(f" · pool + {split.summary.extra_unlabelled:,} extra", style="not bold")
    covered = split.summary.covered
    text.append(
        f" · {covered}/{classes} classes",
        style="not bold" if covered == classes else f"bold {colours.warning}",
    )
    ceiling = split.summary.ceiling
    text.append(
        f" · ceiling {in_percent(ceiling, 1)}",
        style="not bold" if ceiling == 1 else f"bold {colours.warning}",
    )
    fewest = split.fewest
    if fewest is not None and covered == classes:
        text.append(f" · fewest {fewest.labelled}", style=f"not bold {colours.muted}")
    training = facts.draft.recipe.training
    if training.batch_of(total.labelled) < training.batch_size:
        text.append(f" · batch {training.batch_of(total.labelled):,}", style=f"not bold {colours.warning}")
    return text


def _training(facts: Facts, colours: Palette) -> list[Text]:
    network = facts.network
    if network is None:
        said = (
            clean(facts.network_problem.partition("\n")[0]) or "layers: asking petbench about the backbone…"
        )
        return [Text(said, style=colours.warning if facts.network_problem else colours.muted)]
    text = Text(f"parameters: {_trains(facts, network)}")
    size = facts.draft.look()["data.image_size"]
    if isinstance(size, int) and size != network.native_size:
        text.append(f" · made for {network.native_size} px", style=colours.muted)
    return [text]


def _trains(facts: Facts, network: Network) -> str:
    learning = network.learning(facts.draft.look()[LAYERS])
    count = sum(group.parameters for group in network.groups if group.name in learning)
    return f"{human_count(count)} of {human_count(network.parameters)} train"


def _cost_line(facts: Facts, colours: Palette) -> Text:
    if facts.estimate is None or facts.network is None:
        return _training(facts, colours)[0]
    return Text(f"{_trains(facts, facts.network)} · ").append_text(_estimate(facts.estimate, facts.runs))


def _cost(facts: Facts, colours: Palette) -> list[Text]:
    estimate = facts.estimate
    if estimate is None:
        if facts.draft.recipe is None:
            return []
        return [Text("time and memory: no past run is alike", style=colours.muted)]
    told = Text(f"from {clean(estimate.run_name, 40)} {estimate.run_id[-4:]}", style=colours.muted)
    if estimate.differences:
        told.append(f", which had {', '.join(map(clean, estimate.differences))}")
    return [_estimate(estimate, facts.runs), told]


def _estimate(estimate: Estimate, runs: int) -> Text:
    parts = [f"{_step(estimate.step_seconds)} a step"]
    if estimate.total_seconds is not None:
        parts.insert(0, f"about {human_seconds(estimate.total_seconds)}{' a run' if runs else ''}")
    if estimate.memory_bytes is not None:
        parts.append(human_bytes(estimate.memory_bytes))
    return Text(" · ".join(parts))


def _step(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.2g} s"


def _problem(problem: Problem, colours: Palette) -> Text:
    line = f"line {problem.line}: " if problem.line else ""
    return Text(f"✗ {line}{clean(problem.what)}", style=colours.bad)


def _classes(facts: Facts, width: int, rows: int, colours: Palette) -> list[Text]:
    """Labelled images a class, fewest first, in columns that fill what is left of the panel."""
    if facts.split is None or facts.split.summary is None or rows < 2:
        return []
    ordered = sorted(facts.split.summary.classes, key=lambda row: row.labelled)
    return [Text(), *_class_columns([(row.name, row.labelled) for row in ordered], width, rows, colours)]


def _class_columns(counts: Sequence[tuple[str, int]], width: int, rows: int, colours: Palette) -> list[Text]:
    """Names with counts in columns of `rows`, cut where the width is full."""
    columns = max(1, width // _COLUMN)
    rows = max(1, min(rows, -(-len(counts) // columns)))
    lines = [Text() for _ in range(rows)]
    for number, (name, count) in enumerate(counts[: rows * columns]):
        line = lines[number % rows]
        line.append(f"{clean(name, 18):<18}", style=colours.muted)
        line.append(f"{count:>5}   ", style=colours.warning if count == 0 else "")
    return lines


class CountsScreen(GuardedLoop, ModalScreen[None]):
    """A table of a split, the classes with the fewest labels first."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,c,enter", "dismiss(None)", "close")]

    def __init__(self, summary: SplitSummary) -> None:
        super().__init__(classes="asking")
        self._summary = summary

    def compose(self) -> ComposeResult:
        """The ceiling, a row a class, the sum."""
        summary, colours = self._summary, palette_of(self.app.theme)
        covered, classes = summary.covered, len(summary.classes)
        ceiling = in_percent(summary.ceiling, 1)
        told = f"{covered} of {classes} classes have a label: accuracy can reach {ceiling}"
        heads = "".join(f"{word:>12}" for word in ("labelled", "unlabelled", "validation", "test"))
        with Vertical(classes="box tall"):
            yield Static(Text(told, "bold"))
            yield Static(Text(f"{'class':<{_NAME}}{heads}", colours.muted), classes="detail")
            rows = sorted(summary.classes, key=lambda row: row.labelled)
            yield OptionList(*(Option(_row(row, colours.warning)) for row in (*rows, summary.total)))
            yield Static(Text("esc closes"), classes="keys")

    def on_mount(self) -> None:
        """Arrows scroll the list."""
        self.query_one(OptionList).focus()


def _row(row: ClassCounts, colour: str) -> Text:
    numbers = (row.labelled, row.unlabelled, row.validation, row.test)
    text = Text(f"{clean(row.name, _NAME - 1):<{_NAME}}", no_wrap=True)
    return text.append("".join(f"{number:>12,}" for number in numbers), style="" if row.labelled else colour)
