"""What all of Inspect's actions work on: the material, the wish, what is shown of it; and drawing that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.text import Text
from textual import on, work
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from workbench.dataset.review import Correction
from workbench.recipe.data import Data
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinion
from workbench.runs.sources import sources_of
from workbench.runs.watching import RunsView
from workbench.support.errors import UserError
from workbench.tui.actions import ACTIONS
from workbench.tui.helper import run_petbench
from workbench.tui.pictures.tile_drawing import Tile
from workbench.tui.places import InspectPlace
from workbench.tui.screens.inspect import headings
from workbench.tui.screens.inspect.helped import Helped, Runner
from workbench.tui.screens.inspect.lines import ActionLine
from workbench.tui.screens.inspect.material import Material, read_material
from workbench.tui.screens.inspect.one import OnePanel
from workbench.tui.screens.inspect.wish import Wish, pack_wish, unpack_wish
from workbench.tui.screens.inspect.words import caption, one_line
from workbench.tui.screens.place import PlaceScreen
from workbench.tui.text import plain, plain_lines
from workbench.tui.themes import palette_of
from workbench.tui.widgets.tiles import TileGrid

_EMPTY = (
    "Nothing to look at yet.\n\n"
    "A run writes down what it said of the unlabelled pool after every round of pseudo-labels, and of the "
    "validation and test images once, at its end. This one has done neither so far; its pictures appear here "
    "as soon as it has.\n\n"
    "W  shows its curves      esc  goes back to where you came from"
)
_NOTHING_FITS = "No image fits these filters. 0 takes them off."


class InspectCore(PlaceScreen[InspectPlace]):
    """Reads in threads, draws from values; `show` follows whenever one of them has changed."""

    SCOPE = "inspect"
    CSS_PATH = "inspect.tcss"

    ask_helper: Runner = staticmethod(run_petbench)
    """Runs a helper process; tests put another in its place."""

    @dataclass
    class Loaded(Message):
        """The run's files were read."""

        material: Material

    @dataclass
    class FilesFound(Message):
        """The data set was looked through for the images' files."""

        files: Mapping[str, Path]
        problem: str
        look: str = ""

    def __init__(self, place: InspectPlace) -> None:
        super().__init__(place)
        self.material: Material | None = None
        self.wish = Wish()
        self.shown: list[Opinion] = []
        self.marked: set[str] = set()
        self.files: Mapping[str, Path] = {}
        self.files_problem = ""
        self.large = False
        self.corrections: dict[str, Correction] = {}
        self.helped: Helped | None = None
        self._wanted_image = ""
        self._problem = ""
        self._searched: Data | None = None

    # Layout

    def title_text(self) -> str:
        """`inspect lite_pseudo_iter-9237`."""
        run = RunDirectory(Path(self.place.run))
        return f"inspect {run.id}" if run.slug == run.id else f"inspect {run.slug}-{run.handle}"

    def body(self) -> Iterable[Widget]:
        """What is shown, the pictures, the image under the cursor, filters, review."""
        yield ActionLine(id="what")
        yield Static(id="problem", markup=False)
        yield Static(plain_lines(_EMPTY), id="empty", markup=False)
        with Horizontal(id="main"):
            yield TileGrid(id="grid", classes="first-focus")
            yield OnePanel(id="one")
        yield Static(id="line", markup=False)
        yield ActionLine(id="filters")
        yield ActionLine(id="review")

    @property
    def grid(self) -> TileGrid:
        """The thumbnails."""
        return self.query_one("#grid", TileGrid)

    @property
    def current(self) -> Opinion | None:
        """The image under the cursor."""
        return self.shown[self.grid.cursor] if self.shown else None

    # State

    def restore(self, values: Mapping[str, Any]) -> None:
        """Order always; filters, source and image where they were this run's. The place counts more."""
        kept = unpack_wish(values)
        same_run = values.get("run") == self.place.run
        self.wish = kept if same_run else kept.without_filters()
        if self.place.true and self.place.said:
            cell = Wish(order=kept.order, true=self.place.true, said=self.place.said)
            self.wish = self.wish if (self.wish.true, self.wish.said) == (cell.true, cell.said) else cell
        source = self.place.source
        if same_run and isinstance(values.get("image"), str):
            self._wanted_image = values["image"]
        if same_run and not source and isinstance(values.get("source"), str):
            source = values["source"]
        if same_run and values.get("large") is True:
            self.call_after_refresh(self.set_large, True)
        self.load(source)

    def kept(self) -> Mapping[str, Any]:
        """The wish, where one is, and whether it is large."""
        source = self.material.source if self.material is not None else None
        return {
            **pack_wish(self.wish),
            "run": self.place.run,
            "source": "" if source is None else source.key,
            "image": "" if self.current is None else self.current.id,
            "large": self.large,
        }

    def runs_changed(self, view: RunsView) -> None:
        """A run that goes on may have a new round: look again, without moving."""
        summary = view.by_id.get(self.place.run)
        material = self.material
        if summary is None or material is None:
            return
        if summary.status.is_active or not material.sources:
            self._look_for_sources(material, self.bench.runs_home)

    # Reading

    def load(self, source: str) -> None:
        """Read a source of the run, off the event loop."""
        self._load(source, self.bench.runs_home)

    @work(thread=True, exclusive=True, group="material")
    def _load(self, source: str, runs_home: Path) -> None:
        run = RunDirectory(runs_home / self.place.run)
        self.post_message(self.Loaded(read_material(run, source, runs_home)))

    @work(thread=True, exclusive=True, group="sources")
    def _look_for_sources(self, material: Material, runs_home: Path) -> None:
        # Every second of a live run: only the names of files, and the rest when there is a new one.
        if tuple(sources_of(material.run)) != material.sources:
            source = "" if material.source is None else material.source.key
            self.post_message(self.Loaded(read_material(material.run, source, runs_home)))

    @on(Loaded)
    def _loaded(self, message: Loaded) -> None:
        message.stop()
        new = message.material
        keep = self._wanted_image or ("" if self.current is None else self.current.id)
        self._wanted_image = ""
        self.material = new
        self.take_review()
        if self.helped is None:
            self.helped = Helped(new.run, self.bench.data_home, self.ask_helper)
        self.wish = self.wish.for_source(new.source, new.orders, new.opinions.classes)
        self.set_class(not new.sources, "-empty")
        self.rearrange(keep)
        if new.recipe is not None and self._searched != new.recipe.data:
            self._searched = new.recipe.data
            self._find_files(new.recipe.data, self.bench.data_home)

    @work(thread=True, exclusive=True, group="files")
    def _find_files(self, data: Data, data_home: Path) -> None:
        from workbench.tui.pictures.files import look_of, picture_files

        try:
            files = picture_files(data, data_home)
            self.post_message(self.FilesFound(files, "", look_of(files)))
        except UserError as error:
            self.post_message(self.FilesFound({}, str(error)))
        except OSError as error:
            self.post_message(self.FilesFound({}, f"the data cannot be read: {error.strerror or error}"))

    @on(FilesFound)
    def _files_found(self, message: FilesFound) -> None:
        message.stop()
        self.files, self.files_problem = message.files, message.problem
        if self.helped is not None:
            self.helped.of_data(message.look)
        self.grid.again()
        self.show()

    # Showing

    def take_review(self) -> None:
        """Look up verdicts by image from now on as the material has them."""
        found = () if self.material is None else self.material.review.corrections
        self.corrections = {correction.id: correction for correction in found}

    def rearrange(self, keep: str = "") -> None:
        """Choose and order the images anew and put the cursor on `keep`, else where it was."""
        if self.material is None:
            return
        self.shown = self.wish.pick(self.material.opinions, self.corrections.keys())
        places = {opinion.id: index for index, opinion in enumerate(self.shown)}
        self.marked &= places.keys()
        self.grid.show(len(self.shown), self._tile, places.get(keep, self.grid.cursor))
        self.show()

    def choose(self, wish: Wish) -> None:
        """Show another wish from its first image on."""
        self.wish = wish
        pair = (wish.true, wish.said)
        if pair != (self.place.true, self.place.said):
            self.move_place(replace(self.place, true=wish.true, said=wish.said))
        self.rearrange()
        self.grid.move_to(0)
        self.keep()

    def move_place(self, place: InspectPlace) -> None:
        """This screen shows another place now."""
        self.place = place
        self.bench.replaced(place)

    def show(self) -> None:
        """Draw all that depends on the cursor, the wish and the review."""
        if self.material is None:
            return
        problem = self.material.problem or self.files_problem
        if problem != self._problem:
            self._problem = problem
            self.set_class(bool(problem), "-problem")
            self.query_one("#problem", Static).update(plain_lines(problem))
        self._show_what(self.material)
        self._show_lines(self.material)
        self.show_current()
        self.refresh_keys()

    def show_current(self) -> None:
        """The image under the cursor, in words; a subclass shows it large as well."""
        colours = palette_of(self.app.theme)
        current = self.current
        if current is not None:
            line = one_line(current, self.corrections.get(current.id), colours)
        else:
            nothing = self.material is not None and self.material.opinions.rows
            line = plain(_NOTHING_FITS if nothing else "", colours.warning)
        self.query_one("#line", Static).update(line, layout=False)

    def _tile(self, index: int) -> Tile:
        opinion = self.shown[index]
        words = caption(
            opinion, self.corrections.get(opinion.id), self.wish.order, palette_of(self.app.theme)
        )
        return Tile(self.files.get(opinion.id), words, opinion.id, opinion.id in self.marked)

    def _show_what(self, material: Material) -> None:
        colours = palette_of(self.app.theme)
        sight, cursor = self.grid.in_sight, self.grid.cursor
        position = ""
        if self.shown:
            seen = f"{cursor + 1:,}" if self.large else f"{sight.start + 1:,}–{sight.stop:,}"
            position = f"{seen} of {len(self.shown):,}"
        words = headings.what(material, self.wish, colours)
        self.query_one("#what", ActionLine).show(words, Text(position, style=colours.muted))

    def _show_lines(self, material: Material) -> None:
        """Filters and review."""
        colours = palette_of(self.app.theme)
        off = Text(f"{ACTIONS['inspect.clear'].shown_key} all", style=colours.accent)
        filters = headings.filters(material, self.wish, colours)
        self.query_one("#filters", ActionLine).show(filters, off if self.wish.is_filtered else None)
        marked = Text(f"◆ {len(self.marked)} marked", style=colours.warning) if self.marked else None
        review = headings.review(material, self.bench.runs_home, colours)
        self.query_one("#review", ActionLine).show(review, marked)

    # What its widgets say

    @on(TileGrid.Moved, "#grid")
    def _moved(self, message: TileGrid.Moved) -> None:
        message.stop()
        self.show()
        self.keep()

    @on(TileGrid.Paged, "#grid")
    def _paged(self, message: TileGrid.Paged) -> None:
        message.stop()
        if self.material is not None:
            self._show_what(self.material)

    @on(ActionLine.Chosen)
    def _chosen(self, message: ActionLine.Chosen) -> None:
        message.stop()
        self.perform(ACTIONS[message.action])

    def on_resize(self) -> None:
        """There may be room for the image beside the grid now, or none any more."""
        self.call_after_refresh(self.show)

    def set_large(self, large: bool) -> None:
        """Show one image in place of the grid, or the grid."""
        self.large = large
        self.set_class(large, "-large")
        (self.query_one(OnePanel) if large else self.grid).focus()
        self.show()
        self.keep()
