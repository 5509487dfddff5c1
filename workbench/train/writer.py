"""Checkpoints written beside the training: it copies what it stands on and goes on."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench.train.checkpoint import save_checkpoint
from workbench.train.interrupt import Interrupted
from workbench.train.network import clone_weights
from workbench.train.state import Weights


class CheckpointWriter:
    """Hashes and writes in a thread of its own, one checkpoint at a time and in their order.

    Leaving it as a context waits for the last one, so that a run that stops is safe on disk. What went wrong
    in writing is raised by the next `save` or `wait`, or on leaving.

    Args:
        folder: of the run's numbered checkpoints.
        check: raises if the run is another attempt's by now; asked before a file is put into its place.
    """

    def __init__(self, folder: Path, check: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._check = check
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[Path] | None = None

    def save(self, tensors: Weights, plain: dict[str, Any]) -> None:
        """Copy both to the host's memory and begin to write them, once the checkpoint before is written.

        Raises:
            OSError: the checkpoint before could not be written.
        """
        self.wait()
        self._writing = self._thread.submit(
            save_checkpoint, self._folder, clone_weights(tensors), copy.deepcopy(plain), self._check
        )

    def wait(self) -> None:
        """Return when nothing is left to write.

        Raises:
            OSError: disk full or not writable.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # A stopped run says that it is safe, so it must be; other trouble is told before the disk's.
            says_it_is_safe = error is None or isinstance(error, Interrupted)
            with contextlib.nullcontext() if says_it_is_safe else contextlib.suppress(OSError):
                self.wait()
        finally:
            self._thread.shutdown()
