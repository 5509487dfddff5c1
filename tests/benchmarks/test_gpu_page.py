"""The page of a GPU, on a processor: rows that are measured, cannot be, fail and take too long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import gpu_page
from benchmarks.gpu import SWEEP
from benchmarks.gpu_page import MINUTES, SECONDS, USUAL, run
from benchmarks.gpu_rows import ROWS, trained_on
from workbench.recipe.sweep import load_sweep

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
def test_the_page_has_what_can_be_measured_here_and_says_what_cannot(tmp_path: Path) -> None:
    rows = ["bare-resnet18", "idle", "out-of-memory", "kill-resume", "ranks"]
    words = ["--tiny", "--device", "cpu", "--minutes", "60", "--data-dir", str(tmp_path / "nothing")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_page", *words, "--out", str(tmp_path), "--only", *rows],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    told = json.loads((tmp_path / "GPU.json").read_text(encoding="utf-8"))
    states = {one["row"]: one["state"] for one in told["rows"]}
    assert states == dict(zip(rows, ["done", "not here", "not here", "done", "not here"], strict=True))
    assert told["reports"]["bare-resnet18"]["rows"][0]["value"]["median"] > 0
    page = (tmp_path / "GPU.md").read_text(encoding="utf-8")
    assert "the same weights" in page
    assert "no GPU whose memory could end" in page


@pytest.mark.parametrize(
    ("code", "left", "state", "said"),
    [
        ("raise SystemExit('the card is on fire')", 60.0, "failed", "the card is on fire"),
        ("import threading; threading.Event().wait()", 1.0, "too long", "over its 1 s"),
        ("", 0.0, "no time left", ""),
    ],
    ids=["failed", "too long", "no time left"],
)
def test_a_row_that_does_not_end_well_is_told(
    code: str, left: float, state: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_page, "command_of", lambda row, arguments: [sys.executable, "-c", code])
    ended = run("idle", [], tmp_path, left)
    assert ended.state == state
    assert ended.said.strip() == said


def test_every_row_has_its_seconds_within_the_minutes_that_the_page_promises() -> None:
    assert sum(SECONDS.get(row, USUAL) for row in ROWS) <= 60 * MINUTES


def test_table_1s_images_are_those_of_its_plans() -> None:
    """20 epochs on 29 labelled images, then 20 more on these and all 2,915 of the pool."""
    (one_shot,) = (
        run.recipe
        for run in load_sweep(SWEEP).runs
        if run.recipe.seed == 0
        and run.recipe.pseudo_label is not None
        and run.recipe.pseudo_label.strategy == "one_shot"
        and run.recipe.pseudo_label.labelled_fraction == 0.01
    )
    assert trained_on(one_shot) == 20 * 29 + 20 * (29 + 2915)
