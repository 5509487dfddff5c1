"""Every script runs to its end at the smallest size, without data; its figures mean nothing here."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.everything import PARTS
from benchmarks.peers.fastai_side import HOME
from benchmarks.pictures import draw_folder
from benchmarks.report import rows_of

SMOKE = {part.name: part.smoke.split() for part in PARTS}
ROOT = Path(__file__).parent.parent.parent
# fastai's environment takes gigabytes and minutes to make: it is used where it is.
with_fastai = pytest.mark.skipif(
    not (HOME / ".installed").exists(), reason="fastai's environment is not made"
)
RECIPE = """
schema = 1
name = "tiny"
[data]
dataset = "folder"
root = "{root}"
image_size = 64
evaluation_views = ["centre"]
[model]
backbone = "efficientnet_lite0"
[finetune]
layers = ["head"]
[augmentation]
random_crop = false
flip = false
[training]
epochs = 2
batch_size = 8
[pseudo_label]
strategy = "iterative"
labelled_fraction = 0.5
rounds = 1
epochs_per_round = 1
"""

pytestmark = pytest.mark.slow


def script(name: str, *arguments: str, home: Path) -> str:
    """Its standard output; no pets are found in `home`."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--data-dir", str(home), "--device", "cpu", *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("name", "rows"), [("throughput", 1), ("late_layers", 1), ("head_epoch", 1), ("growth", 1), ("gpu", 0)]
)
def test_a_script_prints_and_keeps_its_rows(name: str, rows: int, tmp_path: Path) -> None:
    out = tmp_path / "out"
    text = script(name, *SMOKE[name], "--out", str(out), home=tmp_path)
    assert (out / f"{name}.md").read_text(encoding="utf-8").strip() in text
    found = rows_of(out, [name])
    assert len(found) == rows
    assert all(row.value.low > 0 for row in found)


def test_the_quick_one_ends_with_its_ratio(tmp_path: Path) -> None:
    last = script("quick", "--seconds", "1", home=tmp_path).splitlines()[-1]
    assert re.fullmatch(r"throughput_over_bare_step \d\.\d\d", last)


def test_peers_learn_beside_petbench(tmp_path: Path) -> None:
    arguments = [*SMOKE["full_epoch"], "--peers", "plain", "plain-amp", "timm", "--out", str(tmp_path)]
    script("full_epoch", *arguments, home=tmp_path)
    (table,) = json.loads((tmp_path / "full_epoch.json").read_text())["tables"]
    assert [cells[0] for cells in table["rows"]][:3] == ["petbench", "bare step", "plain loop, fp32"]
    assert all(cells[-1].endswith("%") for cells in table["rows"] if cells[0] != "bare step")


def test_a_whole_pseudo_label_run_is_set_against_the_trunk(tmp_path: Path) -> None:
    draw_folder(tmp_path / "images", 80, 2, (64, 64))
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.format(root=tmp_path / "images"), encoding="utf-8")
    text = script("pseudo_run", "--recipe", str(recipe), "--rounds", "1", home=tmp_path)
    assert "whole pseudo-label run (tiny) / one pass of the trunk" in text
    assert "over 80 images" in text


def test_a_runs_first_steps_wait_for_labelled_and_validation_images_alone(tmp_path: Path) -> None:
    draw_folder(tmp_path / "images", 80, 2, (64, 64))
    recipe = tmp_path / "tiny.toml"
    recipe.write_text(RECIPE.format(root=tmp_path / "images"), encoding="utf-8")
    script("early", "--recipe", str(recipe), "--rounds", "1", "--out", str(tmp_path), home=tmp_path)
    (table,) = json.loads((tmp_path / "early.json").read_text())["tables"]
    ((_, _, decoded, looked_at, images),) = table["rows"]
    assert 0 < int(looked_at) < int(decoded) < int(images) == 80


def test_every_export_answers_as_the_network_does(tmp_path: Path) -> None:
    arguments = ["--only", "resnet18", "--side", "64", "--out", str(tmp_path)]
    script("exports", *arguments, home=tmp_path)
    (table,) = json.loads((tmp_path / "exports.json").read_text())["tables"]
    assert [cells[:2] for cells in table["rows"]] == [
        ["ResNet-18, random", "fine-tuned"],
        ["ResNet-18, random", "frozen"],
    ]
    assert all(float(cell) < 1e-5 for cells in table["rows"] for cell in cells[2:])


@with_fastai
def test_fastai_takes_its_turns(tmp_path: Path) -> None:
    arguments = [*SMOKE["full_epoch"], "--peers", "fastai", "--out", str(tmp_path)]
    script("full_epoch", *arguments, home=tmp_path)
    (table,) = json.loads((tmp_path / "full_epoch.json").read_text())["tables"]
    assert [cells[0] for cells in table["rows"]] == ["petbench", "bare step", "fastai"]


@with_fastai
def test_both_reach_the_same_accuracy(tmp_path: Path) -> None:
    script("same_accuracy", *SMOKE["same_accuracy"], "--out", str(tmp_path), home=tmp_path)
    (row,) = rows_of(tmp_path, ["same_accuracy"])
    assert row.value.median > 0
