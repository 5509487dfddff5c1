"""Inspect's verdicts: accept, relabel, exclude, take back; and training anew with them."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from textual import work

from workbench.dataset.review import Correction, Verdict, record, undo_last
from workbench.recipe import Recipe, dump_recipe
from workbench.runs.opinions import Opinion
from workbench.runs.sources import RoundSource, SplitSource
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import state_home
from workbench.support.slug import slug
from workbench.tui.places import ComposePlace, InspectPlace, WatchPlace
from workbench.tui.screens.asking import AskChoice
from workbench.tui.screens.inspect.ask_relaunch import COMPOSE, LAUNCH, AskRelaunch
from workbench.tui.screens.inspect.looking import Looking
from workbench.tui.screens.inspect.material import read_review
from workbench.tui.screens.inspect.words import VERDICT_WORDS, share

_VERDICTS = ("inspect.accept", "inspect.relabel", "inspect.exclude")


class Reviewing(Looking):
    """`do_…` of verdicts, marks and the relaunch."""

    def __init__(self, place: InspectPlace) -> None:
        super().__init__(place)
        self._in_turn = asyncio.Lock()

    def why_not(self, action: str) -> str | None:
        """Only images that train can be corrected; a relaunch needs corrections."""
        if (reason := super().why_not(action)) is not None:
            return reason
        material = self._material()
        if action in _VERDICTS:
            if isinstance(material.source, SplitSource):
                name = "test" if material.source.split == "test" else "validation"
                pool = any(isinstance(source, RoundSource) for source in material.sources)
                instead = "s chooses the pool of a round" if pool else "this run has no pool to correct"
                return f"{name} images measure the run and never train it: {instead}"
            if self.current is None:
                return "no image fits the filters: 0 takes them off"
        if action == "inspect.undo" and not material.review.corrections:
            return "nothing to take back: the review is empty"
        if action == "inspect.relaunch":
            if not material.review.corrections:
                return "nothing to train with: a accepts, r relabels, x excludes an image"
            if material.recipe is None:
                return "the run's recipe cannot be read"
        if action == "inspect.unmark" and not self.marked:
            return "no image is marked"
        return None

    # Marks

    def do_mark(self) -> None:
        """Mark or unmark, and go on to the next."""
        assert self.current is not None
        self.marked ^= {self.current.id}
        self.grid.again()
        self.grid.move_to(self.grid.cursor + 1)
        self.show()

    def do_unmark(self) -> None:
        """Forget them all."""
        self.marked.clear()
        self.grid.again()
        self.show()

    # Verdicts

    def do_accept(self) -> None:
        """With what was said of each."""
        judged = self._judged()
        self._give(Verdict.ACCEPT, judged, [opinion.said for opinion in judged])

    async def do_relabel(self) -> None:
        """Ask which class; the most probable ones of the image under the cursor come first."""
        judged = self._judged()
        label = await self.app.push_screen_wait(AskChoice(_question(judged), self._likely_classes(judged[0])))
        if label is not None:
            self._give(Verdict.RELABEL, judged, [label] * len(judged))

    def do_exclude(self) -> None:
        """Leave out."""
        judged = self._judged()
        self._give(Verdict.EXCLUDE, judged, [""] * len(judged))

    def do_undo(self) -> None:
        """Take the newest verdict back and go to its image."""
        self._take_back()

    def _judged(self) -> list[Opinion]:
        """The marked images where the grid shows them, else the one under the cursor."""
        if self.marked and not self.large:
            return [opinion for opinion in self.shown if opinion.id in self.marked]
        assert self.current is not None
        return [self.current]

    def _likely_classes(self, first: Opinion) -> list[tuple[str, str]]:
        material = self._material()
        likely = material.choices.top(first.id) if material.choices is not None else ()
        known = set(material.opinions.classes)
        top = [
            (one.name, f"{clean(one.name)}  {share(one.probability)}") for one in likely if one.name in known
        ]
        named = {name for name, _ in top}
        return top + [(name, clean(name)) for name in material.opinions.classes if name not in named]

    def _give(self, verdict: Verdict, judged: Sequence[Opinion], labels: Sequence[str]) -> None:
        """Show the verdicts and go on at once; the file follows, so that keys may come faster than a disk."""
        run = self._material().run.id
        corrections = [
            Correction(opinion.id, verdict, label, said=opinion.said, run=run)
            for opinion, label in zip(judged, labels, strict=True)
        ]
        images = {opinion.id for opinion in judged}
        following = self._after(images)
        self.marked -= images
        self.corrections |= {correction.id: correction for correction in corrections}
        self.rearrange(following)
        self._write(corrections)
        if len(corrections) > 1:
            self.notify(f"{len(corrections)} images {VERDICT_WORDS[verdict]}")

    def _after(self, judged: Collection[str]) -> str:
        """Where the cursor goes: to the first image behind it that was not judged now; else it stays."""
        behind = self.shown[self.grid.cursor :]
        return next((opinion.id for opinion in behind if opinion.id not in judged), "")

    @work(group="review")
    async def _write(self, corrections: Sequence[Correction]) -> None:
        async with self._in_turn:
            try:
                await asyncio.to_thread(_record_all, self._material().review_file, corrections)
            except UserError as error:
                self.bench.show_user_error(error)
            await self._read_review()
        self.rearrange("" if self.current is None else self.current.id)

    @work(group="review")
    async def _take_back(self) -> None:
        taken = None
        async with self._in_turn:
            try:
                taken = await asyncio.to_thread(undo_last, self._material().review_file)
            except UserError as error:
                self.bench.show_user_error(error)
            await self._read_review()
        if taken is not None:
            self.rearrange(taken.id)
            self.notify(f"taken back: {VERDICT_WORDS[taken.verdict]} {clean(taken.id, 40)}")

    async def _read_review(self) -> None:
        """What the file says counts, whoever else writes there."""
        review, problem = await asyncio.to_thread(read_review, self._material().review_file)
        self.material = replace(self._material(), review=review, problem=problem or self._material().problem)
        self.take_review()

    # Training anew

    async def do_relaunch(self) -> None:
        """Show the command; launch it, or take it to Compose."""
        material = self._material()
        assert material.recipe is not None
        recipe = _with_corrections(material.recipe, material.review_file)
        command = _command(material.run.recipe, material.review_file)
        before = material.recipe.data.corrections
        given_up = before and Path(before) != material.review_file
        warning = f"The corrections of the run itself, in {before}, are not used then." if given_up else ""
        question = AskRelaunch(len(material.review.corrections), command, warning)
        answer = await self.app.push_screen_wait(question)
        if answer == LAUNCH:
            await self._launch(recipe, command)
        elif answer == COMPOSE:
            draft = await asyncio.to_thread(_write_draft, recipe)
            self.bench.go(ComposePlace(source=str(draft)))

    async def _launch(self, recipe: Recipe, command: str) -> None:
        from workbench.jobs import launch

        launched = await asyncio.to_thread(
            launch,
            recipe,
            self.bench.runs_home,
            data_home=self.bench.data_home,
            command_line=shlex.split(command),
        )
        waits = f"waits as number {launched.position}" if launched.position else "starts now"
        self.notify(f"{launched.run.slug}-{launched.run.handle} {waits}")
        self.bench.go(WatchPlace(run=launched.run.id))


def _record_all(path: Path, corrections: Sequence[Correction]) -> None:
    for correction in corrections:
        record(path, correction)


def _with_corrections(recipe: Recipe, review: Path) -> Recipe:
    data = recipe.data.model_copy(update={"corrections": str(review)})
    return recipe.model_copy(update={"data": data})


def _command(recipe: Path, review: Path) -> str:
    return f"petbench launch {shlex.quote(str(recipe))} --set {shlex.quote(f'data.corrections={review}')}"


def _write_draft(recipe: Recipe) -> Path:
    path = state_home() / "drafts" / f"{slug(recipe.name)}.toml"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, dump_recipe(recipe))
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=clean(path)) from error
    return path


def _question(judged: Sequence[Opinion]) -> str:
    if len(judged) > 1:
        return f"What {len(judged)} marked images are"
    return f"What {clean(judged[0].id, 60)} is"
