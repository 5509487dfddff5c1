"""Reviews: verdicts on single images that outlive the app, read and written by people as well."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.review import (
    MAX_BYTES,
    Correction,
    Review,
    Verdict,
    load_review,
    record,
    review_path,
    undo_last,
)
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import comments

ACCEPTED = Correction("pug_1", Verdict.ACCEPT, "pug", said="pug", run="20260101-000000-a-0000")
RELABELLED = Correction("Birman_7", Verdict.RELABEL, "Ragdoll", said="Birman")
EXCLUDED = Correction("beagle_3", Verdict.EXCLUDE, "")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "reviews" / "lite.toml"


def test_a_review_that_is_not_there_is_empty(path: Path) -> None:
    assert load_review(path) == Review()
    assert undo_last(path) is None
    assert not path.parent.exists()


def test_verdicts_come_back_as_they_were_recorded_newest_last(path: Path) -> None:
    for correction in (ACCEPTED, RELABELLED, EXCLUDED):
        said = record(path, correction)
    assert load_review(path) == said == Review((ACCEPTED, RELABELLED, EXCLUDED))
    newest = load_review(path).corrections[-1]
    assert newest.when is not None
    assert newest.when.tzinfo is not None
    assert said.of("Birman_7") == RELABELLED
    assert said.of("nobody") is None
    assert [said.count(verdict) for verdict in Verdict] == [1, 1, 1]


def test_a_second_verdict_replaces_the_first_and_undo_brings_the_first_back(path: Path) -> None:
    record(path, RELABELLED)
    record(path, ACCEPTED)
    again = Correction("Birman_7", Verdict.EXCLUDE, "")
    assert record(path, again).corrections == (ACCEPTED, again)
    assert undo_last(path) == again
    assert load_review(path).corrections == (RELABELLED, ACCEPTED)
    assert undo_last(path) == ACCEPTED
    assert undo_last(path) == RELABELLED
    assert undo_last(path) is None
    assert load_review(path) == Review()


def test_comments_and_order_that_a_person_wrote_stay(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('# mine\nschema = 1\n\n[[correction]] # sure?\nid = "a"\nverdict = "exclude"\n')
    record(path, ACCEPTED)
    undo_last(path)
    text = path.read_text()
    assert text == '# mine\nschema = 1\n\n[[correction]] # sure?\nid = "a"\nverdict = "exclude"\n'


def test_entries_written_in_another_way_can_be_taken_back_too(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(
        'correction = [{id = "a", verdict = "exclude"}, '
        '{id = "b", verdict = "accept", label = "[[correction]]"}]'
    )
    assert undo_last(path) == Correction("b", Verdict.ACCEPT, "[[correction]]")
    assert load_review(path).corrections == (Correction("a", Verdict.EXCLUDE, ""),)


def test_an_entry_whose_text_looks_like_a_header_is_taken_back_whole(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(
        '[[correction]]\nid = "a"\nverdict = "exclude"\n'
        '[[correction]]\nid = """\\\n\n[[correction]]\nb"""\nverdict = "exclude"\n'
    )
    undo_last(path)
    assert [c.id for c in load_review(path).corrections] == ["a"]


ONE = '{ id = "a", verdict = "exclude" }'
TWO = '{ id = "b # no, ]", verdict = "relabel", label = "x" }'


@pytest.mark.parametrize(
    "text",
    [
        f"correction = [ {ONE},\n  {TWO}, # seen with K\n]\n",
        f"correction = [\n  {ONE}, # one\n  {TWO} # no comma\n]\n",
        f"correction = [\n  {ONE} # one\n  , # between\n  {TWO} # two\n  # end\n] # after\nschema = 1\n",
        f"correction = [{ONE}, {TWO}]",
        f"correction = [{ONE}, {TWO}, ] # a",
        f'# top\n"correction" = [ # first\n\t{ONE}, # one\n\t{TWO}, # two\n\t# last\n]\n# after\n',
        f"correction = [{ONE},\r\n{TWO}] # with carriage returns\r\n",
        f"correction =[{ONE}\n,{TWO}\n,]\n#\n",
        "correction = []\n# none yet\n",
        "correction = [\n  # none yet\n]\n",
        "schema = 1\n# only this",
        '[["correction"]] # q\nid = "a"\n# why: [[correction]]\nverdict = "exclude" # sure\n# after\n',
        "# a\n[[ correction ]]\nid = 'a'\nverdict = \"exclude\"\n\n# for b\n[[correction]]\n"
        'verdict = "relabel"\nlabel = """\n[[correction]] # no comment"""\nid = "b"\n\n# the end\n',
    ],
)
def test_every_spelling_of_a_review_takes_verdicts_and_gives_them_back_with_its_comments(
    path: Path, text: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(text.encode())
    before = load_review(path).corrections
    for correction in (RELABELLED, EXCLUDED):
        record(path, correction)
    assert load_review(path).corrections == (*before, RELABELLED, EXCLUDED)
    assert comments(path.read_text()) == comments(text)
    undo_last(path)
    undo_last(path)
    assert load_review(path).corrections == before
    assert comments(path.read_text()) == comments(text)
    while undo_last(path) is not None:
        pass
    assert load_review(path) == Review()
    assert comments(path.read_text()) == comments(text)


def test_a_text_that_would_read_back_otherwise_is_left_alone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.parent.mkdir()
    path.write_text(f"correction = [{ONE}] # mine\n")
    # As if petbench took the list for something else, which is how the file was broken once.
    monkeypatch.setattr("workbench.dataset.review._inline_entries", lambda text: None)
    with pytest.raises(UserError, match="cannot be changed in the way it is written"):
        record(path, EXCLUDED)
    assert path.read_text() == f"correction = [{ONE}] # mine\n"


names = st.text(min_size=1, max_size=30).filter(lambda text: text.strip() != "")


@given(image=names, label=names, said=st.text(max_size=30))
def test_any_text_comes_back_exactly_and_the_file_cannot_drive_a_terminal(
    tmp_path_factory: pytest.TempPathFactory, image: str, label: str, said: str
) -> None:
    path = tmp_path_factory.mktemp("reviews") / "any.toml"
    correction = Correction(image, Verdict.RELABEL, label, said=said)
    record(path, correction)
    assert load_review(path).corrections == (correction,)
    assert all(clean(line) == line for line in path.read_text().split("\n"))


@pytest.mark.parametrize(
    "hostile", ["a[/b].jpg", "\x1b]52;c;cGF5\x07", "\u202egpj.exe", 'q"\\\n[[correction]]', "\x7f\x9b"]
)
def test_hostile_names_come_back_exactly(path: Path, hostile: str) -> None:
    record(path, Correction(hostile, Verdict.ACCEPT, hostile, said=hostile, run=hostile))
    record(path, EXCLUDED)
    assert undo_last(path) == EXCLUDED
    assert load_review(path).corrections[0].label == hostile


def test_text_that_no_file_can_hold_is_refused_before_anything_is_written(path: Path) -> None:
    with pytest.raises(UserError, match="not valid text"):
        record(path, Correction("\udcff", Verdict.EXCLUDE, ""))
    assert not path.exists()


@pytest.mark.parametrize(
    ("correction", "message"),
    [
        (Correction("a", Verdict.EXCLUDE, "pug"), "exclude has a label"),
        (Correction("a", Verdict.RELABEL, ""), "relabel has no label"),
        (Correction("", Verdict.EXCLUDE, ""), "id"),
        (Correction("a" * 5000, Verdict.EXCLUDE, ""), "4096"),
    ],
)
def test_a_verdict_that_does_not_hold_together_is_not_recorded(
    path: Path, correction: Correction, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        record(path, correction)
    assert not path.exists()


ENTRY = '[[correction]]\nid = "pug_1"\n'


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (ENTRY + 'verdict = "acept"\nlabel = "pug"\n', ["correction 1 (pug_1): verdict 'acept'", "accept?"]),
        (ENTRY + 'verdict = "exclude"\nlable = "x"\n', ["unknown key lable", "did you mean label?"]),
        (ENTRY, ["correction 1 (pug_1)", "verdict"]),
        (ENTRY + 'verdict = "accept"\n', ["accept has no label"]),
        (ENTRY + 'verdict = "accept"\nlabel = 3\n', ["correction 1 (pug_1): label"]),
        ("schema = 2\n", ["schema"]),
        ("corrections = []\n", ["did you mean correction?"]),
        ("correction = 3\n", ["correction", "[[correction]] entries"]),
        ("correction = [3]\n", ["correction 1"]),
        ("[[correction]\n", ["not valid TOML"]),
        ("a." * 50_000 + "a = 1\n", ["nested more than 8 deep"]),
        ("# \udcff", []),
        ("#" * (MAX_BYTES + 1), ["at most 2 MiB"]),
    ],
)
def test_a_damaged_review_is_one_clear_error_and_is_left_as_it_is(
    path: Path, text: str, messages: list[str]
) -> None:
    path.parent.mkdir()
    content = text.encode("utf-8", "surrogateescape")
    path.write_bytes(content)
    for touch in (lambda: load_review(path), lambda: undo_last(path), lambda: record(path, EXCLUDED)):
        with pytest.raises(UserError) as raised:
            touch()
        assert str(path) in str(raised.value)
        for message in messages:
            assert message in str(raised.value)
    assert path.read_bytes() == content


def test_a_review_does_not_grow_past_what_can_be_read_back(path: Path) -> None:
    path.parent.mkdir()
    full = "#" * (MAX_BYTES - 50)
    path.write_text(full)
    with pytest.raises(UserError, match="at most 2 MiB"):
        record(path, ACCEPTED)
    assert path.read_text() == full


def test_a_directory_in_its_place_and_an_impossible_name_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_review(tmp_path)
    with pytest.raises(UserError, match="not a file name"):
        load_review(tmp_path / "a\0b")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be written"):
        record(tmp_path / "reviews" / "a.toml", ACCEPTED)
    tmp_path.chmod(0o700)


def test_a_file_in_place_of_the_directory_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "reviews").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        record(tmp_path / "reviews" / "a.toml", ACCEPTED)


def test_front_ends_that_record_at_once_lose_nothing(path: Path) -> None:
    def judge(who: int) -> None:
        for number in range(8):
            record(path, Correction(f"{who}-{number}", Verdict.EXCLUDE, ""))

    threads = [threading.Thread(target=judge, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_review(path).corrections) == 32


def test_a_review_is_named_for_its_recipe_and_never_makes_its_directory_a_run(tmp_path: Path) -> None:
    assert review_path(tmp_path, "Résumé [1]/../x") == tmp_path / "reviews" / "Resume-1-x.toml"
    assert review_path(tmp_path, "recipe").name != "recipe.toml"


def test_a_fingerprint_tells_what_a_review_changes_not_who_said_so(path: Path) -> None:
    one = Review((ACCEPTED, EXCLUDED))
    other = Review((EXCLUDED, Correction("pug_1", Verdict.RELABEL, "pug", said="beagle")))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != Review((ACCEPTED,)).fingerprint


def test_a_pipe_in_a_reviews_place_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "review.toml"
    os.mkfifo(path)
    with pytest.raises(UserError, match="a named pipe, not a regular file"):
        load_review(path)
