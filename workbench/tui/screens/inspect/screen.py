"""The Inspect screen: the images a run was least sure of, one of them large, and verdicts on them."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, final

from rich.text import Text
from textual import on, work
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static

from workbench.dataset.review import Correction, Verdict
from workbench.recipe.data import Data
from workbench.runs.doubt import Doubt, confused_pairs
from workbench.runs.layout import RunDirectory
from workbench.runs.opinion_columns import Opinion
from workbench.runs.sources import IssueSource, asks_teacher, sources_of
from workbench.runs.watching import RunsView
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.actions import ACTIONS
from workbench.tui.helper import run_petbench
from workbench.tui.pictures.tile_drawing import Tile
from workbench.tui.pictures.tiling import LARGEST
from workbench.tui.places import ComposePlace, InspectPlace, WatchPlace
from workbench.tui.screens.inspect import captions, questions
from workbench.tui.screens.inspect.explanations import Explanations, HelperFailed, Runner
from workbench.tui.screens.inspect.image_panel import ImagePanel, ImageView
from workbench.tui.screens.inspect.material import (
    ImageFiles,
    Material,
    find_files,
    read_material,
    read_review,
)
from workbench.tui.screens.inspect.review_queue import Query, ReviewQueue, pack_query, unpack_query
from workbench.tui.screens.inspect.slice_list import AskSlice, SliceFinder
from workbench.tui.screens.place import PlaceScreen, bindings_of
from workbench.tui.text import plain, plain_lines
from workbench.tui.themes import palette_of
from workbench.tui.widgets.action_line import ActionLine
from workbench.tui.widgets.tiles import TileGrid

_AHEAD = 8
"""Images whose neighbours one process finds: those after the first are there when the user gets to them."""


@final
class InspectScreen(PlaceScreen[InspectPlace]):
    """Least sure first: look, choose, correct, train again."""

    SCOPE = "inspect"
    CSS_PATH = "inspect.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("inspect")]

    ask_helper: Runner = staticmethod(run_petbench)
    """Runs a helper process; tests put another in its place."""

    @dataclass
    class Loaded(Message):
        """The run's files were read."""

        material: Material

    @dataclass
    class FilesFound(Message):
        """The data set was looked through for the images' files."""

        files: ImageFiles

    def __init__(self, place: InspectPlace) -> None:
        super().__init__(place)
        self.queue = ReviewQueue()
        self.files = ImageFiles({})
        self.large = False
        self._wanted_image = ""
        self._problem = ""
        self._searched: Data | None = None
        self._is_judging = False
        self._review_turn = asyncio.Lock()

    # Layout

    def title_text(self) -> str:
        """`inspect lite_pseudo_iter-9237`."""
        run = RunDirectory(Path(self.place.run))
        return f"inspect {run.id}" if run.slug == run.id else f"inspect {run.slug}-{run.handle}"

    def body(self) -> Iterable[Widget]:
        """What is shown, the pictures, the image under the cursor, filters, review."""
        run = RunDirectory(self.bench.runs_home / self.place.run)
        self._explanations = Explanations(run, self.bench.data_home, self.ask_helper)
        self._slices = SliceFinder(run, self.bench.data_home, self.ask_helper)
        yield ActionLine(id="what")
        yield Static(id="problem", markup=False)
        yield Static(plain_lines(captions.EMPTY), id="empty", markup=False)
        with Horizontal(id="main"):
            yield TileGrid(id="grid", classes="first-focus")
            yield ImagePanel(self._explanations, id="one")
        yield Static(id="line", markup=False)
        yield ActionLine(id="filters")
        yield ActionLine(id="review")

    @property
    def grid(self) -> TileGrid:
        """The thumbnails."""
        return self.query_one("#grid", TileGrid)

    @property
    def image(self) -> ImagePanel:
        """One image large."""
        return self.query_one(ImagePanel)

    @property
    def current(self) -> Opinion | None:
        """The image under the cursor."""
        return self.queue.at(self.grid.cursor)

    # What the app asks

    def why_not(self, action: str) -> str | None:
        """Only images that train can be corrected; a picture is needed for what is drawn over it."""
        reason = self.queue.refusal(ACTIONS[action].name, self.current)
        if reason is None and action == "inspect.saliency" and self.files.problem:
            return "the images are not on this machine"
        if reason is None and action == "inspect.zoom" and self.large:
            return "one image has all the room; enter goes back to the grid"
        return reason

    def twin(self) -> list[str]:
        """The list, the image's verdict, what the helpers show."""
        material = self.queue.material
        if material is None or material.source is None:
            return [f"petbench inspect {shlex.quote(self.place.run)}"]
        return self.queue.commands(self.current)

    def focus_help(self) -> str:
        """What the signs below a thumbnail mean."""
        return captions.SIGNS

    def kept(self) -> Mapping[str, Any]:
        """The query, where one is, and whether it is large."""
        material = self.queue.material
        return {
            **pack_query(self.queue.query),
            "run": self.place.run,
            "source": "" if material is None or material.source is None else material.source.key,
            "image": "" if self.current is None else self.current.id,
            "large": self.large,
            "zoom": self.grid.zoom,
        }

    def restore(self, values: Mapping[str, Any]) -> None:
        """Order always; filters, source and image where they were this run's. The place counts more."""
        kept = unpack_query(values)
        same_run = values.get("run") == self.place.run
        query = kept if same_run else kept.without_filters()
        cell = (self.place.true, self.place.said)
        if all(cell) and (query.true, query.said) != cell:
            query = Query(order=kept.order, true=self.place.true, said=self.place.said)
        self.queue.query = query
        source = self.place.source
        if same_run and isinstance(values.get("image"), str):
            self._wanted_image = values["image"]
        if same_run and not source and isinstance(values.get("source"), str):
            source = values["source"]
        if isinstance(zoom := values.get("zoom"), int):
            self.grid.zoom = zoom
        if same_run and values.get("large") is True:
            self.call_after_refresh(self._set_large, True)
        self._load(source, self.bench.runs_home)

    def runs_changed(self, view: RunsView) -> None:
        """A run that goes on may have a new round: look again, without moving."""
        summary = view.by_id.get(self.place.run)
        material = self.queue.material
        if summary is None or material is None:
            return
        if summary.status.is_active or not material.sources:
            self._look_for_sources(material, self.bench.runs_home)

    # Reading

    @work(thread=True, exclusive=True, group="material")
    def _load(self, source: str, runs_home: Path) -> None:
        run = RunDirectory(runs_home / self.place.run)
        material = read_material(run, source, runs_home)
        self.post_message(self.Loaded(self._slices.over(material, self.queue.query.slice)))

    @work(thread=True, exclusive=True, group="sources")
    def _look_for_sources(self, material: Material, runs_home: Path) -> None:
        # Every second of a live run: only the names of files, and the rest when there is a new one.
        if tuple(sources_of(material.run)) != material.sources:
            source = "" if material.source is None else material.source.key
            again = read_material(material.run, source, runs_home)
            self.post_message(self.Loaded(self._slices.over(again, self.queue.query.slice)))

    @on(Loaded)
    def _loaded(self, message: Loaded) -> None:
        message.stop()
        material = message.material
        keep = self._wanted_image or ("" if self.current is None else self.current.id)
        self._wanted_image = ""
        self.queue.take(material)
        self.set_class(not material.sources, "-empty")
        self._rearrange(keep)
        if material.recipe is not None and self._searched != material.recipe.data:
            self._searched = material.recipe.data
            self._find_files(material.recipe.data, self.bench.data_home)

    @work(thread=True, exclusive=True, group="files")
    def _find_files(self, data: Data, data_home: Path) -> None:
        self.post_message(self.FilesFound(find_files(data, data_home)))

    @on(FilesFound)
    def _files_found(self, message: FilesFound) -> None:
        message.stop()
        self.files = message.files
        self._explanations.of_data(message.files.look)
        self.grid.again()
        self._show()

    # Showing

    def _rearrange(self, keep: str = "") -> None:
        """Choose and order the images anew and put the cursor on `keep`, else where it was."""
        cursor = self.queue.arrange(keep, self.grid.cursor)
        self.grid.show(len(self.queue.shown), self._tile, cursor)
        self._show()

    def _choose(self, **changes: Any) -> None:
        """Show another query from its first image on."""
        self._ask(replace(self.queue.query, **changes))

    def _ask(self, query: Query) -> None:
        self.queue.query = query
        if (query.true, query.said) != (self.place.true, self.place.said):
            self._move_place(replace(self.place, true=query.true, said=query.said))
        self._rearrange()
        self.grid.move_to(0)
        self.keep()

    def _move_place(self, place: InspectPlace) -> None:
        """This screen shows another place now."""
        self.place = place
        self.bench.replaced(place)

    def _show(self) -> None:
        """Draw all that depends on the cursor, the query and the review."""
        material, query = self.queue.material, self.queue.query
        if material is None:
            return
        problem = material.problem or self.files.problem
        if problem != self._problem:
            self._problem = problem
            self.set_class(bool(problem), "-problem")
            self.query_one("#problem", Static).update(plain_lines(problem))
        self._show_position()
        colours = palette_of(self.app.theme)
        off = Text(f"{ACTIONS['inspect.clear'].shown_key} all", style=colours.accent)
        filters = captions.filter_line(material, query, colours)
        self.query_one("#filters", ActionLine).show(filters, off if query.is_filtered else None)
        number = len(self.queue.marked)
        marked = Text(f"◆ {number} marked", style=colours.warning) if number else None
        review = captions.review_line(material, self.bench.runs_home, colours)
        self.query_one("#review", ActionLine).show(review, marked)
        self._show_current()
        self.refresh_keys()

    def _show_position(self) -> None:
        """Source and order, and where in the list one is."""
        colours, count = palette_of(self.app.theme), len(self.queue.shown)
        sight, cursor = self.grid.in_sight, self.grid.cursor
        seen = f"{cursor + 1:,}" if self.large else f"{sight.start + 1:,}–{sight.stop:,}"
        position = Text(f"{seen} of {count:,}" if count else "", style=colours.muted)
        words = captions.source_line(self.queue.loaded, self.queue.query, colours)
        self.query_one("#what", ActionLine).show(words, position)

    def _show_current(self) -> None:
        """The image under the cursor: in words, and in the panel where that is in sight."""
        colours, current, queue = palette_of(self.app.theme), self.current, self.queue
        if current is not None:
            line = captions.one_line(current, queue.corrections.get(current.id), colours)
        else:
            is_filtered_out = queue.material is not None and len(queue.material.opinions.rows)
            line = plain(captions.NOTHING_FITS if is_filtered_out else "", colours.warning)
        self.query_one("#line", Static).update(line, layout=False)
        if self.large or self.has_class("-wide"):
            self.image.show(None if current is None else self._view(current))

    def _view(self, current: Opinion) -> ImageView:
        material = self.queue.loaded
        return ImageView(
            opinion=current,
            correction=self.queue.corrections.get(current.id),
            likely=material.opinions.choices.top(current.id) if material.opinions.choices is not None else (),
            files=self.files,
            ahead=tuple(self.queue.ids(self.grid.cursor, _AHEAD)),
            by_teacher=material.source is not None and asks_teacher(material.source),
            is_large=self.large,
            has_room=self._has_room,
        )

    @property
    def _has_room(self) -> bool:
        """For neighbours without being asked; beside the grid, going through images starts no process."""
        return self.large and self.has_class("-wide")

    def _tile(self, index: int) -> Tile:
        opinion, queue = self.queue.shown[index], self.queue
        colours = palette_of(self.app.theme)
        words = captions.caption(opinion, queue.corrections.get(opinion.id), queue.query.order, colours)
        return Tile(self.files.paths.get(opinion.id), words, opinion.id, opinion.id in queue.marked)

    # What its panels say

    @on(TileGrid.Moved, "#grid")
    def _moved(self, message: TileGrid.Moved) -> None:
        message.stop()
        self._show()
        self.keep()

    @on(TileGrid.Paged, "#grid")
    def _paged(self, message: TileGrid.Paged) -> None:
        message.stop()
        if self.queue.material is not None:
            self._show_position()

    @on(TileGrid.Opened, "#grid")
    def _opened(self, message: TileGrid.Opened) -> None:
        message.stop()
        self.do_large()

    @on(ImagePanel.Step)
    def _stepped(self, message: ImagePanel.Step) -> None:
        message.stop()
        self.grid.move_to(self.grid.cursor + message.by)

    def on_resize(self) -> None:
        """There may be room for the image beside the grid now, or none any more."""
        self.call_after_refresh(self._show)

    # One image large

    def do_large(self) -> None:
        """One image, or the grid again."""
        self._set_large(not self.large)

    def do_zoom(self) -> None:
        """Larger tiles, after the largest as many as can be judged."""
        self.grid.zoom = (self.grid.zoom + 1) % (LARGEST + 1)
        self._show()
        self.keep()

    def do_close(self) -> None:
        """To the grid; from the grid to the screen before."""
        if self.large:
            self._set_large(False)
        else:
            self.bench.do_back()

    def do_watch(self) -> None:
        """The run's curves."""
        self.bench.go(WatchPlace(run=self.place.run))

    def _set_large(self, large: bool) -> None:
        self.large = large
        self.set_class(large, "-large")
        (self.image if large else self.grid).focus()
        self._show()
        self.keep()

    # What explains it

    def do_saliency(self) -> None:
        """On or off; on a failure it is tried again."""
        if self.image.turn_saliency() and not self.large:
            self._set_large(True)
        self._show_current()

    def do_neighbours(self) -> None:
        """On or off."""
        if self.image.turn_nearest(self._has_room) and not self.large and not self.has_class("-wide"):
            self._set_large(True)
        self._show_current()

    # Source

    async def do_source(self) -> None:
        """Ask for one."""
        key = await self.app.push_screen_wait(questions.ask_source(self.queue.loaded))
        if key is None:
            return
        if key != IssueSource().key or IssueSource() in self.queue.loaded.sources:
            self._go_to_source(key)
        elif not self._is_judging:
            self._is_judging = True
            self.notify("Judging the labels: a process of its own, a minute or more. They are shown then.")
            self._judge_labels()

    @work(group="issues", exit_on_error=False)
    async def _judge_labels(self) -> None:
        try:
            await self._explanations.judge_labels()
        except HelperFailed as error:
            self.notify(str(error), title="No label issues", severity="error", markup=False)
            return
        finally:
            self._is_judging = False
        self._go_to_source(IssueSource().key)

    def do_earlier(self) -> None:
        """The source before."""
        self._go_beside(-1)

    def do_later(self) -> None:
        """The source after."""
        self._go_beside(1)

    def _go_beside(self, by: int) -> None:
        source = self.queue.loaded.beside(by)
        if source is not None:
            self._go_to_source(source.key)

    def _go_to_source(self, key: str) -> None:
        """Show another source; the same image stays under the cursor where it has it."""
        self._move_place(replace(self.place, source=key))
        self._load(key, self.bench.runs_home)

    # Order and filters

    async def do_order(self) -> None:
        """Ask for one."""
        value = await self.app.push_screen_wait(questions.ask_order(self.queue.loaded, self.queue.query))
        if value is not None:
            self._choose(order=Doubt(value))

    def do_turn(self) -> None:
        """The other way round."""
        self._choose(surest_first=not self.queue.query.surest_first)

    async def do_class(self) -> None:
        """Ask for one."""
        value = await self.app.push_screen_wait(questions.ask_class(self.queue.loaded, self.queue.query))
        if value is not None:
            self._choose(class_name=value)

    async def do_pair(self) -> None:
        """Ask for one, the most confused first."""
        pairs = confused_pairs(self.queue.loaded.opinions.rows)
        value = await self.app.push_screen_wait(questions.ask_pair(pairs))
        if value == questions.ANY:
            self._choose(true="", said="")
        elif value is not None:
            pair = pairs[int(value)]
            self._choose(true=pair.true, said=pair.predicted)

    async def do_slices(self) -> None:
        """List them; the one that is chosen takes the place of all filters."""
        material = self.queue.loaded
        source = material.slices_of
        assert source is not None
        asked = AskSlice(self._slices, source, self.queue.query.slice)
        key = await self.app.push_screen_wait(asked)
        if key == "":
            self._choose(slice="")
        elif key is not None:
            self.queue.query = replace(self.queue.query.without_filters(), slice=key)
            self._go_to_source(source.key)
            self.keep()

    def do_wrong(self) -> None:
        """On or off."""
        self._choose(wrong=not self.queue.query.wrong)

    def do_taught(self) -> None:
        """On or off."""
        self._choose(taught=not self.queue.query.taught)

    def do_flipped(self) -> None:
        """On or off."""
        self._choose(flipped=not self.queue.query.flipped)

    def do_reviewed(self) -> None:
        """The next of three."""
        self._choose(reviewed=self.queue.query.reviewed.next)

    def do_clear(self) -> None:
        """All off."""
        self._ask(self.queue.query.without_filters())

    # Marks and verdicts

    def do_mark(self) -> None:
        """Mark or unmark, and go on to the next."""
        assert self.current is not None
        self.queue.marked ^= {self.current.id}
        self.grid.again()
        self.grid.move_to(self.grid.cursor + 1)
        self._show()

    def do_unmark(self) -> None:
        """Forget them all."""
        self.queue.marked.clear()
        self.grid.again()
        self._show()

    def do_accept(self) -> None:
        """With what was said of each."""
        judged = self._judged()
        self._judge(Verdict.ACCEPT, judged, [opinion.said for opinion in judged])

    async def do_relabel(self) -> None:
        """Ask which class; the most probable ones of the image under the cursor come first."""
        judged = self._judged()
        label = await self.app.push_screen_wait(questions.ask_label(self.queue.loaded, judged))
        if label is not None:
            self._judge(Verdict.RELABEL, judged, [label] * len(judged))

    def do_exclude(self) -> None:
        """Leave out."""
        judged = self._judged()
        self._judge(Verdict.EXCLUDE, judged, [""] * len(judged))

    def do_undo(self) -> None:
        """Take the newest verdict back and go to its image."""
        self._take_back()

    def _judged(self) -> list[Opinion]:
        """The marked images where the grid shows them, else the one under the cursor."""
        return self.queue.judged(self.grid.cursor, alone=self.large)

    def _judge(self, verdict: Verdict, judged: Sequence[Opinion], labels: Sequence[str]) -> None:
        """Show the verdicts and go on at once; the file follows, so that keys may come faster than a disk."""
        following = self.queue.following(self.grid.cursor, judged)
        corrections = self.queue.judge(verdict, judged, labels)
        self._rearrange(following)
        self._write(corrections, {opinion.id: opinion.confidence for opinion in judged})
        if len(corrections) > 1:
            self.notify(f"{len(corrections)} images {captions.VERDICT_WORDS[verdict]}")

    @work(group="review")
    async def _write(self, corrections: Sequence[Correction], sure: Mapping[str, float]) -> None:
        async with self._review_turn:
            try:
                await asyncio.to_thread(self.queue.loaded.verdicts.write, corrections, sure)
            except UserError as error:
                self.bench.show_user_error(error)
            await self._read_review()
        self._rearrange("" if self.current is None else self.current.id)

    @work(group="review")
    async def _take_back(self) -> None:
        taken = None
        async with self._review_turn:
            try:
                taken = await asyncio.to_thread(self.queue.loaded.verdicts.take_back)
            except UserError as error:
                self.bench.show_user_error(error)
            await self._read_review()
        if taken is not None:
            self._rearrange(taken.id)
            self.notify(f"taken back: {captions.VERDICT_WORDS[taken.verdict]} {clean(taken.id, 40)}")

    async def _read_review(self) -> None:
        """What the file says counts, whoever else writes there."""
        self.queue.take_review(*await asyncio.to_thread(read_review, self.queue.loaded.verdicts))

    # Training anew

    async def do_relaunch(self) -> None:
        """Show the command; launch it, or take it to Compose."""
        relaunch = questions.relaunch_of(self.queue.loaded)
        answer = await self.app.push_screen_wait(questions.AskRelaunch(relaunch))
        if answer == questions.LAUNCH:
            await self._launch(relaunch)
        elif answer == questions.COMPOSE:
            draft = await asyncio.to_thread(questions.write_draft, relaunch.recipe)
            self.bench.go(ComposePlace(source=str(draft)))

    async def _launch(self, relaunch: questions.Relaunch) -> None:
        bench = self.bench
        launched = await asyncio.to_thread(questions.launch_again, relaunch, bench.runs_home, bench.data_home)
        self.notify(f"{launched.run.slug}-{launched.run.handle} {launched.words}")
        self.bench.go(WatchPlace(run=launched.run.id))
