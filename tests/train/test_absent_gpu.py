"""Whole runs on a GPU that is not there, a process each; `absent_gpu` tells what they can and cannot see."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.absent_gpu import CASES, main
from tests.train.processes import Ended, forked

pytestmark = pytest.mark.slow


def _run(tmp_path: Path, case: str, *planted: str) -> Ended:
    return forked(main, case, str(tmp_path), *planted, output=tmp_path / "said.txt")


@pytest.mark.parametrize("case", CASES)
def test_a_run_goes_through_a_gpus_branches_without_a_mix_up_or_a_wait(case: str, tmp_path: Path) -> None:
    ended = _run(tmp_path, case)
    assert ended.code == 0, ended.output[-3000:]
    told = next(line for line in ended.output.splitlines() if " operations, " in line)
    operations, in_lane, looks = (int(word) for word in told.split() if word.isdecimal())
    assert operations > 5000  # it did run there
    assert in_lane or case not in ("supervised", "kept_maps", "fixmatch")  # drawn beside the steps
    assert looks


@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("mixup", "MixUp: add of tensors on ['cpu', 'meta']"),
        ("read", "HostRead: _local_scalar_dense asks"),
        ("read each", "HostRead: _to_copy asks"),
        ("wait for each", "HostRead: the host waited for a batch's results"),
        ("unjoined", "uses what another makes in the lane"),
        ("let go", "Race: index_select in the lane uses what another makes in the steps"),
    ],
)
def test_a_fault_that_is_planted_is_found(planted: str, said: str, tmp_path: Path) -> None:
    ended = _run(tmp_path, "supervised", planted)
    assert ended.code == 1, ended.output[-3000:]
    assert said in ended.output
