"""Sides in other processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.worker import Worker

ECHO = """
import json, sys
for line in sys.stdin:
    told = json.loads(line)
    if told["command"] == "fail":
        sys.exit("out of luck")
    for n in range(told["times"]):
        print(json.dumps({"n": n, "last": n == told["times"] - 1}), flush=True)
"""


def test_a_worker_answers_until_the_last(tmp_path: Path) -> None:
    with Worker([sys.executable, "-c", ECHO], tmp_path / "log") as worker:
        assert [answer["n"] for answer in worker.follow("count", times=3)] == [0, 1, 2]
        assert worker.ask("count", times=1)["n"] == 0


def test_a_worker_that_ends_is_told_with_its_last_words(tmp_path: Path) -> None:
    with (
        Worker([sys.executable, "-c", ECHO], tmp_path / "log") as worker,
        pytest.raises(RuntimeError, match=r"'fail'[\s\S]*out of luck"),
    ):
        worker.ask("fail")
