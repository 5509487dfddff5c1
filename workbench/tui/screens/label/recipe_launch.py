"""From labels to a run: the recipe that is written for them, looked at, launched."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.support.errors import UserError
from workbench.support.paths import short_path
from workbench.tui.actions import ACTIONS
from workbench.tui.helper import HelperResult, told_problem
from workbench.tui.places import ComposePlace, WatchPlace
from workbench.tui.screens.label.label_sheet import Desk
from workbench.tui.screens.label.stroke_questions import COMPOSE, WATCH, AskLaunch, Written

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp

Runner = Callable[..., Awaitable[HelperResult]]


class Launcher:
    """Has a recipe written for a folder's labels, asks, and launches it.

    Args:
        ask_helper: runs a petbench command.
    """

    def __init__(self, ask_helper: Runner) -> None:
        self._ask_helper = ask_helper
        self._written: tuple[Path, Written] | None = None
        """Of which folder; not asked about yet, since its labeller had gone on."""
        self._is_looking = False

    def refusal(self, action: str) -> str | None:
        """Why a second launch would not help now."""
        return "the images are being looked at" if self._is_looking and action == "launch" else None

    async def launch(self, bench: PetbenchApp, folder: Path, desk: Desk) -> None:
        """Write the recipe that `petbench start` would; ask; launch it and watch, if that is wanted.

        That takes a while. Somebody who labels on meanwhile is not asked: a key of a class would answer. They
        are told, and are asked when this is called again.

        Raises:
            UserError: there is none for these labels, or it cannot be launched.
        """
        kept, self._written = self._written, None
        if kept is not None and kept[0] == folder:
            await _ask(bench, kept[1])
            return
        before = desk.sheet, desk.pending
        bench.notify("Looking at the images to propose a recipe; label on meanwhile.")
        self._is_looking = True
        try:
            written = written_by(await self._ask_helper("label", str(folder), "--recipe", "--json"))
        finally:
            self._is_looking = False
        if (desk.sheet, desk.pending) == before:
            await _ask(bench, written)
        else:
            self._written = folder, written
            key = ACTIONS["label.launch"].shown_key
            bench.notify(f"{short_path(written.path)} is written: {key} shows and launches it.", timeout=10)


async def _ask(bench: PetbenchApp, written: Written) -> None:
    answer = await bench.push_screen_wait(AskLaunch(written))
    if answer == COMPOSE:
        bench.go(ComposePlace(source=str(written.path)))
    elif answer is not None:
        run_id = await _launch(bench, written.path)
        if answer == WATCH:
            bench.go(WatchPlace(run=run_id))


def written_by(result: HelperResult) -> Written:
    """What `petbench label FOLDER --recipe --json` wrote. Raises: UserError, with what it said."""
    if not result.ok:
        raise UserError(told_problem(result, "label --recipe"))
    values = result.json()
    return Written(Path(values["file"]), tuple(values["reasons"]))


async def _launch(bench: PetbenchApp, path: Path) -> str:
    from workbench.jobs import launch
    from workbench.recipe import load_recipe

    recipe = await asyncio.to_thread(load_recipe, path)
    launched = await asyncio.to_thread(
        launch,
        recipe,
        bench.runs_home,
        data_home=bench.data_home,
        command_line=["petbench", "launch", str(path)],
    )
    bench.notify(f"{launched.run.slug}-{launched.run.handle} {launched.words}")
    return launched.run.id
