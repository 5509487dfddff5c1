"""What is done to the files of runs, each with the way to take it back; belongs off the screen's loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from workbench.runs.layout import RunDirectory
from workbench.runs.notes import change_notes, read_notes
from workbench.runs.trash import move_to_trash, restore_run
from workbench.support.errors import UserError
from workbench.tui.screens.runs.undo import Done


def archive(runs: Sequence[RunDirectory], archived: bool) -> Done:
    """Put runs away, or bring them back into the table."""
    other = [run for run in runs if read_notes(run).archived != archived]
    changed, problem = _each(other, lambda run: change_notes(run, archived=archived))
    verb = "archived" if archived else "brought back"
    what = f"{verb} {_counted(changed)}"
    return _done(what, changed, lambda run: change_notes(run, archived=not archived), "archive", problem)


def write_note(run: RunDirectory, note: str) -> Done:
    """Replace the run's note. Raises: UserError."""
    old = read_notes(run).note
    change_notes(run, note=note)
    return _done(f"note on {run.handle}", [run], lambda run: change_notes(run, note=old))


def write_tags(runs: Sequence[RunDirectory], add: Sequence[str], remove: Sequence[str]) -> Done:
    """Add tags to runs and take others off, where they have them."""
    before = {run: read_notes(run).tags for run in runs}
    changed, problem = _each(
        runs,
        lambda run: change_notes(run, add=add, remove=[tag for tag in remove if tag in before[run]]),
    )

    def take_back(run: RunDirectory) -> None:
        now, old = read_notes(run).tags, before[run]
        change_notes(run, add=old, remove=[tag for tag in now if tag not in old])

    return _done(f"tags of {_counted(changed)}", changed, take_back, problem=problem)


def delete(runs: Sequence[RunDirectory], runs_home: Path) -> Done:
    """Move runs to the trash. Raises: UserError, for a run that is running."""
    move_to_trash(runs)
    what = f"moved {_counted(runs)} to the trash"
    return _done(what, runs, lambda run: restore_run(runs_home, run.id), "trash")


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


_TAG_LIMIT = 60


def _done(
    what: str,
    runs: Sequence[RunDirectory],
    take_back: Callable[[RunDirectory], object],
    moves: Literal["", "archive", "trash"] = "",
    problem: UserError | None = None,
) -> Done:
    def take_all_back() -> None:
        _, problem = _each(runs, take_back)
        if problem is not None:
            raise problem

    return Done(what, tuple(run.id for run in runs), moves, take_all_back, problem)


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
