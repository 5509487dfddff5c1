"""The engine beside the Label screen: looks at a folder's images, proposes some to label, learns along.

It reads requests from stdin and answers on stdout (`labels.protocol`), one after the other. Features are
computed in a thread meanwhile; until they are there, chance proposes. What the labels are it reads from the
journal, which the screen and others write. Nothing of it needs saving: the end of stdin, SIGTERM or the death
of its parent end it at any moment, and features stay in the bank that runs use.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, assert_never

from workbench.active.features import FolderFeatures, folder_features
from workbench.active.grouping import Groups
from workbench.active.head import Labels, Learner, labels_of
from workbench.active.offer_queue import Queue
from workbench.active.stopping import doubted, judge
from workbench.dataset.table import label_paths
from workbench.labels.journal import NAME, Journal, journal_of, read
from workbench.labels.protocol import (
    Answer,
    Changed,
    Doubted,
    Failed,
    Offer,
    Phase,
    Progress,
    Quit,
    Request,
    SecondLook,
    line_of,
    request_of,
)
from workbench.support.clean import clean
from workbench.support.errors import UserError

DEFAULT_BACKBONE = "efficientnet_lite0"
DEFAULT_SIZE = 224
REFIT_AFTER = 10
"""Labels that came or changed after which the head is fitted anew; below so many labels, after every one."""
_FEW_LABELS = 400
"""So few are learned anew in a blink, so every stroke counts at once."""
_PROGRESS_SECONDS = 0.2
_PARENT_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is there once the images were looked at."""

    queue: Queue
    features: FolderFeatures
    groups: Groups
    learner: Learner


class Engine:
    """Answers requests about one folder.

    Args:
        folder: holds the images and the journal.
        answer: takes each answer, from several threads, one at a time.
        look: computes the features; slow.
    """

    def __init__(
        self,
        folder: Path,
        answer: Callable[[Answer], None],
        look: Callable[[list[str], Callable[[Phase, int, int], None]], FolderFeatures],
    ) -> None:
        self._folder, self._answer, self._look = folder, answer, look
        self._journal_path = folder / NAME
        self._stamp: tuple[int, int] | None = None
        self._journal: Journal = journal_of(self._journal_path, ())
        self._queue: Queue | None = None
        self._seen: _Seen | None = None
        self._ready: _Seen | None = None
        self._learned: dict[str, str] = {}
        self._judged: dict[str, str] | None = None
        self._to_judge: queue.Queue[Callable[[], Answer | None]] = queue.Queue()
        self._latest: tuple[_Seen, Labels] | None = None
        self._last_progress = 0.0

    def start(self) -> None:
        """List the images, then look at them in a thread.

        Raises:
            UserError: the folder or its journal cannot be read, or there is no image.
        """
        self._tell("listing", 0, 0)
        self._reread()
        unusable = set(self._journal.unusable)
        paths = [path for path in label_paths(self._folder) if path not in unusable]
        if not paths:
            raise UserError("no image in this folder", where=clean(self._folder))
        self._queue = Queue(paths)
        self._tell("listing", len(paths), len(paths))
        threading.Thread(target=self._look_at, args=(paths,), name="features", daemon=True).start()
        threading.Thread(target=self._judge_on, name="judge", daemon=True).start()

    def handle(self, request: Request) -> bool:
        """Answer a request; whether to go on."""
        match request:
            case Offer():
                self._catch_up()
                assert self._queue is not None  # it has started
                seen = self._seen
                images = seen.queue if seen else self._queue
                labels = labels_of(self._journal, images.paths)
                learner, groups = (seen.learner, seen.groups) if seen else (None, None)
                self._answer(images.offer(request, self._journal, labels, learner, groups))
            case Changed():
                self._catch_up()
                if self._seen is not None:
                    self._judge_if_new(labels_of(self._journal, self._seen.queue.paths))
            case SecondLook(most):
                self._catch_up()
                if (seen := self._seen) is None:
                    self._answer(Doubted(()))
                    return True
                labels = labels_of(self._journal, seen.queue.paths)
                inputs, paths = seen.learner.inputs, seen.queue.paths
                self._to_judge.put(lambda: Doubted(doubted(inputs, labels, paths, most)))
            case Quit():
                return False
            case _:
                assert_never(request)
        return True

    def _look_at(self, paths: list[str]) -> None:
        try:
            found = self._look(paths, self._tell)
            if not found.paths:
                raise UserError("no image in this folder can be read", where=clean(self._folder))
            self._tell("clusters", 0, 1)
            seen = _Seen(Queue(found.paths), found, Groups(found.features), Learner(found.features))
            self._ready = seen
            self._tell("ready", len(found.paths), len(paths))
        except Exception as error:  # whatever it is, the person goes on labelling, by chance
            self._answer(Failed(clean(str(error) or type(error).__name__, 2000)))

    def _tell(self, phase: Phase, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last_progress >= _PROGRESS_SECONDS or done in (0, total):
            self._last_progress = now
            self._answer(Progress(phase, done, total))

    def _reread(self) -> None:
        """The journal as it is now, if it changed."""
        try:
            status = self._journal_path.stat()
            stamp = (status.st_size, status.st_mtime_ns)
        except FileNotFoundError:
            stamp = None
        if stamp != self._stamp or stamp is None:
            self._journal = read(self._journal_path)
            self._stamp = stamp

    def _catch_up(self) -> None:
        """Read what was said meanwhile and learn from it, if it is worth it."""
        self._reread()
        if self._ready is not None and self._seen is None:
            self._seen = self._ready
        if self._seen is None:
            return
        labels = labels_of(self._journal, self._seen.queue.paths)
        told = self._journal.labels
        new = _differing(self._learned, told)
        if new >= _due(told) or labels.names != self._seen.learner.names:
            self._seen.learner.learn(labels)
            self._learned = told

    def _judge_if_new(self, labels: Labels) -> None:
        """Let the stop line be told anew, in a thread, if enough has been said since."""
        seen, told = self._seen, self._journal.labels
        if seen is None:
            return
        if self._judged is not None and _differing(self._judged, told) < _due(told):
            return
        self._judged = told
        self._latest = seen, labels
        self._to_judge.put(self._judge_latest)

    def _judge_latest(self) -> Answer | None:
        """The stop line of the latest labels; None where a question before has answered that."""
        latest, self._latest = self._latest, None
        if latest is None:
            return None
        seen, labels = latest
        return judge(seen.learner.inputs, labels, seen.queue.random_sample(labels))

    def _judge_on(self) -> None:
        """One question after the other."""
        while True:
            ask = self._to_judge.get()
            try:
                answer = ask()
                if answer is not None:
                    self._answer(answer)
            except Exception as error:
                self._answer(Failed(clean(str(error) or type(error).__name__, 2000)))


def _due(told: Sized) -> int:
    """How many labels must have changed before it is worth learning from so many."""
    return REFIT_AFTER if len(told) > _FEW_LABELS else 1


def _differing(before: dict[str, str], after: dict[str, str]) -> int:
    """How many images have another label than before, or one that had none, or none that had one."""
    if before == after:
        return 0
    return sum(before.get(path) != after.get(path) for path in before.keys() | after.keys())


def serve(
    folder: Path,
    requests: BinaryIO,
    answers: BinaryIO,
    *,
    backbone: str,
    image_size: int,
    device: str,
    cache: Path,
) -> int:
    """Answer until the requests end; the exit code. The device is named as `find_device` has it."""
    lock = threading.Lock()

    def answer(message: Answer) -> None:
        with lock:
            try:
                answers.write(line_of(message))
                answers.flush()
            except (BrokenPipeError, ValueError):
                os._exit(0)  # nobody listens any more

    def look(paths: list[str], tell: Callable[[Phase, int, int], None]) -> FolderFeatures:
        return folder_features(
            folder, paths, backbone=backbone, image_size=image_size, device=device, cache=cache, tell=tell
        )

    engine = Engine(folder, answer, look)
    try:
        engine.start()
    except UserError as error:
        answer(Failed(str(error)))
        return 2
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), name="parent", daemon=True).start()
    for line in requests:
        try:
            if not engine.handle(request_of(line)):
                break
        except ValueError as error:
            answer(Failed(f"not understood: {clean(error, 200)}"))
        except UserError as error:
            answer(Failed(str(error)))
    return 0


def _end_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_SECONDS)
    os._exit(0)


def end_at_once() -> None:
    """From here on SIGTERM and ^C end the process without a word: there is nothing to put away."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: os._exit(0))


def own_streams() -> tuple[BinaryIO, BinaryIO]:
    """stdin and stdout for the protocol alone: whatever else prints, prints to stderr."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return sys.stdin.buffer, answers


__all__ = ["DEFAULT_BACKBONE", "DEFAULT_SIZE", "Engine", "end_at_once", "own_streams", "serve"]
