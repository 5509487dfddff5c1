"""Locks between processes, whose files may come and go."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workbench.support.locks import beside, locked, try_lock, try_lock_folder

_COUNT = """
import sys, time
from pathlib import Path
from workbench.support.locks import beside, locked
counter = Path(sys.argv[1])
for _ in range(40):
    with locked(beside(counter), stays=False):
        number = int(counter.read_text())
        time.sleep(0.0005)
        counter.write_text(str(number + 1))
"""


def test_many_processes_take_turns_though_each_removes_the_lock_file_as_it_lets_go(tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    children = [subprocess.Popen([sys.executable, "-c", _COUNT, str(counter)]) for _ in range(4)]
    assert [child.wait() for child in children] == [0] * 4
    assert counter.read_text() == "160"
    assert list(tmp_path.iterdir()) == [counter]


def test_a_lock_that_stays_leaves_its_file(tmp_path: Path) -> None:
    with locked(beside(tmp_path / "a")):
        assert try_lock(tmp_path / ".a.lock") is None
    assert [path.name for path in tmp_path.iterdir()] == [".a.lock"]


def test_who_has_to_wait_is_told_so_once(tmp_path: Path) -> None:
    told, waiting = [], threading.Event()

    def second() -> None:
        with locked(tmp_path / "lock", waiting=waiting.set, stays=False):
            told.append("second")

    with locked(tmp_path / "lock", waiting=lambda: told.append("waited"), stays=False):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(60)
        told.append("first")
    thread.join()
    assert told == ["first", "second"]


def test_a_lock_is_never_on_a_file_that_was_removed_before_it_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "lock", fcntl.flock
    removed: list[Path] = []

    def slow(descriptor: int, how: int) -> None:
        if not removed:
            path.unlink()
            removed.append(path)
        flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    held = try_lock(path)
    assert held is not None
    assert os.path.samestat(os.fstat(held), path.stat())
    assert try_lock(path) is None
    os.close(held)


def test_a_folder_can_be_locked_itself(tmp_path: Path) -> None:
    held = try_lock_folder(tmp_path)
    assert held is not None
    assert try_lock_folder(tmp_path) is None
    os.close(held)
    assert try_lock_folder(tmp_path / "gone") is None
    assert list(tmp_path.iterdir()) == []
