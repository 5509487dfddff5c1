"""Standard streams as they fail: a reader that has gone, a full disk, a stream that was never opened.

`petbench runs ls | head` ends quietly with 141, the code that a shell gives to every tool whose reader went
(128 + SIGPIPE); any other loss of standard output is one sentence on standard error and code 1. One that was
interrupted stays so. What cannot be written to standard error is dropped, since there is nowhere to say so.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

READER_GONE = 128 + 13
INTERRUPTED = 130

# What a terminal or file of few letters (LANG=C, PYTHONIOENCODING=ascii) gets in place of ours.
_PLAINER = {
    "–": "-", "−": "-", "…": "~", "·": ".", "×": "x", "±": "+-", "≠": "!=", "→": ">",
    "★": "*", "✱": "*", "●": "*", "✗": "x", "↻": "~", "█": "#", "│": "|",
}  # fmt: skip


class OutputLost(Exception):
    """Standard output takes no more.

    No OSError: code that answers for errors of its own files must not take it for one of them.
    """

    def __init__(self, error: OSError) -> None:
        self.number = error.errno
        self.what = f"cannot write to standard output: {error.strerror or error}"
        super().__init__(self.what)

    @property
    def is_reader_gone(self) -> bool:
        """Whether nobody reads on: no failure, and nothing to say."""
        return self.number == errno.EPIPE


class _Descriptor(io.FileIO):
    """A standard stream's file; once it is lost, whatever else is written to it goes nowhere."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)
        self.lost: OutputLost | None = None
        self.is_patient = number == 2
        """Whether the loss is only remembered."""

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        if self.lost is not None:
            return view.nbytes
        try:
            while (written := super().write(view)) is None:  # a pipe that somebody made non-blocking is full
                select.select([], [self], [])
            return written
        except OSError as error:
            self.lost = OutputLost(error)
        if not self.is_patient:
            raise self.lost
        return view.nbytes


def with_streams(command: Callable[[], int]) -> int:
    """What `command` returns, unless its standard output is lost: then the code that says so.

    Streams that somebody put in the place of the process's own (a test's) are left alone.
    """
    from workbench.cli.console import print_problem

    _open_streams()
    code = 1
    try:
        code = command()
        sys.stdout.flush()
        lost = None if (descriptor := _descriptor()) is None else descriptor.lost
    except OutputLost as error:
        lost = error
    if lost is None:
        return code
    if not lost.is_reader_gone:
        print_problem(lost.what)
    if code == INTERRUPTED:
        return code  # a terminal that is closed interrupts the command and takes its last words alike
    return READER_GONE if lost.is_reader_gone else 1


@contextmanager
def outliving_output() -> Iterator[None]:
    """Work that is worth more than what it shows, such as training: the loss is told when it is done."""
    descriptor = _descriptor()
    if descriptor is None:
        yield
        return
    descriptor.is_patient = True
    try:
        yield
    finally:
        descriptor.is_patient = False


def _open_streams() -> None:
    codecs.register_error("plainer", _plainer)
    _hold_descriptors()
    if sys.stdin is None:
        sys.stdin = Path(os.devnull).open()  # noqa: SIM115
    if sys.stdout is sys.__stdout__:
        sys.stdout = _stream(1, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _stream(2, sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plainer")


def _hold_descriptors() -> None:
    """Keep a standard descriptor that was closed (`>&-`) from becoming the number of the next file opened.

    Opened the wrong way round, it fails whoever uses it (as coreutils' stdopen does).
    """
    for number, way in ((0, os.O_WRONLY), (1, os.O_RDONLY), (2, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            held = os.open(os.devnull, way)
            if held != number:
                os.dup2(held, number)
                os.close(held)


def _stream(number: int, old: io.TextIOBase | None) -> io.TextIOWrapper:
    descriptor = _Descriptor(number)
    encoding = getattr(old, "encoding", None) or "utf-8"
    return io.TextIOWrapper(
        io.BufferedWriter(descriptor),
        encoding=encoding,
        errors="plainer",
        newline="\n",
        line_buffering=number == 2 or os.isatty(number),
    )


def _descriptor() -> _Descriptor | None:
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", None)
    return raw if isinstance(raw, _Descriptor) else None


def _plainer(error: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: a letter alike where there is one, else "?"."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAINER.get(letter, "?") for letter in letters), error.end
