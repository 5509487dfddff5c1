"""Where a person's verdicts on a run's images go: a review, or the journal of labels that it learned from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from workbench.dataset.review import Correction, Review, Verdict, load_review, record, review_path, undo_last
from workbench.dataset.table import labels_file
from workbench.labels.journal import (
    CANNOT_TELL,
    NO_CLASS,
    UNUSABLE,
    Journal,
    Row,
    append,
    by_time,
    read,
    time_of,
)
from workbench.labels.strokes import MODEL, UNDO, Undo, class_named, last_stroke, make_stroke, person
from workbench.recipe import Recipe
from workbench.support.clean import clean
from workbench.support.errors import UserError


@dataclass(frozen=True, slots=True)
class ReviewFile:
    """A review: verdicts that the next recipe lays over its data set (`data.corrections`)."""

    path: Path

    def read(self) -> Review:
        """The verdicts that count. Raises: UserError, as `load_review`."""
        return load_review(self.path)

    def write(self, corrections: Sequence[Correction], sure: Mapping[str, float]) -> None:
        """Add verdicts. Raises: UserError, as `record`."""
        for correction in corrections:
            record(self.path, correction)

    def take_back(self) -> Correction | None:
        """Take the newest verdict back; None where there is none. Raises: UserError, as `undo_last`."""
        return undo_last(self.path)


@dataclass(frozen=True, slots=True)
class LabelledFolder:
    """A journal of labels, the next run's table: a verdict is a label, and may name a new class.

    Args:
        path: the journal.
        run: id of the run whose word is judged.
        since: when the run was made: what was said after it is a verdict on it.
        by: who judges.
    """

    path: Path
    run: str
    since: datetime
    by: str

    def read(self) -> Review:
        """What was said since the run was made, the newest last. Raises: UserError, as `journal.read`."""
        return _verdicts(read(self.path), self)

    def write(self, corrections: Sequence[Correction], sure: Mapping[str, float]) -> None:
        """Label the images, at one stroke.

        Args:
            sure: the model's probability of what it said, by image.

        Raises:
            UserError: as `journal.append`; a class that cannot be called so; the disk takes nothing.
        """

        def rows(journal: Journal) -> Iterator[Row]:
            for correction in corrections:
                match correction.verdict:
                    case Verdict.ACCEPT:
                        name, by = class_named(journal, correction.label), MODEL + self.by
                        yield Row(correction.id, name, by, None, sure.get(correction.id))
                    case Verdict.RELABEL:
                        yield Row(correction.id, class_named(journal, correction.label), self.by)
                    case Verdict.EXCLUDE:
                        yield Row(correction.id, UNUSABLE, self.by)

        try:
            append(self.path, lambda journal: list(rows(journal)))
        except OSError as error:
            raise self._unwritten(error) from error

    def take_back(self) -> Correction | None:
        """Take back this person's last stroke since the run was made. Raises: UserError, as `write`."""
        before = read(self.path)
        last = last_stroke(before, self.by)
        if not last or time_of(last[0]) < self.since:
            return None
        try:
            make_stroke(self.path, Undo(), self.by)
        except OSError as error:
            raise self._unwritten(error) from error
        taken = {row.path for row in last}
        told = [correction for correction in _verdicts(before, self).corrections if correction.id in taken]
        return told[-1] if told else None

    def class_named(self, typed: str, classes: Sequence[str]) -> str:
        """The class that is meant, which may be new. Raises: UserError, no class can be called so."""
        return typed if typed in classes else class_named(read(self.path), typed)

    def _unwritten(self, error: OSError) -> UserError:
        return UserError(f"nothing was written: {error.strerror or error}", where=clean(self.path))


VerdictFile = ReviewFile | LabelledFolder


def verdict_file(
    runs_home: Path, recipe: Recipe | None, *, run: str, slug: str, since: datetime | None
) -> VerdictFile:
    """Where verdicts on a run's images belong.

    Args:
        recipe: the run's; None where it cannot be read.
        slug: the run's name, where there is no recipe.
        since: when the run was made, in local time; None where nobody knows.
    """
    if recipe is not None and since is not None and (labels := labels_file(recipe.data)) is not None:
        return LabelledFolder(labels, run, since.astimezone(), person())
    return ReviewFile(review_path(runs_home, recipe.name if recipe is not None else slug))


def _verdicts(journal: Journal, folder: LabelledFolder) -> Review:
    new = [row for row in by_time(journal.rows) if time_of(row) >= folder.since]
    latest = {row.path: row for row in new if journal.current.get(row.path) == row}
    found = []
    for row in sorted(latest.values(), key=time_of):
        match row.class_name:
            case name if name in (NO_CLASS, CANNOT_TELL):
                continue
            case name if name == UNUSABLE:
                verdict, label = Verdict.EXCLUDE, ""
            case label:
                verdict = Verdict.ACCEPT if row.by.startswith(MODEL) else Verdict.RELABEL
        if not row.by.startswith(UNDO):
            found.append(Correction(row.path, verdict, label, run=folder.run, when=row.when))
    return Review(tuple(found))
