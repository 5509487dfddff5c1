"""What is done to the files of runs, each with the way to take it back; belongs off the screen's loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from workbench.runs.layout import RunDirectory
from workbench.runs.notes import change_notes, read_notes
from workbench.runs.trash import move_to_trash, restore_run
from workbench.support.errors import UserError
from workbench.tui.screens.runs.undo import Done


def archive(runs: Sequence[RunDirectory], archived: bool) -> Done:
    """Put runs away, or bring them back into the table. Raises: UserError."""
    changed = [run for run in runs if read_notes(run).archived != archived]
    for run in changed:
        change_notes(run, archived=archived)
    verb = "archived" if archived else "brought back"
    return _done(f"{verb} {_counted(changed)}", changed, lambda run: change_notes(run, archived=not archived))


def write_note(run: RunDirectory, note: str) -> Done:
    """Replace the run's note. Raises: UserError."""
    old = read_notes(run).note
    change_notes(run, note=note)
    return _done(f"note on {run.handle}", [run], lambda run: change_notes(run, note=old))


def write_tags(runs: Sequence[RunDirectory], add: Sequence[str], remove: Sequence[str]) -> Done:
    """Add tags to runs and take others off, where they have them. Raises: UserError."""
    before = {run: read_notes(run).tags for run in runs}
    for run, own in before.items():
        change_notes(run, add=add, remove=[tag for tag in remove if tag in own])

    def take_back(run: RunDirectory) -> None:
        now, old = read_notes(run).tags, before[run]
        change_notes(run, add=old, remove=[tag for tag in now if tag not in old])

    return _done(f"tags of {_counted(runs)}", runs, take_back)


def delete(runs: Sequence[RunDirectory], runs_home: Path) -> Done:
    """Move runs to the trash. Raises: UserError, for a run that is running."""
    move_to_trash(runs)
    return _done(f"moved {_counted(runs)} to the trash", runs, lambda run: restore_run(runs_home, run.id))


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


def _done(what: str, runs: Sequence[RunDirectory], take_back: Callable[[RunDirectory], object]) -> Done:
    def take_all_back() -> None:
        for run in runs:
            take_back(run)

    return Done(what, tuple(run.id for run in runs), take_all_back)


def _counted(runs: Sequence[RunDirectory]) -> str:
    return runs[0].slug if len(runs) == 1 else f"{len(runs)} runs"
