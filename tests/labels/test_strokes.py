"""What a labeller does: each stroke has its rows, and can be taken back to the beginning."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.labels.journal import Journal, Row, journal_of
from workbench.labels.strokes import (
    BOUND,
    CLASS_KEYS,
    Accept,
    Assign,
    CannotTell,
    Clear,
    Merge,
    Rename,
    Split,
    Stroke,
    Undo,
    Unusable,
    class_keys,
    class_named,
    completions,
    make_stroke,
    rows_of,
    undo,
)
from workbench.support.errors import UserError

PATHS = [f"{letter}.jpg" for letter in "abcdef"]
SOME = st.lists(st.sampled_from(PATHS), min_size=1, max_size=4, unique=True).map(tuple)
CLASSES = st.sampled_from(["cat", "dog", "cow"])
STROKES = st.one_of(
    st.builds(Assign, SOME, CLASSES),
    st.builds(
        Accept, st.lists(st.tuples(st.sampled_from(PATHS), CLASSES, st.just(0.5)), min_size=1, max_size=2)
    ),
    st.builds(Unusable, SOME),
    st.builds(CannotTell, SOME),
    st.builds(Clear, SOME),
    st.builds(Rename, CLASSES, CLASSES),
    st.builds(Merge, CLASSES, CLASSES),
    st.builds(Split, CLASSES, SOME, CLASSES),
)
PEOPLE = st.sampled_from(["ann", "bob"])


def after(journal: Journal, stroke: Stroke, by: str = "ann") -> Journal:
    """The journal with a stroke's rows at its end, a second later."""
    when = max(journal.newest, datetime(2026, 1, 1, tzinfo=UTC)) + timedelta(seconds=1)
    try:
        rows = rows_of(stroke, journal, by)
    except UserError:
        return journal
    return journal_of(
        journal.path, (*journal.rows, *(Row(r.path, r.class_name, r.by, when, r.confidence) for r in rows))
    )


def words(journal: Journal) -> dict[str, tuple[str, float | None]]:
    """What holds of each image of which something holds."""
    return {p: (r.class_name, r.confidence) for p, r in journal.current.items() if r.class_name}


def empty() -> Journal:
    return journal_of(Path("labels.csv"), ())


@settings(deadline=None)
@given(st.lists(STROKES, max_size=8), st.lists(STROKES, max_size=3))
def test_undoing_goes_back_stroke_by_stroke_to_the_beginning(first: list[Stroke], then: list[Stroke]) -> None:
    journal, states = empty(), [words(empty())]
    for stroke in first:
        grown = after(journal, stroke)
        if len(grown.rows) > len(journal.rows):
            states.append(words(grown))
        journal = grown
    kept = len(states) // 2
    while len(states) > kept + 1:
        states.pop()
        journal = after(journal, Undo())
        assert words(journal) == states[-1]
    for stroke in then:  # what is said after an undo is undone before what was said ahead of it
        grown = after(journal, stroke)
        if len(grown.rows) > len(journal.rows):
            states.append(words(grown))
        journal = grown
    while len(states) > 1:
        states.pop()
        journal = after(journal, Undo())
        assert words(journal) == states[-1]
    assert undo(journal, "ann") == []


@settings(deadline=None)
@given(st.lists(st.tuples(STROKES | st.just(Undo()), PEOPLE), max_size=12))
def test_undoing_never_takes_back_what_another_person_said_last(strokes: list[tuple[Stroke, str]]) -> None:
    journal = empty()
    for stroke, by in strokes:
        journal = after(journal, stroke, by)
    rows = undo(journal, "ann")
    for row in rows:
        words_of_it = [r for r in journal.history(row.path) if not r.by.startswith("undo:")]
        assert any(r.by.endswith("ann") for r in words_of_it)
        assert journal.current[row.path].by != "bob"
    for _ in range(len(journal.rows) + 1):
        journal = after(journal, Undo(), "ann")
    assert undo(journal, "ann") == []


@settings(deadline=None)
@given(st.lists(st.tuples(STROKES | st.just(Undo()), PEOPLE), max_size=14))
def test_a_class_keeps_its_key_for_as_long_as_it_has_images(strokes: list[tuple[Stroke, str]]) -> None:
    journal = empty()
    for stroke, by in strokes:
        before = class_keys(journal)
        journal = after(journal, stroke, by)
        keys = class_keys(journal)
        assert set(keys) == set(journal.classes)
        assert len(set(keys.values())) == len(keys)
        for name in before.keys() & keys.keys():
            assert keys[name] == before[name]


def test_keys_are_given_as_classes_are_named_and_a_renamed_class_keeps_its() -> None:
    journal = empty()
    for place, name in enumerate(["cat", "dog", "cow"]):
        journal = after(journal, Assign([PATHS[place]], name))
    assert class_keys(journal) == {"cat": "1", "dog": "2", "cow": "3"}
    journal = after(journal, Rename("dog", "hound"))
    assert class_keys(journal) == {"cat": "1", "hound": "2", "cow": "3"}
    journal = after(journal, Merge("cat", "cow"))
    assert class_keys(journal) == {"hound": "2", "cow": "3"}
    assert class_keys(after(journal, Undo())) == {"cat": "1", "hound": "2", "cow": "3"}


def test_no_class_has_a_key_that_does_something_else() -> None:
    assert not BOUND & set(CLASS_KEYS)
    assert len(set(CLASS_KEYS)) == len(CLASS_KEYS)
    journal = empty()
    for number in range(60):
        journal = after(journal, Assign([f"{number}.jpg"], f"class {number}"))
    assert len(class_keys(journal)) == len(CLASS_KEYS)


def test_a_class_is_found_however_it_is_spelled() -> None:
    journal = after(empty(), Assign(["a.jpg", "b.jpg"], "Maine  Coon "))
    assert list(journal.classes) == ["Maine Coon"]
    assert class_named(journal, "maine coon") == "Maine Coon"
    journal = after(after(journal, Assign(["c.jpg"], "Cat")), Assign(["d.jpg", "e.jpg", "f.jpg"], "Ocicat"))
    assert completions(journal, "c") == ["Cat", "Ocicat", "Maine Coon"]
    assert completions(journal, "OCI") == ["Ocicat"]


@pytest.mark.parametrize("name", ["?", "!", "", "  ", "\u200b", "a\x1bb", "x" * 81])
def test_what_cannot_be_a_class_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="no class can be called"):
        class_named(empty(), name)


@pytest.mark.parametrize(
    ("stroke", "said"),
    [
        (Rename("cta", "dog"), "did you mean cat"),
        (Rename("cat", "Dog"), "merge"),
        (Merge("cat", "bird"), "no image has the class"),
        (Split("bird", ["a.jpg"], "new"), "no image has the class"),
        (Split("cat", ["b.jpg"], "lynx"), "none of these images is of 'cat'"),
        (Assign(["a.jpg"], "!"), "--unusable"),
    ],
)
def test_a_stroke_that_makes_no_sense_is_refused(stroke: Stroke, said: str) -> None:
    journal = after(after(empty(), Assign(["a.jpg"], "cat")), Assign(["b.jpg"], "dog"))
    with pytest.raises(UserError, match=said):
        rows_of(stroke, journal, "ann")


def test_a_class_to_rename_merge_or_split_is_found_however_it_is_spelled() -> None:
    journal = after(after(empty(), Assign(["a.jpg", "b.jpg"], "cat")), Assign(["c.jpg"], "dog"))
    assert after(journal, Rename("CAT", "Cat")).labels["a.jpg"] == "Cat"
    assert after(journal, Merge("Cat", "DOG")).labels == dict.fromkeys(["a.jpg", "b.jpg", "c.jpg"], "dog")
    assert after(journal, Split("Cat", ["b.jpg"], "lynx")).labels["b.jpg"] == "lynx"
    assert not rows_of(Merge("cat", "Cat"), journal, "ann")


def test_a_class_is_split_and_only_its_own_images_move() -> None:
    journal = after(after(empty(), Assign(["a.jpg", "b.jpg"], "cat")), Assign(["c.jpg"], "dog"))
    journal = after(journal, Split("cat", ["b.jpg", "c.jpg"], "lynx"))
    assert journal.labels == {"a.jpg": "cat", "b.jpg": "lynx", "c.jpg": "dog"}


def test_accepted_guesses_say_so_and_how_sure_the_model_was(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    make_stroke(path, Accept([("a.jpg", "cat", 0.875), ("b.jpg", "dog", 0.5)]), "ann")
    make_stroke(path, Assign(["b.jpg"], "cat"), "ann")
    journal = make_stroke(path, Undo(), "ann")
    assert [(r.path, r.class_name, r.by, r.confidence) for r in journal.rows] == [
        ("a.jpg", "cat", "model:ann", 0.875),
        ("b.jpg", "dog", "model:ann", 0.5),
        ("b.jpg", "cat", "ann", None),
        ("b.jpg", "dog", "undo:ann", 0.5),
    ]
    assert make_stroke(path, Undo(), "ann").labels == {}
    assert len(make_stroke(path, Undo(), "ann").rows) == 6
