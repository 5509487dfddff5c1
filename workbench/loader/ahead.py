"""The next batches prepared while a step runs: the same ones, in the same order."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

DEPTH = 2
"""Batches that wait: one would do if all steps took equally long."""
_LOOK_SECONDS = 0.1
"""How often a full queue is left to see whether anybody still wants its batches."""


class _End:
    """No more batches; `error`: because of it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Ahead(Generic[T]):
    """Iterates over `items` in a thread of its own, up to `depth` of them ahead.

    What an item's making raises is raised where the item would have come. `close` ends the thread within the
    making of an item. Making one must not draw from torch's global generator, which the steps use too.
    """

    def __init__(self, items: Iterator[T], depth: int = DEPTH) -> None:
        self._items = items
        self._queue: queue.Queue[T | _End] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._closed.is_set():
            raise StopIteration
        item = self._queue.get()
        if not isinstance(item, _End):
            return item
        self.close()
        if item.error is not None:
            raise item.error
        raise StopIteration

    def close(self) -> None:
        """End the thread, and wait for it; after that there are no more items."""
        self._closed.set()
        self._thread.join()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as raised:
            error = raised
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        """Whether it is still wanted."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False
