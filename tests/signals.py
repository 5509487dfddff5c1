"""A signal that is meant for pytest ends it, whatever the test under way makes of it, and nothing runs on.

Runs and commands that a test calls in its own process answer for signals themselves: they stop, and the next
test would begin. Here what they install is told of the signal too, and pytest ends once the test has. What a
test raises itself, or petbench sends to the process that it is in, is its own.
"""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_PATIENCE_SECONDS = 5.0
_SEES_TO_ITSELF = "resource_tracker"
"""Of multiprocessing: it ignores signals, and goes with the process that it tidies up after."""

Handler = Callable[[int, FrameType | None], Any]


class _Ears:
    """Signals of this process, before the test under way hears them."""

    def __init__(self) -> None:
        self.heard: signal.Signals | None = None
        """What came from outside."""
        self.own: collections.Counter[int] = collections.Counter()
        """What the test raised and nobody has answered yet."""
        self._set, self._get, self._raise = signal.signal, signal.getsignal, signal.raise_signal
        self._kill, self._send = os.kill, signal.pidfd_send_signal

    def open(self) -> None:
        """Stand between the process and every handler that is installed from now on."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            if self._get(number) is signal.SIG_DFL:
                self._set(number, self._end)
        signal.signal, signal.getsignal = self._install, self._installed  # type: ignore[assignment]
        signal.raise_signal = self._raise_own
        os.kill = self._kill_own
        signal.pidfd_send_signal = self._send_own  # type: ignore[assignment]

    def close(self) -> None:
        """As it was."""
        signal.signal, signal.getsignal, signal.raise_signal = self._set, self._get, self._raise
        os.kill, signal.pidfd_send_signal = self._kill, self._send
        for number in (signal.SIGTERM, signal.SIGHUP):
            if self._get(number) == self._end:
                self._set(number, signal.SIG_DFL)

    def _end(self, number: int, _frame: FrameType | None) -> None:
        """Where nobody else listens."""
        self.heard = signal.Signals(number)
        raise KeyboardInterrupt(self.heard.name)

    def _install(self, number: int, handler: Any) -> Any:
        given = handler
        if number in _ENDING and callable(handler) and handler not in (signal.default_int_handler, self._end):
            given = _Told(self, handler)
        return _unwrapped(self._set(number, given))

    def _installed(self, number: int) -> Any:
        return _unwrapped(self._get(number))

    def _raise_own(self, number: int) -> None:
        self.own[number] += 1
        self._raise(number)

    def _kill_own(self, pid: int, number: int) -> None:
        by = sys._getframe(1).f_globals.get("__name__", "")  # pytest-xdist ends a worker by its own hand
        if pid == os.getpid() and not by.startswith("execnet"):
            self.own[number] += 1
        self._kill(pid, number)

    def _send_own(self, descriptor: int, number: int) -> None:
        told = Path(f"/proc/self/fdinfo/{descriptor}").read_text()
        if f"Pid:\t{os.getpid()}\n" in told:
            self.own[number] += 1
        self._send(descriptor, number)


class _Told:
    """A handler of the test's, which tells the ears first."""

    def __init__(self, ears: _Ears, handler: Handler) -> None:
        self.ears, self.handler = ears, handler

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        if self.ears.own[number]:
            self.ears.own[number] -= 1
        else:
            self.ears.heard = signal.Signals(number)
        return self.handler(number, frame)


def _unwrapped(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _Told) else handler


_EARS = _Ears()


def pytest_configure() -> None:
    """Listen from the beginning."""
    _EARS.open()


def pytest_unconfigure() -> None:
    """To the end."""
    _EARS.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    """End once the test has that was under way when the signal came."""
    _EARS.own.clear()
    done = yield
    if _EARS.heard is not None:
        pytest.exit(f"ended by {_EARS.heard.name}", returncode=128 + _EARS.heard)
    return done


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Generator[None]:
    """Where it was ended, what the tests started ends too: pytest-xdist's workers, runs, sleepers."""
    ended = _EARS.heard is not None or exitstatus == pytest.ExitCode.INTERRUPTED
    if ended and not hasattr(session.config, "workerinput"):
        for worker in _children(recursive=False):  # each ends its own test, and what that started
            _send(worker, signal.SIGTERM)
    yield
    if ended:
        left = _children(recursive=True)
        for child in left:
            _send(child, signal.SIGTERM)
        for child in psutil.wait_procs(left, _PATIENCE_SECONDS)[1]:
            _send(child, signal.SIGKILL)


def _children(*, recursive: bool) -> list[psutil.Process]:
    return [child for child in psutil.Process(os.getpid()).children(recursive) if not _sees_to_itself(child)]


def _sees_to_itself(child: psutil.Process) -> bool:
    with _gone():
        return _SEES_TO_ITSELF in " ".join(child.cmdline())
    return True


def _send(child: psutil.Process, number: signal.Signals) -> None:
    with _gone():
        child.send_signal(number)


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    with contextlib.suppress(psutil.Error):
        yield
