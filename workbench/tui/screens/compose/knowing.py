"""What follows from the draft, found out off the event loop: its backbone, its split, what past runs tell."""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import dataclass
from functools import lru_cache

from textual import on, work
from textual.message import Message
from textual.widgets import Static

from workbench.recipe.schema import Recipe
from workbench.runs.estimate import Estimate, Machine, estimate
from workbench.runs.watching import RunsView
from workbench.support.errors import UserError
from workbench.tui.places import ComposePlace
from workbench.tui.screens.compose.core import ComposeCore
from workbench.tui.screens.compose.facts import Facts, full_facts, short_facts
from workbench.tui.screens.compose.networks import cached_network, fetch_network
from workbench.tui.screens.compose.split_facts import SplitFacts, SplitReader, split_key
from workbench.tui.themes import palette_of

_PAUSE_SECONDS = 0.3
"""A draft that was not changed for so long is worth reading a data set for."""
_NAME_SECONDS = 0.8
"""A backbone's name that was not changed for so long is worth starting a process for."""


class ComposeFacts(ComposeCore):
    """The core with its facts."""

    @dataclass
    class Counted(Message):
        """The split was counted, and past runs were asked."""

        key: str
        split: SplitFacts
        estimate: Estimate | None

    def __init__(self, place: ComposePlace) -> None:
        super().__init__(place)
        self._reader: SplitReader | None = None
        self._reading = threading.Lock()
        self._split: SplitFacts | None = None
        self._estimate: Estimate | None = None
        self._wanted_key = ""
        self._network_problem = ""
        self._unknown: dict[str, str] = {}
        """Backbones that petbench refused, and why."""

    def facts(self) -> Facts:
        """What is known of the draft now."""
        return Facts(
            self.checked, self.network, self._network_problem, self._split, self._estimate, self.count_runs()
        )

    def count_runs(self) -> int:
        """Runs of a sweep; 0 without one."""
        raise NotImplementedError

    def look_for_facts(self) -> None:
        """Ask for what is not known of this draft, and show what is."""
        self._look_at_network()
        recipe = self.draft.recipe
        asked = "" if recipe is None else f"{split_key(recipe)} {recipe!r}"
        if asked != self._wanted_key:
            self._wanted_key = asked
            if recipe is not None:
                self._split = self._read_before(recipe)
                self._count(asked, recipe)
        self.show_facts()

    def show_facts(self) -> None:
        """Draw what is known."""
        facts, colours = self.facts(), palette_of(self.app.theme)
        self.query_one("#short-facts", Static).update(short_facts(facts, colours))
        pane = self.query_one("#facts", Static)
        width, height = pane.content_size
        pane.update(full_facts(facts, max(30, width), max(6, height), colours))

    def on_resize(self) -> None:
        """More or fewer classes fit."""
        super().on_resize()
        if self.is_mounted:
            self.call_after_refresh(self.show_facts)

    def runs_changed(self, view: RunsView) -> None:
        """Another run may tell more."""
        if view.complete and self.draft.recipe is not None and self._estimate is None:
            self._count(self._wanted_key, self.draft.recipe)

    # The split and the estimate

    def _read_before(self, recipe: Recipe) -> SplitFacts | None:
        return None if self._reader is None else self._reader.known(recipe)

    @work(exclusive=True, group="count")
    async def _count(self, key: str, recipe: Recipe) -> None:
        await asyncio.sleep(_PAUSE_SECONDS)
        await asyncio.to_thread(self._read, key, recipe)

    def _read(self, key: str, recipe: Recipe) -> None:
        with self._reading:
            if self._reader is None:
                self._reader = SplitReader(self.bench.data_home)
            split = self._reader.read(recipe)
        view = self.bench.view
        past = view.summaries if view is not None else ()
        told = estimate(recipe, past, _machines(), labels=split.labels) if past else None
        self.post_message(self.Counted(key, split, told))

    @on(Counted)
    def _counted(self, message: Counted) -> None:
        if message.key == self._wanted_key:
            self._split, self._estimate = message.split, message.estimate
            self.show_facts()

    def forget_split(self) -> None:
        """Look at the data set anew, such as after it was put where it belongs."""
        self._wanted_key = ""
        self.look_for_facts()

    # The backbone

    def _look_at_network(self) -> None:
        name = self.draft.look()["model.backbone"]
        if not isinstance(name, str) or (self.network is not None and self.network.name == name):
            return
        self.network, self._network_problem = None, ""
        if name in self._unknown:
            self._network_problem = self._unknown[name]
            return
        known = cached_network(name)
        if known is not None:
            self.network = known
            self.show_draft()
            return
        self._ask_network(name)

    @work(exclusive=True, group="network")
    async def _ask_network(self, name: str) -> None:
        await asyncio.sleep(_NAME_SECONDS)
        try:
            network = await fetch_network(name)
        except (UserError, ValueError, KeyError) as error:
            self._unknown[name] = str(error) or "petbench could not tell this backbone's layers"
            if self.draft.look()["model.backbone"] == name:
                self._network_problem = self._unknown[name]
                self.show_facts()
            return
        if self.draft.look()["model.backbone"] == name:
            self.network = network
            self.show_draft()


@lru_cache(maxsize=1)
def _machines() -> tuple[Machine, ...]:
    """Where a run launched from here may be computed."""
    from workbench.jobs.device import wanted_devices

    host = socket.gethostname()
    return tuple(
        Machine(host, "cpu" if device.name == "cpu" else device.label) for device in wanted_devices("auto")
    )
