"""What stands beside the pictures: one of them large, what is known of it, the classes, the last strokes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from workbench.tui.screens.label import captions
from workbench.tui.screens.label.class_panel import ClassPanel
from workbench.tui.screens.label.label_sheet import Desk, SheetImage, last_strokes
from workbench.tui.themes import palette_of
from workbench.tui.widgets.picture import Picture

_STROKES = 12
"""Of which as many are seen as there is room for."""


@dataclass(frozen=True, slots=True)
class SideView:
    """What the panel draws."""

    desk: Desk
    folder: Path | None
    current: SheetImage | None
    """The image under the cursor."""
    meant: Sequence[SheetImage]
    """Those that the next stroke is about: the classes that are guessed of them stand out."""
    is_wide: bool
    """Whether there is room for more than the classes."""


class SidePanel(Vertical):
    """The classes alone, or in a wide window all of it."""

    def compose(self) -> ComposeResult:
        """From top to bottom."""
        yield Picture(id="photo")
        yield Static(id="facts", markup=False)
        yield ClassPanel(id="classes")
        yield Static(id="curve", markup=False)
        yield Static(id="strokes", markup=False)

    def show(self, view: SideView) -> None:
        """Draw this in place of what is there."""
        desk, colours = view.desk, palette_of(self.app.theme)
        guessed = {image.guess for image in view.meant if image.guess}
        lacking = desk.learned.lacking if desk.learned is not None else ()
        classes = self.query_one(ClassPanel)
        classes.show(desk.tally, guessed=guessed, lacking=lacking)
        classes.styles.height = classes.line_count if view.is_wide else "1fr"  # the picture has the rest
        if not view.is_wide:
            return
        photo, facts = self.query_one(Picture), self.query_one("#facts", Static)
        if view.current is None or view.folder is None:
            photo.show(None)
            facts.update("", layout=False)
        else:
            photo.show(view.folder / view.current.path)
            facts.update(captions.facts(view.current, desk, colours), layout=False)
        curve = self.query_one("#curve", Static)
        curve.update(captions.curve_line(desk, max(20, curve.size.width), colours), layout=False)
        strokes = [
            captions.stroke_line(row, count, colours)
            for row, count in last_strokes(desk.tally.journal, _STROKES)
        ]
        self.query_one("#strokes", Static).update(Text("\n").join(strokes), layout=False)
