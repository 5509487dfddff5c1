"""Thumbnails on disk: made once, made anew for another file, never more than allowed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench.support.caches import write_sealed
from workbench.tui.pictures.thumbnails import Thumbnail, Thumbnails
from workbench.tui.pictures.tiling import CAPTION_LINES, tiling


def make_image(
    path: Path, colour: tuple[int, int, int] = (200, 40, 40), size: tuple[int, int] = (200, 100)
) -> Path:
    """A file of one colour."""
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where copies are kept."""
    return tmp_path / "kept"


def copies(folder: Path) -> list[Path]:
    """The files there are."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_a_thumbnail_has_the_files_colours_in_its_proportions(tmp_path: Path, folder: Path) -> None:
    found = Thumbnails(folder).one(make_image(tmp_path / "a.png"), 20, 20)
    assert found.pixels is not None
    assert (found.pixels.width, found.pixels.rows) == (20, 5)
    assert all(abs(a - b) <= 6 for a, b in zip(found.pixels.rgb, (200, 40, 40) * 200, strict=True))


def test_the_second_time_it_comes_from_the_copy(tmp_path: Path, folder: Path) -> None:
    path = make_image(tmp_path / "a.png")
    first = Thumbnails(folder).one(path, 20, 20)
    (copy,) = copies(folder)
    stream = io.BytesIO()
    Image.new("RGB", (48, 24), (0, 0, 250)).save(stream, "JPEG")
    write_sealed(copy, stream.getvalue())
    second = Thumbnails(folder).one(path, 20, 20)
    assert first.pixels is not None
    assert second.pixels is not None
    assert second.pixels.rgb[2] > 200  # what the copy says, not the file


def test_nearby_sizes_share_a_copy_and_large_ones_get_their_own(tmp_path: Path, folder: Path) -> None:
    path = make_image(tmp_path / "a.png", size=(500, 400))
    thumbnails = Thumbnails(folder)
    for columns in (15, 18, 22, 30):
        thumbnails.one(path, columns, columns // 2)
    assert len(copies(folder)) == 1
    thumbnails.one(path, 100, 50)
    assert len(copies(folder)) == 2


def test_a_replaced_file_gets_a_new_thumbnail(tmp_path: Path, folder: Path) -> None:
    path = make_image(tmp_path / "a.png")
    Thumbnails(folder).one(path, 10, 10)
    make_image(path, (0, 250, 0))
    os.utime(path, ns=(1, 1))
    found = Thumbnails(folder).one(path, 10, 10)
    assert found.pixels is not None
    assert found.pixels.rgb[1] > 200


def test_a_damaged_copy_is_made_again(tmp_path: Path, folder: Path) -> None:
    path = make_image(tmp_path / "a.png")
    Thumbnails(folder).one(path, 10, 10)
    (copy,) = copies(folder)
    for damage in (b"", b"\xff\xd8 cut", copy.read_bytes()[:200]):
        copy.write_bytes(damage)
        found = Thumbnails(folder).one(path, 10, 10)
        assert found.pixels is not None
        assert found.pixels.rgb[0] > 150
        assert len(copy.read_bytes()) > 300


def test_unreadable_files_say_why(tmp_path: Path, folder: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"nothing")
    found = {one.path.name: one for one in Thumbnails(folder).many([broken, tmp_path / "gone.jpg"], 10, 10)}
    assert found["broken.jpg"].pixels is None
    assert "not an image" in found["broken.jpg"].reason
    assert "No such file" in found["gone.jpg"].reason
    assert copies(folder) == []


def test_a_folder_that_cannot_be_written_costs_no_pictures(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    assert Thumbnails(blocked).one(make_image(tmp_path / "a.png"), 10, 10).pixels is not None


def test_many_come_each_once_and_stop_when_told(tmp_path: Path, folder: Path) -> None:
    paths = [make_image(tmp_path / f"{n}.png") for n in range(12)]
    thumbnails = Thumbnails(folder)
    assert sorted(one.path for one in thumbnails.many(paths, 10, 10)) == sorted(paths)
    seen: list[Thumbnail] = []
    for one in thumbnails.many(paths, 10, 10, stopped=lambda: len(seen) >= 3):
        seen.append(one)
    assert len(seen) == 3


def test_what_was_unused_longest_goes_when_there_is_too_much(tmp_path: Path, folder: Path) -> None:
    thumbnails = Thumbnails(folder)
    for number in range(10):
        thumbnails.one(make_image(tmp_path / f"{number}.png", (25 * number, 90, 90)), 10, 10)
    kept = copies(folder)
    for age, copy in enumerate(kept):
        os.utime(copy, (1_000 + age, 1_000 + age))
    total = sum(copy.stat().st_size for copy in kept)
    small = Thumbnails(folder, max_bytes=total // 2)
    small.sweep()
    left = copies(folder)
    assert left == kept[-len(left) :]
    assert 0 < sum(copy.stat().st_size for copy in left) <= total // 2
    small.sweep()
    assert copies(folder) == left


@given(st.integers(1, 400), st.integers(1, 120), st.booleans())
def test_tiles_lie_within_their_place(width: int, height: int, pictures: bool) -> None:
    lay = tiling(width, height, pictures=pictures)
    assert lay.per_page >= 1
    assert lay.picture_columns >= 1
    assert lay.columns * lay.tile_width <= max(width, 2)
    if height >= CAPTION_LINES + 1:
        assert lay.rows * lay.tile_height <= height
    for index in range(lay.per_page):
        x, y = index % lay.columns * lay.tile_width, index // lay.columns * lay.tile_height
        assert lay.at(x, y) == lay.at(x + lay.tile_width - 1, y + lay.tile_height - 1) == index


def test_the_sizes_that_screens_are_designed_for() -> None:
    narrow, wide = tiling(80, 18), tiling(104, 42)
    assert (narrow.columns, narrow.rows, narrow.picture_rows) == (5, 2, 6)
    assert (wide.columns, wide.rows, wide.picture_rows) == (5, 4, 7)
