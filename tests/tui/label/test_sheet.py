"""The desk without a screen: what lies before a labeller, what comes next, what is never offered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from workbench.labels.journal import Journal, Row, journal_of
from workbench.labels.protocol import Learned, Offered, OfferedImage
from workbench.labels.strokes import Assign, Undo, rows_of
from workbench.tui.screens.label.captions import curve_line
from workbench.tui.screens.label.label_sheet import (
    GLANCE,
    Desk,
    Kind,
    SheetImage,
    class_sheet,
    last_strokes,
    nothing_said,
    sheet_of,
    taken_back,
    taken_sheet,
    tally_of,
)
from workbench.tui.themes import palette_of

LISTING = tuple(f"{number}.jpg" for number in range(12))
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)


def said(*words: tuple[str, str]) -> Journal:
    """A journal with a stroke for each (image, class)."""
    rows = [Row(path, name, "ann", BEGUN + timedelta(seconds=n)) for n, (path, name) in enumerate(words)]
    return journal_of(Path("labels.csv"), rows)


def desk_of(*words: tuple[str, str]) -> Desk:
    return Desk(tally_of(said(*words)), LISTING, is_listed=True, is_counted=True)


def offered(serial: int, *paths: str, random: bool = False) -> Offered:
    return Offered(serial, "typical", "alike", tuple(OfferedImage(path) for path in paths), random)


@given(st.lists(st.sampled_from(["stroke", "skip", "other pane", "order"]), max_size=30), st.data())
def test_nothing_that_has_a_word_lies_before_a_labeller(steps: list[str], data: st.DataObject) -> None:
    desk, words = desk_of(), list[tuple[str, str]]()
    for step in steps:
        request = desk.ask(3)
        shown = set() if desk.sheet is None else {image.path for image in desk.sheet.images}
        assert shown <= set(request.skip)
        # An engine that knows less than the desk does.
        desk.take(
            offered(request.serial, *data.draw(st.lists(st.sampled_from(LISTING), max_size=3, unique=True)))
        )
        if not desk.turn():
            desk.draw("by chance")
        sheet = desk.sheet
        if sheet is None:
            assert desk.is_done
            assert {path for path, _ in words} == set(LISTING)
            return
        assert all(desk.is_open(image.path) for image in sheet.images)
        match step:
            case "stroke":
                words += [(image.path, "cat") for image in sheet.meant(0)]
            case "other pane":
                words += [(data.draw(st.sampled_from(LISTING)), "dog")]
            case "skip":
                desk.skip(image.path for image in sheet.images)
            case _:
                desk.next_order()
        desk.recount(tally_of(said(*words)))


def test_an_offer_to_another_question_is_not_taken() -> None:
    desk = desk_of()
    first = desk.ask(3)
    second = desk.ask(3)
    assert not desk.take(offered(first.serial, "1.jpg"))
    assert desk.take(offered(second.serial, "2.jpg"))
    assert not desk.take(offered(second.serial, "3.jpg"))


def test_what_chance_drew_comes_one_by_one_and_the_rest_in_groups() -> None:
    desk = desk_of()
    desk.take(offered(desk.ask(3).serial, "1.jpg", "2.jpg", random=True))
    assert desk.ahead is not None
    assert [image.path for image in desk.ahead.images] == ["1.jpg"]
    desk.ahead = None
    desk.take(offered(desk.ask(3).serial, "1.jpg", "2.jpg"))
    assert desk.ahead is not None
    assert desk.ahead.ticked == {"1.jpg", "2.jpg"}


def test_a_stroke_is_about_what_is_ticked_else_about_the_image_under_the_cursor() -> None:
    sheet = sheet_of(Kind.OFFER, [SheetImage(path) for path in LISTING[:3]], "alike")
    assert [image.path for image in sheet.tick("1.jpg").meant(2)] == ["0.jpg", "2.jpg"]
    assert [image.path for image in sheet.tick_all().meant(2)] == ["2.jpg"]
    assert sheet.tick_all().tick_all().ticked == sheet.ticked
    assert [image.path for image in sheet.tick("1.jpg").unticked()] == ["1.jpg"]


def test_from_a_list_one_comes_back_to_the_offer_without_what_was_said_meanwhile() -> None:
    desk = desk_of(("7.jpg", "cat"))
    desk.take(offered(desk.ask(3).serial, "1.jpg", "2.jpg"))
    assert desk.turn()
    desk.lay_out(class_sheet(desk.tally, "cat", "cat"))
    assert desk.sheet is not None
    assert desk.sheet.ticked == frozenset()
    desk.recount(tally_of(said(("7.jpg", "cat"), ("1.jpg", "dog"))))
    assert desk.put_away()
    assert desk.sheet is not None
    assert [image.path for image in desk.sheet.images] == ["2.jpg"]


def test_what_was_taken_back_is_shown_again_unless_it_is_more_than_a_glance() -> None:
    def undone(count: int) -> tuple[dict[str, str], Desk]:
        paths = [f"{number}.jpg" for number in range(count)]
        before = journal_of(Path("labels.csv"), [Row(path, "cat", "ann", BEGUN) for path in paths])
        rows = rows_of(Undo(), before, "ann")
        again = [Row(r.path, r.class_name, r.by, BEGUN + timedelta(hours=1)) for r in rows]
        after = journal_of(before.path, [*before.rows, *again])
        return taken_back(before, after), Desk(tally_of(after), tuple(paths))

    taken, desk = undone(3)
    assert taken == dict.fromkeys(["0.jpg", "1.jpg", "2.jpg"], "cat")
    sheet = taken_sheet(desk, taken, "was cat")
    assert sheet is not None
    assert len(sheet.ticked) == 3
    taken, desk = undone(GLANCE + 1)
    assert len(taken) == GLANCE + 1
    assert taken_sheet(desk, taken, "was cat") is None


def test_the_last_strokes_are_told_with_how_many_images_each_was_about() -> None:
    journal = said(("1.jpg", "cat"), ("2.jpg", "dog"))
    again = [Row(r.path, r.class_name, r.by, BEGUN + timedelta(hours=1))
             for r in rows_of(Assign(["3.jpg", "4.jpg"], "cow"), journal, "bob")]  # fmt: skip
    journal = journal_of(journal.path, [*journal.rows, *again])
    told = [(row.class_name, count) for row, count in last_strokes(journal, 2)]
    assert told == [("cow", 2), ("dog", 1)]


def test_a_folder_that_nobody_labelled_refuses_what_needs_labels() -> None:
    desk = Desk(nothing_said(Path("labels.csv")), LISTING, is_listed=True, is_counted=True)
    desk.draw("by chance")
    for action in ("undo", "launch", "rename", "merge", "accept", "split", "second_look"):
        assert desk.refusal(action, 0, has_engine=False), action
    for action in ("tick", "name", "cannot_tell", "skip", "order", "help", "larger"):
        assert desk.refusal(action, 0, has_engine=False) is None, action


def test_the_curve_of_what_the_model_knows_has_its_interval_and_fits() -> None:
    desk, colours = desk_of(), palette_of("petbench-dark")
    assert curve_line(desk, 40, colours).plain == ""
    for accuracy in (0.5, 0.75, 0.9):
        desk.learn(Learned(9, 2, "", accuracy=accuracy, low=accuracy - 0.1, high=accuracy + 0.05))
    line = curve_line(desk, 40, colours)
    assert line.plain == "right ▁▅█ 90 % (80–95)"
    desk.curve *= 50
    assert curve_line(desk, 40, colours).cell_len == 40
    desk.learn(Learned(9, 2, "12 more random draws tell how right the model is"))
    assert curve_line(desk, 40, colours).plain == ""
