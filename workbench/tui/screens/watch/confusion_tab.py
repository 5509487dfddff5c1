"""The confusion after any epoch: heat map, recall bars, the pair under the cursor, the worst pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Static

from workbench.runs.confusion import CLASS_ORDERS, ClassOrder, class_order, recall
from workbench.runs.curve_history import SeenConfusion
from workbench.runs.ensemble import members_words
from workbench.support.units import percent
from workbench.tui.draw.bars import bar
from workbench.tui.screens.watch.news import Kept, News, class_name
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.heatmap import HeatMap

_LISTED = 8
_ORDER_WORDS = {"class": "by name", "recall": "worst first", "clustered": "alike together"}
_NUMBERED = 10  # cells from which on a bar has its number beside it


class ConfusionPanel(Vertical):
    """Follows the latest epoch until an earlier one is asked for; the cursor stays on its pair of classes."""

    @dataclass
    class PairChosen(Message):
        """Enter on a cell: its images are wanted."""

        true: str
        said: str
        teacher: bool
        """Whether the confusion is the teacher's."""
        kept: Kept | None
        """The model whose images there are, where the run has ended."""
        count: int | None
        """How many images it has in the cell."""

    def __init__(self) -> None:
        super().__init__(id="confusion")
        self.order: ClassOrder = "class"
        self._news: News | None = None
        self._back = 0
        self._arranged = np.arange(0)
        self._shown: SeenConfusion | None = None

    def compose(self) -> ComposeResult:
        """Heat map and bars, then the line of the cursor, then the worst pairs where there is room."""
        with Horizontal(id="heat-row"):
            heat = HeatMap(id="heat")
            yield heat
            yield RecallBars(heat, id="recall")
        yield Static(id="pair", markup=False)
        yield Static(id="worst", markup=False)

    def on_mount(self) -> None:
        """The bars go with the rows: none where several classes share one."""
        self.watch(self.heat, "overview", lambda _overview: self._tell(), init=False)

    @property
    def heat(self) -> HeatMap:
        """The heat map."""
        return self.query_one("#heat", HeatMap)

    def show(self, news: News) -> None:
        """Draw the run as it is now."""
        if self._news is not None and self._back:
            # An epoch that was chosen stays, however many come after it.
            self._back += len(news.following.confusions) - len(self._news.following.confusions)
        old, self._news = self._news, news
        seen = news.following.confusions
        same = old is not None and old.classes is news.classes and old.kept is news.kept
        if old is None or not same or old.following.confusions[-1:] != seen[-1:]:
            self._draw()

    def step(self, epochs: int) -> None:
        """Go to an earlier (-1) or later (1) confusion."""
        if self._news is not None:
            self._back = max(0, min(self._back - epochs, len(self._news.following.confusions) - 1))
            self._draw()

    def set_order(self, order: ClassOrder) -> None:
        """Order the classes otherwise."""
        self.order = order
        self._draw()

    def next_order(self) -> None:
        """By name, by recall, by likeness."""
        self.set_order(CLASS_ORDERS[(CLASS_ORDERS.index(self.order) + 1) % len(CLASS_ORDERS)])

    def jump(self, by: int) -> None:
        """Put the cursor on the next worse-confused pair, or on the one before."""
        pairs = self._worst_pairs()
        if not pairs:
            return
        here = self._pair()
        place = pairs.index(here) + by if here in pairs else 0
        self._move_to(*pairs[place % len(pairs)])

    def _draw(self) -> None:
        news = self._news
        confusions = news.following.confusions if news is not None else ()
        if news is None or not confusions:
            self._shown = None
            self.query_one("#pair", Static).update(
                Text("no epoch is validated yet", palette_of(self.app.theme).muted)
            )
            return
        self._back = max(0, min(self._back, len(confusions) - 1))
        chosen = confusions[len(confusions) - 1 - self._back]
        before = self._pair()
        self._shown = chosen
        self._arranged = class_order(chosen.matrix, self.order)
        names = [class_name(news.classes, i) for i in self._arranged.tolist()]
        with self.heat.prevent(HeatMap.CellHighlighted):
            self.heat.show(chosen.matrix[np.ix_(self._arranged, self._arranged)], names, names)
            if before is None:
                pairs = self._worst_pairs()
                before = pairs[0] if pairs else (0, 0)
            self._move_to(*before)
        self._tell()

    def _move_to(self, true: int, said: int) -> None:
        order = self._arranged.tolist()
        if true < len(order) and said < len(order):
            self.heat.cursor = (order.index(true), order.index(said))

    def _pair(self) -> tuple[int, int] | None:
        """(true, said) under the cursor, as class numbers."""
        row, column = self.heat.cursor
        if self._shown is None or max(row, column) >= len(self._arranged):
            return None
        return int(self._arranged[row]), int(self._arranged[column])

    def _worst_pairs(self) -> list[tuple[int, int]]:
        """Pairs of classes with errors, most first."""
        if self._shown is None:
            return []
        errors = self._shown.matrix.copy()
        np.fill_diagonal(errors, 0)
        flat = errors.ravel()
        some = np.flatnonzero(flat)
        ranked = some[np.argsort(-flat[some], kind="stable")]
        return [(int(i) // len(errors), int(i) % len(errors)) for i in ranked]

    def _tell(self) -> None:
        """The lines beneath the heat map, and the bars beside it."""
        chosen, pair, news = self._shown, self._pair(), self._news
        if chosen is None or pair is None or news is None:
            return
        self.query_one(RecallBars).show(recall(chosen.matrix)[self._arranged])
        self.query_one("#pair", Static).update(self._pair_line(chosen, pair, news))
        self.query_one("#worst", Static).update(self._worst_lines(chosen, pair, news))

    def _pair_line(self, chosen: SeenConfusion, pair: tuple[int, int], news: News) -> Text:
        palette = palette_of(self.app.theme)
        true, said = pair
        count, total = int(chosen.matrix[true, said]), int(chosen.matrix[true].sum())
        kept, kept_count = self._kept_count(chosen, pair, news)
        place = f"r{chosen.round}" if chosen.round else chosen.stage
        place = members_words(news.following.recipe) or f"{place} epoch {chosen.epoch}"
        slider, order = _slider(self._back, len(news.following.confusions)), _ORDER_WORDS[self.order]
        said_by = f"kept {kept.name}: {kept_count}" if kept is not None and kept_count != count else ""
        brief = f"kept {kept_count}" if said_by else ""
        # What tells the numbers apart stays longest where there is little room.
        for limit, other, where in (
            (26, said_by, f"{place} {slider} {order}"),
            (26, said_by, f"{place} {order}"),
            (26, brief, f"{place} {order}"),
            (26, brief, place),
            (12, brief, place),
        ):
            line = Text(no_wrap=True, overflow="ellipsis", end="")
            line.append("true ", palette.muted)
            line.append(class_name(news.classes, true, limit), "bold")
            line.append(" → said ", palette.muted)
            line.append(class_name(news.classes, said, limit), "bold")
            line.append(f": {count} of {total}")
            line.append(f"  {other}" if other else "", palette.warning)
            space = self.size.width - line.cell_len - len(where) - 1
            if space > 0:
                break
        line.append(" " * max(1, space) + where, palette.muted)
        return line

    def _kept_count(
        self, chosen: SeenConfusion, pair: tuple[int, int], news: News
    ) -> tuple[Kept | None, int | None]:
        """The kept model that Enter shows the images of, and how many it has in the cell."""
        final, teacher = news.kept
        kept = teacher if chosen.stage == "teacher" and teacher is not None else final
        if kept is None or kept.matrix.shape != chosen.matrix.shape:
            return None, None
        return kept, int(kept.matrix[pair])

    def _worst_lines(self, chosen: SeenConfusion, pair: tuple[int, int], news: News) -> Text:
        palette = palette_of(self.app.theme)
        text = Text(no_wrap=True, overflow="ellipsis")
        text.append("most confused (n, N go through them)", palette.muted)
        for true, said in self._worst_pairs()[:_LISTED]:
            count, total = int(chosen.matrix[true, said]), int(chosen.matrix[true].sum())
            here = (true, said) == pair
            text.append(f"\n{'▸' if here else ' '} ", palette.accent)
            text.append(f"{count:>3} ", "bold" if here else "")
            text.append(bar(count / total, 8), palette.warning)
            text.append(f" {count / total:>4.0%}  ", palette.muted)
            text.append(f"{class_name(news.classes, true, 26)} → {class_name(news.classes, said, 26)}")
        return text

    def on_resize(self) -> None:
        """The bars keep to the heat map's rows."""
        self.call_after_refresh(self._tell)

    @on(HeatMap.CellHighlighted)
    def _highlighted(self, message: HeatMap.CellHighlighted) -> None:
        message.stop()
        self._tell()

    @on(HeatMap.CellChosen)
    def _chosen(self, message: HeatMap.CellChosen) -> None:
        message.stop()
        pair, news = self._pair(), self._news
        if pair is None or news is None or self._shown is None:
            return
        if max(pair) >= len(news.classes):
            self.app.notify("the names of the classes are not known yet", severity="warning")
            return
        teacher = self._shown.stage == "teacher"
        kept, count = self._kept_count(self._shown, pair, news)
        self.post_message(self.PairChosen(news.classes[pair[0]], news.classes[pair[1]], teacher, kept, count))


def _slider(back: int, count: int) -> str:
    """`◂──●──▸`: where the shown epoch is among all."""
    if count < 2:
        return ""
    width = 7
    place = round((count - 1 - back) / (count - 1) * (width - 1))
    return f"[{'─' * place}●{'─' * (width - 1 - place)}]"


class RecallBars(Widget):
    """Draws the recall in the rows of the heat map; two bars in a line where rows are half a line."""

    def __init__(self, heat: HeatMap, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._heat = heat
        self._recall: NDArray[np.float64] = np.empty(0)

    def show(self, recall: NDArray[np.float64]) -> None:
        """Show a class's recall a row.

        Args:
            recall: (C,) float64 in the order of the rows; NaN for a class without images.
        """
        self._recall = recall
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """The bars that are in this line."""
        place, width = self._heat.place, self.size.width  # where the rows are by now, not where they were
        palette = palette_of(self.app.theme)
        blank = Strip.blank(width, self.rich_style)
        if place.block > 1 or not len(self._recall):
            return blank
        rows = [(2 * y + half) // place.tile_height for half in (0, 1)]
        shares = [self._share(place.row + row) if row < place.rows else None for row in rows]
        if shares[0] is None:
            return blank
        if rows[0] == rows[1] or place.tile_height > 1:
            starts = 2 * y == -(-rows[0] * place.tile_height // 2) * 2
            strip = Strip(
                [Segment(_long(shares[0], width, starts), Style(color=_colour(shares[0], palette)))]
            )
        else:
            strip = Strip(_halves(shares[0], shares[1], width, palette))
        return strip.apply_style(self.rich_style)

    def _share(self, row: int) -> float | None:
        return float(self._recall[row]) if row < len(self._recall) else None


def _long(share: float, width: int, numbered: bool) -> str:
    if width < _NUMBERED:
        return bar(share, width)
    number = percent(share, 0)
    return bar(share, width - 4) + (f"{number:>4}" if numbered else " " * 4)


def _halves(upper: float, lower: float | None, width: int, palette: Palette) -> list[Segment]:
    """Two bars in a line: `▀` has the upper in front and the lower behind."""
    reach = [_cells(upper, width), _cells(lower, width)]
    colours = [_colour(share, palette) for share in (upper, lower)]
    segments = []
    for column in range(width):
        front, behind = (colours[i] if column < reach[i] else None for i in (0, 1))
        if front is None and behind is None:
            segments.append(Segment(" "))
        elif front is None:
            segments.append(Segment("▄", Style(color=behind)))
        else:
            segments.append(Segment("▀", Style(color=front, bgcolor=behind)))
    return segments


def _cells(share: float | None, width: int) -> int:
    return 0 if share is None or math.isnan(share) else round(share * width)


def _colour(share: float | None, palette: Palette) -> str:
    """The worst are in the warning's colour; their shortness says it too."""
    if share is None or math.isnan(share):
        return palette.muted
    return palette.accent if share >= 0.8 else palette.warning
