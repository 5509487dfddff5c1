"""What Label says in words: above, below and beside the pictures, of an image, of the classes."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import assert_never

from rich.text import Text

from workbench.labels.journal import CANNOT_TELL, NO_CLASS, UNUSABLE, Row
from workbench.labels.protocol import Learned, Order, Progress
from workbench.labels.strokes import MODEL, UNDO, person_of
from workbench.support.clean import clean
from workbench.tui.actions import ACTIONS
from workbench.tui.draw.bars import spark
from workbench.tui.screens.inspect.captions import share
from workbench.tui.screens.label.label_sheet import Desk, Kind, Sheet, SheetImage, Tally
from workbench.tui.text import plain
from workbench.tui.themes import Palette
from workbench.tui.widgets.action_line import Word

_NAME_LIMIT = 24
_PARTS, _TOLD_ABOVE = " · ", 2
"""What the engine knows comes in parts; the first two, labels and classes, stand above the pictures too."""
_SPECIAL = {
    CANNOT_TELL: "cannot tell",
    UNUSABLE: "not usable",
    NO_CLASS: "no label",
}
"""What stands in the place of a class, in words."""
ORDER_WORDS: dict[Order, str] = {
    "auto": "by itself",
    "typical": "typical first",
    "doubtful": "doubtful first",
    "short": "short classes first",
    "near_mistake": "near mistakes first",
    "random": "at random",
}


def class_words(name: str) -> str:
    """A class, or what stands for none, cleaned."""
    return _SPECIAL.get(name) or clean(name)


def counted(number: int, one: str, more: str) -> str:
    """`1 image`, `3,120 images`."""
    return f"{number:,} {one if number == 1 else more}"


def head_line(desk: Desk, colours: Palette) -> list[Word]:
    """How much is labelled, what comes next."""
    tally = desk.tally
    told = Text(f"{len(tally.labels):,}", style="bold")
    told.append(f" of {len(desk.listing):,} labelled" if desk.is_listed else " labelled", style="not bold")
    words = [Word(told), Word(Text(counted(len(tally.classes), "class", "classes")))]
    words.append(Word(Text(f"{ORDER_WORDS[desk.order]} ▾", style=colours.accent), "label.order"))
    return words


def sheet_words(sheet: Sheet | None, in_sight: range, colours: Palette) -> Text:
    """How many images there are and how many the next stroke is about."""
    if sheet is None:
        return Text()
    number = len(sheet.images)
    line = Text(style=colours.muted)
    if sheet.kind.is_list or number > 1:
        ticked = len(sheet.ticked)
        style = colours.text if ticked else colours.muted
        line.append(f"{ticked} of {number:,} ticked" if ticked else f"{number:,} images", style=style)
    if len(in_sight) < number:
        which = f"{in_sight.start + 1}–{in_sight.stop}" if len(in_sight) > 1 else f"{in_sight.stop}"
        line.append(f"  {which} in sight", style=colours.warning)
    return line


def why_line(sheet: Sheet | None, desk: Desk, colours: Palette) -> Text:
    """Why these images are here; else why there are none."""
    if sheet is not None:
        line = Text(end="", no_wrap=True)
        match sheet.kind:
            case Kind.OFFER:
                pass
            case Kind.TAKEN_BACK | Kind.SECOND_LOOK | Kind.CLASS:
                line.append(f"{sheet.kind.value}: ", style=f"bold {colours.accent}")
            case _:
                assert_never(sheet.kind)
        line.append_text(plain(sheet.why))
        if not desk.tally.classes:
            line.append(f" · {ACTIONS['label.name'].shown_key} names what this is", style=colours.accent)
        return line
    if desk.is_done:
        return Text("nothing is left to label", style=colours.good)
    return Text("looking for images…", style=colours.muted)


def stop_line(
    learned: Learned | None, progress: Progress | None, trouble: str, colours: Palette, width: int
) -> Text:
    """What the model knows, how far it is with looking, or what is wrong with it; in `width` cells."""
    if trouble:
        return plain(trouble, colours.warning)
    if learned is not None:
        told = clean(learned.text)
        if len(told) > width:
            told = told.split(_PARTS, _TOLD_ABOVE)[-1]
        line = Text(told)
        if progress is not None and progress.phase != "ready":
            how_far = Text("  ").append_text(progress_words(progress, colours))
            if line.cell_len + how_far.cell_len <= width:
                line.append_text(how_far)
        return line
    if progress is not None:
        return progress_words(progress, colours)
    return Text("a process that chooses what comes next is starting; label on meanwhile", style=colours.muted)


def progress_words(progress: Progress, colours: Palette) -> Text:
    """How far the engine is with the images."""
    figures = f" {progress.done:,} of {progress.total:,}" if progress.total else ""
    match progress.phase:
        case "listing":
            words = "looking through the folder"
        case "decoding":
            words = f"reading images{figures}; label on meanwhile"
        case "features":
            words = f"looking at images{figures}; label on meanwhile"
        case "clusters":
            words = "grouping what looks alike"
        case "ready":
            words = "all images are looked at; from two classes on the model learns along"
        case _:
            assert_never(progress.phase)
    return Text(words, style=colours.muted)


def lines_of(sheet: Sheet | None) -> int:
    """How many lines stand below each picture: what is not said leaves its line to the picture."""
    if sheet is None or sheet.kind is Kind.SECOND_LOOK:
        return 2
    return 2 if any(image.guess is not None for image in sheet.images) else 1


def tile_caption(image: SheetImage, sheet: Sheet, desk: Desk, colours: Palette) -> tuple[Text, ...]:
    """The lines below a picture: whether the next stroke is about it, and what it is said to be; how surely,
    and its name. A long class is cut, a number never."""
    is_ticked = image.path in sheet.ticked
    first = Text(end="")
    first.append("✓ " if is_ticked else "· ", style=f"bold {colours.good}" if is_ticked else colours.muted)
    name = plain(_tail(image.path), colours.muted)
    sure = Text(f"{share(image.probability)} " if image.probability is not None else "")
    match sheet.kind:
        case Kind.SECOND_LOOK:
            then = Text("→ ", style=colours.muted).append_text(sure)
            then.append(clean(image.guess), style=colours.warning)
            return first.append(clean(image.label)), then
        case Kind.CLASS:
            first.append_text(name)
            if image.probability is not None:
                first.append(f" guessed {share(image.probability)}", style=colours.muted)
            return (first,)
        case Kind.OFFER | Kind.TAKEN_BACK:
            said = desk.tally.journal.current.get(image.path)
            if said is not None and said.class_name != NO_CLASS:  # by somebody else, meanwhile
                who = clean(person_of(said), 12)
                first.append(f"{class_words(said.class_name)} ({who})", style=colours.warning)
            elif image.guess is not None:
                style = f"bold {colours.text}" if is_ticked else colours.muted
                first.append(clean(image.guess), style=style)
                name = sure.append_text(name)
            elif lines_of(sheet) == 1:
                first.append_text(name)
            return (first, name)[: lines_of(sheet)]
        case _:
            assert_never(sheet.kind)


def facts(image: SheetImage, desk: Desk, colours: Palette) -> Text:
    """What is known of the image under the cursor, in three lines below the large picture."""
    lines = [plain(image.path, "bold")]
    guess = Text("guess ", style=colours.muted)
    if image.guess is None:
        guess.append("none yet")
    else:
        guess.append(f"{clean(image.guess)} {share(image.probability or 0.0)}", style="default")
    lines.append(guess)
    history = desk.tally.journal.history(image.path)
    said = Text("said  ", style=colours.muted)
    if history:
        said.append(" → ".join(row_words(row) for row in history[-3:]), style="default")
    else:
        said.append("nothing yet")
    lines.append(said)
    return Text("\n").join(lines)


def row_words(row: Row) -> str:
    """`parasol (ann)`."""
    return f"{class_words(row.class_name)} ({_who(row)})"


def _who(row: Row) -> str:
    who = clean(person_of(row), 20)
    how = ", taken back" if row.by.startswith(UNDO) else ", as guessed" if row.by.startswith(MODEL) else ""
    return who + how


def curve_line(desk: Desk, width: int, colours: Palette) -> Text:
    """How right the model became, with its interval now, in `width` cells; from two values on."""
    learned = desk.learned
    if learned is None or learned.low is None or learned.high is None or len(desk.curve) < 2:
        return Text()
    told = f" {100 * desk.curve[-1]:.0f} % ({100 * learned.low:.0f}–{100 * learned.high:.0f})"
    line = Text("right ", style=colours.muted, end="", no_wrap=True)
    line.append(spark(desk.curve, width - line.cell_len - len(told)), style=colours.accent)
    return line.append(told, style=colours.text)


def stroke_line(row: Row, count: int, colours: Palette) -> Text:
    """One of the last strokes: when, what, how many images, who."""
    when = "" if row.when is None else f"{row.when.astimezone():%H:%M} "
    line = Text(when, style=colours.muted, end="", no_wrap=True)
    line.append(class_words(row.class_name), style=colours.text)
    line.append(f"  {counted(count, 'image', 'images')}  {_who(row)}", style=colours.muted)
    return line


def last_words(last: tuple[Row, int] | None, room: int, colours: Palette) -> Text | None:
    """What was said last, where there is room for it."""
    if last is None:
        return None
    row, count = last
    line = Text(f"last: {stroke_words(row.class_name, count)}", style=colours.muted)
    return line if line.cell_len < room else None


def these(number: int) -> str:
    """`these 5 images are`."""
    return "this image is" if number == 1 else f"these {number} images are"


def stroke_words(class_name: str, count: int) -> str:
    """What a stroke did, for a message."""
    return f"{class_words(class_name)}: {counted(count, 'image', 'images')}"


def _tail(path: str) -> str:
    """A name that is too long for its tile is cut in front, where names of one camera are alike."""
    return clean(path.rpartition("/")[2])


def twins(folder: Path | None, current: SheetImage | None) -> list[str]:
    """Command lines that do the same."""
    if folder is None:
        return ["petbench label FOLDER"]
    base = f"petbench label {quote(str(folder))}"
    image = quote(current.path) if current is not None else "IMAGE"
    ways = ("", "--status", f"--assign CLASS {image}", "--undo", "--recipe")
    return [f"{base} {options}".rstrip() for options in ways]


def keys_of_classes(tally: Tally) -> str:
    """The keys of classes, which are no actions, for the help."""
    keys = ", ".join(f"{key} {clean(name, 20)}" for name, key in tally.keys.items())
    told = f"Keys of classes: {keys}. " if keys else "The first class gets the key 1, and so on. "
    return told + "A class's key labels every ticked image, or the one under the cursor where none is."


EMPTY = (
    "Every image here has its word.\n\n"
    "L  writes a recipe for these labels and launches it\n"
    "d  shows labels that the model does not believe\n"
    "tab, enter  shows the images of a class\n"
    "u  takes the last stroke back"
)
NO_IMAGES = (
    "There is no image in this folder.\n\n"
    "petbench reads files whose names end in .jpg, .png and the like, in all folders below it.\n\n"
    "^o  takes another folder      esc  goes back"
)
NO_FOLDER = "Which folder has the images?\n\n^o  asks again      esc  goes back"
