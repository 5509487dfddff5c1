"""What is done to runs from the Runs screen: to their files, their processes and the queue; and why not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from workbench.runs.layout import RunDirectory
from workbench.runs.leftovers import restore_run
from workbench.runs.notes import change_notes, read_notes
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.screens.dialogs import AskText, AskYesNo

if TYPE_CHECKING:
    from workbench.tui.app import PetbenchApp

MOST_COMPARED = 20
_NAMED = 5
"""Runs that a question names."""
_RESUMABLE = (RunStatus.STOPPED, RunStatus.FAILED, RunStatus.SILENT, RunStatus.LOST)
_ON_RUNS = (
    *("watch", "select", "inspect", "compose_from", "stop", "pause", "resume", "cancel", "sooner", "later"),
    *("tags", "note", "archive", "delete", "copy_id", "copy_path"),
)


class RunOperations:
    """Does it off the screen's loop, asks first where something ends, and tells what came of it.

    Args:
        bench: the app, which asks and tells.
        edited: told of every edit and of every one taken back, before the runs are read again.
    """

    def __init__(self, bench: PetbenchApp, edited: Callable[[Edit], object]) -> None:
        self._bench, self._edited = bench, edited
        self._undo = UndoStack()

    def refusal(self, name: str, here: RunSummary | None, targets: Sequence[RunSummary]) -> str | None:
        """Why an action cannot be done now, in a sentence that says what to do instead; None when it can.

        Args:
            name: the action's, without its scope.
            here: the run under the cursor.
            targets: the runs that it would be done to.
        """
        if name in _ON_RUNS and here is None:
            return "There is no run here; n composes one."
        statuses = {run.status for run in targets}
        match name:
            case "compare" if not 2 <= len(targets) <= MOST_COMPARED:
                return f"Select 2 to {MOST_COMPARED} runs with space first; {len(targets)} now."
            case "stop" if not all(status.is_active for status in statuses):
                return f"Only a run that is going or queued can be stopped; {_told(targets)}."
            case "pause" if not all(run.status.is_running or run.waits_for_slurm for run in targets):
                return f"Only a run that is going can be paused; {_told(targets)}."
            case "resume" if not all(status in _RESUMABLE for status in statuses):
                return f"Only a run that was stopped, paused, lost or failed can go on; {_told(targets)}."
            case "cancel" if statuses != {RunStatus.QUEUED}:
                return f"Only a queued run can be taken out of the queue; {_told(targets)}."
            case "sooner" | "later" if here is None or here.status is not RunStatus.QUEUED:
                return "Only a queued run has a place in the queue."
            case "sooner" if here is not None and here.queue_position == 1:
                return "It is the next one already."
            case "delete" if any(status.is_active for status in statuses):
                return "A run that is going or queued cannot be deleted; s stops it."
            case "note" if len(targets) > 1:
                return "A note is written on one run at a time."
            case "undo" if not self._undo:
                return "Nothing has been archived, deleted, tagged or noted here yet."
        return None

    # Processes and the queue

    async def stop(self, runs: Sequence[RunSummary]) -> None:
        """Stop; several only after asking."""
        from workbench.jobs import stop_run

        if len(runs) > 1 and not await self._bench.push_screen_wait(
            AskYesNo(f"Stop {len(runs)} runs?", "Each writes a checkpoint and can be resumed with r.")
        ):
            return
        await self._each(runs, stop_run, "is asked to stop")

    async def pause(self, runs: Sequence[RunSummary]) -> None:
        """Park."""
        from workbench.jobs import pause_run

        await self._each(runs, pause_run, "is asked to pause; r resumes it")

    async def resume(self, runs: Sequence[RunSummary]) -> None:
        """Go on."""

        def resume(run: RunDirectory) -> None:
            from workbench.jobs import resume_run

            resume_run(run, data_home=self._bench.data_home)

        await self._each(runs, resume, "goes on")

    async def cancel(self, runs: Sequence[RunSummary]) -> None:
        """Leave the queue."""
        from workbench.jobs import cancel_run

        await self._each(runs, cancel_run, "left the queue; r queues it again")

    async def move(self, run: RunSummary, by: int) -> None:
        """Move a queued run on by so many places; below zero, forward."""
        from workbench.jobs import move_in_queue

        if run.queue_position is None:
            return
        await asyncio.to_thread(move_in_queue, run.run, max(1, run.queue_position + by))
        self._bench.look_again(other.id for other in self._queued())

    def _queued(self) -> list[RunSummary]:
        view = self._bench.view
        return [run for run in view.summaries if run.status is RunStatus.QUEUED] if view is not None else []

    async def _each(
        self, runs: Sequence[RunSummary], act: Callable[[RunDirectory], object], said: str
    ) -> None:
        """Do it to each; what fails for one is told and does not keep the others."""
        done: list[RunSummary] = []
        for run in runs:
            try:
                await asyncio.to_thread(act, run.run)
            except UserError as error:
                self._bench.show_user_error(error)
            else:
                done.append(run)
        if done:
            name = clean(done[0].name, 40) if len(done) == 1 else f"each of {len(done)} runs"
            self._bench.notify(f"{name} {said}")
        self._bench.look_again(run.id for run in runs)

    # Files

    async def archive(self, runs: Sequence[RunSummary]) -> None:
        """Put away; back, where all of them are."""
        put_away = not all(run.archived for run in runs)
        self._done(await asyncio.to_thread(archive, [run.run for run in runs], put_away))

    async def delete(self, runs: Sequence[RunSummary]) -> None:
        """To the trash; several only after asking."""
        if len(runs) > 1:
            names = ", ".join(f"{clean(run.name, 40)} {run.handle}" for run in runs[:_NAMED])
            more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
            question = AskYesNo(f"Move {len(runs)} runs to the trash?", f"{names}{more}. u brings them back.")
            if not await self._bench.push_screen_wait(question):
                return
        self._done(await asyncio.to_thread(delete, [run.run for run in runs], self._bench.runs_home))

    async def tags(self, runs: Sequence[RunSummary]) -> None:
        """Edit the tags that a person gave; those of the recipe stay."""
        common = [tag for tag in _own_tags(runs[0]) if all(tag in _own_tags(run) for run in runs)]
        which = clean(runs[0].name, 40) if len(runs) == 1 else f"{len(runs)} runs (those that all have)"
        text = await self._bench.push_screen_wait(
            AskText(
                f"Tags of {which}", " ".join(common), placeholder="good baseline table1", check=parse_tags
            )
        )
        if text is None:
            return
        tags = parse_tags(text)
        add = [tag for tag in tags if tag not in common]
        remove = [tag for tag in common if tag not in tags]
        if add or remove:
            self._done(await asyncio.to_thread(write_tags, [run.run for run in runs], add, remove))

    async def note(self, run: RunSummary) -> None:
        """Edit the note."""
        text = await self._bench.push_screen_wait(
            AskText(f"Note on {clean(run.name, 40)}", run.note, placeholder="what to remember of it")
        )
        if text is not None and text != run.note:
            self._done(await asyncio.to_thread(write_note, run.run, text))

    async def undo(self) -> None:
        """Take the newest edit back."""
        edit = self._undo.pop()
        if edit is None:
            return
        try:
            await asyncio.to_thread(edit.take_back)
            self._bench.notify(f"Taken back: {edit.what}")
        finally:
            self._edited(edit)
            self._bench.look_again(edit.runs)

    def _done(self, edit: Edit) -> None:
        if edit.problem is not None:
            self._bench.show_user_error(edit.problem)
        if not edit.runs:
            return
        self._undo.push(edit)
        self._edited(edit)
        self._bench.notify(f"{edit.what}; u takes it back")
        self._bench.look_again(edit.runs)


def _told(runs: Sequence[RunSummary]) -> str:
    if len(runs) == 1:
        return f"this one is {runs[0].status.value}"
    return f"not all of the {len(runs)} selected are"


def _own_tags(run: RunSummary) -> list[str]:
    """The tags that are not the recipe's."""
    of_recipe = run.recipe.get("tags")
    return [tag for tag in run.tags if not isinstance(of_recipe, list) or tag not in of_recipe]


_TAG_LIMIT = 60
_DEEPEST = 50


@dataclass(frozen=True, slots=True)
class Edit:
    """What was done to runs, and how to take it back."""

    what: str
    """Such as `archived 3 runs`."""
    runs: tuple[str, ...]
    """Ids of the runs it was done to."""
    moves: Literal["", "archive", "trash"]
    """Where the runs went, or where they came from."""
    take_back: Callable[[], object]
    """Runs off the screen's loop; raises UserError where it cannot be taken back."""
    problem: UserError | None = None
    """Why it was not done to one of those it was meant for."""


class UndoStack:
    """The last edits, newest last."""

    def __init__(self) -> None:
        self._edits: list[Edit] = []

    def __len__(self) -> int:
        return len(self._edits)

    def push(self, edit: Edit) -> None:
        """Remember an edit."""
        self._edits = [*self._edits, edit][-_DEEPEST:]

    def pop(self) -> Edit | None:
        """Forget and return the newest."""
        return self._edits.pop() if self._edits else None


def archive(runs: Sequence[RunDirectory], archived: bool) -> Edit:
    """Put runs away, or bring them back into the table."""
    other = [run for run in runs if read_notes(run).archived != archived]
    changed, problem = _each(other, lambda run: change_notes(run, archived=archived))
    verb = "archived" if archived else "brought back"
    what = f"{verb} {_counted(changed)}"
    return _edit(what, changed, lambda run: change_notes(run, archived=not archived), "archive", problem)


def write_note(run: RunDirectory, note: str) -> Edit:
    """Replace the run's note. Raises: UserError."""
    old = read_notes(run).note
    change_notes(run, note=note)
    return _edit(f"note on {run.handle}", [run], lambda run: change_notes(run, note=old))


def write_tags(runs: Sequence[RunDirectory], add: Sequence[str], remove: Sequence[str]) -> Edit:
    """Add tags to runs and take others off, where they have them."""
    before = {run: read_notes(run).tags for run in runs}
    changed, problem = _each(
        runs,
        lambda run: change_notes(run, add=add, remove=[tag for tag in remove if tag in before[run]]),
    )

    def take_back(run: RunDirectory) -> None:
        now, old = read_notes(run).tags, before[run]
        change_notes(run, add=old, remove=[tag for tag in now if tag not in old])

    return _edit(f"tags of {_counted(changed)}", changed, take_back, problem=problem)


def delete(runs: Sequence[RunDirectory], runs_home: Path) -> Edit:
    """Move runs to the trash. Raises: UserError, for a run that is running."""
    from workbench.jobs import discard_runs

    said: list[str] = []
    discard_runs(runs, cancelled=said.append)
    what = "; ".join((f"moved {_counted(runs)} to the trash", *said))
    return _edit(what, runs, lambda run: restore_run(runs_home, run.id), "trash")


def parse_tags(text: str) -> tuple[str, ...]:
    """Tags as a person types them, parted by commas or spaces.

    Raises:
        UserError: a tag is too long.
    """
    tags = tuple(dict.fromkeys(text.replace(",", " ").split()))
    for tag in tags:
        if len(tag) > _TAG_LIMIT:
            raise UserError(f"a tag of {len(tag)} characters", allowed=f"1 to {_TAG_LIMIT}")
    return tags


def _edit(
    what: str,
    runs: Sequence[RunDirectory],
    take_back: Callable[[RunDirectory], object],
    moves: Literal["", "archive", "trash"] = "",
    problem: UserError | None = None,
) -> Edit:
    def take_all_back() -> None:
        _, problem = _each(runs, take_back)
        if problem is not None:
            raise problem

    return Edit(what, tuple(run.id for run in runs), moves, take_all_back, problem)


def _each(
    runs: Sequence[RunDirectory], act: Callable[[RunDirectory], object]
) -> tuple[list[RunDirectory], UserError | None]:
    """Do it to each: those to which it was done, and why not to the first of the others."""
    done: list[RunDirectory] = []
    problem: UserError | None = None
    for run in runs:
        try:
            act(run)
            done.append(run)
        except UserError as error:
            problem = problem or error
    return done, problem


def _counted(runs: Sequence[RunDirectory]) -> str:
    return runs[0].slug if len(runs) == 1 else f"{len(runs)} runs"
