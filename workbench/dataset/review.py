"""The review file: what a person said of single images, for `[data] corrections` of the next recipe to read.

The last verdict on an image counts; those before it stay in the file, so that taking one back brings the
earlier one to life again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock

from workbench.dataset.review_text import (
    MAX_BYTES,
    Correction,
    Verdict,
    entries_of,
    entry_text,
    file_text,
    too_large,
    with_entry,
    without_last,
)
from workbench.support.atomic import atomic_write, sweep_temporaries
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.fingerprint import fingerprint
from workbench.support.regular_file import UnreadableFile, open_regular
from workbench.support.slug import slug

__all__ = [
    "Correction",
    "Review",
    "Verdict",
    "load_review",
    "pin_review",
    "record",
    "review_path",
    "undo_last",
]


@dataclass(frozen=True, slots=True)
class Review:
    """The verdicts that count: at most one an image, newest last."""

    corrections: tuple[Correction, ...] = ()

    def of(self, image: str) -> Correction | None:
        """The verdict on an image, by id."""
        return next((correction for correction in self.corrections if correction.id == image), None)

    def count(self, verdict: Verdict) -> int:
        """How many images have this verdict."""
        return sum(correction.verdict is verdict for correction in self.corrections)

    @property
    def fingerprint(self) -> str:
        """Equal for reviews that change the same images alike, whoever said so and in whatever order."""
        return fingerprint(sorted((c.id, c.label) for c in self.corrections))


def review_path(runs_home: Path, name: str) -> Path:
    """The review file of a recipe's name: `runs/reviews/NAME.toml`, NAME made safe for a file name."""
    stem = slug(name)
    # A directory that holds a recipe.toml counts as a run.
    return runs_home / "reviews" / f"{'recipe-' if stem.lower() == 'recipe' else stem}.toml"


def load_review(path: Path) -> Review:
    """The review in a file; a file that is not there is an empty review.

    Raises:
        UserError: the file cannot be read, is over 2 MiB, or is not a review; names the entry.
    """
    return _counting(entries_of(_read(path), path))


def record(path: Path, correction: Correction) -> Review:
    """Add a verdict, durably, in place of the image's earlier one; the user's own comments stay.

    Raises:
        UserError: the verdict does not hold together, the file is not a sound review, or cannot be written.
    """
    if correction.when is None:
        correction = replace(correction, when=datetime.now(UTC).replace(microsecond=0))
    entries_of(entry_text(correction), path)  # what could not be read back is not written
    with _changing(path):
        sweep_temporaries(path)
        text = _read(path)
        entries = entries_of(text, path)
        atomic_write(path, with_entry(text, correction, path))
    return _counting([*entries, correction])


def undo_last(path: Path) -> Correction | None:
    """Take the newest verdict back and return it; an earlier one on that image counts again. None: no more.

    Raises:
        UserError: the file is not a sound review or cannot be written.
    """
    if not path.exists():
        return None
    with _changing(path):
        text = _read(path)
        entries = entries_of(text, path)
        if not entries:
            return None
        atomic_write(path, without_last(text, path))
    return entries[-1]


def named_review(named: str) -> Path:
    """The file that a recipe names (`data.corrections`).

    Raises:
        UserError: it is not there: a recipe that asks for corrections must not train without them.
    """
    path = Path(named).expanduser()
    if not os.path.exists(path):  # noqa: PTH110 (false, not an error, for a name that no file can have)
        raise UserError(
            f"no such review: {clean(path)}",
            where="data.corrections",
            hint="petbench review RUN shows where the reviews of a run's recipe lie",
        )
    return path


def pin_review(named: str, pinned: Path) -> None:
    """Copy what counts in the review that a recipe names to `pinned`.

    Raises:
        UserError: as `named_review` and `load_review`.
    """
    atomic_write(pinned, file_text(load_review(named_review(named)).corrections))


def _read(path: Path) -> str:
    """The file's text; "" where there is none."""
    try:
        with open_regular(path) as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise too_large(path)
        return data.decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnreadableFile as error:
        raise UserError(f"the review cannot be read: {error.reason}", where=clean(path)) from error
    except OSError as error:
        raise UserError(f"the review cannot be read: {error.strerror or error}", where=clean(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("not a review: not UTF-8 text", where=clean(path)) from error


def _counting(entries: Sequence[Correction]) -> Review:
    latest: dict[str, Correction] = {}
    for entry in entries:
        latest.pop(entry.id, None)
        latest[entry.id] = entry
    return Review(tuple(latest.values()))


@contextlib.contextmanager
def _changing(path: Path) -> Iterator[None]:
    """Hold the file's lock, so that two front ends at once lose nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            yield
    except OSError as error:
        raise UserError(
            f"the review cannot be written: {error.strerror or error}", where=clean(path)
        ) from error
