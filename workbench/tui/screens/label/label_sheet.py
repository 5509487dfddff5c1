"""The images that lie before a labeller: which the next stroke is about, and which come after them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import get_args

from workbench.labels.journal import NO_CLASS, Journal, Row, journal_of
from workbench.labels.protocol import Doubted, Learned, Offer, Offered, Order
from workbench.labels.strokes import class_keys

ANYWHERE = frozenset({"help", "close", "folder", "larger"})
"""Actions that are about no image and no label."""
GLANCE = 24
"""Images that are seen together: of a group, for a second look, and of a stroke that was taken back."""
ORDERS: tuple[Order, ...] = get_args(Order)


class Kind(StrEnum):
    """Why images are on the sheet."""

    OFFER = "offer"
    """They have no label yet. A stroke on them leads to others."""
    TAKEN_BACK = "taken back"
    """A stroke on them was undone; else as an offer."""
    SECOND_LOOK = "second look"
    """They are labelled, and the model does not believe it. What a stroke is about leaves the sheet."""
    CLASS = "class"
    """They are what one class consists of. As a second look."""

    @property
    def is_list(self) -> bool:
        """Whether one picks images from it, so that none is ticked at first."""
        return self in (Kind.SECOND_LOOK, Kind.CLASS)


@dataclass(frozen=True, slots=True)
class SheetImage:
    """An image on the sheet."""

    path: str
    """Relative to the folder."""
    guess: str | None = None
    probability: float | None = None
    label: str = ""
    """What it is labelled, where the sheet is about that."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Images to look at together."""

    kind: Kind
    images: tuple[SheetImage, ...]
    why: str
    """A line on why they are here."""
    ticked: frozenset[str]
    """Paths of those that the next stroke is about."""
    class_name: str = ""
    """The class whose images they are."""

    def tick(self, path: str) -> Sheet:
        """With an image ticked, or no longer."""
        return replace(self, ticked=self.ticked ^ {path})

    def tick_all(self) -> Sheet:
        """With all ticked, or none where all are."""
        every = frozenset(image.path for image in self.images)
        return replace(self, ticked=frozenset() if self.ticked == every else every)

    def without(self, paths: Iterable[str]) -> Sheet:
        """Without some images."""
        gone = frozenset(paths)
        left = tuple(image for image in self.images if image.path not in gone)
        return replace(self, images=left, ticked=self.ticked - gone)

    def meant(self, cursor: int) -> tuple[SheetImage, ...]:
        """The images that a stroke is about: those ticked, else the one under the cursor."""
        chosen = tuple(image for image in self.images if image.path in self.ticked)
        return chosen or self.images[cursor : cursor + 1]

    def unticked(self) -> tuple[SheetImage, ...]:
        """The others."""
        return tuple(image for image in self.images if image.path not in self.ticked)


def sheet_of(kind: Kind, images: Iterable[SheetImage], why: str, class_name: str = "") -> Sheet:
    """A new sheet: all is ticked, but where one picks from a list."""
    kept = tuple(images)
    ticked = frozenset() if kind.is_list else frozenset(image.path for image in kept)
    return Sheet(kind, kept, why, ticked, class_name)


@dataclass(frozen=True, slots=True)
class Tally:
    """A journal, counted."""

    journal: Journal
    labels: Mapping[str, str]
    """Class by path."""
    classes: Mapping[str, int]
    """How many images each class has, in the order of first use."""
    keys: Mapping[str, str]
    """By class, of those that have a key."""
    settled: frozenset[str]
    """Images of which something holds: a class, that nobody can tell, that they are not usable."""
    cannot_tell: int
    unusable: int

    @property
    def by_key(self) -> dict[str, str]:
        """Class by key."""
        return {key: name for name, key in self.keys.items()}

    def images_of(self, class_name: str) -> list[Row]:
        """The words that hold of the images that have a class, or a word that stands for none."""
        return [row for row in self.journal.current.values() if row.class_name == class_name]


def tally_of(journal: Journal) -> Tally:
    """Count a journal; for a thread: of 10,000 rows it takes a tenth of a second."""
    return Tally(
        journal,
        journal.labels,
        journal.classes,
        class_keys(journal),
        frozenset(path for path, row in journal.current.items() if row.class_name != NO_CLASS),
        len(journal.cannot_tell),
        len(journal.unusable),
    )


def nothing_said(path: Path) -> Tally:
    """Of a journal that nobody has begun."""
    return tally_of(journal_of(path, ()))


@dataclass(slots=True)
class Desk:
    """What is before the labeller, what comes next, and what was asked of the chooser."""

    tally: Tally
    listing: tuple[str, ...] = ()
    """Every image of the folder in the order in which chance draws them; empty until somebody has looked."""
    is_listed: bool = False
    is_counted: bool = False
    """Whether the journal was read: before, nobody knows what has a label."""
    sheet: Sheet | None = None
    """None: waiting for images, or there are none left."""
    aside: Sheet | None = None
    """The offer to come back to from a list."""
    ahead: Sheet | None = None
    """The offer that comes next."""
    order: Order = "auto"
    skipped: list[str] = field(default_factory=list)
    """Images not to offer again until there are no others."""
    pending: frozenset[str] = frozenset()
    """Images of strokes that are on their way to the disk."""
    asked: Offer | None = None
    """What has no answer yet."""
    learned: Learned | None = None
    curve: list[float] = field(default_factory=list)
    """How right the model was each time it said so, the first first."""
    is_done: bool = False
    """Every image has a word, or was skipped and asked again in vain."""
    _serial: int = 0

    # What there is

    def is_open(self, path: str) -> bool:
        """Whether an image may be offered: nothing was said of it, and nothing is about to be."""
        return path not in self.tally.settled and path not in self.pending

    def split_off(self) -> list[str]:
        """What would get a class of its own: of a list what is ticked, of an offer what is not."""
        sheet = self.sheet
        if sheet is None:
            return []
        if sheet.kind.is_list:
            return [image.path for image in sheet.images if image.path in sheet.ticked]
        return [image.path for image in sheet.unticked() if self.is_open(image.path)]

    def refusal(self, action: str, cursor: int, *, has_engine: bool) -> str | None:
        """Why an action (by its name) cannot be done now, as a sentence; None when it can."""
        sheet, tally = self.sheet, self.tally
        if action in ANYWHERE:
            return None
        match action:
            case "undo" if not tally.journal.rows and not self.pending:
                return "nothing was said yet"
            case "launch" if len(tally.classes) < 2:
                return "a model needs two classes; name them with n"
            case "rename" if not tally.classes:
                return "there is no class yet; n names one"
            case "merge" if len(tally.classes) < 2:
                return "there are no two classes to merge"
            case "second_look" if not has_engine:
                return "the chooser judges the labels, and is not there: ^r starts it"
            case "undo" | "launch" | "rename" | "merge" | "second_look" | "order" | "engine":
                return None
            case _:
                pass
        if sheet is None or not sheet.images:
            return "no image is shown"
        if action == "accept" and not any(image.guess for image in sheet.meant(cursor)):
            return "nothing is guessed of these yet: press a class's key, or n to name one"
        if action == "split" and not self.split_off():
            if sheet.kind.is_list:
                return "tick the images first that are a class of their own"
            return "tick the images off first that do not fit: they get a class of their own"
        return None

    # Coming and going

    def ask(self, most: int) -> Offer:
        """The request for the offer after the sheet; what was asked before has no meaning any more."""
        self._serial += 1
        shown = [sheet for sheet in (self.sheet, self.aside, self.ahead) if sheet is not None]
        on_screen = [image.path for sheet in shown for image in sheet.images if not sheet.kind.is_list]
        skip = tuple(dict.fromkeys((*on_screen, *self.skipped, *self.pending)))
        self.asked = Offer(self._serial, self.order, most, group=True, skip=skip)
        return self.asked

    def take(self, offered: Offered) -> bool:
        """Keep an offer that was asked for; whether it is one with images."""
        if self.asked is None or offered.serial != self.asked.serial:
            return False
        self.asked = None
        images = [
            SheetImage(one.path, one.guess, one.probability)
            for one in offered.images
            if self.is_open(one.path)
        ]
        if not images:
            return False
        # Images that have nothing in common are looked at one by one, in the order in which chance drew them.
        self.ahead = sheet_of(Kind.OFFER, images[:1] if offered.random else images, offered.why)
        return True

    def turn(self) -> bool:
        """Have the next offer before the labeller; False where none has come yet."""
        self.sheet, self.aside = None, None
        ahead, self.ahead = self.ahead, None
        if ahead is None:
            return False
        current = ahead.without(image.path for image in ahead.images if not self.is_open(image.path))
        if not current.images:
            return False
        self.sheet, self.is_done = current, False
        return True

    def draw(self, why: str) -> bool:
        """Have the next image by chance before the labeller; False where no image is left."""
        for skipped in (frozenset(self.skipped), frozenset[str]()):
            drawn = next((path for path in self.listing if self.is_open(path) and path not in skipped), None)
            if drawn is not None:
                self.sheet = sheet_of(Kind.OFFER, [SheetImage(drawn)], why)
                self.is_done = False
                return True
            self.skipped.clear()
        self.is_done = self.is_listed
        return False

    def next_order(self) -> None:
        """The order after this one; what lies ready was chosen by the one before."""
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self.sheet, self.aside, self.ahead, self.asked = None, None, None, None

    def skip(self, paths: Iterable[str]) -> None:
        """Do not offer these again before all others."""
        self.skipped.extend(path for path in paths if path not in self.skipped)

    # Lists

    def lay_out(self, sheet: Sheet) -> None:
        """Have a list, or what was taken back, before the labeller; the offer waits."""
        if self.sheet is not None and not self.sheet.kind.is_list:
            self.aside = self.sheet
        self.sheet = sheet

    def put_away(self) -> bool:
        """Back from a list to the offer; False where there is none to come back to."""
        self.sheet, self.aside = self.aside, None
        if self.sheet is not None:
            said = [image.path for image in self.sheet.images if not self.is_open(image.path)]
            self.sheet = self.sheet.without(said)
        return self.sheet is not None and bool(self.sheet.images)

    # Others

    def learn(self, learned: Learned) -> None:
        """What the model knows now."""
        self.learned = learned
        if learned.accuracy is not None:
            self.curve.append(learned.accuracy)

    def recount(self, tally: Tally) -> None:
        """What the file says now, whoever wrote there. What somebody else labelled is not ticked any more."""
        new = tally.settled - self.tally.settled
        self.tally = tally
        if self.sheet is not None and not self.sheet.kind.is_list:
            self.sheet = replace(self.sheet, ticked=self.sheet.ticked - new)


def second_look(doubted: Doubted) -> Sheet:
    """The images whose label the model does not believe."""
    images = [SheetImage(one.path, one.guess, one.probability, one.label) for one in doubted.images]
    why = "a model blind to the label says otherwise; its key confirms it"
    return sheet_of(Kind.SECOND_LOOK, images, why)


def class_sheet(tally: Tally, class_name: str, words: str) -> Sheet:
    """All images of a class, the last ones first. `words`: what it is called."""
    rows = tally.images_of(class_name)[::-1]
    images = [SheetImage(row.path, probability=row.confidence, label=row.class_name) for row in rows]
    return sheet_of(Kind.CLASS, images, f"all images of {words}, the last first", class_name)


def last_strokes(journal: Journal, most: int) -> Iterator[tuple[Row, int]]:
    """The newest strokes, the last first: a row of each, and how many images it was about."""

    def strokes() -> Iterator[tuple[Row, int]]:
        first: Row | None = None
        count = 0
        for row in reversed(journal.rows):
            if first is not None and (row.when, row.by) != (first.when, first.by):
                yield first, count
                first, count = None, 0
            first, count = first or row, count + 1
        if first is not None:
            yield first, count

    return islice(strokes(), most)


def taken_back(before: Journal, after: Journal) -> dict[str, str]:
    """The images of the undo that was written last, and the class that each had."""
    if len(after.rows) <= len(before.rows):
        return {}
    when, had = after.rows[-1].when, {path: row.class_name for path, row in before.current.items()}
    return {row.path: had.get(row.path, NO_CLASS) for row in after.rows if row.when == when}


def taken_sheet(desk: Desk, taken: Iterable[str], why: str) -> Sheet | None:
    """What an undo left without a label, to be labelled again; None of more than are seen at a glance."""
    images = [SheetImage(path) for path in taken if desk.is_open(path)]
    return sheet_of(Kind.TAKEN_BACK, images, why) if 0 < len(images) <= GLANCE else None
