"""Thumbnails on disk: made once, made anew for another file, never more than allowed."""

from __future__ import annotations

import io
import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from workbench.support.caches import write_sealed
from workbench.tui.pictures import Blocks
from workbench.tui.pictures.thumbnails import Thumbnail, Thumbnails
from workbench.tui.pictures.tile_drawing import Painter, Tile
from workbench.tui.pictures.tiling import CAPTION_LINES, LARGEST, tiling, tiling_of
from workbench.tui.themes import palette_of


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
    assert (found.pixels.columns, found.pixels.rows) == (20, 5)
    assert all(abs(a - b) <= 6 for a, b in zip(found.pixels.rgb, (200, 40, 40) * 400, strict=True))


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
    for columns in (18, 22, 26, 30):
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


@given(st.integers(1, 400), st.integers(1, 120), st.booleans(), st.integers(0, LARGEST))
def test_tiles_lie_within_their_place(width: int, height: int, pictures: bool, zoom: int) -> None:
    lay = tiling(width, height, pictures=pictures, zoom=zoom)
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
    assert (narrow.columns, narrow.rows, narrow.picture_rows) == (3, 2, 7)
    assert (wide.columns, wide.rows, wide.picture_rows) == (5, 4, 7)


@given(st.integers(1, 40), st.integers(20, 300), st.integers(8, 100), st.booleans())
def test_as_many_tiles_as_are_to_be_seen_at_once_lie_within_their_place(
    count: int, width: int, height: int, pictures: bool
) -> None:
    lay = tiling_of(count, width, height, captions=2, pictures=pictures)
    assert lay.columns * lay.tile_width <= width
    assert lay.rows * lay.tile_height <= height
    if lay != tiling(width, height, pictures=pictures):  # else no room for all: pages of the usual size
        assert lay.per_page >= count
        assert lay.per_page - lay.columns < count  # no row is empty


def test_fewer_tiles_are_larger_ones() -> None:
    six, two, one = (tiling_of(count, 57, 18, captions=2) for count in (6, 2, 1))
    assert (six.columns, six.rows, six.picture_columns, six.picture_rows) == (3, 2, 18, 7)
    assert (two.columns, two.picture_columns) == (2, 27)
    assert one.picture_columns > two.picture_columns


def test_a_faint_picture_is_darker_and_no_narrower() -> None:
    words, lay = (Text("a"),), tiling_of(1, 20, 10, captions=2)
    painter = Painter(Style(), palette_of("petbench-dark"), Console())
    line = Strip([Segment("▀" * 19, Style.parse("#ffffff on #c0c0c0"))])
    shown = [
        painter.line(Tile(Path("a.png"), words, "a", faint=faint), [line], (lay.picture_rows - 1) // 2, lay,
                     is_cursor=False, focused=True)
        for faint in (False, True)
    ]  # fmt: skip
    plain, faint = (
        next(segment.style for strip in strips for segment in strip if "▀" in segment.text)
        for strips in shown
    )
    assert plain is not None
    assert faint is not None
    assert str(plain) == "#ffffff on #c0c0c0"
    for one in (faint.color, faint.bgcolor):
        assert one is not None
        assert one.triplet is not None
        assert max(one.triplet) < 0x80  # more than half way to the background
    assert sum(strip.cell_length for strip in shown[0]) == sum(strip.cell_length for strip in shown[1])


@given(st.integers(1, 400), st.integers(1, 120))
def test_a_larger_zoom_never_shows_more_or_smaller_pictures(width: int, height: int) -> None:
    lays = [tiling(width, height, zoom=zoom) for zoom in range(LARGEST + 1)]
    for smaller, larger in pairwise(lays):
        assert larger.columns <= smaller.columns
        assert larger.picture_columns >= smaller.picture_columns


def test_a_small_screen_shows_six_at_most_and_fewer_when_zoomed() -> None:
    assert [tiling(80, 18, zoom=zoom).per_page for zoom in range(LARGEST + 1)] == [6, 2, 1]


def test_finer_blocks_are_drawn_from_a_larger_copy(tmp_path: Path, folder: Path) -> None:
    path = make_image(tmp_path / "a.png", size=(500, 400))
    for blocks in Blocks:
        found = Thumbnails(folder, blocks=blocks).one(path, 20, 8)
        assert found.pixels is not None
        assert found.pixels.blocks is blocks
        assert len(found.pixels.rgb) == 3 * 20 * 8 * blocks.across * blocks.down
    assert [copy.name.rpartition("-")[2] for copy in copies(folder)] == ["48.sealed", "96.sealed"]
