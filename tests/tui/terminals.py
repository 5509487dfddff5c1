"""The real app in real terminals: a pseudo-terminal whose bytes are read, and a tmux of the test's own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from workbench.support.identity import ProcessId, process_id

PETBENCH = (sys.executable, "-m", "workbench")
ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 120.0
"""How long something may take that is bound to happen; only a test that fails waits so long."""


class PseudoTerminal:
    """`command` on a pseudo-terminal; `raw` holds every byte that it wrote."""

    def __init__(self, command: Sequence[str], size: tuple[int, int], env: Mapping[str, str]) -> None:
        self.raw = b""
        columns, rows = size
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # background jobs of a shell ignore it
            os.chdir(ROOT)
            os.execvpe(command[0], list(command), {**os.environ, "TERM": "xterm-256color", **env})
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def read_until(self, text: str) -> None:
        """Read on until `text` was written after this call. Raises: AssertionError, when it never comes."""
        start, end = len(self.raw), time.monotonic() + PATIENCE_SECONDS
        wanted = text.encode()
        while wanted not in self.raw[start:]:
            left = end - time.monotonic()
            assert left > 0, f"no {text!r} in {self.raw[start:][-3000:]!r}"
            self._read(min(left, 1.0))

    def drain(self, quiet_seconds: float = 0.5) -> None:
        """Read until nothing came for a while."""
        while self._read(quiet_seconds):
            pass

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return False
        try:
            part = os.read(self._master, 65536)
        except OSError:
            part = b""
        self.raw += part
        return bool(part)

    def end(self) -> None:
        """End the process and close the terminal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._master)


@contextlib.contextmanager
def on_terminal(
    command: Sequence[str], *, size: tuple[int, int], env: Mapping[str, str]
) -> Iterator[PseudoTerminal]:
    """A pseudo-terminal for the duration."""
    terminal = PseudoTerminal(command, size, env)
    try:
        yield terminal
    finally:
        terminal.end()


def wait_until(happened: Callable[[], bool], what: str) -> None:
    """Wait for something that is bound to happen. Raises: AssertionError, when it does not."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < end, f"waited in vain: {what}"
        time.sleep(0.05)


class Tmux:
    """A tmux server of its own with one window."""

    def __init__(self, socket: Path, env: Mapping[str, str], size: tuple[int, int], cwd: Path) -> None:
        self._base, self._env, self._size, self._cwd = socket, dict(env), size, cwd
        self._socket, self._started = socket, 0

    def start(self, command: Sequence[str]) -> None:
        """Start the server with `command` in its window."""
        # A socket of its own each time: the server before may still be ending.
        self._started += 1
        self._socket = self._base.with_name(f"{self._base.name}-{self._started}")
        columns, rows = self._size
        settings = [f"{name}={value}" for name, value in self._env.items()]
        subprocess.run(
            [
                *("tmux", "-S", str(self._socket), "-f", "/dev/null"),
                # Set before there is a window: a command may end at once.
                *("start-server", ";", "set-option", "-g", "remain-on-exit", "on", ";"),
                *("new-session", "-d", "-x", str(columns), "-y", str(rows), "-c", str(self._cwd)),
                *("env", *settings, *command),
            ],
            check=True,
            env={name: value for name, value in os.environ.items() if name != "TMUX"},
        )

    def send(self, *keys: str) -> None:
        """Press keys by tmux's names, or type text."""
        for key in keys:
            self._do("send-keys", key)

    def type(self, text: str) -> None:
        """Type letters as they are."""
        self._do("send-keys", "-l", text)

    def resize(self, columns: int, rows: int) -> None:
        """Give the window another size."""
        self._do("resize-window", "-x", str(columns), "-y", str(rows))

    def text(self) -> str:
        """What the window shows."""
        return self._do("capture-pane", "-p")

    def wait_for(self, *texts: str, absent: str = "") -> str:
        """Wait until the window shows all of `texts` and not `absent`.

        Raises:
            AssertionError: it never does; what it shows is told.
        """
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            shown = self.text()
            if all(text in shown for text in texts) and not (absent and absent in shown):
                return shown
            if time.monotonic() >= end:
                state = self._do(
                    "display-message", "-p", "dead #{pane_dead}, alternate screen #{alternate_on}"
                )
                raise AssertionError(f"waited for {texts} in vain ({state.strip()}):\n{shown}")
            time.sleep(0.1)

    def wait_until_ended(self) -> None:
        """Wait until the command in the window has ended; what it left there stays to be seen."""
        wait_until(
            lambda: self._do("display-message", "-p", "#{pane_dead}").strip() == "1", "the command's end"
        )

    def process(self) -> ProcessId:
        """The process in the window."""
        found = process_id(int(self._do("display-message", "-p", "#{pane_pid}")))
        assert found is not None
        return found

    def kill_server(self) -> None:
        """End the server, as a machine's `tmux kill-server` does: its windows get SIGHUP."""
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], check=False, capture_output=True)

    def _do(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-S", str(self._socket), *arguments], check=True, capture_output=True, text=True
        )
        return done.stdout
