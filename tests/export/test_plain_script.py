"""An exported ONNX file in a script without petbench says what the run said."""

from __future__ import annotations

import ast
import csv
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.cli.commands import run_command
from workbench.cli.export import export
from workbench.cli.run import run
from workbench.dataset.oxford import OXFORD_DIRECTORY
from workbench.runs.find import find_run
from workbench.runs.predictions import load_predictions
from workbench.train.host import one_thread

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "peers" / "plain_onnx.py"
ALLOWED = {"__future__", "numpy", "onnxruntime", "PIL"} | set(sys.stdlib_module_names)


def asked(folder: Path, pictures: Sequence[Path]) -> list[dict[str, str]]:
    """What the script prints of pictures; -I leaves the working directory and PYTHONPATH out."""
    done = subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(folder), *map(str, pictures)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return list(csv.DictReader(done.stdout.splitlines()))


def test_the_script_needs_onnxruntime_numpy_and_pillow_alone() -> None:
    tree = ast.parse(SCRIPT.read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imported} <= ALLOWED


@pytest.mark.slow
def test_it_says_the_runs_class_of_real_test_images(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, some = real_data / OXFORD_DIRECTORY, tmp_path / "data" / OXFORD_DIRECTORY
    (some / "annotations").mkdir(parents=True)
    (some / "images").symlink_to(whole / "images")
    for part in ("trainval", "test"):  # every breed has its images in a row
        lines = (whole / "annotations" / f"{part}.txt").read_text().splitlines(keepends=True)
        (some / "annotations" / f"{part}.txt").write_text("".join(lines[::6]))
    monkeypatch.setenv("PETBENCH_DATA", str(tmp_path / "data"))
    sets = [
        "data.image_size=128",
        'data.evaluation_views=["centre"]',
        "training.precision=fp32",
    ]
    runs = ["--runs-dir", str(tmp_path)]
    with one_thread():
        trained = run_command(
            run, "lite_10_percent", *(word for one in sets for word in ("--set", one)), *runs, "--json"
        )
        assert trained.exit_code == 0, trained.output
        directory = find_run(tmp_path, json.loads(trained.stdout)["id"])
        made = run_command(export, directory.handle, "--to", "onnx", "--out", str(tmp_path / "m"), *runs)
        assert made.exit_code == 0, made.output
    said = load_predictions(directory.predictions("test"))
    labels = (tmp_path / "m" / "labels.txt").read_text("utf-8").splitlines()
    images = real_data / OXFORD_DIRECTORY / "images"
    answers = asked(tmp_path / "m", [images / f"{name}.jpg" for name in said.ids])
    wanted = [labels[number] for number in said.probabilities.argmax(axis=1).tolist()]
    assert len(answers) == len(said.ids) > 300
    assert [row["class"] for row in answers] == wanted
    told = np.array([float(row["probability"]) for row in answers])
    assert np.abs(told - said.probabilities.max(axis=1)).max() < 1e-3
