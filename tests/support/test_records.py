"""Records come back as they were written, and anything else comes back as nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.support.records import read_record, record_from, write_record


@dataclass(frozen=True, slots=True)
class Thing:
    count: int
    share: float
    name: str
    kind: Literal["a", "b"]
    maybe: int | None
    words: tuple[str, ...] = ()
    on: bool = False


THINGS = st.builds(
    Thing,
    count=st.integers(),
    share=st.floats(allow_nan=False, allow_infinity=False),
    name=st.text(),
    kind=st.sampled_from(["a", "b"]),
    maybe=st.none() | st.integers(),
    words=st.lists(st.text(), max_size=3).map(tuple),
    on=st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
GOOD = {"count": 1, "share": 0.5, "name": "x", "kind": "a", "maybe": None}


@given(THINGS)
def test_a_record_comes_back_as_it_was_written(thing: Thing) -> None:
    assert record_from(json.loads(json.dumps(asdict(thing))), Thing) == thing


def test_a_record_survives_the_disk(tmp_path: Path) -> None:
    thing = Thing(1, 2.0, "ü\x1b", "b", None, ("x",), on=True)
    write_record(tmp_path / "thing.json", thing)
    assert read_record(tmp_path / "thing.json", Thing) == thing


@given(JSON)
def test_other_json_is_refused_or_makes_a_whole_record(values: object) -> None:
    try:
        thing = record_from(values, Thing)
    except ValueError:
        return
    assert isinstance(thing.count, int)


@pytest.mark.parametrize("key", list(GOOD))
@given(value=JSON)
def test_a_value_of_another_type_is_refused(key: str, value: object) -> None:
    try:
        found = getattr(record_from({**GOOD, key: value}, Thing), key)
    except ValueError:
        return
    kinds = {"count": int, "share": float, "name": str, "kind": str, "maybe": int | None}
    assert isinstance(found, kinds[key])
    assert not isinstance(found, bool)


def test_keys_of_a_newer_version_are_passed_over() -> None:
    assert record_from({**GOOD, "colour": "red"}, Thing).name == "x"


@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"[]", b"{}", b'{"count": 1e999}', b"[" * 5000, b" " * 70_000 + b"{}"]
)
def test_a_damaged_file_is_as_if_absent(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "thing.json"
    assert read_record(path, Thing) is None
    path.write_bytes(content)
    assert read_record(path, Thing) is None


def test_a_directory_in_a_records_place_is_as_if_absent(tmp_path: Path) -> None:
    assert read_record(tmp_path, Thing) is None


@pytest.mark.parametrize(("key", "value"), [("count", 8), ("on", True), ("name", "d"), ("maybe", 3)])
def test_a_record_with_another_value_is_damaged(key: str, value: object, tmp_path: Path) -> None:
    path, thing = tmp_path / "thing.json", Thing(7, 0.5, "e", "a", None)
    write_record(path, thing)
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, key: value}))
    assert read_record(path, Thing) is None


def test_a_record_of_before_there_were_checksums_is_believed(tmp_path: Path) -> None:
    path, thing = tmp_path / "thing.json", Thing(7, 0.5, "e", "a", None)
    path.write_text(json.dumps(asdict(thing)))
    assert read_record(path, Thing) == thing
