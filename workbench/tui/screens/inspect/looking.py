"""Inspect's look at one image: large, with what helper processes find of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from textual import on, work
from textual.message import Message

from workbench.runs.opinions import Opinion
from workbench.runs.sources import asks_teacher
from workbench.support.clean import clean
from workbench.support.units import human_bytes
from workbench.tui.places import InspectPlace
from workbench.tui.screens.inspect.finding import Finding
from workbench.tui.screens.inspect.helped import HelperFailed, Neighbour
from workbench.tui.screens.inspect.one import OnePanel, Shown

_SETTLE_SECONDS = 0.3
"""An image is left again sooner than this by someone who pages through; no process is started for it."""
_AT_ONCE = 8
"""Images whose neighbours one process finds: those after the first are there when the user gets to them."""


class Looking(Finding):
    """`do_…` of the large image; draws the panel in `show_current`."""

    @dataclass
    class Measured(Message):
        """A file's header was read."""

        path: Path
        size: str

    def __init__(self, place: InspectPlace) -> None:
        super().__init__(place)
        self.saliency = False
        self.near: bool | None = None
        """Whether neighbours are shown; None: only beside a large image, where there is room."""
        self._sizes: dict[Path, str] = {}
        self._asked: set[str] = set()
        """Images whose neighbours a helper is looking for."""
        self._failures: dict[tuple[str, str], str] = {}
        """(what, image) -> what the helper said."""

    def why_not(self, action: str) -> str | None:
        """A picture is needed for what is drawn over it."""
        if (reason := super().why_not(action)) is not None:
            return reason
        if action in _ONE_IMAGE and self.current is None:
            return "no image fits the filters: 0 takes them off"
        if action == "inspect.saliency" and self.files_problem:
            return "the images are not on this machine"
        return None

    # Actions

    def do_large(self) -> None:
        """One image, or the grid again."""
        self.set_large(not self.large)

    def do_close(self) -> None:
        """To the grid; from the grid to the screen before."""
        if self.large:
            self.set_large(False)
        else:
            self.bench.do_back()

    def do_saliency(self) -> None:
        """On or off; on a failure it is tried again."""
        self.saliency = not self.saliency
        if self.saliency:
            self._failures.clear()
            if not self.large:
                self.set_large(True)
        self.show_current()

    def do_neighbours(self) -> None:
        """On or off."""
        self.near = not self._near_is_on
        self._failures.clear()
        if self.near and not self.large and not self.has_class("-wide"):
            self.set_large(True)
        self.show_current()

    # Showing

    @property
    def _near_is_on(self) -> bool:
        """By itself only beside a large image: going through the grid starts no process."""
        return self.near if self.near is not None else self.large and self.has_class("-wide")

    def show_current(self) -> None:
        """The words, and the panel where it is in sight."""
        super().show_current()
        if not (self.large or self.has_class("-wide")):
            return
        panel, current = self.query_one(OnePanel), self.current
        if current is None:
            panel.show(None)
            return
        path = self.files.get(current.id)
        picture, caption = path, ""
        if self.saliency and self.large and path is not None:
            picture, caption = self._overlaid(current, path)
        choices = self.material.choices if self.material is not None else None
        panel.show(
            Shown(
                opinion=current,
                correction=self.corrections.get(current.id),
                likely=choices.top(current.id) if choices is not None else (),
                picture=picture,
                caption=caption,
                no_picture=self._why_no_picture(),
                size=self._told_size(path),
            )
        )
        self.set_class(self._near_is_on, "-near")
        if self._near_is_on:
            self._show_neighbours(panel, current)
        else:
            panel.show_neighbours(current, (), "n  nearest labelled images", self.files)

    def _why_no_picture(self) -> str:
        if self.files_problem:
            return "the images are not on this machine"
        return "the image is not in the data set any more" if self.files else "looking for the images…"

    # Grad-CAM or attention roll-out

    def _overlaid(self, current: Opinion, plain: Path) -> tuple[Path, str]:
        """The picture to show and its caption; starts a helper where nothing is known."""
        assert self.helped is not None
        assert self.material is not None
        assert self.material.source is not None
        teacher = asks_teacher(self.material.source)
        overlay = self.helped.known_overlay(current.id, teacher=teacher)
        whose = "the teacher" if teacher else "the final model"
        if overlay is not None:
            if overlay.method == "attention-rollout":
                return overlay.picture, f"what {whose} sees, and where its attention lies (roll-out)"
            return overlay.picture, f"what {whose} sees, and where it sees {clean(overlay.said)}"
        if failure := self._failures.get(("saliency", current.id)):
            return plain, f"no saliency map: {failure.splitlines()[0]}"
        self._draw_overlay(current.id, teacher)
        return plain, f"where {whose} looks: computing…"

    @work(exclusive=True, group="saliency", exit_on_error=False)
    async def _draw_overlay(self, image: str, teacher: bool) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        assert self.helped is not None
        try:
            await self.helped.overlay(image, teacher=teacher)
            if self.helped.known_overlay(image, teacher=teacher) is None:
                self._failures["saliency", image] = "the image cannot be read"
        except HelperFailed as error:
            self._failures["saliency", image] = str(error)
        self.show_current()

    # Neighbours

    def _show_neighbours(self, panel: OnePanel, current: Opinion) -> None:
        assert self.helped is not None
        known = self.helped.known_neighbours(current.id)
        near: tuple[Neighbour, ...] = known or ()
        if known is not None:
            said = "nearest labelled images" if known else "no labelled images to compare with"
        elif failure := self._failures.get(("neighbours", current.id)):
            said = f"no neighbours: {failure}"
        else:
            said = "nearest labelled images: computing…"
            if current.id not in self._asked:
                self._find_neighbours()
        panel.show_neighbours(current, near, said, self.files)

    @work(exclusive=True, group="neighbours", exit_on_error=False)
    async def _find_neighbours(self) -> None:
        await asyncio.sleep(_SETTLE_SECONDS)
        assert self.helped is not None
        start = self.grid.cursor
        ahead = [opinion.id for opinion in self.shown[start : start + _AT_ONCE]]
        wanted = [image for image in ahead if self.helped.known_neighbours(image) is None]
        self._asked = set(wanted)
        try:
            if wanted:
                await self.helped.neighbours(wanted)
            missing = [image for image in wanted if self.helped.known_neighbours(image) is None]
            self._failures.update({("neighbours", image): "the image cannot be read" for image in missing})
        except HelperFailed as error:
            self._failures.update({("neighbours", image): str(error) for image in wanted})
        finally:
            self._asked = set()
        self.show_current()

    # The file

    def _told_size(self, path: Path | None) -> str:
        if path is None:
            return ""
        if path not in self._sizes:
            self._sizes[path] = ""
            self._measure(path)
        return self._sizes[path]

    @work(thread=True, group="measure")
    def _measure(self, path: Path) -> None:
        from workbench.dataset.probe import UnreadableImage, read_header

        try:
            header = read_header(path)
        except UnreadableImage as error:
            self.post_message(self.Measured(path, error.reason))
            return
        width, height = header.size
        self.post_message(self.Measured(path, f"{width} × {height}, {human_bytes(header.bytes)}"))

    @on(Measured)
    def _measured(self, message: Measured) -> None:
        message.stop()
        self._sizes[message.path] = message.size
        current = self.current
        if current is not None and self.files.get(current.id) == message.path:
            self.show_current()

    @on(OnePanel.Step)
    def _stepped(self, message: OnePanel.Step) -> None:
        message.stop()
        self.grid.move_to(self.grid.cursor + message.by)


_ONE_IMAGE = ("inspect.large", "inspect.saliency", "inspect.neighbours", "inspect.mark")
