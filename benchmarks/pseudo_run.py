"""A whole pseudo-label run, from cold store to results, over one pass of the trunk over the same images.

    python -m benchmarks.pseudo_run [--recipe recipes/lite_pseudo_class_balanced.toml] [--rounds 2]

The run is `petbench run`'s own code in a fresh process with an empty cache: reading the data set, decoding
the store, features, teacher, every round's student, test, results. The pass is the bare trunk in evaluation
mode on resident batches, in whichever arithmetic is faster here, over as many images as the run looks at.
Passes stand before and after each run, which is divided by the mean of the two. They run in a process as
torch comes; passes at the end, with the C library's memory set as petbench sets it, tell how much that is.
"""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.machine import ROOT
from benchmarks.options import common_of, parser_of, report_of, workshop
from benchmarks.ours import wait_for
from benchmarks.report import Report, Row, Table
from benchmarks.turns import Spread, ratios
from workbench.dataset import make_split, open_catalogue
from workbench.model import build
from workbench.model.classifier import ImageClassifier
from workbench.recipe import Recipe
from workbench.recipe.dump import dump_recipe
from workbench.recipe.load import load_recipe
from workbench.runs.attempt_control import Tenure
from workbench.runs.events import Silent
from workbench.runs.layout import create_run
from workbench.runs.process import write_process
from workbench.train.host import keep_freed_memory
from workbench.train.interrupt import StopRequest
from workbench.train.run import execute
from workbench.train.setup import Places

MUST, AIM = 1.3, 1.1
RECIPE = ROOT / "recipes" / "lite_pseudo_class_balanced.toml"
ON_SAMPLE = ROOT / "recipes" / "quickstart.toml"
BATCH = 64


@dataclass(frozen=True, slots=True)
class WholeRun:
    """What a run took and came to."""

    seconds: float
    """From reading the data set to results, without the import of torch."""
    with_start: float
    """The same, from the start of the process."""
    test_accuracy: float


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--recipe", type=Path, help="an offline pseudo-label recipe with a frozen trunk")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("pseudo_run")
    changes = ["data.evaluation_views=centre"]  # the trunk is timed on one view of an image
    if common.pets and not options.recipe:
        changes.append("data.image_size=224")
    recipe = load_recipe(options.recipe or (RECIPE if common.pets else ON_SAMPLE), changes)
    with workshop() as folder:
        data = common.pets or folder / "data"
        images = looked_at(recipe, data)
        trunk = Trunk(recipe, common.device)
        passes, runs = [trunk.seconds(images)], []
        for number in range(options.rounds):
            runs.append(whole_run(recipe, Places(data, folder / f"cache{number}", common.device)))
            passes.append(trunk.seconds(images))
        keep_freed_memory()
        trunk.seconds(BATCH)  # fills what is kept from now on
        kept = [trunk.seconds(images) for _ in runs]
    _tell(report, recipe, runs, passes, kept, trunk, images)
    if not common.pets:
        report.not_measured.append("pets: not on this machine; this was the sample set")
    report.finish(common.out)


def looked_at(recipe: Recipe, data: Path) -> int:
    """Images of every part of the recipe's split: the trunk sees each once."""
    catalogue = open_catalogue(recipe.data, data_home=data)
    split = make_split(catalogue, recipe.data, recipe.pseudo_label)
    return sum(map(len, (split.labelled, split.unlabelled, split.validation, split.test)))


def whole_run(recipe: Recipe, places: Places) -> WholeRun:
    """In a process of its own."""
    started = time.perf_counter()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        seconds, accuracy = pool.submit(_execute, recipe, places).result()
    return WholeRun(seconds, time.perf_counter() - started, accuracy)


def _execute(recipe: Recipe, places: Places) -> tuple[float, float]:
    """(seconds, test accuracy)."""
    with TemporaryDirectory() as home:
        directory = create_run(Path(home), recipe.name, dump_recipe(recipe), datetime.now())
        started = time.perf_counter()
        tenure = Tenure(directory, write_process(directory, "cpu"))
        results = execute(directory, recipe, places, Silent(), StopRequest(), tenure)
        seconds = time.perf_counter() - started
    return seconds, results.test.accuracy


class Trunk:
    """The limit of any run on features: the trunk alone, on batches in memory."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        side = recipe.data.image_size
        self._network = build(recipe.model, 2, seed=0, image_size=side).to(device).eval()
        self._network.to(memory_format=torch.channels_last)
        self._device = device
        self._images = torch.rand(BATCH, 3, side, side, device=device).contiguous(
            memory_format=torch.channels_last
        )
        self._pass(BATCH, bf16=True)
        self.bf16 = self._pass(4 * BATCH, bf16=True) < self._pass(4 * BATCH, bf16=False)

    def seconds(self, images: int) -> float:
        """Of one pass over so many images, in the faster arithmetic."""
        return self._pass(images, bf16=self.bf16)

    @torch.inference_mode()
    def _pass(self, images: int, *, bf16: bool) -> float:
        classifier: ImageClassifier = self._network
        wait_for(self._device)
        started = time.perf_counter()
        with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
            for first in range(0, images, BATCH):
                classifier.features(self._images[: images - first])
        wait_for(self._device)
        return time.perf_counter() - started


def _tell(
    report: Report,
    recipe: Recipe,
    runs: list[WholeRun],
    passes: list[float],
    kept: list[float],
    trunk: Trunk,
    images: int,
) -> None:
    around = [(before + after) / 2 for before, after in pairwise(passes)]
    ratio = ratios([run.seconds for run in runs], around)
    with_start = ratios([run.with_start for run in runs], around)
    how = (
        f"seconds of the run over seconds of the pass over {images} images in "
        f"{'bf16' if trunk.bf16 else 'fp32'}; with the start of Python and torch {with_start.text()}"
    )
    measure = f"whole pseudo-label run ({recipe.name}) / one pass of the trunk"
    report.rows.append(Row(measure, ratio, MUST, AIM, "lower", how))
    strict = ratios([run.seconds for run in runs], kept)
    report.rows.append(
        Row(f"{measure} with memory kept as petbench keeps it", strict, MUST, AIM, "lower", "the same runs")
    )
    report.tables.append(
        Table(
            "Seconds",
            ["run", "run with start of process", "pass of the trunk", "with kept memory", "test accuracy"],
            [
                [
                    Spread.of(run.seconds for run in runs).text(1),
                    Spread.of(run.with_start for run in runs).text(1),
                    Spread.of(passes).text(1),
                    Spread.of(kept).text(1),
                    f"{100 * runs[-1].test_accuracy:.2f} %",
                ]
            ],
        )
    )


if __name__ == "__main__":
    main()
