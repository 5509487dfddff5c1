"""Real run directories for tests, made as the trainer makes them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import tomli_w

from workbench.recipe import Recipe
from workbench.runs.events import EpochDone, StageName
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.process import write_exit, write_process
from workbench.runs.results import Evaluation, Results, RoundResult, write_results

NOW = datetime(2026, 11, 22, 12, 0, 0)
CLASSES = ("Abyssinian", "Bengal", "beagle")


def make_run(home: Path, name: str = "lite", *, age_seconds: int = 0, **recipe: Any) -> RunDirectory:
    """A run that was created and never started; `recipe` adds to its TOML."""
    values = {"schema": 1, "name": name, "seed": 0, "model": {"backbone": "resnet18"}, **recipe}
    return create_run(home, name, tomli_w.dumps(values), NOW - timedelta(seconds=age_seconds))


def finish(run: RunDirectory, results: Results | None = None) -> RunDirectory:
    """Give it results and a clean exit."""
    write_results(run.results, results or make_results())
    write_exit(run, code=0, reason="done")
    return run


def make_evaluation(accuracy: float = 0.8, confusion: Sequence[Sequence[int]] | None = None) -> Evaluation:
    """An evaluation of ten images in three classes, the last of which has none."""
    rows = confusion or ((5, 1, 0), (1, 3, 0), (0, 0, 0))
    return Evaluation(
        images=10,
        accuracy=accuracy,
        loss=0.5,
        macro_f1=0.79,
        top5=1.0,
        calibration_error=0.04,
        recall=(5 / 6, 0.75, None),
        confusion=tuple(tuple(row) for row in rows),
    )


def make_results(accuracy: float = 0.8, *, teacher_accuracy: float | None = None) -> Results:
    """Results of a supervised run, or of a pseudo-label run where a teacher's accuracy is given.

    A student of `accuracy` below the teacher's is not the final model: the teacher is.
    """
    results = Results(
        classes=CLASSES,
        val=make_evaluation(accuracy + 0.02),
        test=make_evaluation(accuracy),
        best_stage="fit",
        best_round=0,
        best_epoch=3,
        training_seconds=120.5,
        images_per_second=87.25,
        peak_memory_bytes=2**30,
        precision="bf16",
        labelled=20,
        unlabelled=80,
        classes_covered=3,
    )
    if teacher_accuracy is None:
        return results
    results = replace(
        results,
        best_stage="student",
        best_round=2,
        teacher_val=make_evaluation(teacher_accuracy),
        teacher_test=make_evaluation(teacher_accuracy),
        student_test_p=0.25,
        rounds=(
            RoundResult(1, 40, 0.5, 0.9, 0, 0.81, taught_by=0, improved=True),
            RoundResult(2, 80, 1.0, None, 3, 0.82, taught_by=1, improved=True),
        ),
        warnings=("the student is below its teacher",),
    )
    if accuracy >= teacher_accuracy:
        return results
    teacher = make_evaluation(teacher_accuracy)
    return replace(
        results,
        best_stage="teacher",
        best_round=0,
        val=teacher,
        test=teacher,
        student_val=results.val,
        student_test=results.test,
    )


def epoch(
    number: int, accuracy: float = 0.5, *, stage: StageName = "fit", round: int = 0, split: Any = "val"
) -> EpochDone:
    """An epoch's record."""
    return EpochDone(stage, round, number, split, 1.0, accuracy, 1e-3, 100.0, 2.0)


def any_data(runs: Sequence[tuple[Recipe, str, str]]) -> list[bool]:
    """Every run counts, whatever its images are."""
    return [True] * len(runs)


def rewrite_json(path: Path, **changes: object) -> None:
    """Change fields of a JSON file on disk, as if it had been written so before there were checksums."""
    values = json.loads(path.read_text())
    values.pop("crc32", None)
    path.write_text(json.dumps({**values, **changes}))


def sleeping(*runs: RunDirectory) -> list[str]:
    """A command that only waits; its line is that of the trainer of each of `runs`, by which it is known."""
    named = [word for run in runs for word in ("--run-dir", str(run.path))]
    return [sys.executable, "-c", "import time; time.sleep(600)", *named]


def elsewhere(run: RunDirectory, pid: int, **changes: object) -> None:
    """A trainer of another machine has it."""
    write_process(run, "cpu", pid=pid)
    values = {"boot_id": "0b0b0b0b", "host": "elsewhere", "started": time.time() - 1000}
    rewrite_json(run.process, **values, **changes)
