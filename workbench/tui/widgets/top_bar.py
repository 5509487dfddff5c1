"""The line at the top: how many runs, what goes on, what the GPUs do, the time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text
from textual.app import RenderResult
from textual.reactive import reactive
from textual.widget import Widget

from workbench.runs.status import RunStatus
from workbench.runs.watching import RunsView
from workbench.support.clean import clean
from workbench.support.units import percent
from workbench.tui.text import STATUS_MARKS
from workbench.tui.themes import Palette, palette_of

if TYPE_CHECKING:
    from workbench.jobs import GpuUse

_COUNTED = (RunStatus.LIVE, RunStatus.STARTING, RunStatus.QUEUED, RunStatus.STALLED, RunStatus.STOPPING)


class TopBar(Widget):
    """Draws `view`, `gpus` and `clock`; set them and it follows."""

    DEFAULT_CSS = "TopBar { height: 1; dock: top; background: $panel; color: $foreground; padding: 0 1; }"

    view: reactive[RunsView | None] = reactive(None)
    gpus: reactive[tuple[GpuUse, ...]] = reactive(())
    clock: reactive[str] = reactive("")
    window: reactive[int] = reactive(1)
    """Of those open on the same runs; the first is not told."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title

    def retitle(self, title: str) -> None:
        """Say what the screen shows."""
        self._title = title
        self.refresh()

    def render(self) -> RenderResult:
        colours = palette_of(self.app.theme)
        left = Text(no_wrap=True, end="")
        left.append("petbench", style=f"bold {colours.accent}")
        if self.window > 1:
            left.append(f" window {self.window}", style=colours.warning)
        if self._title:
            left.append(f"  {clean(self._title)}")
        left.append_text(_counts(self.view, colours))
        right = _gpu_line(self.gpus, colours, wide=self.size.width >= 110)
        right.append(f"  {self.clock}", style=colours.muted)
        space = self.size.width - left.cell_len - right.cell_len
        if space < 1:
            right = Text(self.clock, style=colours.muted, end="")
            left.truncate(max(0, self.size.width - right.cell_len - 1), overflow="ellipsis")
            space = self.size.width - left.cell_len - right.cell_len
        left.append(" " * max(0, space))
        left.append_text(right)
        return left


def _counts(view: RunsView | None, colours: Palette) -> Text:
    text = Text(end="")
    if view is None:
        return text
    text.append(f"  {len(view.summaries):,} runs", style=colours.muted)
    seen = Counter(summary.status for summary in view.summaries)
    for status in _COUNTED:
        if seen[status]:
            mark = STATUS_MARKS[status]
            text.append(f"  {mark.sign} {seen[status]} {mark.word}", style=getattr(colours, mark.colour))
    return text


def _gpu_line(gpus: Sequence[GpuUse], colours: Palette, *, wide: bool) -> Text:
    text = Text(end="")
    shown = gpus if wide else gpus[:1]
    for gpu in shown[:4]:
        busy = "" if gpu.utilisation is None else f" {percent(gpu.utilisation, 0)}%"
        memory = f" {gpu.used_bytes / 2**30:.0f}/{gpu.total_bytes / 2**30:.0f} GiB"
        text.append(f"  GPU{gpu.index}{busy}{memory}", style=colours.muted)
    if len(gpus) > len(shown):
        text.append(f" +{len(gpus) - len(shown)}", style=colours.muted)
    return text


def clock_text(now: float) -> str:
    """`12:04`, local time."""
    return f"{datetime.fromtimestamp(now):%H:%M}"
