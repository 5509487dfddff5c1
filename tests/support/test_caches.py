"""Caches: what was written comes back, or it is said to be damaged; nothing else is ever read."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.support import caches
from workbench.support.caches import (
    DamagedCache,
    discard,
    locked_cache,
    map_table,
    read_json_cache,
    read_sealed,
    sealed,
    table_header,
    write_json_cache,
    write_sealed,
)

Put = Callable[[Path], object]


def _directory(path: Path) -> None:
    (path / "with" / "files").mkdir(parents=True)


def _sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 2**40)


IN_THE_WAY: dict[str, Put] = {
    "empty": Path.touch,
    "directory": _directory,
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "loop": lambda path: path.symlink_to(path),
    "sparse": _sparse,
    "nested": lambda path: path.write_bytes(sealed(b"[" * 100_000)),
    "foreign": lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x06\x00{'''"),
}


@pytest.mark.parametrize("put", IN_THE_WAY.values(), ids=IN_THE_WAY.keys())
def test_whatever_lies_in_a_caches_place_it_is_told_and_written_over(tmp_path: Path, put: Put) -> None:
    path = tmp_path / "cache.sealed"
    put(path)
    assert read_json_cache(path) is None
    with pytest.raises(DamagedCache):
        map_table(path, (2, 3), np.uint8)
    write_json_cache(path, {"a": 1})
    assert read_json_cache(path) == {"a": 1}
    discard(path)
    assert read_sealed(path) is None
    assert map_table(path, (2, 3), np.uint8) is None


@given(content=st.binary(max_size=200), data=st.data())
def test_no_change_of_a_sealed_file_passes(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.sealed"
    write_sealed(path, content)
    assert read_sealed(path) == content
    written = path.read_bytes()
    start = data.draw(st.integers(0, len(written)))
    end = data.draw(st.integers(start, len(written)))
    damaged = written[:start] + data.draw(st.binary(max_size=20)) + written[end:]
    path.write_bytes(damaged)
    if damaged == written:
        return
    with pytest.raises(DamagedCache):
        read_sealed(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_cache_that_may_not_be_read_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "cache.sealed"
    write_json_cache(path, 1)
    path.chmod(0)
    assert read_json_cache(path) is None
    write_json_cache(path, 2)
    assert read_json_cache(path) == 2


def test_a_table_is_numpys_own_file_and_of_no_other_shape(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.save(path, table)
    assert path.read_bytes().startswith(table_header((2, 3), np.float32))
    found = map_table(path, (2, 3), np.float32)
    assert found is not None
    np.testing.assert_array_equal(found, table)
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1
    for shape, dtype in (((3, 2), np.float32), ((2, 3), np.int32), ((6,), np.float32)):
        with pytest.raises(DamagedCache, match="header"):
            map_table(path, shape, dtype)
    np.save(path, np.array([[{}] * 3] * 2), allow_pickle=True)
    with pytest.raises(DamagedCache):
        map_table(path, (2, 3), np.float32)


def test_who_finds_a_cache_locked_says_so_and_waits(tmp_path: Path) -> None:
    lock, order, waiting = tmp_path / "lock", [], threading.Event()

    def second() -> None:
        with locked_cache(lock, waiting.set):
            order.append("second")

    with locked_cache(lock, lambda: order.append("waited")):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write_json_cache(tmp_path / "file" / "kind" / "a.sealed", 1)
    assert read_json_cache(tmp_path / "file" / "kind" / "a.sealed") is None
    assert caches.SEALED_LIMIT > 2**28
