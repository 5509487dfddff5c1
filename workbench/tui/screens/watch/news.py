"""What the Watch screen is told: one value, made by its reader thread when something changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil
from numpy.typing import NDArray
from textual.message import Message

from workbench.dataset import open_catalogue
from workbench.recipe import load_recipe
from workbench.runs.abstaining import Promise, promises_of
from workbench.runs.calibration import Reliability, known_predictions, reliability_of
from workbench.runs.curves import Following, RunFollower
from workbench.runs.ensemble import is_ensemble
from workbench.runs.layout import RunDirectory
from workbench.runs.log import LogLines, LogTail
from workbench.runs.results import read_results, read_top
from workbench.runs.status import RunStatus, last_sign
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.regular_file import read_bytes
from workbench.support.toml_text import MAX_BYTES

TICK_SECONDS = 0.5
_USE_TICKS = 6
_NAP_SECONDS = 0.1
_NAME_LIMIT = 18


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What a process and its children take of the machine."""

    cpu: float
    """Cores, since the last look."""
    memory_bytes: int


class ProcessMeter:
    """Measures one family of processes; it remembers them, since processor time counts from look to look."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}

    def read(self, pid: int) -> ProcessUse | None:
        """Processor and memory of process `pid` and its children; None where they cannot be told."""
        try:
            root = psutil.Process(pid)
            family = [root, *root.children(recursive=True)]
            self._known = {p.pid: self._known.get(p.pid, p) for p in family}
            use = [(p.cpu_percent() / 100, p.memory_info().rss) for p in self._known.values()]
        except psutil.Error:
            return None
        return ProcessUse(round(sum(cpu for cpu, _ in use), 2), sum(rss for _, rss in use))


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a model that the run keeps says of the validation images; a later epoch may say otherwise."""

    name: str
    """Such as `r4 ep 12`."""
    matrix: NDArray[np.int64]
    """(C, C) int64 counts: rows are true classes, columns predictions."""


@dataclass(frozen=True, slots=True, eq=False)
class Confidence:
    """How far the confidence of a finished run's model can be believed."""

    reliability: Reliability
    promises: tuple[Promise, ...]


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """A run at one moment, with all that the screen shows of it."""

    following: Following
    classes: tuple[str, ...]
    """Class names in the confusion's order; empty while they are not known."""
    log: LogLines
    use: ProcessUse | None
    """None unless a process works on the run here."""
    last_sign: float | None
    """Of a stalled run, in seconds since the epoch; None for any other."""
    recipe_text: str
    kept: tuple[Kept | None, Kept | None]
    """Of the final model and of the teacher; None before the run's end, and where there is none."""
    confidence: Confidence | None = None
    """Of the final model; None before the run's end, and where its validation predictions are lost."""
    gone: bool = False
    """The run's directory is not there any more; all else is as it was last."""


@dataclass
class RunNews(Message):
    """The run is not what it was."""

    news: News

    def can_replace(self, message: Message) -> bool:
        """Newer news make older ones that still wait superfluous."""
        return isinstance(message, RunNews)


@dataclass
class RunUnreadable(Message):
    """The run's files cannot be read now."""

    reason: str


class NewsReader:
    """Brings a run's news together; `read` costs what is new."""

    def __init__(self, run: RunDirectory, data_home: Path) -> None:
        self._run, self._data_home = run, data_home
        self._follower, self._log = RunFollower(run), LogTail(run.log)
        self._classes: tuple[str, ...] = ()
        self._asked_for_classes = 0
        self._meter = ProcessMeter()
        self._use: ProcessUse | None = None
        self._ticks = 0
        self._recipe_text = _read_text(run.recipe)
        self._kept: tuple[Kept | None, Kept | None] = (None, None)
        self._confidence: Confidence | None = None
        self._results_seen: tuple[int, int] | None = None
        self._last: News | None = None

    def read(self) -> News:
        """The news; the very same object as the last time when nothing has changed.

        Raises:
            OSError: a file is there and cannot be read.
        """
        last = self._last
        if last is not None and not self._run.path.is_dir():
            self._last = last if last.gone else replace(last, gone=True, use=None)
            return self._last
        following, log = self._follower.refresh(), self._log.refresh()
        if self._ticks % _USE_TICKS == 0:
            process = following.process if following.status.is_running else None
            self._use = self._meter.read(process.pid) if process is not None else None
        self._ticks += 1
        self._find_classes(following)
        self._find_kept()
        sign = _sign_of_stalled(following)
        if (
            last is not None
            and not last.gone
            and (last.following is following and last.log is log and last.classes is self._classes)
            and (last.use, last.last_sign, last.kept) == (self._use, sign, self._kept)
            and last.confidence is self._confidence
        ):
            return last
        self._last = News(
            following,
            self._classes,
            log,
            self._use,
            sign,
            self._recipe_text,
            self._kept,
            self._confidence,
        )
        return self._last

    def _find_kept(self) -> None:
        """Read the results' confusions and confidence, when there are other results than the last time."""
        try:
            now = self._run.results.stat()
            seen = (now.st_mtime_ns, now.st_size)
        except OSError:
            seen = None
        if seen != self._results_seen:
            self._results_seen = seen
            self._kept = kept_confusions(self._run) if seen is not None else (None, None)
            self._confidence = confidence_of(self._run) if seen is not None else None

    def _find_classes(self, following: Following) -> None:
        """Once a confusion is there; asked again when the run has ended, since its results tell them."""
        stage = 0 if not following.confusions else 2 if self._run.results.exists() else 1
        if not self._classes and stage > self._asked_for_classes:
            self._asked_for_classes = stage
            self._classes = class_names(self._run, self._data_home)


def class_names(run: RunDirectory, data_home: Path) -> tuple[str, ...]:
    """The names of the run's classes, from its results, else from its data; empty where neither tells."""
    try:
        return tuple(map(str, read_top(run.results)["classes"]))
    except (OSError, KeyError, TypeError):
        pass
    try:
        data = load_recipe(run.recipe).data
        return open_catalogue(data, data_home=data_home).classes(data.target)
    except (UserError, OSError):
        return ()


def class_name(classes: Sequence[str], index: int, limit: int = _NAME_LIMIT) -> str:
    """A class's name, harmless; its number while the names are not known."""
    return clean(classes[index].replace("_", " "), limit) if index < len(classes) else f"class {index}"


def kept_confusions(run: RunDirectory) -> tuple[Kept | None, Kept | None]:
    """Of the final model and of the teacher, on the validation images; None where results tell none."""
    try:
        results = read_results(run.results)
    except (UserError, OSError):
        return None, None
    place = f"r{results.best_round}" if results.best_round else results.best_stage
    name = "mean" if is_ensemble(run) else f"{place} ep {results.best_epoch}"
    final = Kept(name, np.array(results.val.confusion))
    teacher = results.teacher_val
    return final, None if teacher is None else Kept("teacher", np.array(teacher.confusion))


def confidence_of(run: RunDirectory) -> Confidence | None:
    """Of the final model; None where results or predictions tell none."""
    try:
        reliability = reliability_of(run, read_results(run.results))
    except (UserError, OSError):
        return None
    said = known_predictions(run, "val")
    if reliability is None or said is None:
        return None
    return Confidence(reliability, promises_of(said, reliability.calibration.temperature))


def read_news(
    reader: NewsReader,
    post: Callable[[Message], object],
    is_over: Callable[[], bool],
    is_seen: Callable[[], bool],
    *,
    once: bool = False,
) -> None:
    """Read until `is_over`, at most twice a second; runs in a thread and posts `RunNews` when there are some.

    While nobody sees the screen nothing is read. A file that cannot be read is told once and tried again.

    Args:
        once: end as soon as everything has been read.
    """
    posted: News | None = None
    told = ""
    while not is_over():
        if is_seen():
            try:
                news = reader.read()
            except OSError as error:
                if told != str(error):
                    told = str(error)
                    post(RunUnreadable(told))
            else:
                if news is not posted:
                    posted, told = news, ""
                    post(RunNews(news))
                if news.following.read_share < 1:
                    continue
        if once:
            return
        _sleep(TICK_SECONDS, is_over)


def _sleep(seconds: float, is_over: Callable[[], bool]) -> None:
    """Sleep in short naps, so that a closed screen's thread ends at once."""
    end = time.monotonic() + seconds
    while not is_over() and (left := end - time.monotonic()) > 0:
        time.sleep(min(_NAP_SECONDS, left))


def _sign_of_stalled(following: Following) -> float | None:
    """Only of a stalled run, where it stands still: a live one's moves all the time and nobody is told."""
    if following.status is not RunStatus.STALLED or following.process is None:
        return None
    return last_sign(following.run, following.process)


def _read_text(path: Path) -> str:
    try:
        return read_bytes(path, MAX_BYTES).decode("utf-8", "backslashreplace")
    except OSError:
        return ""
