"""Time to the same validation accuracy at 10 % labels: petbench's head on cached features against fastai.

    python -m benchmarks.same_accuracy [--fine-tune 4] [--rounds 2]

EfficientNet-Lite0 from the same weights, 224 px, batch 32, the same 294 labelled and 736 validation images.
Each side as its users run it, in a fresh process, timed from the start of that process with all it needs:
petbench runs recipes/lite_pseudo_class_balanced.toml (its teacher learns from these labels alone) with an
empty cache, so it decodes the store and computes features first; fastai calls
`vision_learner(...).fine_tune(n)` with its own defaults of head, rates and schedule. Both say the validation
accuracy after each epoch. The accuracy to be reached is the lower of the two sides' bests: what both can do.
Each side's time is that of its first epoch with at least this accuracy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.machine import ROOT
from benchmarks.options import common_of, parser_of, report_of, workshop
from benchmarks.peers.fastai_side import Fastai, fastai_python
from benchmarks.pictures import class_folder
from benchmarks.report import Row, Table
from benchmarks.turns import Spread, ratios
from workbench.dataset import make_split, open_catalogue
from workbench.model import ImageClassifier, build
from workbench.recipe import Recipe
from workbench.recipe.load import load_recipe

MUST, AIM = 5.0, 20.0
RECIPE = ROOT / "recipes" / "lite_pseudo_class_balanced.toml"
ONE_VIEW = ("data.image_size=224", "data.evaluation_views=centre")
"""As the other side sees an image."""
ON_SAMPLE = ROOT / "recipes" / "quickstart.toml"


@dataclass(frozen=True, slots=True)
class Seen:
    """A validation accuracy, and when it was known."""

    seconds: float
    accuracy: float


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument(
        "--fine-tune", type=int, default=4, help="fastai: fine_tune(n), after one frozen epoch"
    )
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("same_accuracy")
    python = fastai_python()
    recipe = load_recipe(RECIPE if common.pets else ON_SAMPLE, ONE_VIEW if common.pets else ())
    ours: list[list[Seen]] = []
    theirs: list[list[Seen]] = []
    if python is None:
        report.not_measured.append("time to the same accuracy: fastai cannot be installed here")
    else:
        with workshop() as folder:
            data = common.pets or folder / "data"
            tree = same_images(recipe, data, folder / "tree")
            network = build(recipe.model, 37, seed=0, image_size=recipe.data.image_size)
            for number in range(options.rounds):
                theirs.append(
                    fine_tune(python, tree, network, recipe, common.device, options.fine_tune, folder)
                )
                ours.append(run_petbench(common.pets, data, common.device, folder / f"round{number}"))
        reached = [reach(*pair) for pair in zip(ours, theirs, strict=True)]
        gain = ratios([their for _, _, their in reached], [our for _, our, _ in reached])
        accuracy = Spread.of(100 * goal for goal, _, _ in reached)
        took = [Spread.of(times).text(1) for times in zip(*(times for _, *times in reached), strict=True)]
        how = (
            f"seconds from process start to {accuracy.text(1)} % on validation: "
            f"fine_tune({options.fine_tune}) {took[1]}, petbench {took[0]}"
        )
        measure = (
            f"time to the same validation accuracy, 10 % labels, {recipe.model.backbone}: fastai / petbench"
        )
        report.rows.append(Row(measure, gain, MUST, AIM, "higher", how))
        report.tables += [
            curve("petbench, the last round: whenever the best accuracy so far rose", ours[-1]),
            curve("fastai, the last round", theirs[-1]),
        ]
    if not common.pets:
        report.not_measured.append("pets: not on this machine; this was the sample set")
    report.finish(common.out)


def reach(ours: Sequence[Seen], theirs: Sequence[Seen]) -> tuple[float, float, float]:
    """(the accuracy that both reach, petbench's seconds to it, the other's)."""
    goal = min(max(seen.accuracy for seen in side) for side in (ours, theirs))
    first = [next(seen.seconds for seen in side if seen.accuracy >= goal) for side in (ours, theirs)]
    return goal, first[0], first[1]


def curve(title: str, side: Sequence[Seen]) -> Table:
    """The epochs at which a side was better than ever."""
    table, best = Table(title, ["seconds", "validation accuracy"]), -1.0
    for seen in side:
        if seen.accuracy > best:
            best = seen.accuracy
            table.rows.append([f"{seen.seconds:.1f}", f"{100 * best:.2f} %"])
    return table


def same_images(recipe: Recipe, data: Path, root: Path) -> Path:
    """A folder for fastai with links to the recipe's labelled and validation images; returns `root`."""
    catalogue = open_catalogue(recipe.data, data_home=data)
    split = make_split(catalogue, recipe.data, recipe.pseudo_label)
    labels = catalogue.labels(recipe.data.target)
    for part, positions in (("train", split.labelled), ("test", split.validation)):
        for position in positions.tolist():
            path = catalogue.records[position].path
            folder = root / part / class_folder(int(labels[position]))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / path.name).symlink_to(path.resolve())
    assert not np.intersect1d(split.labelled, split.validation).size
    return root


def fine_tune(
    python: Path,
    tree: Path,
    network: ImageClassifier,
    recipe: Recipe,
    device: torch.device,
    epochs: int,
    folder: Path,
) -> list[Seen]:
    """fastai's way: one epoch with a frozen body, then `epochs` of all layers."""
    started = time.perf_counter()
    side = Fastai(python, tree, network, recipe.data.image_size, recipe.training.batch_size, device, folder)
    try:
        answers = side.worker.follow("fine_tune", epochs=epochs)
        return [
            Seen(time.perf_counter() - started, answer["accuracy"])
            for answer in answers
            if "accuracy" in answer
        ]
    finally:
        side.close()


def run_petbench(pets: Path | None, data: Path, device: torch.device, folder: Path) -> list[Seen]:
    """`petbench run`'s validation accuracies, timed by what it writes to its run directory."""
    started = time.time()
    command = [sys.executable, "-m", "workbench", "run", str(RECIPE if pets else ON_SAMPLE)]
    command += ["--runs-dir", str(folder / "runs"), "--data-dir", str(data), "--device", str(device)]
    environment = {"PETBENCH_CACHE": str(folder / "cache")}
    log = folder / "run.log"
    log.parent.mkdir(parents=True)
    with log.open("w", encoding="utf-8") as stream:
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=stream, stderr=stream, check=False
        )
    if done.returncode:
        raise SystemExit(
            f"petbench run ended with {done.returncode}:\n{log.read_text(encoding='utf-8')[-2000:]}"
        )
    (metrics,) = (folder / "runs").glob("*/metrics.jsonl")
    events = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    return [
        Seen(event["t"] - started, event["accuracy"])
        for event in events
        if event["kind"] == "epoch" and event["split"] == "val"
    ]


if __name__ == "__main__":
    main()
