"""The contact sheet, looked at pixel by pixel."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from workbench.dataset import sheet as module
from workbench.dataset.sheet import Tile, Verdict, draw_sheet
from workbench.support.errors import UserError

BLUE = (10, 20, 240)


def tile(path: Path | None, *, id_: str = "Tom_1", verdict: Verdict = "right", label: str = "Tom") -> Tile:
    return Tile(id_, path, label, "41 %", "is Rex", verdict)


def drawn(*tiles: Tile, title: str = "title") -> NDArray[np.int64]:
    """(H, W, 3) of the sheet, on which every image was shown."""
    content, missing = draw_sheet(tiles, title=title)
    assert missing == ()
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(np.int64)


def near(pixels: NDArray[np.int64], colour: tuple[int, int, int]) -> NDArray[np.bool_]:
    """(H, W) where the colour is, or nearly."""
    found: NDArray[np.bool_] = np.abs(pixels - np.array(colour)).max(axis=2) < 12
    return found


@pytest.fixture
def blue(tmp_path: Path) -> Path:
    """A picture twice as wide as high, all blue."""
    Image.new("RGB", (100, 50), BLUE).save(tmp_path / "blue.png")
    return tmp_path / "blue.png"


def test_an_image_keeps_its_proportions(blue: Path) -> None:
    rows, columns = np.nonzero(near(drawn(tile(blue, verdict="unknown")), BLUE))
    assert int(np.ptp(columns)) + 1 == module._THUMBNAIL
    assert int(np.ptp(rows)) + 1 == module._THUMBNAIL // 2


def test_every_image_has_its_place_and_the_grid_is_wider_than_high(blue: Path) -> None:
    pixels = drawn(*[tile(blue, verdict="unknown")] * 12)
    assert near(pixels, BLUE).sum() == 12 * module._THUMBNAIL**2 // 2
    assert pixels.shape[1] > pixels.shape[0]
    assert drawn(tile(blue)).shape[1] < 400


def test_right_and_wrong_differ_in_colour_and_in_sign(blue: Path) -> None:
    right, wrong, unknown = (drawn(tile(blue, verdict=verdict)) for verdict in ("right", "wrong", "unknown"))
    colours = module._VERDICT_COLOURS
    assert near(right, colours["right"]).any()
    assert not near(right, colours["wrong"]).any()
    assert near(wrong, colours["wrong"]).any()
    assert not near(unknown, colours["right"]).any()
    # White is in the signs alone: without colour a tick and a cross still differ.
    tick, cross = ((pixels == 255).all(axis=2) for pixels in (right, wrong))
    assert (tick & ~cross).sum() > 20
    assert (cross & ~tick).sum() > 20


def test_images_that_cannot_be_shown_are_named_and_leave_the_rest_in_place(
    blue: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    tiles = [tile(None, id_="gone"), tile(tmp_path / "text.jpg", id_="text"), tile(blue, verdict="unknown")]
    content, missing = draw_sheet(tiles, title="")
    assert [(image.id, image.reason) for image in missing] == [
        ("gone", "the image is gone"),
        ("text", "not an image, or of an unknown format"),
    ]
    pixels = np.asarray(Image.open(io.BytesIO(content))).astype(np.int64)
    assert near(pixels, BLUE).sum() == module._THUMBNAIL**2 // 2


def test_names_stay_within_their_tile(blue: Path) -> None:
    endless = "x" * 3000
    plain = drawn(tile(blue))
    assert drawn(tile(blue, id_=endless, label=endless), title=endless).shape == plain.shape
    for size, room in ((18, 50.0), (15, 200.0), (15, 4.0)):
        assert module._length(module._cut(endless, size, room), size) <= max(room, module._length("…", size))
    cut = module._cut("staffordshire_bull_terrier_103", 18, 180)
    assert cut.startswith("staff")
    assert cut.endswith("103")


def test_letters_that_the_font_lacks_are_replaced_and_harmful_ones_shown() -> None:
    assert module._drawable("Müller-Ångström é") == "Muller-Angstrom e"
    assert module._drawable("猫") == "?"
    assert module._drawable("a\x1b[2J\u202eb\n") == r"a\x1b[2J\u202eb\n"


def test_notes_get_a_line_of_their_own_where_there_are_any(blue: Path) -> None:
    plain = tile(blue)
    without, with_one = drawn(plain), drawn(replace(plain, note="taught"), plain)
    assert with_one.shape[0] - without.shape[0] == module._LINE_HEIGHT
    assert not np.array_equal(with_one[-60:, : without.shape[1]], without[-60:])


def test_a_long_title_goes_on_in_the_next_line(blue: Path) -> None:
    one, several = drawn(tile(blue), title="short"), drawn(tile(blue), title="some words " * 12)
    assert several.shape[0] > one.shape[0]
    assert several.shape[1] == one.shape[1]


@pytest.mark.parametrize("count", [0, module.MAX_TILES + 1])
def test_a_sheet_has_a_sensible_number_of_tiles(count: int) -> None:
    with pytest.raises(UserError, match=f"a sheet of {count} images"):
        draw_sheet([tile(None)] * count, title="")
