"""The log panel: the end of run.log, followed; search with every match marked."""

from __future__ import annotations

from dataclasses import dataclass

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.widgets import Input, Static

from workbench.runs.log import EMPTY_LOG, LogLines
from workbench.support.clean import clean
from workbench.support.units import human_bytes
from workbench.tui.themes import Palette, palette_of
from workbench.tui.widgets.line_list import LineList

_STAMP = 19  # characters of `2026-11-22 20:54:36`
_WIDEST = 4_000


class LogView(LineList):
    """Lines of a log, drawn as they come into view; each is made harmless there and never parsed."""

    @dataclass
    class Scrolled(Message):
        """The person went elsewhere in the log."""

    def __init__(self) -> None:
        super().__init__(id="log-lines")
        self.log_lines: LogLines = EMPTY_LOG
        self.words = ""
        self.current: int | None = None
        self.following = True

    def show(self, lines: LogLines) -> None:
        """Show these lines; while following, the last of them."""
        dropped = 0
        old = self.log_lines
        if lines.before_bytes > old.before_bytes and old.lines and lines.lines:
            dropped = _dropped(old.lines, lines.lines)
        self.log_lines = lines
        if self.current is not None:
            self.current = self.current - dropped if self.current >= dropped else None
        width = min(_WIDEST, max((len(line) for line in lines.lines[-2000:]), default=0) + 1)
        self.set_lines([""] * len(lines.lines), width=width)
        if self.following:
            # The first lines come before the first layout, and there is no end to scroll to then.
            self.call_after_refresh(self._to_end)
        elif dropped:
            self.scroll_to(y=max(0, self.scroll_offset.y - dropped), animate=False, immediate=True)
        self.refresh()

    def _to_end(self) -> None:
        if self.following:
            self.scroll_end(animate=False, immediate=True, x_axis=False)

    def matches(self) -> list[int]:
        """The lines that hold the words, upper or lower case alike."""
        wanted = self.words.casefold()
        if not wanted:
            return []
        return [i for i, line in enumerate(self.log_lines.lines) if wanted in clean(line).casefold()]

    def go_to(self, line: int) -> None:
        """Bring a line into the middle and mark it."""
        self.current = line
        self.following = False
        height = max(1, self.scrollable_content_region.height)
        self.scroll_to(y=max(0, line - height // 2), animate=False, immediate=True)
        self.refresh()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Going up ends following; coming to the end begins it again."""
        super().watch_scroll_y(old_value, new_value)
        at_end = new_value >= self.max_scroll_y - 0.5
        if at_end != self.following and (at_end or new_value < old_value):
            self.following = at_end
            self.post_message(self.Scrolled())

    def draw_row(self, row: int) -> Strip:
        """A line of the log."""
        text = self._styled(clean(self.log_lines.lines[row]), row == self.current)
        strip = Strip([Segment(s.text, s.style) for s in text.render(self.app.console) if s.text])
        return strip.apply_style(self.rich_style)

    def _styled(self, line: str, current: bool) -> Text:
        palette: Palette = palette_of(self.app.theme)
        text = Text(line, end="", no_wrap=True)
        if len(line) > _STAMP and line[:4].isdigit() and line[4] == "-":
            text.stylize(palette.muted, 0, _STAMP)
        lowered = line.casefold()
        if "warning:" in lowered:
            text.stylize(palette.warning, _STAMP)
        elif "error" in lowered or ("ended with code" in lowered and not lowered.endswith("code 0")):
            text.stylize(palette.bad, _STAMP)
        if self.words:
            wanted, start = self.words.casefold(), 0
            mark = Style(reverse=True, bold=current)
            while (found := lowered.find(wanted, start)) >= 0:
                text.stylize(mark, found, found + len(wanted))
                start = found + len(wanted)
        if current:
            text.stylize(Style(underline=True))
        return text


class LogPanel(Vertical):
    """The lines, the search line while it is open, and a line that says what is seen."""

    def __init__(self) -> None:
        super().__init__(id="log")
        self._lines: LogLines = EMPTY_LOG

    def compose(self) -> ComposeResult:
        """Lines, search, state."""
        yield LogView()
        search = Input(id="log-search", placeholder="words to find; enter keeps them, esc leaves")
        search.display = False
        yield search
        yield Static(id="log-state", markup=False)

    @property
    def view(self) -> LogView:
        """The lines."""
        return self.query_one(LogView)

    def show(self, lines: LogLines) -> None:
        """Show the log as it is now."""
        if lines is not self._lines:
            self._lines = lines
            self.view.show(lines)
        self._tell()

    def open_search(self) -> None:
        """Ask for words."""
        search = self.query_one("#log-search", Input)
        search.display = True
        search.value = self.view.words
        self.screen.set_focus(search)  # at once: the next letters may have been typed already

    def close_search(self, *, forget: bool) -> None:
        """Put the search line away; the words stay marked unless they are to be forgotten."""
        self.query_one("#log-search", Input).display = False
        if forget:
            self.view.words, self.view.current = "", None
        self.view.refresh()
        self.view.focus()
        self._tell()

    @property
    def is_searching(self) -> bool:
        """Whether the search line is open."""
        return self.query_one("#log-search", Input).display

    def jump(self, by: int) -> bool:
        """Go to the next match (1) or the one before (-1), round the ends; whether there is one."""
        found = self.view.matches()
        if not found:
            return False
        here = self.view.current
        if here is None:
            place = len(found) - 1
        elif by > 0:
            place = next((i for i, line in enumerate(found) if line > here), 0)
        else:
            place = next((i for i in range(len(found) - 1, -1, -1) if found[i] < here), len(found) - 1)
        self.view.go_to(found[place])
        self._tell()
        return True

    def toggle_follow(self) -> None:
        """Stay at the end, or stay here."""
        self.view.following = not self.view.following
        if self.view.following:
            self.view.scroll_end(animate=False, immediate=True, x_axis=False)
        self._tell()

    @on(Input.Changed, "#log-search")
    def _typed(self, message: Input.Changed) -> None:
        message.stop()
        self.view.words, self.view.current = message.value, None
        self.jump(-1)
        self.view.refresh()
        self._tell()

    @on(Input.Submitted, "#log-search")
    def _take(self, message: Input.Submitted) -> None:
        message.stop()
        self.close_search(forget=False)

    @on(LogView.Scrolled)
    def _scrolled(self, message: LogView.Scrolled) -> None:
        message.stop()
        self._tell()

    def _tell(self) -> None:
        palette = palette_of(self.app.theme)
        view, lines = self.view, self._lines
        text = Text(no_wrap=True, overflow="ellipsis", end="")
        if not lines.lines:
            text.append("the run has said nothing yet", palette.muted)
        else:
            text.append(
                "following" if view.following else "not following (f)",
                palette.accent if view.following else palette.muted,
            )
            text.append(f"  {len(lines.lines):,} lines", palette.muted)
            if lines.before_bytes:
                text.append(f", the end of {human_bytes(lines.size)}", palette.muted)
        if view.words:
            found = view.matches()
            place = f"{found.index(view.current) + 1} of " if view.current in found else ""
            text.append(
                f"  “{clean(view.words, 30)}” {place}{len(found)} found",
                palette.text if found else palette.warning,
            )
        self.query_one("#log-state", Static).update(text)


def _dropped(old: tuple[str, ...], new: tuple[str, ...]) -> int:
    """How many of the old lines are gone from the front."""
    try:
        return old.index(new[0])
    except ValueError:
        return len(old)
