"""The command palette: every action of the screen, every run, every recipe file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from workbench.support.clean import clean
from workbench.tui.actions import SCOPES
from workbench.tui.marks import STATUS_MARKS
from workbench.tui.places import ComposePlace, WatchPlace
from workbench.tui.screens.place import PlaceScreen
from workbench.tui.text import plain

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp

_DISCOVERED_RUNS = 5
_MATCHED_RUNS = 50

_Entry = tuple[str, str, Callable[[], object]]
"""(what is matched and shown, help, what it does)."""


class _Entries(Provider):
    """A provider over a list of entries, all offered before anything is typed or only the first few."""

    discovered: int | None = None
    matched: int | None = None

    def entries(self) -> Iterator[_Entry]:
        """What there is to find."""
        raise NotImplementedError

    @property
    def bench(self) -> PetbenchApp:
        """The app, with its own methods known."""
        return cast("PetbenchApp", self.app)

    async def discover(self) -> Hits:
        """Before anything is typed."""
        for count, (text, help_text, command) in enumerate(self.entries()):
            if self.discovered is not None and count >= self.discovered:
                break
            yield DiscoveryHit(plain(text), command, text=text, help=help_text)

    async def search(self, query: str) -> Hits:
        """What fits the letters typed."""
        matcher = self.matcher(query)
        hits = 0
        for text, help_text, command in self.entries():
            score = matcher.match(text)
            if score > 0:
                hits += 1
                yield Hit(score, matcher.highlight(text), command, text=text, help=help_text)
            if self.matched is not None and hits >= self.matched:
                break


class ActionEntries(_Entries):
    """The actions of the screen below, then the app's."""

    def entries(self) -> Iterator[_Entry]:
        """Each with its key and its sentence."""
        screen = self.screen
        if not isinstance(screen, PlaceScreen):
            return
        for action in (*SCOPES[screen.SCOPE], *SCOPES["everywhere"]):
            if action.name != "palette":
                text = f"{action.scope if action.scope != 'everywhere' else 'app'}: {action.label}"
                help_text = f"{action.help}  [{action.shown_key}]".replace("[", "(").replace("]", ")")
                yield text, help_text, partial(screen.perform, action)


class PlaceEntries(_Entries):
    """The screens that need nothing chosen."""

    def entries(self) -> Iterator[_Entry]:
        """Compose; the runs are a key away."""
        yield (
            "go: compose a new recipe",
            "Start from the draft kept or from nothing",
            (lambda: self.bench.go(ComposePlace())),
        )


class RunEntries(_Entries):
    """Every run, newest first; chosen, it is watched."""

    discovered = _DISCOVERED_RUNS
    matched = _MATCHED_RUNS

    def entries(self) -> Iterator[_Entry]:
        """Name and id, with the state for help."""
        view = self.bench.view
        for summary in view.summaries if view is not None else ():
            state = STATUS_MARKS[summary.status].word
            yield (
                f"run: {clean(summary.name, 60)} {clean(summary.id)}",
                f"Watch it ({state})",
                partial(self.bench.go, WatchPlace(run=summary.id)),
            )


class RecipeEntries(_Entries):
    """Every recipe file at hand; chosen, it opens in Compose."""

    def entries(self) -> Iterator[_Entry]:
        """By path or name."""
        from workbench.recipe.cookbook import own_files, shipped_beside  # not before the first paint

        for source in (*map(str, own_files()), *shipped_beside()):
            yield (
                f"recipe: {clean(source)}",
                "Open it in Compose",
                partial(self.bench.go, ComposePlace(source=source)),
            )
