"""The run directory: where each file of a run lies, how its name is made, how it is created."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from workbench.support.atomic import atomic_folder, atomic_write, forsaken_folders
from workbench.support.clean import slug
from workbench.support.digests import SUMS
from workbench.support.errors import UserError

PROFILE = "profile.json"
TRACE = "trace.json"
MEMBERS = "members"
"""The folder of an ensemble that holds what it keeps of its runs."""
OF_ATTEMPTS = (
    *("process.json", "exit.json", "provenance.toml", "dirty.patch", "split.json", "corrections.toml"),
    *("teachers.toml", "results.toml", PROFILE, TRACE, SUMS),
)
"""Files of the run's own folder that only its attempts write; notes and the like are written at any time."""

_ID = re.compile(r"(?P<stamp>\d{8}-\d{6})-(?P<slug>[a-z0-9_-]+)-(?P<hex>[0-9a-f]{4})", re.IGNORECASE)
_STAMP = "%Y%m%d-%H%M%S"
_STAMP_LENGTH = len("20260101-120000")
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """A run's directory and the names in it; making one touches no disk."""

    path: Path

    @property
    def id(self) -> str:
        """The directory's own name."""
        return self.path.name

    @property
    def handle(self) -> str:
        """The four hex digits that usually suffice to name the run; the id of a directory renamed by hand."""
        match = _ID.fullmatch(self.id)
        return match["hex"] if match else self.id

    @property
    def slug(self) -> str:
        """The part of the id made from the recipe's name; the id of a directory renamed by hand."""
        match = _ID.fullmatch(self.id)
        return match["slug"] if match else self.id

    @property
    def created(self) -> datetime | None:
        """Local time in the id; None for a directory renamed by hand."""
        match = _ID.fullmatch(self.id)
        if match is None:
            return None
        try:
            return datetime.strptime(match["stamp"], _STAMP)
        except ValueError:
            return None

    @property
    def recipe(self) -> Path:
        """The fully resolved recipe."""
        return self.path / "recipe.toml"

    @property
    def provenance(self) -> Path:
        """Which code, packages, data and device."""
        return self.path / "provenance.toml"

    @property
    def dirty_patch(self) -> Path:
        """What the code had that its commit had not."""
        return self.path / "dirty.patch"

    @property
    def process(self) -> Path:
        """Who runs it: boot id, pid, start ticks."""
        return self.path / "process.json"

    @property
    def exit(self) -> Path:
        """How the latest finished attempt ended."""
        return self.path / "exit.json"

    @property
    def metrics(self) -> Path:
        """One line an event."""
        return self.path / "metrics.jsonl"

    @property
    def heartbeat(self) -> Path:
        """Touched from the batch loop."""
        return self.path / "heartbeat"

    @property
    def control(self) -> Path:
        """The wanted state: run, pause, stop."""
        return self.path / "control.json"

    @property
    def ticket(self) -> Path:
        """The job that Slurm has, or had, for it."""
        return self.path / "slurm.json"

    @property
    def checkpoint(self) -> Path:
        """The directory of the newest checkpoints."""
        return self.path / "checkpoint"

    @property
    def split(self) -> Path:
        """Which image is labelled, unlabelled, validation, test."""
        return self.path / "split.json"

    @property
    def corrections(self) -> Path:
        """The review whose corrections it trains with, as it was when the run began."""
        return self.path / "corrections.toml"

    @property
    def label_issues(self) -> Path:
        """How its labels were judged, and its near-duplicates, once somebody looked for them."""
        return self.path / "label-issues.json"

    @property
    def ensemble(self) -> Path:
        """Whose word it averages; only an ensemble of runs has one."""
        return self.path / "ensemble.toml"

    @property
    def teachers(self) -> Path:
        """The finished runs that taught it, where it had no teacher of its own."""
        return self.path / "teachers.toml"

    @property
    def results(self) -> Path:
        """The headline numbers, written last."""
        return self.path / "results.toml"

    @property
    def log(self) -> Path:
        """The trainer's log with captured output."""
        return self.path / "run.log"

    @property
    def profile(self) -> Path:
        """Where the time of the latest attempt that was profiled went."""
        return self.path / PROFILE

    @property
    def trace(self) -> Path:
        """The same attempt's spans, for Perfetto."""
        return self.path / TRACE

    @property
    def notes(self) -> Path:
        """The user's tags and note."""
        return self.path / "notes.toml"

    @property
    def lock(self) -> Path:
        """Held for moments while process.json or notes.toml is read and replaced."""
        return self.path / ".lock"

    @property
    def written(self) -> tuple[Path, ...]:
        """What is written in place, and the folders that files are put into: no link may stand for one."""
        folders = [self.path / name for name in ("checkpoint", "predictions", "pseudo")]
        return (self.metrics, self.log, self.heartbeat, self.lock, *folders)

    def predictions(self, name: str) -> Path:
        """`predictions/NAME.npz`; names are `val`, `test`, `unlabelled-NN`, `out-of-fold`."""
        return self.path / "predictions" / f"{name}.npz"

    def ledger(self, round: int) -> Path:
        """`pseudo/round-NN.csv`, rounds counting from 1."""
        return self.path / "pseudo" / f"round-{round:02d}.csv"

    def ledgers(self) -> list[tuple[int, Path]]:
        """(round, path) of every ledger there is, in order of rounds."""
        found = []
        for path in (self.path / "pseudo").glob("round-*.csv"):
            number = path.stem.removeprefix("round-")
            if number.isdecimal():
                found.append((int(number), path))
        return sorted(found)


def create_run(runs_home: Path, name: str, recipe_toml: str, now: datetime) -> RunDirectory:
    """Make a new run directory that holds `recipe.toml`.

    The id is `<YYYYMMDD-HHMMSS>-<slug>-<4 hex>` in local time, so that directories sort by age; the slug
    keeps only ASCII letters, digits, `_` and `-` of `name`, whatever it holds.

    Raises:
        UserError: when `runs_home` is a file or cannot be written.
    """
    with _made_there(runs_home):
        runs_home.mkdir(parents=True, exist_ok=True)
        run = RunDirectory(_taken(_free_names(runs_home, name, now)))
        try:
            _begin(run, recipe_toml)
        except OSError:
            shutil.rmtree(run.path, ignore_errors=True)
            raise
    return run


def create_whole_run(
    runs_home: Path, name: str, recipe_toml: str, now: datetime, fill: Callable[[RunDirectory], None]
) -> RunDirectory:
    """As `create_run`, for what is finished in one go: the run appears with all that `fill` puts into it.

    Nothing is left of one that fails; of one that was killed a hidden folder, which the next call removes.

    Args:
        fill: is given the directory while it is hidden and not yet called by its id.

    Raises:
        UserError: as `create_run`; also where what `fill` writes cannot be written.
    """
    with _made_there(runs_home):
        runs_home.mkdir(parents=True, exist_ok=True)
        for left, _ in forsaken_folders(runs_home):
            shutil.rmtree(left, ignore_errors=True)
        path = next(path for path in _free_names(runs_home, name, now) if not os.path.lexists(path))
        with atomic_folder(path) as draft:
            run = RunDirectory(draft)
            _begin(run, recipe_toml)
            fill(run)
    return RunDirectory(path)


_CHOOSE = "choose another with --runs-dir DIR or PETBENCH_RUNS"


@contextlib.contextmanager
def _made_there(runs_home: Path) -> Iterator[None]:
    """What the system says of the runs directory, in words."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileExistsError | NotADirectoryError) and not runs_home.is_dir():
            raise UserError("the runs directory is a file", where=str(runs_home), hint=_CHOOSE) from error
        raise UserError(
            f"cannot make a run there: {error.strerror or error}", where=str(runs_home), hint=_CHOOSE
        ) from error


def _begin(run: RunDirectory, recipe_toml: str) -> None:
    for folder in ("checkpoint", "predictions", "pseudo"):
        (run.path / folder).mkdir()
    atomic_write(run.recipe, recipe_toml)


def _taken(paths: Iterable[Path]) -> Path:
    """The first that is not there yet, made. Raises: OSError."""
    for path in paths:
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise OSError("no free name")


def _free_names(runs_home: Path, name: str, now: datetime) -> Iterator[Path]:
    """Paths to try, of one second."""
    stem = f"{now.astimezone():{_STAMP}}-{slug(name)}"
    for _ in range(_ATTEMPTS):
        yield runs_home / f"{stem}-{secrets.token_hex(2)}"


def run_directories(runs_home: Path) -> list[RunDirectory]:
    """Every run under `runs_home`, newest first; hidden directories such as the trash are not runs.

    A directory is a run when it holds a `recipe.toml`. A runs home that does not exist has no runs.

    Raises:
        UserError: when `runs_home` is a file or cannot be read.
    """
    try:
        names = [name for name in visible_directories(runs_home) if holds_recipe(runs_home, name)]
    except FileNotFoundError:
        return []
    except NotADirectoryError as error:
        raise UserError("the runs directory is a file", where=str(runs_home), hint=_CHOOSE) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=str(runs_home)) from error
    return [RunDirectory(runs_home / name) for name in newest_first(runs_home, names)]


def newest_first(runs_home: Path, names: Iterable[str]) -> list[str]:
    """By the second in their ids; runs of one second, as a script makes them, by when they were begun."""
    ordered: list[str] = []
    for _, of_one_second in itertools.groupby(
        sorted(names, reverse=True), key=lambda name: name[:_STAMP_LENGTH]
    ):
        together = list(of_one_second)
        if len(together) > 1:
            together.sort(key=lambda name: _begun(runs_home / name / "recipe.toml"), reverse=True)
        ordered += together
    return ordered


def _begun(recipe: Path) -> int:
    """When a run's recipe was written, ns: once, before anything else of it."""
    try:
        return recipe.lstat().st_mtime_ns
    except OSError:
        return 0  # it is gone meanwhile


def visible_directories(folder: Path) -> Iterator[str]:
    """Names of the directories in `folder` that are not hidden, in any order. Raises: OSError."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):  # a link to itself, or into where one may not look
                if not entry.name.startswith(".") and entry.is_dir():
                    yield entry.name


def holds_recipe(runs_home: Path, name: str) -> bool:
    """Whether the directory `name` is a run."""
    # Whatever it is: a run whose recipe cannot be read is listed with what is wrong with it. Not Path.exists:
    # it costs five times as much, and there may be ten thousand runs.
    return os.path.lexists(f"{runs_home}/{name}/recipe.toml")
