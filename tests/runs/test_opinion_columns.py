"""Opinions by columns say the same as opinions one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.runs.doubt import Choice, Doubt, choose, rank
from workbench.runs.image_ids import ImageIds
from workbench.runs.ledger import PseudoLabel, read_ledger_columns, write_ledger
from workbench.runs.opinion_columns import Opinion, OpinionRows
from workbench.runs.opinions import Opinions
from workbench.runs.predictions import load_predictions, open_predictions, save_predictions
from workbench.support import csv_columns
from workbench.support.errors import UserError

NAMES = ("Bengal", "beagle", "pug")
shares = st.floats(0, 1)
texts = st.lists(st.text(st.characters(codec=None), max_size=6), unique=True, max_size=12)


@st.composite
def opinions(draw: st.DrawFn) -> list[Opinion]:
    """Of images with distinct ids; every field that may be missing is, now and then."""
    names = st.sampled_from(NAMES)
    return [
        Opinion(
            id=id_,
            said=draw(names),
            second=draw(st.none() | names),
            confidence=draw(shares),
            margin=draw(shares),
            entropy=draw(shares),
            true=draw(st.none() | names),
            selected=draw(st.none() | st.booleans()),
            flipped=draw(st.none() | st.booleans()),
            disagreement=draw(st.none() | shares),
            flips=draw(st.none() | st.integers(0, 3)),
            self_confidence=draw(st.none() | shares),
            label_margin=draw(st.none() | shares),
            issue=draw(st.none() | st.booleans()),
            too_few=draw(st.none() | st.integers(1, 4)),
            twin=draw(st.none() | st.just("another")),
        )
        for id_ in draw(texts)
    ]


@given(opinions())
def test_opinions_come_back_from_their_columns(rows: list[Opinion]) -> None:
    found = OpinionRows.of(rows)
    assert found == rows
    assert found[1:] == rows[1:]
    assert [type(row.issue) for row in found] == [type(row.issue) for row in rows]
    assert found.ids() == [row.id for row in rows]
    assert [found.position(row.id) for row in rows] == list(range(len(rows)))
    assert {name: count for name, count in found.images_of.items() if count} == {
        name: count for name in NAMES if (count := sum(name in (row.said, row.true) for row in rows))
    }


@given(opinions(), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.data())
def test_chosen_rows_are_those_of_which_every_condition_holds(
    rows: list[Opinion], wrong: bool, selected: bool, flipped: bool, issues: bool, data: st.DataObject
) -> None:
    name = data.draw(st.none() | st.sampled_from(NAMES))
    pair = data.draw(st.none() | st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)))
    choice = Choice(wrong, selected, flipped, name, pair, issues)
    assert list(choose(Opinions(OpinionRows.of(rows), NAMES), choice)) == [
        row
        for row in rows
        if (not wrong or row.wrong)
        and (not selected or row.selected)
        and (not flipped or row.flipped)
        and (name is None or name in (row.said, row.true))
        and (pair is None or pair == (row.true, row.said))
        and (not issues or row.issue or row.too_few or row.twin)
    ]


@given(opinions(), st.sampled_from(Doubt), st.booleans())
def test_rows_are_ranked_as_one_would_sort_them(
    rows: list[Opinion], doubt: Doubt, surest_first: bool
) -> None:
    sign = 1 if surest_first else -1

    def place(row: Opinion) -> tuple[bool, float, float, float]:
        value = doubt.of(row)
        sound = (0 if row.issue else 1 if row.too_few else 2) if doubt.judges_labels else 0
        second = row.confidence if doubt is Doubt.FLIPS else 0.0
        return value is None, -sign * sound, sign * (value or 0.0), -sign * second

    assert list(rank(rows, doubt, surest_first=surest_first)) == sorted(rows, key=place)


@given(texts, texts)
def test_an_id_is_found_where_it_is(ids: list[str], others: list[str]) -> None:
    found = ImageIds.of(ids)
    assert list(found) == ids == found[:]
    assert found.places(others).tolist() == [ids.index(one) if one in ids else -1 for one in others]
    assert (found == ImageIds.of(others)) == (ids == others)
    whole = [one.rstrip("\0") for one in ids]  # numpy's text ends where only NULs follow
    assert list(ImageIds.of_array(np.array(ids, dtype=np.str_))) == whole


@given(st.lists(st.lists(st.sampled_from(["", "a", "b c", "é", "0"]), min_size=3, max_size=3), max_size=9))
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_cut_apart_are_those_that_are_read(end: str, rows: list[list[str]]) -> None:
    content = end.join(",".join(row) for row in [["x", "y", "z"], *rows]).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_columns, "_BYTES", 5)
        cut = list(csv_columns.csv_columns(content, 3))
    quoted = content.replace(b"x", b'"x"', 1)
    read = list(csv_columns.csv_columns(quoted, 3))
    for place in range(3):
        cells = [row[place].encode() for row in rows]
        assert [cell for piece in cut for cell in piece.cells(place)] == cells
        assert [cell for piece in read for cell in piece.cells(place)] == cells
        for pieces in (cut, read):
            if all(len(cell) == 1 for cell in cells):
                assert [chr(one) for piece in pieces for one in piece.letters(place)] == [
                    row[place] for row in rows
                ]
            else:
                with pytest.raises(ValueError, match="letter"):
                    [piece.letters(place) for piece in pieces]


@pytest.mark.parametrize("rows", [b"a,b\n", b"a,b,c,d\n", b"a\nb,c,d,e,f\n", b"\n", b"a,b,c\n\r\n"])
def test_rows_of_other_lengths_are_refused_either_way(rows: bytes) -> None:
    for header in (b"x,y,z\n", b'"x",y,z\n'):
        with pytest.raises(ValueError, match="several lengths"):
            list(csv_columns.csv_columns(header + rows, 3))


def test_only_what_is_asked_of_a_ledger_is_read(tmp_path: Path) -> None:
    path = tmp_path / "round-01.csv"
    rows = [PseudoLabel(f"{n}.jpg", "pug", 0.5, 0.1, 0.2, False, 0.0, n % 2 == 0, None) for n in range(4)]
    write_ledger(path, rows)
    path.write_bytes(path.read_bytes().replace(b"0.1", b"x.1"))
    (tmp_path.parent / "SHA256SUMS").unlink()
    found = read_ledger_columns(path, only=frozenset(["flipped"]))
    assert list(found.ids) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert {name: column.tolist() for name, column in found.columns.items()} == {
        "flipped": [True, False, True, False]
    }
    with pytest.raises(UserError, match=r"round-01.csv:2"):
        read_ledger_columns(path)


def test_a_row_of_predictions_is_read_alone_until_their_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "predictions" / "test.npz"
    shares = np.random.default_rng(0).dirichlet(np.ones(5), 20).astype(np.float16)
    ids = [f"{n}.jpg" for n in range(20)]
    save_predictions(path, ids, np.asfortranarray(shares), np.arange(20) % 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workbench.runs.predictions._BLOCK", 35)  # seven rows
        saved = open_predictions(path)
        assert [rows for rows, _ in saved.blocks()] == [slice(0, 7), slice(7, 14), slice(14, 20)]
        loaded = load_predictions(path)
    np.testing.assert_array_equal(loaded.probabilities, shares.astype(np.float32))
    for place in (0, 13, 19):
        row = saved.row(place)
        assert row is not None
        np.testing.assert_array_equal(row, loaded.probabilities[place])
    save_predictions(path, ids[:7], shares[:7], np.arange(7) % 5)
    assert saved.row(3) is None
    with pytest.raises(UserError, match="changed"):
        next(saved.blocks())
