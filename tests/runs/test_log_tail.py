"""The end of a log, followed."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from workbench.runs import log as log_tail
from workbench.runs.log import LogTail


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runs.log._TAIL_BYTES", 100)


def test_lines_come_as_they_are_written_and_a_torn_one_waits(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    tail = LogTail(log)
    assert tail.refresh().lines == ()
    log.write_text("one\ntw")
    assert tail.refresh().lines == ("one",)
    with log.open("a") as stream:
        stream.write("o\nthree\n")
    lines = tail.refresh()
    assert lines.lines == ("one", "two", "three")
    assert tail.refresh() is lines


@pytest.mark.usefixtures("small")
def test_of_a_large_log_only_the_end_is_read(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("".join(f"line {i:04d}\n" for i in range(1000)))
    tail = LogTail(log)
    lines = tail.refresh()
    assert lines.lines[-1] == "line 0999"
    assert len(lines.lines) == 9
    assert lines.before_bytes == 10 * 991
    with log.open("a") as stream:
        stream.write("".join(f"more {i:04d}\n" for i in range(1000)))
    assert tail.refresh().lines[-1] == "more 0999"


def test_a_log_of_a_hundred_megabytes_is_read_at_its_end_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "run.log"
    with log.open("wb") as stream:
        stream.truncate(100 * 2**20)  # a hole: it takes no room on the disk
        stream.seek(0, os.SEEK_END)
        stream.write(b"\nlast but one\nlast\n")
    taken: list[int] = []

    class Counted(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            taken.append(len(data))
            return data

    monkeypatch.setattr(log_tail, "open_regular", lambda path: Counted(io.FileIO(path)))
    tail = LogTail(log)
    assert tail.refresh().lines == ("last but one", "last")
    assert sum(taken) <= 2 * 2**20
    taken.clear()
    with log.open("ab") as stream:
        stream.write(b"new\n")
    assert tail.refresh().lines == ("last but one", "last", "new")
    assert sum(taken) == len(b"new\n")


def test_a_log_that_was_cut_off_or_removed_is_read_anew(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("one\ntwo\n")
    tail = LogTail(log)
    tail.refresh()
    log.write_text("new\n")
    assert tail.refresh().lines == ("new",)
    log.unlink()
    assert tail.refresh().lines == ()


def test_bytes_that_are_no_text_are_kept_readable(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_bytes(b"\xff\x1b[31m\n")
    assert LogTail(log).refresh().lines == ("\\xff\x1b[31m",)
