"""Thousands of run directories with the files of real ones: what the listing benchmarks are about.

    python -m benchmarks.many_runs DIRECTORY [--runs 1000]

Recipes are the shipped ones with other seeds and learning rates; results have 37 classes, so that a results
file is as long as that of a run on the Oxford set. Written without fsync: a benchmark's files may be lost.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from workbench.recipe import Recipe, dump_recipe, load_recipe
from workbench.runs.events import EpochDone, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ExitRecord, ProcessRecord
from workbench.runs.results import Evaluation, Results, write_results

RECIPES = Path(__file__).parents[1] / "recipes"
CLASSES = 37
EPOCHS = 20
NEWEST = datetime(2026, 11, 1, 12, 0, 0)


def make_runs(home: Path, count: int) -> list[RunDirectory]:
    """Make `count` runs under `home`, ten minutes apart, newest first; most finished, a few failed."""
    chance = random.Random(count)
    recipes = [load_recipe(path) for path in sorted(RECIPES.glob("lite_*.toml"))]
    results = list(_results_texts(chance))
    home.mkdir(parents=True, exist_ok=True)
    return [_make_run(home, number, chance, recipes, results) for number in range(count)]


def _make_run(
    home: Path, number: int, chance: random.Random, recipes: list[Recipe], results: list[str]
) -> RunDirectory:
    created = NEWEST - timedelta(minutes=10 * number)
    recipe = recipes[number % len(recipes)]
    optimizer = recipe.optimizer.model_copy(update={"learning_rate": chance.choice([1e-4, 1e-3, 3e-3])})
    recipe = recipe.model_copy(
        update={"seed": number, "name": f"{recipe.name}-{number}", "optimizer": optimizer}
    )
    run = RunDirectory(home / f"{created:%Y%m%d-%H%M%S}-{recipe.name}-{number % 65536:04x}")
    run.path.mkdir()
    run.recipe.write_text(dump_recipe(recipe))
    started = created.timestamp()
    run.process.write_text(
        json.dumps(asdict(ProcessRecord("another boot", 1, 1, 1, "box", "cuda:0", started)))
    )
    run.heartbeat.touch()
    run.metrics.write_text("".join(_metrics_lines(started)))
    code = chance.choices([0, 1, 130], [0.9, 0.05, 0.05])[0]
    reason = {0: "", 1: "out of memory at step 41", 130: "interrupted"}[code]
    run.exit.write_text(json.dumps(asdict(ExitRecord(1, code, None, reason, started + 300))))
    if code == 0:
        run.results.write_text(chance.choice(results))
    return run


def _metrics_lines(started: float) -> Iterator[str]:
    events = [StageStarted("fit", 0, EPOCHS, 2944, 0, False)] + [
        EpochDone("fit", 0, epoch, split, 2 / epoch, 1 - 0.5 / epoch, 1e-3, 400.0, 7.0)
        for epoch in range(1, EPOCHS + 1)
        for split in ("train", "val")
    ]
    for second, event in enumerate(events):
        record = {"t": started + second, "kind": event.kind, **asdict(event)}
        yield json.dumps(record, separators=(",", ":")) + "\n"


def _results_texts(chance: random.Random) -> Iterator[str]:
    """Twenty results files of different accuracy."""
    with TemporaryDirectory() as folder:
        for _ in range(20):
            path = Path(folder) / "results.toml"
            write_results(path, _results(chance.uniform(0.6, 0.95)))
            yield path.read_text("utf-8")


def _results(accuracy: float) -> Results:
    right = round(20 * accuracy)
    confusion = tuple(
        tuple(
            right if said == true else 20 - right if said == (true + 1) % CLASSES else 0
            for said in range(CLASSES)
        )
        for true in range(CLASSES)
    )
    test = Evaluation(
        images=20 * CLASSES,
        accuracy=accuracy,
        loss=0.5,
        macro_f1=accuracy,
        top5=1.0,
        calibration_error=0.04,
        recall=(right / 20,) * CLASSES,
        confusion=confusion,
    )
    return Results(
        classes=tuple(f"breed {number}" for number in range(CLASSES)),
        val=replace(test, accuracy=accuracy + 0.01),
        test=test,
        best_stage="fit",
        best_round=0,
        best_epoch=EPOCHS,
        training_seconds=140.0,
        images_per_second=400.0,
        peak_memory_bytes=2**30,
        precision="bf16",
        labelled=2944,
        unlabelled=0,
        classes_covered=CLASSES,
        teacher_val=test,
        teacher_test=test,
    )


def main() -> None:
    """Make the runs that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    options = parser.parse_args()
    print(len(make_runs(options.directory, options.runs)), "runs in", options.directory)


if __name__ == "__main__":
    main()
