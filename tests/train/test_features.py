"""The bank of features: a row is what was computed, or it is computed again."""

from __future__ import annotations

import multiprocessing
import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.loader.conftest import Recorder
from tests.support.damage import damaged_copy
from workbench.runs.events import Silent
from workbench.train.feature_bank import CHECKSUMS, FEATURES, BankRows, FeatureBank, Ints

IMAGES, WIDTH, BATCH = 50, 6, 4


def _truth(positions: Ints) -> Tensor:
    """Features that name their position; those of image 0 are all zero."""
    return torch.from_numpy(np.outer(positions, np.arange(1, WIDTH + 1)).astype(np.float32))


class Trunk:
    """Computes features and remembers for which images; stops dead after `limit` batches."""

    def __init__(self, limit: int = 10**6) -> None:
        self.asked: list[int] = []
        self._left = limit

    def __call__(self, positions: Ints) -> Tensor:
        assert len(positions) == BATCH  # always full, since a row's last bits depend on it
        if not self._left:
            raise InterruptedError
        self._left -= 1
        self.asked += dict.fromkeys(positions.tolist())
        return _truth(positions)


def _bank(folder: Path, trunk: Trunk, recorder: Recorder | None = None) -> FeatureBank:
    return FeatureBank(folder, IMAGES, WIDTH, trunk, BATCH, recorder or Recorder())


def _positions(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


def test_rows_are_computed_once_and_kept_on_disk(tmp_path: Path) -> None:
    trunk = Trunk()
    positions = _positions(7, 0, 49, 3)
    assert torch.equal(_bank(tmp_path, trunk).rows(positions), _truth(positions))
    assert trunk.asked == [0, 3, 7, 49]
    later = Trunk()
    more = _positions(3, 4, 49)
    assert torch.equal(_bank(tmp_path, later).rows(more), _truth(more))
    assert later.asked == [4]


def test_no_rows_are_no_rows(tmp_path: Path) -> None:
    assert _bank(tmp_path, Trunk()).rows(_positions()).shape == (0, WIDTH)


@pytest.mark.parametrize("row", [0, 7, 49])
def test_a_corrupt_row_is_computed_again_and_others_are_not(tmp_path: Path, row: int) -> None:
    every = np.arange(IMAGES)
    _bank(tmp_path, Trunk()).rows(every)
    matrix = np.lib.format.open_memmap(tmp_path / "features.npy", mode="r+")
    matrix[row, 2] += 1
    matrix.flush()
    trunk = Trunk()
    assert torch.equal(_bank(tmp_path, trunk).rows(every), _truth(every))
    assert trunk.asked == [row]


def test_a_row_of_zeros_counts_as_computed_only_if_it_was(tmp_path: Path) -> None:
    _bank(tmp_path, Trunk()).rows(_positions(0))
    trunk = Trunk()
    _bank(tmp_path, trunk).rows(_positions(0, 1))
    assert trunk.asked == [1]


@pytest.mark.parametrize("name", ["features.npy", "checksums.npy"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a matrix",
        np.zeros((IMAGES, WIDTH + 1), dtype=np.float32),
        np.zeros((IMAGES, WIDTH), dtype=np.float64),
        np.zeros(IMAGES, dtype=np.uint16),
    ],
    ids=["empty", "foreign", "misshapen", "doubles", "words"],
)
def test_a_file_that_does_not_fit_is_made_anew(
    tmp_path: Path, name: str, content: bytes | NDArray[np.generic]
) -> None:
    every = np.arange(IMAGES)
    _bank(tmp_path, Trunk()).rows(every)
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content)
    trunk = Trunk()
    assert torch.equal(_bank(tmp_path, trunk).rows(every), _truth(every))
    assert len(trunk.asked) == IMAGES
    assert _bank(tmp_path, Trunk(limit=0)).rows(every).shape == (IMAGES, WIDTH)


def test_a_matrix_cut_short_loses_no_more_than_the_rows_at_its_end(tmp_path: Path) -> None:
    every = np.arange(IMAGES)
    _bank(tmp_path, Trunk()).rows(every)
    path = tmp_path / "features.npy"
    path.write_bytes(path.read_bytes()[: -WIDTH * 4 - 1])
    trunk = Trunk()
    assert torch.equal(_bank(tmp_path, trunk).rows(every), _truth(every))
    assert trunk.asked == [48, 49]


def test_a_killed_extraction_keeps_what_it_had_written(tmp_path: Path) -> None:
    every = np.arange(IMAGES)
    with pytest.raises(InterruptedError):
        _bank(tmp_path, Trunk(limit=9)).rows(every)
    trunk = Trunk()
    assert torch.equal(_bank(tmp_path, trunk).rows(every), _truth(every))
    assert trunk.asked == list(range(8 * BATCH, IMAGES))


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    recorder = Recorder()
    _bank(tmp_path, Trunk(), recorder).rows(np.arange(10))
    assert recorder.steps == [("features", 4, 10), ("features", 8, 10), ("features", 10, 10)]


def _fill(folder: Path, first: int) -> None:
    positions = np.roll(np.arange(IMAGES), first)
    rows = FeatureBank(folder, IMAGES, WIDTH, Trunk(), BATCH, Silent()).rows(positions)
    if not torch.equal(rows, _truth(positions)):
        raise SystemExit(1)


def test_two_processes_at_once_both_get_right_rows(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    both = [context.Process(target=_fill, args=(tmp_path, first)) for first in (0, 17)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    every = np.arange(IMAGES)
    assert torch.equal(_bank(tmp_path, Trunk(limit=0)).rows(every), _truth(every))


@pytest.mark.parametrize("name", [FEATURES, CHECKSUMS])
def test_whatever_is_damaged_in_a_bank_its_rows_are_what_was_computed(tmp_path: Path, name: str) -> None:
    every, source = np.arange(IMAGES), random.Random(3)
    _bank(tmp_path, Trunk()).rows(every)
    path = tmp_path / name
    content = path.read_bytes()
    headers = [content[:i] + bytes([content[i] ^ 1]) + content[i + 1 :] for i in range(80)]
    for damaged in (*headers, *(damaged_copy(content, source) for _ in range(120))):
        path.write_bytes(damaged)
        recorder, trunk = Recorder(), Trunk()
        assert torch.equal(_bank(tmp_path, trunk, recorder).rows(every), _truth(every))
        if trunk.asked:
            assert "computing them again" in recorder.messages("warning")[0]
        assert path.read_bytes() == content


@pytest.mark.parametrize("name", [".", ".."])
def test_a_file_in_the_place_of_a_directory_gives_way(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "features" / "bank"
    every = np.arange(IMAGES)
    (folder if name == "." else folder.parent).parent.mkdir(parents=True, exist_ok=True)
    (folder if name == "." else folder.parent).touch()
    assert torch.equal(_bank(folder, Trunk()).rows(every), _truth(every))


@pytest.mark.parametrize("name", [FEATURES, CHECKSUMS, "lock"])
def test_a_directory_or_a_pipe_in_a_bank_is_cleared_away(tmp_path: Path, name: str) -> None:
    every = np.arange(IMAGES)
    for put in (
        lambda path: (path / "in it").mkdir(parents=True),
        os.mkfifo,
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path),
    ):
        _bank(tmp_path, Trunk()).rows(every)
        path = tmp_path / name
        path.unlink(missing_ok=True)
        put(path)
        assert torch.equal(_bank(tmp_path, Trunk()).rows(every), _truth(every))
        assert torch.equal(_bank(tmp_path, Trunk(limit=0)).rows(every), _truth(every))


def test_rows_for_which_there_is_no_room_are_read_from_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.train.memory.KEPT_SHARE", 0.0)
    trunk = Trunk()
    bank = _bank(tmp_path, trunk)
    some, others = _positions(7, 0, 49, 7), _positions(3, 12)
    assert torch.equal(bank.rows(some), _truth(some))
    assert not len(bank._held)
    source = BankRows([bank.mapped(some)], some, lambda found: found[0], torch.device("cpu"))
    assert torch.equal(source.index_select(0, torch.tensor([2, 0, 0])), _truth(some)[[2, 0, 0]])
    with pytest.raises(ValueError, match="read-only"):
        bank.mapped(some)[0] = 0
    for name in (FEATURES, CHECKSUMS):
        (tmp_path / name).unlink()
    assert torch.equal(bank.rows(others), _truth(others))
    assert torch.equal(bank.rows(some), _truth(some))
    assert sorted(trunk.asked) == [0, 0, 3, 7, 7, 12, 49, 49]
    assert torch.equal(source.index_select(0, torch.arange(4)), _truth(some))
