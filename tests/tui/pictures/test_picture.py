"""The one large picture."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from rich.text import Text
from textual.app import App, ComposeResult
from textual.pilot import Pilot

from workbench.tui.pictures import Blocks, Drawing, Protocol
from workbench.tui.pictures.blocks import picture_characters
from workbench.tui.widgets.picture import Cells, Picture

HALF = Drawing(Protocol.CELLS, Blocks.HALF)
OFF = Drawing(Protocol.OFF, Blocks.QUADRANT)


class Frame(App[None]):
    """A picture and nothing else."""

    def __init__(self, drawing: Drawing) -> None:
        super().__init__()
        self.drawing = drawing

    def compose(self) -> ComposeResult:
        """The picture."""
        yield Picture(drawing=self.drawing)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A wide picture, red on the left and blue on the right."""
    image = Image.new("RGB", (400, 200), (250, 0, 0))
    image.paste((0, 0, 250), (200, 0, 400, 200))
    path = tmp_path / "a[red]\x1b[31m.png"
    image.save(path)
    return path


async def shown(pilot: Pilot[None]) -> str:
    """The screen as text, once the file is read."""
    await pilot.pause()
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())


async def test_a_picture_fills_its_place_in_half_cells_with_its_caption(photo: Path) -> None:
    async with Frame(HALF).run_test(size=(40, 12)) as pilot:
        pilot.app.query_one(Picture).show(photo, caption=Text("a [b]cat[/b]"))
        text = await shown(pilot)
        assert text.count("▀") == 40 * 10
        assert "a [b]cat[/b]" in text
        strips = pilot.app.screen._compositor.render_strips()
        cells = [cell for strip in strips[3:4] for cell in strip if "▀" in cell.text]
        left, right = cells[1].style, cells[-2].style
        assert left is not None
        assert right is not None
        assert left.color is not None
        assert right.color is not None
        assert left.color.get_truecolor().red > 240
        assert right.color.get_truecolor().blue > 240


@pytest.mark.parametrize("blocks", list(Blocks))
async def test_blocks_of_every_kind_fill_its_place(photo: Path, blocks: Blocks) -> None:
    async with Frame(Drawing(Protocol.CELLS, blocks)).run_test(size=(40, 12)) as pilot:
        pilot.app.query_one(Picture).show(photo)
        text = await shown(pilot)
        assert sum(character in picture_characters() for character in text) == 40 * 10


async def test_it_is_drawn_anew_when_the_window_changes(photo: Path) -> None:
    async with Frame(HALF).run_test(size=(40, 12)) as pilot:
        pilot.app.query_one(Picture).show(photo)
        await shown(pilot)
        await pilot.resize_terminal(20, 12)
        assert (await shown(pilot)).count("▀") == 20 * 5


async def test_without_pictures_the_files_name_and_size_stand_there(photo: Path) -> None:
    async with Frame(OFF).run_test(size=(60, 12)) as pilot:
        pilot.app.query_one(Picture).show(photo)
        text = await shown(pilot)
        assert "▀" not in text
        assert r"a[red]\x1b[31m.png" in text
        assert "400 × 200" in text
        assert "\x1b" not in text


async def test_what_cannot_be_read_says_why_and_the_next_one_is_shown(photo: Path, tmp_path: Path) -> None:
    async with Frame(HALF).run_test(size=(60, 12)) as pilot:
        picture = pilot.app.query_one(Picture)
        picture.show(tmp_path / "gone.png")
        assert "No such file" in await shown(pilot)
        picture.show(photo)
        text = await shown(pilot)
        assert "No such file" not in text
        assert "▀" in text


async def test_only_the_last_of_several_is_shown(photo: Path, tmp_path: Path) -> None:
    async with Frame(HALF).run_test(size=(60, 12)) as pilot:
        picture = pilot.app.query_one(Picture)
        picture.show(photo)
        picture.show(tmp_path / "gone.png")
        picture.show(None, words="nothing here")
        text = await shown(pilot)
        assert "nothing here" in text
        assert "▀" not in text
        assert picture.query_one(Cells).image is None


async def test_an_image_in_memory_can_be_shown(photo: Path) -> None:
    async with Frame(HALF).run_test(size=(20, 12)) as pilot:
        with Image.open(photo) as image:
            image.load()
        pilot.app.query_one(Picture).show(image)
        assert (await shown(pilot)).count("▀") == 20 * 5


@pytest.mark.parametrize("protocol", [Protocol.KITTY, Protocol.SIXEL])
async def test_the_protocols_of_graphic_terminals_draw_through_textual_image(
    photo: Path, protocol: Protocol
) -> None:
    async with Frame(Drawing(protocol, Blocks.QUADRANT)).run_test(size=(40, 12)) as pilot:
        picture = pilot.app.query_one(Picture)
        picture.show(photo, caption=Text("caption"))
        text = await shown(pilot)
        assert "caption" in text
        graphic = picture.query_one("#room").children[0]
        assert type(graphic).__module__.startswith("textual_image")
        assert graphic.size.width == 40
        picture.show(None, words="gone")
        assert "gone" in await shown(pilot)
