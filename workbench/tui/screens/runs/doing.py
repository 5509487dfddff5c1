"""What is done to runs from the table: to their files, their processes and the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from workbench.runs.layout import RunDirectory
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.places import ComparePlace, ComposePlace, InspectPlace, RunsPlace, WatchPlace
from workbench.tui.screens.asking import AskText, AskYesNo
from workbench.tui.screens.place import PlaceScreen
from workbench.tui.screens.runs.deeds import archive, delete, parse_tags, write_note, write_tags
from workbench.tui.screens.runs.undo import Done, UndoStack

MOST_COMPARED = 20
_NAMED = 5
"""Runs that a question names."""
_RESUMABLE = (RunStatus.STOPPED, RunStatus.FAILED, RunStatus.SILENT, RunStatus.LOST)
_ON_RUNS = (
    *("watch", "select", "inspect", "compose_from", "stop", "pause", "resume", "cancel", "sooner", "later"),
    *("tags", "note", "archive", "delete", "copy_id", "copy_path"),
)


class RunsHandling(PlaceScreen[RunsPlace]):
    """The actions; which runs they are done to is for the subclass to tell."""

    def __init__(self, place: RunsPlace) -> None:
        super().__init__(place)
        self._undo = UndoStack()

    @property
    def here(self) -> RunSummary | None:
        """The run under the cursor."""
        raise NotImplementedError

    @property
    def targets(self) -> Sequence[RunSummary]:
        """The selected runs that the table shows; without any, the one under the cursor."""
        raise NotImplementedError

    def moved(self, done: Done) -> None:
        """Runs went out of the table, or came back to it."""
        raise NotImplementedError

    def why_not(self, action: str) -> str | None:
        """In a sentence that says what to do instead."""
        name = action.partition(".")[2]
        if name in _ON_RUNS and self.here is None:
            return "There is no run here; n composes one."
        targets = self.targets
        statuses = {run.status for run in targets}
        match name:
            case "compare" if not 2 <= len(targets) <= MOST_COMPARED:
                return f"Select 2 to {MOST_COMPARED} runs with space first; {len(targets)} now."
            case "stop" if not all(status.is_active for status in statuses):
                return f"Only a run that is going or queued can be stopped; {self._told(targets)}."
            case "pause" if not all(status.is_running for status in statuses):
                return f"Only a run that is going can be paused; {self._told(targets)}."
            case "resume" if not all(status in _RESUMABLE for status in statuses):
                return (
                    f"Only a run that was stopped, paused, lost or failed can go on; {self._told(targets)}."
                )
            case "cancel" if statuses != {RunStatus.QUEUED}:
                return f"Only a queued run can be taken out of the queue; {self._told(targets)}."
            case "sooner" | "later" if self.here is None or self.here.status is not RunStatus.QUEUED:
                return "Only a queued run has a place in the queue."
            case "sooner" if self.here is not None and self.here.queue_position == 1:
                return "It is the next one already."
            case "delete" if any(status.is_active for status in statuses):
                return "A run that is going or queued cannot be deleted; s stops it."
            case "note" if len(targets) > 1:
                return "A note is written on one run at a time."
            case "undo" if self._undo.newest is None:
                return "Nothing has been archived, deleted, tagged or noted here yet."
        return None

    def _told(self, runs: Sequence[RunSummary]) -> str:
        if len(runs) == 1:
            return f"this one is {runs[0].status.value}"
        return f"not all of the {len(runs)} selected are"

    # Elsewhere

    def do_watch(self) -> None:
        """Open the run under the cursor."""
        if self.here is not None:
            self.bench.go(WatchPlace(run=self.here.id))

    def do_inspect(self) -> None:
        """See its images."""
        if self.here is not None:
            self.bench.go(InspectPlace(run=self.here.id))

    def do_new(self) -> None:
        """Compose."""
        self.bench.go(ComposePlace())

    def do_compose_from(self) -> None:
        """Compose from this run's recipe."""
        if self.here is not None:
            self.bench.go(ComposePlace(source=f"run:{self.here.id}"))

    def do_compare(self) -> None:
        """Put the selected runs beside each other."""
        self.bench.go(ComparePlace(runs=tuple(run.id for run in self.targets)))

    def do_copy_id(self) -> None:
        """Copy the id."""
        if self.here is not None:
            self.bench.copy_text(self.here.id)

    def do_copy_path(self) -> None:
        """Copy the path."""
        if self.here is not None:
            self.bench.copy_text(str(self.here.path))

    # Processes and the queue

    async def do_stop(self) -> None:
        """Stop; several only after asking."""
        from workbench.jobs import stop_run

        runs = self.targets
        if len(runs) > 1 and not await self.app.push_screen_wait(
            AskYesNo(f"Stop {len(runs)} runs?", "Each writes a checkpoint and can be resumed with r.")
        ):
            return
        await self._each(runs, stop_run, "is asked to stop")

    async def do_pause(self) -> None:
        """Park."""
        from workbench.jobs import pause_run

        await self._each(self.targets, pause_run, "is asked to pause; r resumes it")

    async def do_resume(self) -> None:
        """Go on."""

        def resume(run: RunDirectory) -> None:
            from workbench.jobs import resume_run

            resume_run(run, data_home=self.bench.data_home)

        await self._each(self.targets, resume, "goes on")

    async def do_cancel(self) -> None:
        """Leave the queue."""
        from workbench.jobs import cancel_run

        await self._each(self.targets, cancel_run, "left the queue; r queues it again")

    async def do_sooner(self) -> None:
        """One place forward."""
        await self._move(-1)

    async def do_later(self) -> None:
        """One place back."""
        await self._move(1)

    async def _move(self, by: int) -> None:
        from workbench.jobs import move_in_queue

        run = self.here
        if run is None or run.queue_position is None:
            return
        await asyncio.to_thread(move_in_queue, run.run, max(1, run.queue_position + by))
        self.bench.look_again(other.id for other in self._queued())

    def _queued(self) -> list[RunSummary]:
        view = self.bench.view
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
                self.bench.show_user_error(error)
            else:
                done.append(run)
        if done:
            name = clean(done[0].name, 40) if len(done) == 1 else f"each of {len(done)} runs"
            self.notify(f"{name} {said}")
        self.bench.look_again(run.id for run in runs)

    # Files

    async def do_archive(self) -> None:
        """Put away; back, where all of them are."""
        runs = self.targets
        put_away = not all(run.archived for run in runs)
        self._did(await asyncio.to_thread(archive, [run.run for run in runs], put_away))

    async def do_delete(self) -> None:
        """To the trash; several only after asking."""
        runs = self.targets
        if len(runs) > 1:
            names = ", ".join(f"{clean(run.name, 40)} {run.handle}" for run in runs[:_NAMED])
            more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
            question = AskYesNo(f"Move {len(runs)} runs to the trash?", f"{names}{more}. u brings them back.")
            if not await self.app.push_screen_wait(question):
                return
        self._did(await asyncio.to_thread(delete, [run.run for run in runs], self.bench.runs_home))

    async def do_tags(self) -> None:
        """Edit the tags that a person gave; those of the recipe stay."""
        runs = self.targets
        common = [tag for tag in _own_tags(runs[0]) if all(tag in _own_tags(run) for run in runs)]
        which = clean(runs[0].name, 40) if len(runs) == 1 else f"{len(runs)} runs (those that all have)"
        text = await self.app.push_screen_wait(
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
            self._did(await asyncio.to_thread(write_tags, [run.run for run in runs], add, remove))

    async def do_note(self) -> None:
        """Edit the note."""
        run = self.here
        if run is None:
            return
        text = await self.app.push_screen_wait(
            AskText(f"Note on {clean(run.name, 40)}", run.note, placeholder="what to remember of it")
        )
        if text is not None and text != run.note:
            self._did(await asyncio.to_thread(write_note, run.run, text))

    async def do_undo(self) -> None:
        """Take the newest deed back."""
        done = self._undo.pop()
        if done is None:
            return
        try:
            await asyncio.to_thread(done.take_back)
            self.notify(f"Taken back: {done.what}")
        finally:
            self.moved(done)
            self.bench.look_again(done.runs)

    def _did(self, done: Done) -> None:
        if done.problem is not None:
            self.bench.show_user_error(done.problem)
        if not done.runs:
            return
        self._undo.push(done)
        self.moved(done)
        self.notify(f"{done.what}; u takes it back")
        self.bench.look_again(done.runs)


def _own_tags(run: RunSummary) -> list[str]:
    """The tags that are not the recipe's."""
    of_recipe = run.recipe.get("tags")
    return [tag for tag in run.tags if not isinstance(of_recipe, list) or tag not in of_recipe]
