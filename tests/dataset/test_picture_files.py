"""Pictures as somebody names them: files, folders, patterns, lists, and folders that fill up."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from workbench.dataset.picture_files import FilledFolders, pictures_named
from workbench.support.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jpg", "a.JPG", "deep/er/c.png", "deep/d.jpeg", ".hidden.jpg", ".git/e.jpg", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"picture")
    return tmp_path / "in"


def found(folder: Path, *named: str, listed: bytes | None = None, but: Path | None = None) -> list[str]:
    stream = None if listed is None else io.BytesIO(listed)
    return [os.path.relpath(path, folder) for path in pictures_named(named, stream, but=but)]


def test_a_folder_stands_for_the_pictures_below_it(folder: Path) -> None:
    assert found(folder, str(folder)) == ["a.JPG", "b.jpg", "deep/d.jpeg", "deep/er/c.png"]
    assert found(folder, str(folder), but=folder / "deep") == ["a.JPG", "b.jpg"]


def test_a_pattern_finds_files_and_folders_at_any_depth(folder: Path) -> None:
    assert found(folder, f"{folder}/**/*.png") == ["deep/er/c.png"]
    assert found(folder, f"{folder}/*.jpg", f"{folder}/d*") == ["b.jpg", "deep/d.jpeg", "deep/er/c.png"]
    odd = folder / "a[1].jpg"
    odd.write_bytes(b"picture")
    assert found(folder, str(odd)) == ["a[1].jpg"]  # a file of that name is no pattern


def test_a_picture_that_is_named_twice_comes_once(folder: Path) -> None:
    assert found(folder, str(folder), f"{folder}/b.jpg", f"{folder}/*.jpg") == [
        "a.JPG",
        "b.jpg",
        "deep/d.jpeg",
        "deep/er/c.png",
    ]


@pytest.mark.parametrize("separator", [b"\n", b"\r\n", b"\0"])
def test_a_list_names_pictures_by_lines_or_nul_bytes(folder: Path, separator: bytes) -> None:
    names = [os.fsencode(folder / name) for name in ("b.jpg", "gone\xff.jpg", "deep")]
    listed = separator.join([*names, b""])
    expected = ["b.jpg", "gone\xff.jpg", "deep/d.jpeg", "deep/er/c.png"]
    assert found(folder, "-", listed=listed) == expected
    assert found(folder, "-", listed=listed.removesuffix(separator)) == expected
    assert found(folder, "-", listed=b"") == []


def test_a_list_is_read_as_it_comes(folder: Path) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as stream, os.fdopen(writing, "wb", buffering=0) as source:
        pictures = pictures_named(["-"], stream)
        for name in ("b.jpg", "a.JPG"):
            source.write(os.fsencode(folder / name) + b"\n")
            assert next(pictures) == folder / name
        source.close()
        assert list(pictures) == []


def test_what_finds_no_picture_is_told(folder: Path) -> None:
    told: list[str] = []
    (folder / "empty").mkdir()
    named = [str(folder / "empty"), f"{folder}/*.webp", str(folder / "gone.jpg")]
    assert list(pictures_named(named, empty=told.append)) == [folder / "*.webp", folder / "gone.jpg"]
    assert told == named[:1]


def test_a_watched_folder_tells_a_picture_once_it_has_stopped_growing(folder: Path) -> None:
    watched = FilledFolders.of([str(folder)], but=folder / "deep")
    assert watched.complete() == []
    assert [path.name for path in watched.complete()] == ["a.JPG", "b.jpg"]
    assert watched.complete() == []
    new = folder / "new.jpg"
    with new.open("wb") as stream:
        for _ in range(3):
            stream.write(b"half")
            stream.flush()
            assert watched.complete() == []
    (folder / "nothing.jpg").touch()
    (folder / "nowhere.jpg").symlink_to(folder / "gone.jpg")
    assert watched.complete() == [new]
    assert watched.complete() == []
    (folder / "deep" / "other.jpg").write_bytes(b"picture")
    new.unlink()
    assert watched.complete() == []
    with pytest.raises(UserError, match="is no folder"):
        FilledFolders.of([str(folder / "b.jpg")])
