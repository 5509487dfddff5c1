"""Checkpoints written beside the training."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.loader.conftest import Recorder
from workbench.support.errors import RunFailed
from workbench.train import checkpoint as module
from workbench.train.checkpoint import CheckpointWriter, load_newest, save_checkpoint
from workbench.train.interrupt import Interrupted


class Disk:
    """A slow one, or a full one: it writes when `ready` is set and fails while `full` is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, full: bool = False) -> None:
        self.ready = threading.Event()
        self.full = full
        self.written: list[object] = []
        monkeypatch.setattr(module, "save_checkpoint", self._save)

    def _save(self, folder: Path, tensors: dict[str, Tensor], plain: dict[str, Any], check: object) -> Path:
        self.ready.wait()
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        path = save_checkpoint(folder, tensors, plain)
        self.written.append(plain["number"])
        return path


def _newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    newest = load_newest(folder, Recorder())
    assert newest is not None
    return newest


def _save_once(folder: Path, ending: Exception | None) -> None:
    with CheckpointWriter(folder) as writer:
        writer.save({}, {"number": 1})
        if ending is not None:
            raise ending


def test_training_goes_on_and_the_checkpoint_is_of_the_moment_it_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    weight, plain = torch.zeros(3), {"number": 1, "warnings": ["one"]}
    with CheckpointWriter(tmp_path) as writer:
        writer.save({"weight": weight}, plain)
        weight += 5  # the next step
        plain["warnings"].append("two")  # type: ignore[attr-defined]
        assert disk.written == []
        disk.ready.set()
    tensors, found = _newest(tmp_path)
    assert torch.equal(tensors["weight"], torch.zeros(3))
    assert found == {"number": 1, "warnings": ["one"]}


def test_a_second_checkpoint_waits_for_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    disk.ready.set()
    with CheckpointWriter(tmp_path) as writer:
        for number in range(1, 5):
            writer.save({"weight": torch.full((2,), float(number))}, {"number": number})
            assert disk.written[: number - 1] == list(range(1, number))
    assert _newest(tmp_path)[1]["number"] == 4


def test_a_full_disk_is_told_at_the_next_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, full=True)
    disk.ready.set()
    writer = CheckpointWriter(tmp_path)
    writer.save({}, {"number": 1})
    with pytest.raises(OSError, match="No space left"):
        writer.save({}, {"number": 2})
    disk.full = False
    with writer:
        writer.save({}, {"number": 3})
    assert disk.written == [3]


@pytest.mark.parametrize("ending", [None, Interrupted("SIGTERM")], ids=["end", "stop"])
def test_a_run_that_ends_or_stops_says_so_only_if_its_checkpoint_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: Exception | None
) -> None:
    disk = Disk(monkeypatch, full=True)
    disk.ready.set()
    with pytest.raises(OSError, match="No space left"):
        _save_once(tmp_path, ending)


def test_a_run_that_fails_otherwise_says_why_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, full=True)
    disk.ready.set()
    with pytest.raises(RunFailed, match="the loss is nan"):
        _save_once(tmp_path, RunFailed("the loss is nan"))
