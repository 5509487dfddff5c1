"""Where predictions go: into files, into folders, onto the screen; and how many of which kind there were."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from workbench.cli.console import console, error_console, warn
from workbench.dataset.class_folders import ClassFolders
from workbench.runs.abstaining import UNSURE, Judgement, Said
from workbench.runs.prediction_file import PredictionFile, PredictionRow, top_record
from workbench.support.clean import clean
from workbench.support.units import human_speed, percent

if TYPE_CHECKING:
    from workbench.train.predict import Predicted, Unreadable

AT_ONCE = 64
"""Pictures whose rows are written together: a batch of inference."""
_BAR_WIDTH = 24
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SECONDS = 1.0
"""Between two words about how far it is."""


@dataclass
class Counts:
    """How many pictures ended how."""

    sure: int = 0
    unsure: int = 0
    unreadable: int = 0
    before: int = 0
    """That had a row already."""

    @property
    def read(self) -> int:
        """Those that the model saw."""
        return self.sure + self.unsure

    def words(self, *, promised: bool) -> str:
        """`1,837 pictures: 1,650 sure, 180 unsure, 7 unreadable`."""
        total = self.read + self.unreadable
        kinds = []
        if promised:
            kinds += [f"{self.sure:,} sure", f"{self.unsure:,} {UNSURE}"]
        if self.unreadable:
            kinds.append(f"{self.unreadable:,} unreadable")
        if self.before:
            kinds.append(f"{self.before:,} more were there before")
        noun = "picture" if total == 1 else "pictures"
        return f"{total:,} {noun}" + (f": {', '.join(kinds)}" if kinds else "")


@dataclass
class Output:
    """What becomes of each picture's prediction."""

    classes: Sequence[str]
    judgement: Judgement
    top: int
    files: Sequence[PredictionFile] = ()
    folders: ClassFolders | None = None
    records: list[dict[str, Any]] | None = None
    """For one JSON object at the end; None: they are not kept."""
    shows: bool = True
    """Whether each is printed for people."""
    counts: Counts = field(default_factory=Counts)
    _begun: float = field(default_factory=time.monotonic)
    _told: float = 0.0

    def lacking(self, paths: Iterable[Path]) -> Iterator[Path]:
        """The pictures that some file has no row of yet."""
        for path in paths:
            if not self.files or any(file.lacks(path) for file in self.files):
                yield path
            else:
                self.counts.before += 1

    def take(self, outcomes: Iterable[Predicted | Unreadable]) -> None:
        """Write what is said of each, as it is said."""
        held: list[Predicted | Unreadable] = []
        for outcome in outcomes:
            held.append(outcome)
            if len(held) >= AT_ONCE:
                self._settle(held)
                held = []
        self._settle(held)

    def _settle(self, outcomes: Sequence[Predicted | Unreadable]) -> None:
        if not outcomes:
            return
        import numpy as np

        from workbench.train.predict import Predicted

        shares = [one.probabilities for one in outcomes if isinstance(one, Predicted)]
        said = iter(self.judgement.of(np.stack(shares)) if shares else ())
        rows = [
            self._row(one.path, next(said)) if isinstance(one, Predicted) else self._unread(one)
            for one in outcomes
        ]
        if self.folders is not None:
            for row in rows:
                if row.class_name is not None:
                    self.folders.place(Path(row.path), row.class_name)
        for file in self.files:
            file.write(rows)
        for row in rows:
            self._show(row)
        self._tell()

    def _row(self, path: Path, said: Said) -> PredictionRow:
        if said.is_sure:
            self.counts.sure += 1
        else:
            self.counts.unsure += 1
        order = (-said.probabilities).argsort(kind="stable")[: self.top].tolist()
        guess = self.classes[said.best]
        # Of classes that a temperature makes equal the model's own choice stays the first.
        order = [said.best, *(one for one in order if one != said.best)][: self.top]
        return PredictionRow(
            str(path),
            guess if said.is_sure else UNSURE,
            said.confidence,
            guess,
            tuple(self.classes[one] for one in said.among),
            tuple((self.classes[one], float(said.probabilities[one])) for one in order),
        )

    def _unread(self, outcome: Unreadable) -> PredictionRow:
        self.counts.unreadable += 1
        if not self.files:
            warn(f"{outcome.path}: {outcome.reason}")
        return PredictionRow(str(outcome.path), None, error=outcome.reason)

    def _show(self, row: PredictionRow) -> None:
        if self.records is not None:
            self.records.append(_record(row, promised=self.judgement.sure is not None))
        elif self.shows and row.error is None:
            print_row(row)

    def _tell(self) -> None:
        """How far it is, where somebody looks and nothing else moves."""
        now = time.monotonic()
        if self.shows or not error_console.is_screen or now - self._told < _SECONDS:
            return
        self._told = now
        done = self.counts.read + self.counts.unreadable
        speed = human_speed(done / max(1e-9, now - self._begun))
        error_console.print(Text(f"{done:,} pictures, {speed} images/s"), end="\r")


def _record(row: PredictionRow, *, promised: bool) -> dict[str, Any]:
    if row.error is not None:
        return {"image": row.path, "error": row.error}
    told: dict[str, Any] = {"image": row.path, "top": top_record(row)}
    return {**told, "class": row.class_name, "set": list(row.among)} if promised else told


def judgement_record(judgement: Judgement) -> dict[str, Any]:
    """The judgement as a JSON object."""
    sets = judgement.sets
    return {
        "temperature": judgement.temperature,
        "sure": judgement.sure,
        "threshold": None if judgement.threshold is None else asdict(judgement.threshold),
        "sets": None
        if sets is None
        else {"promised": sets.promised, "images": sets.images, "by_class": sets.by_class},
    }


def print_row(row: PredictionRow) -> None:
    """A picture's most probable classes as bars; of an unsure one which it may be."""
    title = Text(clean(row.path), style="bold")
    console.print(title, soft_wrap=True)
    if row.class_name == UNSURE and row.guess != UNSURE:
        few = ", ".join(clean(name) for name in row.among)
        console.print(Text(f"  {UNSURE}: {few}", style="yellow"), soft_wrap=True)
    names = [Text(clean(name)) for name, _ in row.top]
    room = max(8, console.width - _BAR_WIDTH - 13)
    width = min(room, max(name.cell_len for name in names))
    for name, (_, share) in zip(names, row.top, strict=True):
        name.truncate(width, overflow="ellipsis", pad=True)
        line = Text("  ").append_text(name).append(f"  {_bar(share)}", style="cyan")
        console.print(line.append(f" {percent(share):>6} %"), soft_wrap=True)


def _bar(share: float) -> str:
    """`share` of `_BAR_WIDTH` cells, to an eighth of a cell."""
    whole, eighths = divmod(round(share * _BAR_WIDTH * 8), 8)
    return ("█" * whole + _EIGHTHS[eighths].strip()).ljust(_BAR_WIDTH)
