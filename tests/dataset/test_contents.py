"""Contents: a file is read once, and again as soon as anything about it is other than it was."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench.dataset import contents
from workbench.dataset.contents import MISSING, Content, content_of, read_contents, still_holds
from workbench.dataset.depth import Deep


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """Five files of one length."""
    folder = tmp_path / "in"
    folder.mkdir()
    found = [folder / f"{i}.bin" for i in range(5)]
    for i, path in enumerate(found):
        path.write_bytes(bytes([i]) * 100)
    return found


@pytest.fixture
def read(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were read, all of them settled: as if they had been written long ago."""
    seen: list[Path] = []

    def noted(path: Path) -> Content:
        seen.append(path)
        return content_of(path)

    monkeypatch.setattr(contents, "content_of", noted)
    monkeypatch.setattr(contents, "SETTLED_NS", -(10**18))
    return seen


def _found(paths: list[Path], tmp_path: Path) -> list[str]:
    return [content.digest for content in read_contents(paths[0].parent, paths, cache=tmp_path / "cache")]


def test_a_second_start_reads_nothing(paths: list[Path], read: list[Path], tmp_path: Path) -> None:
    first = _found(paths, tmp_path)
    assert first == [hashlib.blake2b(p.read_bytes(), digest_size=16).hexdigest() for p in paths]
    assert sorted(read) == paths
    assert _found(paths, tmp_path) == first
    assert len(read) == 5


def test_only_what_changed_is_read_however_well_the_change_hides(
    paths: list[Path], read: list[Path], tmp_path: Path
) -> None:
    first = _found(paths, tmp_path)
    for path, how in zip(paths, ("in place", "replaced", "exchanged"), strict=False):
        status = path.stat()
        changed = b"x" * 100
        if how == "in place":
            path.write_bytes(changed)
        else:
            other = path.with_suffix(".new")
            other.write_bytes(changed)
            other.replace(path)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    read.clear()
    second = _found(paths, tmp_path)
    assert sorted(read) == paths[:3]
    assert second[3:] == first[3:]
    assert set(second[:3]) == {hashlib.blake2b(b"x" * 100, digest_size=16).hexdigest()}


def test_a_file_that_has_just_changed_is_not_trusted_next_time(
    paths: list[Path], read: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "SETTLED_NS", 10**18)  # the file's times have not settled yet
    first = _found(paths, tmp_path)
    assert _found(paths, tmp_path) == first
    assert len(read) == 10


def test_a_damaged_index_costs_reading_and_nothing_else(
    paths: list[Path], read: list[Path], tmp_path: Path
) -> None:
    first = _found(paths, tmp_path)
    (kept,) = (tmp_path / "cache" / "contents").iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", whole[:-1], whole.replace(bytes.fromhex(first[0]), bytes.fromhex(first[1])), b"[]"):
        kept.write_bytes(damaged)
        read.clear()
        assert _found(paths, tmp_path) == first
        assert len(read) == 5
    kept.unlink()
    kept.mkdir()
    assert _found(paths, tmp_path) == first
    assert kept.read_bytes() == whole


def test_several_may_read_at_once(paths: list[Path], read: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: tuple(_found(paths, tmp_path)), range(12)))
    assert len(set(found)) == 1
    read.clear()
    _found(paths, tmp_path)
    assert read == []


def test_what_cannot_be_read_is_missing_until_it_can(paths: list[Path], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    content = content_of(tmp_path / "pipe")
    assert content == content_of(tmp_path / "nowhere") == Content(MISSING, None)
    held = content_of(paths[0])
    assert still_holds(paths[0], held)
    paths[0].touch()
    assert still_holds(paths[0], held)  # another time, the same content
    paths[0].write_bytes(b"y" * 100)
    assert not still_holds(paths[0], held)
    assert not still_holds(tmp_path / "nowhere", held)


def test_the_values_of_deep_pictures_are_kept_too(tmp_path: Path, read: list[Path]) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 700, dtype=np.uint16)).save(path)
    for _ in range(2):
        (content,) = read_contents(tmp_path, [path], cache=tmp_path / "cache")
        assert content.deep == Deep("whole", 700.0, 700.0)
    assert read == [path]
