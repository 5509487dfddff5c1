"""Which images follow which: what lies ready, what is asked for, what chance draws for who waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from workbench.labels.protocol import Offered
from workbench.tui.screens.label.engine_link import EngineLink
from workbench.tui.screens.label.label_sheet import Desk, Sheet

_PATIENCE_SECONDS = 0.4
"""Then an image drawn at random is shown to somebody who waits."""


class OfferFlow:
    """Turns the sheets of a desk, and asks the chooser for the one after the next.

    Args:
        lay: has the desk's sheet on the screen, the cursor on an image of it.
        at_once: how many images the screen can show.
        later: calls something after so many seconds.
    """

    def __init__(
        self,
        desk: Desk,
        chooser: EngineLink,
        *,
        lay: Callable[[int], object],
        at_once: Callable[[], int],
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self.desk, self._chooser = desk, chooser
        self._lay, self._at_once, self._later = lay, at_once, later

    def request(self) -> None:
        """Ask for the offer after the one on the screen, unless it lies ready."""
        if self._chooser.is_there and self.desk.ahead is None:
            self._chooser.send(self.desk.ask(self._at_once()))

    def take(self, offered: Offered, cursor: int) -> None:
        """An offer has come: shown to who waits, else it lies ready and its pictures are read."""
        asked = self.desk.asked
        if self.desk.take(offered):
            if self.desk.sheet is None:
                self.advance()
            else:
                self._lay(cursor)
        elif asked is not None and offered.serial == asked.serial:
            self.draw_for_who_waits()  # nothing is left, or only what was skipped

    def advance(self) -> None:
        """The next offer; where none lies ready, ask, and after a moment draw an image at random."""
        if self.desk.turn():
            self.request()
        elif self._chooser.is_there and self._chooser.has_answered:
            if self.desk.asked is None:
                self.request()
            self._later(_PATIENCE_SECONDS, self.draw_for_who_waits)
        else:
            self.draw_for_who_waits()
        self._lay(0)

    def draw_for_who_waits(self) -> None:
        """An image by chance, if there is none on the screen and it is known which have no label."""
        desk = self.desk
        if desk.sheet is not None or not (desk.is_listed and desk.is_counted):
            return
        if desk.draw(self._chooser.why_by_chance) and desk.asked is None:
            self.request()
        self._lay(0)

    def go_on(self) -> None:
        """To the offer that was put aside, else to the next."""
        if self.desk.aside is not None and self.desk.put_away():
            self.request()
            self._lay(0)
        else:
            self.advance()

    def leave_out(self, sheet: Sheet, paths: Iterable[str], cursor: int) -> None:
        """Some images leave the sheet; where none is left, go on."""
        left = sheet.without(paths)
        self.desk.sheet = left
        if left.images:
            self._lay(min(cursor, len(left.images) - 1))
        else:
            self.go_on()

    def lay_out(self, sheet: Sheet) -> None:
        """A list, or what was taken back; the offer waits."""
        self.desk.lay_out(sheet)
        self._lay(0)
