"""`v`: real images of the data set as the recipe's augmentation makes them, in the terminal."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.recipe import parse_recipe
from workbench.recipe.dump import dump_recipe
from workbench.support.atomic import atomic_write
from workbench.support.caches import discard, read_json_cache, write_json_cache
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home
from workbench.tui.helper import run_petbench, told_problem
from workbench.tui.pictures.files import look_of, picture_files
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.compose.form_lines import group_summary
from workbench.tui.screens.compose.knob_fields import Values
from workbench.tui.screens.place import GuardedLoop
from workbench.tui.text import plain, plain_lines
from workbench.tui.widgets.picture import Picture

_KEPT = 8
"""Previews in the cache; each is some hundred kilobytes."""
_COLUMN = 26
_ROW = 12


@dataclass(frozen=True, slots=True)
class PreviewedImage:
    """An image and the files of its views."""

    id: str
    label: str
    plain: Path
    views: tuple[Path, ...]


class PreviewScreen(GuardedLoop, ModalScreen[None]):
    """A row an image: plain, then augmented; r draws others."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,v", "dismiss(None)", "close"),
        Binding("r", "others", "others"),
    ]

    def __init__(self, draft: Draft, data_home: Path) -> None:
        super().__init__(classes="asking")
        self._draft, self._data_home = draft, data_home
        self._seed = 0
        self.images: list[PreviewedImage] = []

    def compose(self) -> ComposeResult:
        """What augmentation there is, the pictures, the keys."""
        with Vertical(classes="box preview"):
            summary = group_summary("augmentation", Values(self._draft.values))
            yield Static(plain(f"What training sees: {summary}", "bold"))
            yield Static("drawing…", id="said", markup=False)
            yield Vertical(id="pictures")
            yield Static(Text("r draws others   esc closes"), classes="keys")

    def on_mount(self) -> None:
        """Draw the first ones once the size is known."""
        self.call_after_refresh(self._draw)

    def action_others(self) -> None:
        """Other images, other views."""
        self._seed += 1
        self._draw()

    @work(exclusive=True, group="preview")
    async def _draw(self) -> None:
        recipe = self._draft.recipe
        if recipe is None:
            return
        room = self.query_one("#pictures").size
        rows, columns = max(1, min(4, room.height // _ROW)), max(3, min(6, room.width // _COLUMN))
        seed = self._seed + recipe.seed
        said = self.query_one("#said", Static)
        said.update("drawing: petbench loads the data set and torch, some seconds…")
        try:
            self.images = await draw_preview(
                dump_recipe(recipe), self._data_home, images=rows, views=columns - 1, seed=seed
            )
        except PreviewProblem as problem:
            said.update(plain_lines(str(problem)))
            return
        said.update(Text("left as evaluation sees it, then as training may see it"))
        pictures = self.query_one("#pictures")
        await pictures.remove_children()
        await pictures.mount_all([_Row(image) for image in self.images])


class _Row(Horizontal):
    """One image's pictures."""

    DEFAULT_CSS = "_Row { height: 1fr; } _Row Picture { margin-right: 1; }"

    def __init__(self, image: PreviewedImage) -> None:
        super().__init__()
        self._image = image

    def compose(self) -> ComposeResult:
        """The plain one and its views."""
        for _ in range(1 + len(self._image.views)):
            yield Picture()

    def on_mount(self) -> None:
        """Files are read by the pictures themselves."""
        image = self._image
        captions = [
            plain(image.label, "bold", limit=_COLUMN - 4),
            *(plain(f"view {n}") for n in range(1, 1 + len(image.views))),
        ]
        for picture, path, caption in zip(
            self.query(Picture), (image.plain, *image.views), captions, strict=True
        ):
            picture.show(path, caption=caption)


class PreviewProblem(Exception):
    """Why there is no preview, in words for the user."""


async def draw_preview(
    toml: str, data_home: Path, *, images: int, views: int, seed: int
) -> list[PreviewedImage]:
    """Have a helper process draw views of real images; equal requests are answered from the cache.

    Raises:
        PreviewProblem: what petbench said.
    """
    look = await asyncio.to_thread(_look_of_data, toml, data_home)
    request = f"{toml}\n{data_home} {images} {views} {seed} {look}"
    home = cache_home() / "preview"
    folder = home / hashlib.sha256(request.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    listing = folder / "preview.sealed"
    kept = _listed(read_json_cache(listing))
    if kept is not None:
        return kept
    discard(folder)
    _forget_oldest(home)
    folder.mkdir(parents=True, exist_ok=True)
    recipe = folder / "recipe.toml"
    atomic_write(recipe, toml)
    result = await run_petbench(
        *("preview", str(recipe), "--out", str(folder), "--data-dir", str(data_home), "--json"),
        *("--images", str(images), "--views", str(views), "--seed", str(seed)),
    )
    if not result.ok:
        raise PreviewProblem(told_problem(result, "preview"))
    try:
        answer = result.json()
    except ValueError as error:
        raise PreviewProblem(f"the preview cannot be read: {clean(error)}") from error
    drawn = _listed(answer)
    if drawn is None:
        raise PreviewProblem("the preview cannot be read: it is no list of images")
    write_json_cache(listing, answer)
    return drawn


def _look_of_data(toml: str, data_home: Path) -> str:
    """Changes when the images do; empty where they cannot be looked at, which the helper will say."""
    try:
        return look_of(picture_files(parse_recipe(toml).data, data_home))
    except (UserError, OSError):
        return ""


def _listed(answer: Any) -> list[PreviewedImage] | None:
    """What `petbench preview --json` said; None where that is no such answer."""
    try:
        return [
            PreviewedImage(
                str(row["id"]), str(row["label"]), Path(row["plain"]), tuple(map(Path, row["views"]))
            )
            for row in answer["images"]
        ]
    except (KeyError, TypeError):
        return None


def _forget_oldest(home: Path) -> None:
    folders = sorted(home.glob("*"), key=lambda path: path.stat().st_mtime)
    for folder in folders[: max(0, len(folders) - _KEPT + 1)]:
        shutil.rmtree(folder, ignore_errors=True)
