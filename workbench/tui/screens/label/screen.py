"""The Label screen: images of a folder, a group at a time, and the keys that say what they show."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, assert_never, final

from textual import events, on, work
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker

from workbench.labels.journal import CANNOT_TELL, NAME, UNUSABLE
from workbench.labels.protocol import Changed, Doubted, Failed, Learned, Offered, Progress, SecondLook
from workbench.labels.strokes import (
    CLASS_KEYS,
    Accept,
    Assign,
    CannotTell,
    Merge,
    Rename,
    Split,
    Stroke,
    Undo,
    Unusable,
    class_named,
    person,
)
from workbench.support.errors import UserError
from workbench.support.paths import short_path
from workbench.tui.actions import ACTIONS
from workbench.tui.helper import run_petbench
from workbench.tui.places import LabelPlace
from workbench.tui.screens.label import captions
from workbench.tui.screens.label import stroke_questions as questions
from workbench.tui.screens.label.class_panel import ClassPanel
from workbench.tui.screens.label.engine_link import Command, Ended, EngineLink, News, Started, engine_command
from workbench.tui.screens.label.journal_file import JournalFile, images_below
from workbench.tui.screens.label.label_sheet import (
    ANYWHERE,
    GLANCE,
    ORDERS,
    Desk,
    Kind,
    Sheet,
    SheetImage,
    Tally,
    class_sheet,
    last_strokes,
    nothing_said,
    second_look,
    taken_back,
    taken_sheet,
)
from workbench.tui.screens.label.offer_flow import OfferFlow
from workbench.tui.screens.label.recipe_launch import Launcher, Runner
from workbench.tui.screens.label.sheet_panel import LEVELS, SheetPanel
from workbench.tui.screens.label.side_panel import SidePanel, SideView
from workbench.tui.screens.place import PlaceScreen, bindings_of
from workbench.tui.text import plain_lines
from workbench.tui.themes import palette_of
from workbench.tui.widgets.action_line import ActionLine, Word
from workbench.tui.widgets.tiles import TileGrid

_LOOK_SECONDS = 1.0
"""Between two looks at the file, for what others write there."""


@final
class LabelScreen(PlaceScreen[LabelPlace]):
    """Look, tick off what does not fit, press a class's key."""

    SCOPE = "label"
    CSS_PATH = "label.tcss"
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("label")]

    ask_helper: Runner = staticmethod(run_petbench)
    """Runs a petbench command."""
    engine: Command = staticmethod(engine_command)
    """Starts the chooser, which chooses what comes next; tests put another in its place."""

    @dataclass
    class Heard(Message):
        """The chooser said something."""

        news: News

    def __init__(self, place: LabelPlace) -> None:
        super().__init__(place)
        self.folder: Path | None = None
        self.chooser = EngineLink(lambda news: self.post_message(self.Heard(news)), self.engine)
        self.flow = self._flow(Desk(nothing_said(Path())))
        self.level = 0
        """How often `z` made pictures larger."""
        self._by = place.by or person()
        self._chooser_worker: Worker[None] | None = None
        """What runs the chooser; None before it was first wanted."""
        self._problem = ""
        """What is wrong with the folder or its journal."""
        self._looks_again, self._launcher = False, Launcher(self.ask_helper)
        self._last_folder = ""
        self.journal: JournalFile | None = None
        """The truth."""

    # Layout

    def title_text(self) -> str:
        """`label mushrooms`."""
        return "label" if self.folder is None else f"label {short_path(self.folder)}"

    def body(self) -> Iterable[Widget]:
        """What there is, the pictures beside the classes, why they are here, when to stop."""
        yield ActionLine(id="head")
        yield Static(id="problem", markup=False)
        with Horizontal(id="main"):
            yield SheetPanel()
            yield SidePanel(id="side")
        yield ActionLine(id="why")
        yield ActionLine(id="stop")

    def _flow(self, desk: Desk) -> OfferFlow:
        return OfferFlow(
            desk,
            self.chooser,
            lay=self._lay,
            at_once=lambda: self.query_one(SheetPanel).at_once,
            later=self.set_timer,
        )

    @property
    def desk(self) -> Desk:
        """What lies before the labeller, and what is known of it."""
        return self.flow.desk

    @property
    def grid(self) -> TileGrid:
        """The pictures."""
        return self.query_one(SheetPanel).grid

    @property
    def sheet(self) -> Sheet | None:
        """What lies before the labeller."""
        return self.desk.sheet

    @property
    def current(self) -> SheetImage | None:
        """The image under the cursor."""
        sheet = self.sheet
        if sheet is None or self.grid.cursor >= len(sheet.images):
            return None
        return sheet.images[self.grid.cursor]

    # What the app asks

    def why_not(self, action: str) -> str | None:
        """Most actions are about the images on the screen."""
        name = ACTIONS[action].name
        if self.folder is None and name not in ANYWHERE:
            return "no folder is open: ^o asks for one"
        busy = self._launcher.refusal(name)
        return busy or self.desk.refusal(name, self.grid.cursor, has_engine=self.chooser.is_there)

    def twin(self) -> list[str]:
        """Labelling by commands."""
        return captions.twins(self.folder, self.current)

    def focus_help(self) -> str:
        """The keys of classes are no actions: they are told here."""
        return captions.keys_of_classes(self.desk.tally)

    def kept(self) -> Mapping[str, Any]:
        """The folder, the order, how large pictures are."""
        folder = self._last_folder if self.folder is None else str(self.folder)
        return {"folder": folder, "order": self.desk.order, "level": self.level}

    def restore(self, values: Mapping[str, Any]) -> None:
        """The order and size of before; the place says which folder."""
        order, level, folder = (values.get(name) for name in ("order", "level", "folder"))
        self.desk.order = next((known for known in ORDERS if known == order), "auto")
        if isinstance(level, int) and 0 <= level < LEVELS:
            self.level = level
        self._last_folder = folder if isinstance(folder, str) else ""
        if self.place.folder:
            self._open(Path(self.place.folder))
        else:
            self._show()
            self.call_after_refresh(self.action_act, "label.folder")
        self.set_interval(_LOOK_SECONDS, self._look)

    def on_screen_resume(self) -> None:
        """The chooser runs from when somebody looks."""
        if self.folder is not None and self._chooser_worker is None:
            self._chooser_worker = self._run_engine(self.folder, self.place.engine)

    async def on_unmount(self) -> None:
        """The chooser ends with the screen."""
        await self.chooser.end()

    # A folder

    async def do_folder(self) -> None:
        """Ask for one."""
        before = self.kept()["folder"]
        answer = await self.app.push_screen_wait(questions.AskFolder("Label the images of", before))
        if answer is None:
            return
        self.place = LabelPlace(answer, self.place.by, self.place.engine)
        self.bench.replaced(self.place)
        self._open(Path(answer))

    def _open(self, folder: Path) -> None:
        self.folder = folder
        self.flow = self._flow(Desk(nothing_said(folder / NAME), order=self.desk.order))
        self.journal = JournalFile(folder / NAME, self._by)
        self._problem = ""
        self.chooser.forget()
        self.retitle()
        self._list_images(folder)
        self._look()
        if self.is_current:
            self._chooser_worker = self._run_engine(folder, self.place.engine)
        self.flow.advance()
        self.keep()

    @work(exclusive=True, group="listing")
    async def _list_images(self, folder: Path) -> None:
        paths, problem = await asyncio.to_thread(images_below, folder)
        if folder == self.folder:
            self.desk.listing, self.desk.is_listed = paths, True
            self._problem = problem or self._problem
            self.flow.draw_for_who_waits()
            self._show()

    def _look(self) -> None:
        if self.journal is not None and not self.journal.is_busy:
            self._read_journal(self.journal)

    @work(exclusive=True, group="journal")
    async def _read_journal(self, journal: JournalFile) -> None:
        look = await asyncio.to_thread(journal.look)
        if look is None or journal is not self.journal:
            return
        tally, self._problem = look
        self.desk.is_counted = True
        if tally is not None and len(tally.journal.rows) >= len(self.desk.tally.journal.rows):
            self._recount(tally)
        self.flow.draw_for_who_waits()
        self._show()

    def _recount(self, tally: Tally) -> None:
        grew = tally.journal.rows[-1:] != self.desk.tally.journal.rows[-1:]
        self.desk.recount(tally)
        if grew:
            self.chooser.send(Changed())
        if tally.journal.remarks:
            self._problem = "\n".join(tally.journal.remarks)
        self._show()

    # The chooser

    @work(exclusive=True, group="engine", exit_on_error=False)
    async def _run_engine(self, folder: Path, options: Sequence[str]) -> None:
        await self.chooser.run(folder, options)

    @on(Heard)
    def _heard(self, message: Heard) -> None:
        message.stop()
        news = message.news
        match news:
            case Started():
                self.flow.request()
            case Learned():
                self.desk.learn(news)
            case Progress() | Failed():
                pass
            case Offered():
                self.flow.take(news, self.grid.cursor)
                return
            case Doubted():
                self._doubted(news)
                return
            case Ended():
                self._ended(news)
            case _:
                assert_never(news)
        self._show_lines()

    def _ended(self, ended: Ended) -> None:
        self.desk.asked = None
        if ended.log is not None:
            self.notify(f"What it said is in {short_path(ended.log)}", severity="warning")
        self.flow.draw_for_who_waits()

    def do_engine(self) -> None:
        """Start it anew, with the images that are there by now; one that runs is ended."""
        assert self.folder is not None
        self.desk.asked = None
        self.chooser.forget()
        self._chooser_worker = self._run_engine(self.folder, self.place.engine)
        self._list_images(self.folder)

    # Showing

    def _lay(self, cursor: int = 0) -> None:
        """Have other images on the screen, if it is still there."""
        if self.is_attached:
            self.query_one(SheetPanel).show(self.desk, self.folder, self.level, cursor)
            self._show()
            if self.focused is None and self.sheet is not None:
                self.grid.focus()

    def _show(self) -> None:
        """Draw what depends on the sheet, the journal and the engine."""
        if not self.is_attached:
            return
        sheet = self.sheet
        self.set_class(sheet is None, "-bare")
        self.set_class(sheet is None or len(sheet.images) == 1, "-single")
        self.set_class(bool(self._problem), "-problem")
        self.query_one("#problem", Static).update(plain_lines(self._problem))
        self.grid.again()
        self._show_lines()
        self._show_current()
        self.refresh_keys()

    def _show_lines(self) -> None:
        desk, colours = self.desk, palette_of(self.app.theme)
        ticked = captions.sheet_words(self.sheet, self.grid.in_sight, colours)
        self.query_one("#head", ActionLine).show(captions.head_line(desk, colours), ticked)
        last = None if self.has_class("-wide") else next(last_strokes(desk.tally.journal, 1), None)
        why = captions.why_line(self.sheet, desk, colours)
        told = captions.last_words(last, self.size.width - 4 - why.cell_len, colours)
        self.query_one("#why", ActionLine).show([Word(why)], told)
        chooser, room = self.chooser, self.size.width - 2
        stop = captions.stop_line(desk.learned, chooser.progress, chooser.trouble, colours, room)
        self.query_one("#stop", ActionLine).show([Word(stop)])

    def _show_current(self) -> None:
        self.query_one(SidePanel).show(
            SideView(self.desk, self.folder, self.current, self._meant(), is_wide=self.has_class("-wide"))
        )

    def on_resize(self) -> None:
        """There may be room for the large picture now, or none any more."""
        self.call_after_refresh(self._show)

    @on(TileGrid.Moved, "#grid")
    @on(TileGrid.Paged, "#grid")
    def _moved(self, message: TileGrid.Moved | TileGrid.Paged) -> None:
        message.stop()
        self._show_lines()
        self._show_current()
        self.refresh_keys()

    # Ticks

    @on(TileGrid.Clicked, "#grid")
    def _clicked(self, message: TileGrid.Clicked) -> None:
        message.stop()
        self.do_tick()

    def do_tick(self) -> None:
        """In or out."""
        current = self.current
        if self.sheet is not None and current is not None:
            self.desk.sheet = self.sheet.tick(current.path)
            self._show()

    def do_all(self) -> None:
        """All or none."""
        if self.sheet is not None:
            self.desk.sheet = self.sheet.tick_all()
            self._show()

    def _meant(self) -> tuple[SheetImage, ...]:
        """What the next stroke is about."""
        return () if self.sheet is None else self.sheet.meant(self.grid.cursor)

    # Strokes

    def on_key(self, event: events.Key) -> None:
        """The keys of classes."""
        key = event.character
        if key is None or key not in CLASS_KEYS or self.folder is None:
            return
        event.stop()
        event.prevent_default()
        name = self.desk.tally.by_key.get(key)
        if name is None:
            self.notify(f"no class has the key {key} yet: n names a new one", severity="warning")
        else:
            self._assign(name)

    @on(ClassPanel.Chosen)
    def _class_chosen(self, message: ClassPanel.Chosen) -> None:
        message.stop()
        if message.name in (CANNOT_TELL, UNUSABLE):
            self.action_act("label.cannot_tell" if message.name == CANNOT_TELL else "label.unusable")
        else:
            self._assign(message.name)

    def _assign(self, name: str) -> None:
        """All that is meant is of this class."""
        paths = [image.path for image in self._meant()]
        if paths:
            self._make(Assign(paths, name), paths)
        else:
            self.notify("no image is shown", severity="warning")

    def do_accept(self) -> None:
        """As guessed."""
        guesses = [(one.path, one.guess, one.probability or 0.0) for one in self._meant() if one.guess]
        self._make(Accept(guesses), [path for path, _, _ in guesses])

    def do_cannot_tell(self) -> None:
        """Kept apart."""
        paths = [image.path for image in self._meant()]
        self._make(CannotTell(paths), paths)

    def do_unusable(self) -> None:
        """Left out."""
        paths = [image.path for image in self._meant()]
        self._make(Unusable(paths), paths)

    async def do_name(self) -> None:
        """Ask for a name."""
        meant = [image.path for image in self._meant()]
        await self._ask_class(meant, f"What {captions.these(len(meant))}")

    async def do_find(self) -> None:
        """Ask for the beginning of one."""
        meant = [image.path for image in self._meant()]
        await self._ask_class(meant, f"What {captions.these(len(meant))}", completes=True)

    async def do_split(self) -> None:
        """Ask what they are called."""
        paths = self.desk.split_off()
        told = captions.counted(len(paths), "image", "images")
        await self._ask_class(paths, f"A class for {told}", splits=True)

    async def _ask_class(
        self, paths: Sequence[str], question: str, *, completes: bool = False, splits: bool = False
    ) -> None:
        sheet, tally = self.sheet, self.desk.tally
        name = await self.app.push_screen_wait(questions.AskClass(question, tally, completes=completes))
        if name is None or sheet is None or self.sheet != sheet:
            return
        is_class = splits and sheet.kind is Kind.CLASS and sheet.class_name in tally.classes
        stroke: Stroke = Split(sheet.class_name, paths, name) if is_class else Assign(paths, name)
        self._make(stroke, paths, stays=splits)

    def do_skip(self) -> None:
        """Others first."""
        sheet = self.sheet
        assert sheet is not None
        if sheet.kind.is_list:
            self.flow.leave_out(sheet, [image.path for image in self._meant()], self.grid.cursor)
            return
        self.desk.skip(image.path for image in sheet.images)
        self.flow.go_on()

    def _make(self, stroke: Stroke, paths: Sequence[str], *, stays: bool = False) -> None:
        """Go on at once; the file follows, so that keys may come faster than a disk.

        Args:
            stays: whether the rest of the sheet stays before the labeller.
        """
        sheet, desk, journal = self.sheet, self.desk, self.journal
        assert sheet is not None
        assert journal is not None
        desk.pending |= frozenset(paths)
        if stays or sheet.kind.is_list:
            self.flow.leave_out(sheet, paths, self.grid.cursor)
        else:
            self.flow.go_on()
        self._write(journal, stroke, frozenset(paths), sheet)

    @work(group="strokes")
    async def _write(self, journal: JournalFile, stroke: Stroke, paths: frozenset[str], sheet: Sheet) -> None:
        try:
            tally = await journal.write(stroke)
        except UserError as error:
            self.desk.pending -= paths
            self.bench.show_user_error(error)
            self.flow.lay_out(sheet)
            return
        self.desk.pending -= paths
        if journal is self.journal:
            self._recount(tally)

    async def do_undo(self) -> None:
        """The last stroke, and have its images before one again."""
        assert self.journal is not None
        tally = await self.journal.write(Undo())
        taken = taken_back(self.desk.tally.journal, tally.journal)
        self._recount(tally)
        if not taken:
            self.notify("all your strokes are taken back already", severity="warning")
            return
        name = next(iter(taken.values()))
        self.notify(f"taken back: {captions.stroke_words(name, len(taken))}")
        again = taken_sheet(self.desk, taken, f"was {captions.class_words(name)}")
        if again is not None:
            self.flow.lay_out(again)

    # Classes

    async def do_rename(self) -> None:
        """Ask which, and how."""
        stroke = await questions.ask_rename(self.bench, self.desk.tally, self._class_here())
        if stroke is not None:
            await self._change_class(stroke, stroke.new)

    async def do_merge(self) -> None:
        """Ask which, and into which."""
        stroke = await questions.ask_merge(self.bench, self.desk.tally, self._class_here())
        if stroke is not None:
            await self._change_class(stroke, stroke.into)

    def _class_here(self) -> str:
        """The class under the cursor of the list, or that is shown."""
        if self.sheet is not None and self.sheet.kind is Kind.CLASS:
            return self.sheet.class_name
        return self.query_one(ClassPanel).cursor

    async def _change_class(self, stroke: Rename | Merge, now: str) -> None:
        assert self.journal is not None
        tally = await self.journal.write(stroke)
        self._recount(tally)
        if self.sheet is not None and self.sheet.kind is Kind.CLASS and self.sheet.class_name == stroke.old:
            self._show_class(class_named(tally.journal, now))

    @on(ClassPanel.Opened)
    def _class_opened(self, message: ClassPanel.Opened) -> None:
        message.stop()
        self._show_class(message.name)

    def _show_class(self, name: str) -> None:
        sheet = class_sheet(self.desk.tally, name, captions.class_words(name))
        if not sheet.images:
            self.notify(f"no image is {captions.class_words(name)}", severity="warning")
            return
        self.flow.lay_out(sheet)
        self.grid.focus()

    # What comes next

    def do_order(self) -> None:
        """The next of them."""
        self.desk.next_order()
        self.keep()
        self.flow.advance()

    def do_larger(self) -> None:
        """The next size; from the largest back to all at once."""
        self.level = (self.level + 1) % LEVELS
        self.keep()
        self._lay(self.grid.cursor)

    def do_second_look(self) -> None:
        """There, and back."""
        if self.sheet is not None and self.sheet.kind is Kind.SECOND_LOOK:
            self.flow.go_on()
            return
        self._looks_again = True
        self.chooser.send(SecondLook(GLANCE))

    def _doubted(self, doubted: Doubted) -> None:
        if not self._looks_again:
            return
        self._looks_again = False
        if not doubted.images:
            self.notify("the model believes every label, or has too few to doubt any")
            return
        self.flow.lay_out(second_look(doubted))
        self.grid.focus()

    def do_close(self) -> None:
        """From a list to the offer, from there to the screen before."""
        if self.sheet is not None and (self.sheet.kind.is_list or self.desk.aside is not None):
            self.flow.go_on()
        else:
            self.bench.do_back()

    def do_help(self) -> None:
        """What the keys do."""
        self.bench.do_help()

    # Training

    async def do_launch(self) -> None:
        """Write the recipe, show it, launch it."""
        assert self.folder is not None
        await self._launcher.launch(self.bench, self.folder, self.desk)
