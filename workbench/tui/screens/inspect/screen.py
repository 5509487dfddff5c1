"""The Inspect screen as the app knows it: its keys, its command lines."""

from __future__ import annotations

from shlex import quote
from typing import ClassVar

from textual import on
from textual.binding import BindingType

from workbench.dataset.review import Verdict
from workbench.tui.places import WatchPlace
from workbench.tui.screens.inspect.reviewing import Reviewing
from workbench.tui.screens.place import bindings_of
from workbench.tui.widgets.tiles import TileGrid


class InspectScreen(Reviewing):
    """Least sure first: look, choose, correct, train again."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("inspect")]

    def do_watch(self) -> None:
        """The run's curves."""
        self.bench.go(WatchPlace(run=self.place.run))

    def twin(self) -> list[str]:
        """The list, the image's verdict, what the helpers show."""
        material = self.material
        if material is None or material.source is None:
            return [f"petbench inspect {quote(self.place.run)}"]
        handle = quote(material.run.handle)
        options = " ".join(self.wish.options(material.source))
        lines = [f"petbench inspect {handle} {options}", f"petbench review {handle}"]
        if self.current is None:
            return lines
        image = quote(self.current.id)
        if material.can_review:
            given = self.corrections.get(self.current.id)
            if given is not None and given.verdict is Verdict.RELABEL:
                lines.append(f"petbench review {handle} --relabel {image} {quote(given.label)}")
            elif given is not None:
                lines.append(f"petbench review {handle} --{given.verdict.value} {image}")
            else:
                lines.append(f"petbench review {handle} --accept {image}")
        lines.append(f"petbench neighbours {handle} {image}")
        lines.append(f"petbench saliency {handle} {image} --out look")
        return lines

    def focus_help(self) -> str:
        """What the signs below a thumbnail mean."""
        return (
            "Below each image: what was said, its confidence, Δ margin (H entropy, ≠ disagreement, ↻ flips "
            "when ordered by them), ● taught to the student, ↻ label changed in this round, ✓ right, ✗ with "
            "the true class; of label issues ≟ the given label's probability, ⚑ likely wrong, ⧉ there twice; "
            "✔ accepted, ✎ relabelled, ⊘ excluded, ◆ marked."
        )

    @on(TileGrid.Opened, "#grid")
    def _opened(self, message: TileGrid.Opened) -> None:
        message.stop()
        self.do_large()
