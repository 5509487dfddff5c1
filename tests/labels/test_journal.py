"""The journal of labels: nothing that was said is lost, whoever writes beside, whatever ends a writer."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.labels.journal import COLUMNS, MOST_BYTES, Row, append, by_time, journal_of, read
from workbench.support.errors import UserError

HEADER = ",".join(COLUMNS) + "\n"
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda name: name not in (".", "..") and not {"", ".", ".."} & set(name.split("/")))
"""Of files, with commas, quotes, line ends and whatever else Unicode has."""
CLASSES = st.sampled_from(["cat", "dog", "größer, als", 'a "b"', "-1", "=sum", "", "?", "!"])
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))
ROWS = st.builds(
    Row, NAMES, CLASSES, st.sampled_from(["ann", "bob"]), st.none() | TIMES, st.sampled_from([None, 0.25])
)
fresh = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "labels.csv"


def said(rows: list[Row]) -> list[Row]:
    return [replace(row, when=None) for row in rows]


@fresh
@given(strokes=st.lists(st.lists(ROWS, min_size=1, max_size=4), max_size=5))
def test_what_is_appended_comes_back_as_it_was_said(path: Path, strokes: list[list[Row]]) -> None:
    path.unlink(missing_ok=True)
    for stroke in strokes:
        written = append(path, stroke)
        assert read(path).rows == written.rows
    flat = [row for stroke in strokes for row in stroke]
    assert said(list(read(path).rows)) == said(flat)
    assert all(
        now.when == row.when for now, row in zip(read(path).rows, flat, strict=True) if row.when is not None
    )
    if strokes:
        with path.open(newline="", encoding="utf-8") as stream:
            assert [row["path"] for row in csv.DictReader(stream)] == [row.path for row in flat]


def test_the_newest_time_holds_and_of_one_time_the_last_in_the_file(path: Path) -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    rows = [
        Row("a", "cat", "ann", late),
        Row("a", "dog", "bob", early),
        Row("b", "cat", "ann", early),
        Row("b", "dog", "bob", early),
        Row("c", "", "ann", late),
    ]
    journal = append(path, rows)
    assert journal.labels == {"a": "cat", "b": "dog"}
    assert journal.history("a") == [rows[1], rows[0]]


@given(rows=st.lists(st.builds(Row, st.sampled_from("abc"), CLASSES, st.just("ann"), TIMES), max_size=12))
def test_the_order_of_rows_matters_only_within_one_time(rows: list[Row]) -> None:
    distinct = list({row.when: row for row in rows}.values())
    assert journal_of(Path(), distinct).current == journal_of(Path(), distinct[::-1]).current
    assert by_time(by_time(rows)) == by_time(rows)


def test_words_for_no_class_are_kept_apart(path: Path) -> None:
    journal = append(
        path, [Row("a", "cat", "ann"), Row("b", "?", "ann"), Row("c", "!", "ann"), Row("d", "", "ann")]
    )
    assert (journal.labels, journal.cannot_tell, journal.unusable) == ({"a": "cat"}, ["b"], ["c"])
    assert journal.classes == {"cat": 1}


def test_what_is_said_last_holds_though_the_clock_was_put_back(path: Path) -> None:
    ahead = datetime.now(UTC) + timedelta(days=400)
    append(path, [Row("a", "cat", "ann", ahead)])
    assert append(path, [Row("a", "dog", "ann")]).labels == {"a": "dog"}


@fresh
@given(
    before=st.lists(ROWS, min_size=1, max_size=3),
    torn=st.lists(ROWS, min_size=1, max_size=3),
    share=st.floats(0, 1),
    zeros=st.integers(0, 3),
)
def test_a_writer_killed_in_the_middle_costs_no_row_of_before_and_none_of_after(
    path: Path, before: list[Row], torn: list[Row], share: float, zeros: int
) -> None:
    path.unlink(missing_ok=True)
    kept = append(path, before).rows
    whole = path.stat().st_size
    entire = append(path, torn).rows
    content = path.read_bytes()
    cut = whole + int(share * (len(content) - whole))
    path.write_bytes(content[:cut] + b"\0" * zeros)
    found = read(path).rows
    known = [replace(row, confidence=None) for row in entire]  # the last digits of which may be cut off
    assert [replace(row, confidence=None) for row in found] == known[: len(found)]
    assert len(found) >= len(kept)
    after = append(path, [Row("after", "cat", "ann")]).rows
    assert after[:-1] == found
    assert read(path).rows == after
    assert b"\0" not in path.read_bytes()


@pytest.mark.parametrize("length", range(len(HEADER)))
def test_a_writer_killed_in_the_first_line_leaves_an_empty_journal(path: Path, length: int) -> None:
    path.write_text(HEADER[:length])
    assert read(path).rows == ()
    assert append(path, [Row("a", "cat", "ann")]).labels == {"a": "cat"}
    assert path.read_text().startswith(HEADER)


def test_a_last_line_that_an_editor_left_without_its_end_counts(path: Path) -> None:
    path.write_text(HEADER + "a,cat,ann,2026-01-01T00:00:00Z,")
    assert read(path).labels == {"a": "cat"}
    assert append(path, [Row("b", "dog", "ann")]).labels == {"a": "cat", "b": "dog"}
    assert len(path.read_text().splitlines()) == 3


def test_a_line_that_is_not_whole_is_passed_over_with_a_word(path: Path) -> None:
    path.write_text(HEADER + "a,cat,ann,2026-01-01T00:00:00Z,\nb,do")
    assert read(path).labels == {"a": "cat"}
    assert "not whole" in read(path).remarks[0]


def test_no_more_than_a_row_is_ever_taken_away(path: Path) -> None:
    path.write_text(
        HEADER + 'a,"cat,ann,2026-01-01T00:00:00Z,\n' + "b,dog,ann,2026-01-01T00:00:00Z,\n" * 2000
    )
    before = path.read_bytes()
    with pytest.raises(UserError, match="double quote"):
        append(path, [Row("c", "cat", "ann")])
    assert path.read_bytes() == before


def test_a_journal_that_a_spreadsheet_saved_is_read_and_grows_as_it_is_written(path: Path) -> None:
    text = (
        'note;path;class;by;when\r\nsharp;./i/a.jpg;"cat; big";ann;2026-01-01 10:00:00\r\n;b.jpg;dog;ann;\r\n'
    )
    path.write_bytes(text.encode("utf-8-sig"))
    journal = read(path)
    assert journal.labels == {"i/a.jpg": "cat; big", "b.jpg": "dog"}
    assert "1 rows have no time" in journal.remarks[0]
    journal = append(path, [Row("b.jpg", "cat; big", "bob")])
    assert read(path).labels == journal.labels == {"i/a.jpg": "cat; big", "b.jpg": "cat; big"}
    assert path.read_text().splitlines()[-1].startswith(';b.jpg;"cat; big";bob;')


@pytest.mark.parametrize("text", ["path,label\na.jpg,cat\n", "path,label", "something of mine", "\n\n"])
def test_another_table_of_this_name_is_refused_and_left_alone(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError, match="no journal"):
        read(path)
    with pytest.raises(UserError, match="no journal"):
        append(path, [Row("a", "cat", "ann")])
    assert path.read_text() == text


def test_a_name_that_no_table_can_hold_is_refused(path: Path) -> None:
    with pytest.raises(UserError, match="table can hold"):
        append(path, [Row("a\udcff.jpg", "cat", "ann")])
    assert not path.exists()


def test_a_link_or_a_pipe_is_never_written(path: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.csv"
    elsewhere.write_text(HEADER)
    path.symlink_to(elsewhere)
    with pytest.raises(OSError):
        append(path, [Row("a", "cat", "ann")])
    assert elsewhere.read_text() == HEADER


def test_a_full_disk_leaves_the_journal_as_it_was(path: Path) -> None:
    append(path, [Row("a", "cat", "ann")])
    before = path.read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from workbench.labels.journal import Row, append\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) + 100},) * 2)\n"
        "append(Path(sys.argv[1]), [Row(f'{i}.jpg', 'cat', 'ann') for i in range(50)])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert "OSError" in done.stderr
    assert path.read_bytes() == before
    assert MOST_BYTES > 10**8


_WRITER = """
import sys
from pathlib import Path
from workbench.labels.journal import Row, append
path, by = Path(sys.argv[1]), sys.argv[2]
for number in range(40):
    append(path, [Row(f"{by}-{number}-{i}", "a\\nb" if i else "cat", by) for i in range(3)])
"""


def test_no_row_is_lost_where_several_processes_write_at_once(path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(path), name]) for name in ("ann", "bob", "cas")
    ]
    while any(writer.poll() is None for writer in writers):
        for row in read(path).rows:  # never half a row, at any moment
            assert row.class_name in ("cat", "a\nb")
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    journal = read(path)
    assert len(journal.labels) == 3 * 40 * 3
    times = [row.when for row in journal.rows]
    assert times == sorted(times, key=lambda when: when or datetime.min.replace(tzinfo=UTC))
    assert len(set(times)) == 3 * 40
    assert [entry.name for entry in path.parent.iterdir()] == ["labels.csv"]
