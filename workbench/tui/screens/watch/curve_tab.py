"""The curves: accuracy, a second chart, and the latest numbers beneath them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, Vertical
from textual.widgets import Static

from workbench.runs.curves import AXES, Axis, Following
from workbench.runs.ensemble import MEMBERS_KEY, members_words
from workbench.runs.events import PoolTaught, RanksSeen, RoundLabelled
from workbench.runs.results import most_confused
from workbench.runs.run_history import epoch_words
from workbench.support.clean import clean
from workbench.support.units import human_bytes, human_speed, percent
from workbench.tui.draw.bars import spark
from workbench.tui.draw.chart_curves import ChartData, Level, Mark, Series
from workbench.tui.draw.ticks import value_label
from workbench.tui.screens.watch.headline import share_label
from workbench.tui.screens.watch.news import News, ProcessUse, class_name
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.chart import Chart

if TYPE_CHECKING:
    from workbench.jobs import GpuUse
if TYPE_CHECKING:
    from workbench.jobs import GpuUse

SMOOTHINGS = (0.0, 0.6, 0.9)
Quantity = Literal["loss", "learning rate", "images/s", "memory GiB"]
QUANTITIES: tuple[Quantity, ...] = ("loss", "learning rate", "images/s", "memory GiB")
_VAL, _TRAIN, _TEACHER = 0, 1, 2  # colours of the theme's series
_GIB = 2**30
_SPARK = 8
_SPARKED = 200  # latest values that a spark shows
_PAIRS = 4
_RANKS_APART = 4  # each of so many in its own number fits 80 columns


class CurvesPanel(Vertical):
    """Two charts that share the x axis, its window and the cursor."""

    def __init__(self) -> None:
        super().__init__(id="curves")
        self.axis: Axis = "epoch"
        self.quantity: Quantity = "loss"
        self.smoothing = 0.0
        self.log_y = False
        self._news: News | None = None

    def compose(self) -> ComposeResult:
        """The charts, then the facts."""
        with Container(id="charts"):
            yield Chart(id="accuracy", classes="first-focus")
            yield Chart(id="quantity")
        yield Static(id="facts", markup=False)

    @property
    def charts(self) -> tuple[Chart, Chart]:
        """Accuracy's, then the other."""
        return self.query_one("#accuracy", Chart), self.query_one("#quantity", Chart)

    def show(self, news: News, gpus: Sequence[GpuUse]) -> None:
        """Draw the run as it is now."""
        self._news = news
        self._draw()
        self.show_facts(gpus)

    def show_facts(self, gpus: Sequence[GpuUse]) -> None:
        """The lines beneath the charts."""
        if self._news is not None:
            lines = fact_lines(self._news, gpus, palette_of(self.app.theme))
            for line in lines:
                line.no_wrap, line.overflow = True, "ellipsis"
            self.query_one("#facts", Static).update(Text("\n", no_wrap=True, overflow="ellipsis").join(lines))

    def set_view(
        self,
        *,
        axis: Axis | None = None,
        quantity: Quantity | None = None,
        smoothing: float | None = None,
        log_y: bool | None = None,
    ) -> None:
        """Look at it otherwise; another axis shows all of itself."""
        if axis is not None and axis != self.axis:
            self.axis = axis
            self.charts[0].reset()
        self.quantity = quantity or self.quantity
        self.smoothing = self.smoothing if smoothing is None else smoothing
        self.log_y = self.log_y if log_y is None else log_y
        self._draw()

    def next_axis(self) -> None:
        """Epochs, steps, time, and round again."""
        self.set_view(axis=AXES[(AXES.index(self.axis) + 1) % len(AXES)])

    def next_quantity(self) -> None:
        """Loss, learning rate, images a second, memory."""
        self.set_view(quantity=QUANTITIES[(QUANTITIES.index(self.quantity) + 1) % len(QUANTITIES)])

    def next_smoothing(self) -> None:
        """Off, light, strong."""
        place = SMOOTHINGS.index(self.smoothing) if self.smoothing in SMOOTHINGS else 0
        self.set_view(smoothing=SMOOTHINGS[(place + 1) % len(SMOOTHINGS)])

    def _draw(self) -> None:
        accuracy, other = self.charts
        for chart in (accuracy, other):
            chart.smoothing = self.smoothing
        other.log_y = self.log_y
        if self._news is not None:
            following = self._news.following
            _show(accuracy, accuracy_chart(following, self.axis))
            _show(other, quantity_chart(following, self.axis, self.quantity))

    @on(Chart.CursorMoved)
    def _cursor_moved(self, message: Chart.CursorMoved) -> None:
        message.stop()
        for chart in self.charts:
            if chart is not message.chart:
                with chart.prevent(Chart.CursorMoved):
                    chart.cursor = message.x

    @on(Chart.WindowChanged)
    def _window_changed(self, message: Chart.WindowChanged) -> None:
        message.stop()
        for chart in self.charts:
            if chart is not message.chart:
                with chart.prevent(Chart.WindowChanged):
                    chart.window = message.window


def _show(chart: Chart, data: ChartData) -> None:
    """Have `chart` draw `data` unless it does already: between epochs only the finer curves move."""
    old = chart.data
    same = (old.title, old.marks, old.levels, old.x_label) == (
        data.title,
        data.marks,
        data.levels,
        data.x_label,
    )
    if not same or len(old.series) != len(data.series) or not all(map(_equal, old.series, data.series)):
        chart.data = data


def _equal(one: Series, other: Series) -> bool:
    return np.array_equal(one.x, other.x, equal_nan=True) and np.array_equal(one.y, other.y, equal_nan=True)


def accuracy_chart(following: Following, axis: Axis) -> ChartData:
    """Training and validation accuracy a epoch, the teacher's as a level."""
    if mean := members_words(following.recipe):
        return ChartData("accuracy", (), absence=f"{mean} has no curves")
    val, train, teacher = following.val, following.train, following.teacher
    levels = (
        (Level(teacher.accuracy, "teacher", _TEACHER),)
        if teacher is not None and _has_student(following)
        else ()
    )
    return ChartData(
        "accuracy",
        (
            Series("val", val.at.on(axis), val.accuracy, _VAL),
            Series("train", train.at.on(axis), train.accuracy, _TRAIN, "dotted"),
        ),
        marks=_marks(following, axis),
        levels=levels,
        x_label=axis,
        y_format="share",
    )


def quantity_chart(following: Following, axis: Axis, quantity: Quantity) -> ChartData:
    """The chart beside it; loss has training's as often as it is logged."""
    if mean := members_words(following.recipe):
        return ChartData(quantity, (), absence=f"{mean} has no curves")
    steps, train, val = following.steps, following.train, following.val
    marks = _marks(following, axis)
    if quantity == "loss":
        teacher = following.teacher
        fine = len(steps.loss) > len(train.loss)
        dense = Series("train", steps.at.on(axis), steps.loss, _TRAIN, "dotted")
        coarse = Series("train", train.at.on(axis), train.loss, _TRAIN, "dotted")
        levels = (
            (Level(teacher.loss, "teacher", _TEACHER),)
            if teacher is not None and _has_student(following)
            else ()
        )
        series = (Series("val", val.at.on(axis), val.loss, _VAL), dense if fine else coarse)
        return ChartData("loss", series, marks, levels, axis)
    source = steps if len(steps.loss) else train
    x = source.at.on(axis)
    if quantity == "learning rate":
        return ChartData(quantity, (Series("train", x, source.learning_rate, _TRAIN),), marks, (), axis)
    if quantity == "images/s":
        return ChartData(quantity, (Series("train", x, source.images_per_second, _TRAIN),), marks, (), axis)
    memory = steps.memory_bytes / _GIB if len(steps.loss) else np.empty(0)
    return ChartData(quantity, (Series("run", steps.at.on(axis), memory, _TRAIN),), marks, (), axis)


def _marks(following: Following, axis: Axis) -> tuple[Mark, ...]:
    """Where each stage begins, but for the first, which is where the axis does."""
    return tuple(Mark(stage.on(axis), stage.label) for stage in following.stages[1:])


def _has_student(following: Following) -> bool:
    return any(stage.event.round for stage in following.stages)


def fact_lines(news: News, gpus: Sequence[GpuUse], palette: Palette) -> list[Text]:
    """One line a subject, most asked for first; subjects without values are left out."""
    following = news.following
    if mean := members_words(following.recipe):
        names = ", ".join(map(str, following.recipe[MEMBERS_KEY]))
        return [Text(clean(f"{mean}, which trained nothing: {names}")), _confused(news, palette)]
    lines = [_numbers(following, palette), _machine(news.use, gpus, following, palette)]
    if following.ranks is not None:
        lines.append(ranks_line(following.ranks, palette))
    if following.rounds:
        lines.append(round_line(following.rounds[-1], news.classes, palette))
    elif following.pools:
        lines.append(pool_line(following.pools[-1], palette))
    lines.append(_confused(news, palette))
    return [line for line in lines if line.plain]


def ranks_line(ranks: RanksSeen, palette: Palette) -> Text:
    """What each of several processes did in the last epoch; of many the least and the most."""
    line = Text(end="")
    _add(line, f"{len(ranks.memory_bytes)} ranks, epoch {ranks.epoch}", palette.muted)
    line.append(f" {_by_rank(ranks.images_per_second, human_speed, ' img/s')}")
    line.append(f"  {_by_rank(ranks.memory_bytes, human_bytes)}")
    return line


def _by_rank(numbers: Sequence[float], words: Callable[[float], str], unit: str = "") -> str:
    if len(numbers) > _RANKS_APART:
        return f"{' to '.join(dict.fromkeys([words(min(numbers)), words(max(numbers))]))}{unit} each"
    return " + ".join(map(words, numbers)) + unit


def pool_line(taught: PoolTaught, palette: Palette) -> Text:
    """What an online strategy made of the pool in an epoch."""
    line = Text(end="")
    _add(line, f"pool, epoch {taught.epoch}", palette.muted)
    _add(line, "used", palette.muted)
    line.append(f" {value_label(taught.used, 'share')} of {taught.images:,}")
    if taught.accuracy is not None:
        _add(line, "right", palette.muted)
        line.append(f" {value_label(taught.accuracy, 'share')}")
    return line


def round_line(labelled: RoundLabelled, classes: Sequence[str], palette: Palette) -> Text:
    """What the teacher labelled in a round."""
    line = Text(end="")
    _add(line, f"pseudo-labels r{labelled.round}", palette.muted)
    _add(line, f"{labelled.selected:,}/{labelled.pool:,}")
    line.append(f" ({percent(labelled.selected / max(1, labelled.pool), 0)}%)")
    if labelled.accuracy is not None:
        _add(line, "right", palette.muted)
        line.append(f" {value_label(labelled.accuracy, 'share')}")
    _add(line, "flipped", palette.muted)
    line.append(f" {labelled.flipped:,}")
    if labelled.per_class:
        least = int(np.argmin(labelled.per_class))
        _add(line, "fewest", palette.muted)
        line.append(f" {class_name(classes, least)} {labelled.per_class[least]}")
    return line


def _numbers(following: Following, palette: Palette) -> Text:
    line = Text(end="")
    if len(following.val.accuracy):
        _add(line, "val", palette.muted)
        line.append(f" {value_label(float(following.val.accuracy[-1]), 'share')}", style="bold")
        best = following.best
        if best is not None:
            line.append(f" (best {share_label(best)} @{epoch_words(best)})", style=palette.muted)
    if following.steps.loss.size or following.train.loss.size:
        source = following.steps if following.steps.loss.size else following.train
        _add(line, "lr", palette.muted)
        line.append(f" {value_label(float(source.learning_rate[-1]), 'number')} ")
        line.append(spark(source.learning_rate[-_SPARKED:], _SPARK, means=True), style=palette.muted)
        line.append(f"  {human_speed(float(source.images_per_second[-1]))} img/s ")
        line.append(spark(source.images_per_second[-_SPARKED:], _SPARK, means=True), style=palette.muted)
    return line


def _machine(use: ProcessUse | None, gpus: Sequence[GpuUse], following: Following, palette: Palette) -> Text:
    line = Text(end="")
    if use is not None:
        _add(line, "processor", palette.muted)
        line.append(f" {use.cpu:.1f} cores {human_bytes(use.memory_bytes)}")
    if following.status.is_running:
        for gpu in gpus:
            _add(line, f"GPU{gpu.index}", palette.muted)
            if gpu.utilisation is not None:
                line.append(f" {percent(gpu.utilisation, 0)}%")
            line.append(f" {human_bytes(gpu.used_bytes)} of {human_bytes(gpu.total_bytes)}")
            line.append(
                f" (own {human_bytes(gpu.own_bytes)}, others {human_bytes(gpu.other_bytes)})", palette.muted
            )
    return line


def _confused(news: News, palette: Palette) -> Text:
    line = Text(end="")
    confusions = news.following.confusions
    if not confusions:
        return line
    matrix = confusions[-1].matrix
    names = [class_name(news.classes, i) for i in range(len(matrix))]
    pairs = most_confused(matrix.tolist(), names, _PAIRS)
    if pairs:
        _add(line, "confused", palette.muted)
        line.append(" " + "  ".join(f"{pair.true}→{pair.predicted} {pair.count}" for pair in pairs))
    return line


def _add(line: Text, words: str, style: str = "") -> None:
    if line.plain:
        line.append("  ")
    line.append(words, style=style)
