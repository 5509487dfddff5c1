"""The ledger and the predictions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.runs.ledger import PseudoLabel, read_ledger, write_ledger
from workbench.runs.predictions import load_predictions, save_predictions
from workbench.support.errors import UserError

numbers = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)
rows = st.builds(
    PseudoLabel,
    id=st.text(st.characters(codec=None), max_size=20),
    pseudo_label=st.text(max_size=20),
    confidence=shares,
    margin=shares,
    entropy=numbers,
    selected=st.booleans(),
    weight=numbers,
    flipped=st.booleans(),
    true_label=st.none() | st.text(min_size=1, max_size=20),
)
ROW = PseudoLabel("Abyssinian_1", "Bengal", 0.9, 0.8, 0.3, True, 1.0, False, "Abyssinian")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(ledger=st.lists(rows, max_size=5))
def test_any_ledger_comes_back_as_it_was_written(tmp_path: Path, ledger: list[PseudoLabel]) -> None:
    path = tmp_path / "pseudo" / "round-01.csv"
    write_ledger(path, ledger)
    assert read_ledger(path) == ledger


@pytest.mark.parametrize(
    "name", ["a,b", 'say "cheese"', "two\nlines", "lone\rreturn", "\r\n", "\udcff\ud800.jpg", "=1+1", " x "]
)
def test_awkward_names_survive(tmp_path: Path, name: str) -> None:
    path = tmp_path / "round-01.csv"
    row = PseudoLabel(name, name, 0.5, 0.1, 0.2, False, 0.0, True, None)
    write_ledger(path, [row, ROW])
    assert read_ledger(path) == [row, ROW]


def test_the_ledger_is_a_plain_table(tmp_path: Path) -> None:
    path = tmp_path / "round-01.csv"
    write_ledger(path, [ROW])
    assert path.read_text().splitlines() == [
        "id,pseudo_label,confidence,margin,entropy,selected,weight,flipped,true_label",
        "Abyssinian_1,Bengal,0.9,0.8,0.3,1,1.0,0,Abyssinian",
    ]


@pytest.mark.parametrize("text", ["", "a,b\n", "\x00", "x" * 200_000])
def test_a_file_that_is_no_ledger_is_told_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "round-01.csv"
    path.write_text(text)
    with pytest.raises(UserError, match="ledger"):
        read_ledger(path)


@pytest.mark.parametrize("line", ["a,b", "a,b,x,0,0,1,1,0,", "a,b,1,0,0,yes,1,0,"])
def test_a_damaged_row_is_told_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "round-01.csv"
    write_ledger(path, [ROW])
    with path.open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UserError, match=r"round-01.csv:3"):
        read_ledger(path)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_predictions_come_back_as_float32_with_every_id(tmp_path: Path, dtype: type[np.float32]) -> None:
    path = tmp_path / "predictions" / "test.npz"
    probabilities = np.array([[0.25, 0.75], [1.0, 0.0]], dtype=dtype)
    save_predictions(path, ["a,b", "猫\udcff"], probabilities, np.array([1, -1]))
    loaded = load_predictions(path)
    assert loaded.ids == ("a,b", "猫\udcff")
    assert loaded.probabilities.dtype == np.float32
    np.testing.assert_array_equal(loaded.probabilities, probabilities)
    np.testing.assert_array_equal(loaded.labels, [1, -1])
    assert [p.name for p in path.parent.iterdir()] == ["test.npz"]


def test_predictions_of_different_lengths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="do not agree"):
        save_predictions(tmp_path / "x.npz", ["a"], np.zeros((2, 2), np.float32), np.array([1, 1]))


def test_damaged_predictions_are_one_message(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    for content in (b"", b"not a zip", b"PK\x03\x04 cut short"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="damaged predictions"):
            load_predictions(path)
    with path.open("wb") as stream:
        np.savez(stream, ids=np.array(["a"]), probabilities=np.zeros((2, 2)), labels=np.array([1]))
    with pytest.raises(UserError, match="do not agree"):
        load_predictions(path)


def test_a_ledger_or_predictions_of_another_run_are_told(tmp_path: Path) -> None:
    probabilities = np.array([[0.25, 0.75]], dtype=np.float32)
    for name, label in (("mine", "a"), ("other", "b")):
        (tmp_path / name).mkdir()
        write_ledger(tmp_path / name / "pseudo" / "round-01.csv", [replace(ROW, pseudo_label=label)])
        save_predictions(tmp_path / name / "predictions" / "test.npz", [label], probabilities, np.array([1]))
    for part in ("pseudo/round-01.csv", "predictions/test.npz"):
        shutil.copy(tmp_path / "other" / part, tmp_path / "mine" / part)
    with pytest.raises(UserError, match="damaged ledger: it is not the file that was written"):
        read_ledger(tmp_path / "mine" / "pseudo" / "round-01.csv")
    with pytest.raises(UserError, match="damaged predictions: it is not the file that was written"):
        load_predictions(tmp_path / "mine" / "predictions" / "test.npz")
