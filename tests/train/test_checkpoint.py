"""Checkpoints on disk: whole or passed over."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.loader.conftest import Recorder
from workbench.runs.attempt_control import TakenOver
from workbench.support.digests import file_sha256
from workbench.train import checkpoint
from workbench.train.checkpoint import (
    DamagedFile,
    discard_checkpoints,
    load_newest,
    load_tensors,
    save_checkpoint,
    save_tensors,
    sweep_checkpoints,
)


def _tensors(seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "model/weight": torch.randn(16, 4, generator=random),
        "model/steps": torch.tensor(7),
        "model/turned": torch.randn(4, 6, generator=random).t(),
        "model/images": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "model/half": torch.randn(5, generator=random).bfloat16(),
        "state/empty": torch.empty(0, 3),
    }


def _save(folder: Path, *numbers: int) -> list[Path]:
    return [save_checkpoint(folder, _tensors(number), {"number": number}) for number in numbers]


def _loaded_number(folder: Path, recorder: Recorder) -> object:
    newest = load_newest(folder, recorder)
    return None if newest is None else newest[1]["number"]


def _flip(path: Path, byte: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[byte] ^= 1 << bit
    path.write_bytes(content)


def test_tensors_and_plain_values_come_back_the_same(tmp_path: Path) -> None:
    plain = {"loss": 0.1, "none": None, "list": [1, {"deep": True}], "text": 'é"\n[x]'}
    digest = save_tensors(tmp_path / "a.safetensors", _tensors(), plain)
    tensors, found = load_tensors(tmp_path / "a.safetensors")
    assert found == plain
    assert tensors.keys() == _tensors().keys()
    for name, tensor in _tensors().items():
        assert tensors[name].dtype == tensor.dtype
        if name != "model/images":
            assert torch.equal(tensors[name], tensor)
    assert digest == file_sha256(tmp_path / "a.safetensors")


def test_equal_tensors_make_equal_files(tmp_path: Path) -> None:
    first = save_tensors(tmp_path / "a.safetensors", _tensors() | {"model/images": torch.ones(3)}, {"n": 1})
    second = save_tensors(tmp_path / "b.safetensors", _tensors() | {"model/images": torch.ones(3)}, {"n": 1})
    assert first == second


def test_the_two_newest_are_kept(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2, 3, 4)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "000003.safetensors",
        "000003.sha256",
        "000004.safetensors",
        "000004.sha256",
    ]
    assert _loaded_number(tmp_path, Recorder()) == 4


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    recorder = Recorder()
    assert load_newest(tmp_path, recorder) is None
    assert load_newest(tmp_path / "missing", recorder) is None
    assert recorder.events == []


@pytest.mark.parametrize("place", np.linspace(0, 0.999, 12).tolist())
def test_a_flipped_bit_anywhere_falls_back_to_the_checkpoint_before_with_a_warning(
    tmp_path: Path, place: float
) -> None:
    _, newest = _save(tmp_path, 1, 2)
    _flip(newest, int(place * newest.stat().st_size), bit=int(place * 8))
    recorder = Recorder()
    assert _loaded_number(tmp_path, recorder) == 1
    (warning,) = recorder.messages("warning")
    assert "000002.safetensors" in warning
    assert "using the checkpoint before it" in warning


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_truncated_file_falls_back(tmp_path: Path, kept: int) -> None:
    _, newest = _save(tmp_path, 1, 2)
    newest.write_bytes(newest.read_bytes()[:kept])
    assert _loaded_number(tmp_path, Recorder()) == 1


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"0" * 64])
def test_a_missing_or_damaged_hash_falls_back(tmp_path: Path, content: bytes | None) -> None:
    _, newest = _save(tmp_path, 1, 2)
    hash_path = newest.with_suffix(".sha256")
    if content is None:
        hash_path.unlink()
    else:
        hash_path.write_bytes(content)
    recorder = Recorder()
    assert _loaded_number(tmp_path, recorder) == 1
    assert len(recorder.messages("warning")) == 1


def test_when_both_are_damaged_the_run_is_told_that_it_begins_anew(tmp_path: Path) -> None:
    for path in _save(tmp_path, 1, 2):
        _flip(path, 200)
    recorder = Recorder()
    assert load_newest(tmp_path, recorder) is None
    assert "the run begins anew" in recorder.messages("warning")[-1]


def test_a_damaged_checkpoint_does_not_push_out_the_sound_one(tmp_path: Path) -> None:
    _, newest = _save(tmp_path, 1, 2)
    _flip(newest, 200)
    assert _loaded_number(tmp_path, Recorder()) == 1
    sweep_checkpoints(tmp_path)
    (third,) = _save(tmp_path, 3)
    _flip(third, 200)
    assert _loaded_number(tmp_path, Recorder()) == 1


def test_a_file_that_is_no_checkpoint_of_petbench_is_passed_over(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    (first,) = _save(tmp_path, 1)
    other = tmp_path / "000002.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    other.with_suffix(".sha256").write_text(f"{file_sha256(other)}  {other.name}\n")
    assert _loaded_number(tmp_path, Recorder()) == 1
    assert first.exists()


def test_final_weights_are_no_checkpoint_and_outlive_them(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    save_tensors(tmp_path / "final.safetensors", _tensors(), {})
    discard_checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["final.safetensors", "final.sha256"]
    with pytest.raises(DamagedFile, match="cannot be read"):
        load_tensors(tmp_path / "000002.safetensors")


def test_a_failed_save_leaves_the_older_checkpoints_and_no_rubbish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 1, 2)
    before = sorted(tmp_path.iterdir())

    def full(path: Path) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "file_sha256", full)
    with pytest.raises(OSError, match="No space left"):
        _save(tmp_path, 3)
    monkeypatch.undo()
    assert sorted(tmp_path.iterdir()) == before
    assert _loaded_number(tmp_path, Recorder()) == 2


def test_a_directory_that_is_gone_is_an_error_of_the_system(tmp_path: Path) -> None:
    # safetensors has its own kind of error, which nobody above knows as a disk's.
    with pytest.raises(OSError, match=re.escape("No such file or directory")):
        save_tensors(tmp_path / "gone" / "a.safetensors", _tensors(), {})


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    save_tensors(tmp_path / "final.safetensors", _tensors(), {})
    kept = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / ".000003.safetensors.4711-0123abcd.tmp").write_bytes(b"half")
    (tmp_path / "000003.sha256").write_text("0" * 64)
    (tmp_path / "mine.txt").touch()
    sweep_checkpoints(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*kept, "mine.txt"]


def test_an_attempt_that_lost_its_run_puts_no_file_into_place(tmp_path: Path) -> None:
    _save(tmp_path, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    asked = 0

    def taken_between() -> None:
        nonlocal asked
        asked += 1
        if asked == 2:  # while the file was written
            raise TakenOver

    with pytest.raises(TakenOver):
        save_checkpoint(tmp_path, _tensors(), {"number": 2}, taken_between)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", [".safetensors", ".sha256"])
@pytest.mark.parametrize("what", ["pipe", "endless", "hole", "directory"])
def test_a_checkpoint_that_has_no_end_is_passed_over(what: str, suffix: str, tmp_path: Path) -> None:
    path = _save(tmp_path, 1, 2)[1].with_suffix(suffix)
    if what == "hole":
        os.truncate(path, 2**40)
    else:
        path.unlink()
        make: dict[str, Callable[[], None]] = {
            "pipe": lambda: os.mkfifo(path),
            "endless": lambda: path.symlink_to("/dev/zero"),
            "directory": path.mkdir,
        }
        make[what]()
    recorder = Recorder()
    assert _loaded_number(tmp_path, recorder) == 1
    assert len(recorder.events) == 1


def test_what_safetensors_was_writing_when_it_was_killed_is_swept(tmp_path: Path) -> None:
    paths = _save(tmp_path, 1)
    (tmp_path / ".tmpUvY0PX").touch()
    sweep_checkpoints(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {paths[0].name, "000001.sha256"}
