"""The slices of a split in a list on top of Inspect: what the model is wrong of more often comes first."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events, on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.strip import Strip
from textual.widgets import Static

from workbench.runs.layout import RunDirectory
from workbench.runs.slices import CLUSTER, SIGNS, Slice, Slices
from workbench.runs.sources import SplitSource
from workbench.support.caches import read_json_cache, write_json_cache
from workbench.support.paths import cache_home
from workbench.support.records import record_from
from workbench.support.units import fraction, interval_fractions, p_words
from workbench.tui.screens.inspect.explanations import HelperFailed, Runner, asked_of
from workbench.tui.screens.inspect.material import Material
from workbench.tui.screens.place import GuardedLoop
from workbench.tui.text import plain, plain_lines
from workbench.tui.themes import palette_of
from workbench.tui.widgets.line_list import LineList

_WIDE = 84
"""From so many cells on there is room for the rest's accuracy and the chance."""
_BUSY = "looking at the images, which takes a while the first time…"
_ASKING = "asking the network for its features, which takes a while the first time…"


class SliceFinder:
    """Asks a helper process for the slices of a run; what it found is kept on disk until the run changes."""

    def __init__(self, run: RunDirectory, data_home: Path, ask: Runner) -> None:
        self._run, self._data_home, self._ask = run, data_home, ask

    def known(self, source: SplitSource, *, clusters: bool) -> Slices | None:
        """What was found before; None where nobody has looked."""
        return slices_from(read_json_cache(self._place(source, clusters)))

    def holding(self, source: SplitSource, key: str) -> Slice | None:
        """The slice of a key, as it was found before."""
        found = self.known(source, clusters=key.startswith(f"{CLUSTER}:"))
        return next((one for one in found.found if one.key == key), None) if found is not None else None

    def over(self, material: Material, key: str) -> Material:
        """With the slice of a key, found before, where its split is shown."""
        if not key or not isinstance(material.source, SplitSource):
            return material
        return replace(material, sliced=self.holding(material.source, key))

    async def find(self, source: SplitSource, *, clusters: bool) -> Slices:
        """Look, and keep what is found.

        Raises:
            HelperFailed: what the process said.
        """
        options = [*source.options, *(("--by", CLUSTER) if clusters else ())]
        values = await asked_of(
            self._ask, "slices", self._run, self._data_home, *options, "--limit", "0", "--images"
        )
        found = slices_from(values)
        if found is None:
            raise HelperFailed("petbench slices printed something else than slices")
        write_json_cache(self._place(source, clusters), values)
        return found

    def _place(self, source: SplitSource, clusters: bool) -> Path:
        predictions = self._run.predictions(source.predictions)
        try:
            written = predictions.stat().st_mtime_ns
        except OSError:
            written = 0
        told = f"{self._run.path}\0{source.key}\0{written}\0{clusters}"
        name = hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        return cache_home() / "inspect" / "slices" / f"{name}.sealed"


def slices_from(values: Any) -> Slices | None:
    """What `petbench slices --json --images` printed; None of anything else."""
    if not isinstance(values, Mapping) or not isinstance(values.get("slices"), list):
        return None
    try:
        return record_from({**values, "found": values["slices"]}, Slices)
    except ValueError:
        return None


class SliceLines(LineList):
    """A slice a line, of which the marked ones are coloured."""

    HEAD: ClassVar[int] = 1

    class Picked(Message):
        """The slice under the cursor is wanted."""

    def __init__(self) -> None:
        super().__init__(id="slices")
        self._slices: Sequence[Slice] = ()

    def show(self, slices: Sequence[Slice], cursor: str = "") -> None:
        """Show these, the cursor on one of them, else on the first."""
        self._slices = slices
        self.set_lines([one.key for one in slices], width=1)
        if cursor:
            self.move_to(cursor)
        self.refresh()

    def on_resize(self) -> None:
        """Other columns may fit."""
        self.set_lines([one.key for one in self._slices], width=1)
        self.reveal_cursor()
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Go there; twice opens."""
        row = self.row_at(event)
        if row is not None:
            self.move_to(self._slices[row].key)
            if event.chain == 2:
                self.post_message(self.Picked())

    def draw_head(self, line: int) -> Strip:
        """What the columns are."""
        colours = palette_of(self.app.theme)
        names = self._line("slice", "images", "right", "95 %", "rest", "p")
        return self._strip(Text(f"    {names}", style=f"bold {colours.muted}", end=""))

    def draw_row(self, row: int) -> Strip:
        """A slice."""
        colours, one = palette_of(self.app.theme), self._slices[row]
        here = one.key == self.cursor
        colour = {"worse": colours.bad, "better": colours.good, None: ""}[one.mark]
        line = Text("▌ " if here else "  ", style=colours.accent, end="")
        line.append(f"{SIGNS[one.mark] or ' '} ", style=colour)
        figures = (f"{one.images:,}", fraction(one.accuracy), interval_fractions(one.interval))
        words = self._line(plain(one.words).plain, *figures, fraction(one.rest), p_words(one.p))
        line.append(words, style=colour or colours.text)
        return self._strip(line, cursor=here)

    def _line(self, words: str, images: str, right: str, interval: str, rest: str, p: str) -> str:
        """The cells of a line, of which the last two need room."""
        cells = f"{images:>7} {right:>6}  {interval:<11}"
        if self.size.width >= _WIDE:
            cells += f" {rest:>6} {p:>6}"
        room = max(8, self.size.width - len(cells) - 5)
        return plain(words, limit=room).plain.ljust(room) + cells

    def _strip(self, text: Text, *, cursor: bool = False) -> Strip:
        segments = Segment.apply_style(
            text.render(self.app.console, end=""), self.app.console.get_style(text.style)
        )
        strip = Strip(segments).adjust_cell_length(self.size.width)
        if not cursor:
            return strip.apply_style(self.rich_style)
        shade = self.app.theme_variables.get("panel", "#262b32")
        return strip.apply_style(self.rich_style + Style(bgcolor=shade, bold=True))


class AskSlice(GuardedLoop, ModalScreen[str | None]):
    """Which slice's images to show; answered by its key, "" takes the filter off, None when it was left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "take", "open"),
        Binding("f", "turn", "features"),
        Binding("r", "again", "again"),
        Binding("0", "all", "all images"),
        Binding("escape,q", "leave", "leave"),
    ]

    def __init__(self, finder: SliceFinder, source: SplitSource, chosen: str = "") -> None:
        super().__init__(classes="asking")
        self._finder, self._source, self._chosen = finder, source, chosen
        self._clusters = chosen.startswith(f"{CLUSTER}:")
        self._found: Slices | None = None

    def compose(self) -> ComposeResult:
        """What they are of, the list, the keys."""
        with Vertical(classes="box tall"):
            yield Static(plain(f"Where it fails: slices of {self._source.words}", "bold"))
            yield Static(id="slices-words", classes="detail", markup=False)
            yield SliceLines()
            yield Static(id="slices-keys", classes="keys", markup=False)

    def on_mount(self) -> None:
        """What is known, or have it found."""
        self._show()

    def _show(self) -> None:
        other = "facts" if self._clusters else "features"
        keys = f"enter its images   f by {other}   r again   0 all   esc leaves"
        self.query_one("#slices-keys", Static).update(plain_lines(keys))
        self._found = self._finder.known(self._source, clusters=self._clusters)
        lines, words = self.query_one(SliceLines), self.query_one("#slices-words", Static)
        if self._found is None:
            lines.show(())
            words.update(plain_lines(_ASKING if self._clusters else _BUSY))
            self._find(self._clusters)
            return
        right = f"{self._found.images:,} images, {fraction(self._found.accuracy)} right; {self._found.words}"
        words.update(plain_lines(right))
        lines.show(self._found.found, self._chosen)
        lines.focus()

    @work(exclusive=True, group="slices", exit_on_error=False)
    async def _find(self, clusters: bool) -> None:
        try:
            await self._finder.find(self._source, clusters=clusters)
        except HelperFailed as error:
            self.query_one("#slices-words", Static).update(plain_lines(str(error), "red"))
            return
        if clusters == self._clusters:
            self._show()

    @on(SliceLines.Picked)
    def _picked(self, message: SliceLines.Picked) -> None:
        message.stop()
        self.action_take()

    def action_take(self) -> None:
        """The images of the slice under the cursor."""
        if key := self.query_one(SliceLines).cursor:
            self.dismiss(key)

    def action_turn(self) -> None:
        """By features instead, or by facts again."""
        self._clusters = not self._clusters
        self._show()

    def action_again(self) -> None:
        """Have a process look again, at images that may have changed."""
        if self._found is not None:
            self.query_one("#slices-words", Static).update(plain_lines(_BUSY))
            self._find(self._clusters)

    def action_all(self) -> None:
        """No slice."""
        self.dismiss("")

    def action_leave(self) -> None:
        """Close without an answer."""
        self.dismiss(None)
