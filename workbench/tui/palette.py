"""The command palette: every action of the screen, every run, every recipe file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.screen import Screen

from workbench.support.clean import clean
from workbench.tui.actions import SCOPES
from workbench.tui.places import ComposePlace, LabelPlace, WatchPlace
from workbench.tui.screens.place import PlaceScreen
from workbench.tui.text import STATUS_MARKS, plain

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp

_DISCOVERED_RUNS = 5
_MATCHED_RUNS = 50

Entry = tuple[str, str, Callable[[], object]]
"""(what is matched and shown, help, what it does)."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A kind of entries, made when they are asked for."""

    entries: Callable[[PetbenchApp, Screen[Any]], Iterator[Entry]]
    discovered: int | None = None
    """How many are offered before anything is typed; None: all."""
    matched: int | None = None
    """How many are offered of those that fit; None: all."""


class PaletteEntries(Provider):
    """All that can be found, shelf by shelf."""

    async def discover(self) -> Hits:
        """Before anything is typed."""
        for shelf in SHELVES:
            for count, (text, help_text, command) in enumerate(self._on(shelf)):
                if shelf.discovered is not None and count >= shelf.discovered:
                    break
                yield DiscoveryHit(plain(text), command, text=text, help=help_text)

    async def search(self, query: str) -> Hits:
        """What fits the letters typed."""
        matcher = self.matcher(query)
        for shelf in SHELVES:
            hits = 0
            for text, help_text, command in self._on(shelf):
                score = matcher.match(text)
                if score > 0:
                    hits += 1
                    yield Hit(score, matcher.highlight(text), command, text=text, help=help_text)
                if shelf.matched is not None and hits >= shelf.matched:
                    break

    def _on(self, shelf: Shelf) -> Iterator[Entry]:
        return shelf.entries(cast("PetbenchApp", self.app), self.screen)


def _actions(_bench: PetbenchApp, screen: Screen[Any]) -> Iterator[Entry]:
    """The actions of the screen below, then the app's, each with its key and its sentence."""
    if not isinstance(screen, PlaceScreen):
        return
    for action in (*SCOPES[screen.SCOPE], *SCOPES["everywhere"]):
        if action.name != "palette":
            text = f"{action.scope if action.scope != 'everywhere' else 'app'}: {action.label}"
            help_text = f"{action.help}  [{action.shown_key}]".replace("[", "(").replace("]", ")")
            yield text, help_text, partial(screen.perform, action)


def _places(bench: PetbenchApp, _screen: Screen[Any]) -> Iterator[Entry]:
    """The screens that need nothing chosen: Compose, Label; the runs are a key away."""
    yield (
        "go: compose a new recipe",
        "Start from the draft kept or from nothing",
        (lambda: bench.go(ComposePlace())),
    )
    yield "go: label images", "A folder, from no label at all to a recipe", (lambda: bench.go(LabelPlace()))


def _runs(bench: PetbenchApp, _screen: Screen[Any]) -> Iterator[Entry]:
    """Every run, newest first; chosen, it is watched."""
    view = bench.view
    for summary in view.summaries if view is not None else ():
        state = STATUS_MARKS[summary.status].word
        yield (
            f"run: {clean(summary.name, 60)} {clean(summary.id)}",
            f"Watch it ({state})",
            partial(bench.go, WatchPlace(run=summary.id)),
        )


def _recipes(bench: PetbenchApp, _screen: Screen[Any]) -> Iterator[Entry]:
    """Every recipe file at hand; chosen, it opens in Compose."""
    from workbench.recipe.cookbook import own_files, shipped_beside  # not before the first paint

    for source in (*map(str, own_files()), *shipped_beside()):
        yield f"recipe: {clean(source)}", "Open it in Compose", partial(bench.go, ComposePlace(source=source))


SHELVES = (
    Shelf(_actions),
    Shelf(_places),
    Shelf(_runs, discovered=_DISCOVERED_RUNS, matched=_MATCHED_RUNS),
    Shelf(_recipes),
)
