"""Files of predictions: rows that come back, a kill at any byte, files that are not to be gone on with."""

from __future__ import annotations

import csv
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.runs.prediction_file import COLUMNS, Form, Origin, PredictionRow, made_by, open_prediction_file
from workbench.support.errors import UserError

ORIGIN = Origin(
    run="20261129-101010-cats-0a1b",
    model="model",
    weights_sha256="ab" * 32,
    temperature=1.25,
    sure=0.95,
    threshold=0.75,
    sets_promise=0.95,
    top=2,
    sorted_into=None,
    copies=False,
)
ROWS = [
    PredictionRow("a/b.jpg", "cat", 0.987654321, "cat", (), (("cat", 0.987654321), ("dog, small", 0.01))),
    PredictionRow("c.jpg", "unsure", 0.5, "cat", ("cat", "dog, small"), (("cat", 0.5),)),
    PredictionRow('odd "x",\n\x1b[2J.jpg', None, error="not an image"),
    PredictionRow("=1+1.jpg", "dog, small", 1.0, "dog, small"),
]
FORMS: list[Form] = ["csv", "jsonl"]


def written(path: Path, form: Form, rows: list[PredictionRow], origin: Origin = ORIGIN) -> int:
    """How many it had before."""
    file = open_prediction_file(path, form, origin, f"--{form}")
    file.write(rows)
    file.close()
    return file.rows_before


def test_csv_has_the_columns_that_are_documented(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    written(path, "csv", ROWS)
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert tuple(rows[0]) == COLUMNS == ("path", "class", "confidence", "guess", "set", "error")
    assert [row["class"] for row in rows] == ["cat", "unsure", "", "dog, small"]
    assert [row["confidence"] for row in rows] == ["0.987654", "0.5", "", "1.0"]
    assert rows[1]["set"] == "cat|dog, small"
    assert rows[2]["error"] == "not an image"
    assert [row["path"] for row in rows] == ["a/b.jpg", "c.jpg", r'odd "x",\n\x1b[2J.jpg', "'=1+1.jpg"]
    assert path.read_bytes().count(b"\r\n") == 5  # a row is a line, whatever the name


def test_json_lines_are_exact(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    odd = PredictionRow(os.fsdecode(b"\xff.jpg"), "cat", 0.1, "cat")
    written(path, "jsonl", [*ROWS, odd])
    told = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert [one["path"] for one in told] == [row.path for row in [*ROWS, odd]]
    assert told[0] == {
        "path": "a/b.jpg",
        "class": "cat",
        "confidence": 0.987654321,
        "guess": "cat",
        "set": [],
        "top": [{"class": "cat", "probability": 0.987654321}, {"class": "dog, small", "probability": 0.01}],
        "error": None,
    }
    assert told[2]["class"] is None
    assert set(told[2]) == set(told[0])


@pytest.mark.parametrize("form", FORMS)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_that_was_cut_at_any_byte_is_gone_on_with(
    tmp_path: Path, form: Form, data: st.DataObject
) -> None:
    whole, cut = tmp_path / f"whole.{form}", tmp_path / f"cut.{form}"
    for path in (whole, cut, made_by(whole), made_by(cut)):
        path.unlink(missing_ok=True)
    written(whole, form, ROWS)
    content = whole.read_bytes()
    length = data.draw(st.integers(0, len(content)))
    written(cut, form, ROWS)
    os.truncate(cut, length)
    before = written(cut, form, ROWS)
    lines = content[:length].count(b"\n") - (form == "csv")
    assert before == max(0, lines)
    assert cut.read_bytes() == content


@pytest.mark.parametrize("form", FORMS)
def test_a_picture_has_one_row(tmp_path: Path, form: Form) -> None:
    path = tmp_path / "out"
    written(path, form, ROWS[:2])
    file = open_prediction_file(path, form, ORIGIN, "--csv")
    assert [file.lacks(Path(row.path)) for row in ROWS] == [False, False, True, True]
    file.write(ROWS)
    file.write(ROWS)
    file.close()
    assert written(path, form, []) == 4


def test_a_file_that_was_made_otherwise_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    written(path, "csv", ROWS)
    before = path.read_bytes()
    with pytest.raises(UserError, match=r"sure 0\.95, now 0\.9; threshold 0\.75, now none") as caught:
        written(path, "csv", [], replace(ORIGIN, sure=0.9, threshold=None))
    assert "name another file, or remove it and out.csv.made-by.json" in caught.value.hint
    with pytest.raises(UserError, match="run '20261129-101010-cats-0a1b', now 'other'"):
        written(path, "csv", [], replace(ORIGIN, run="other"))
    made_by(path).write_text("{")
    with pytest.raises(UserError, match="made-by"):
        written(path, "csv", [])
    made_by(path).unlink()
    with pytest.raises(UserError, match="nothing tells that petbench predict made it"):
        written(path, "csv", [])
    assert path.read_bytes() == before


@pytest.mark.parametrize(("form", "text"), [("csv", "path,class\n"), ("csv", "a\n"), ("jsonl", "{}\n")])
def test_a_file_of_other_rows_is_refused_by_its_line(tmp_path: Path, form: Form, text: str) -> None:
    path = tmp_path / "out"
    written(path, form, ROWS)
    path.write_text(text)
    with pytest.raises(UserError, match="line 1 is no prediction"):
        written(path, form, [])
    assert path.read_text() == text


def test_two_commands_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    first = open_prediction_file(path, "csv", ORIGIN, "--csv")
    with pytest.raises(UserError, match="another command is writing it"):
        open_prediction_file(path, "csv", ORIGIN, "--csv")
    first.close()
    assert written(path, "csv", ROWS) == 0


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(path.read_bytes()))
    reader.start()
    file = open_prediction_file(path, "csv", ORIGIN, "--csv")
    file.write(ROWS)
    file.stream.close()
    reader.join()
    assert read[0].startswith(b"path,class,")
    assert not made_by(path).exists()
