"""How soon a run trains: seconds from the start of its process to its first steps, and what came before.

    python -m benchmarks.early [--recipe recipes/lite_pseudo_class_balanced.toml] [--rounds 3]

`petbench run`'s own code in a fresh process with an empty cache, interrupted as soon as its first steps are
recorded. Counted are the images that were decoded, and those whose features were computed, until then, of all
images of the recipe's split; counts do not depend on how busy the machine is, the seconds do.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

import psutil

from benchmarks.options import common_of, parser_of, report_of, workshop
from benchmarks.pseudo_run import ON_SAMPLE, RECIPE, looked_at
from benchmarks.report import Table
from benchmarks.turns import Spread
from workbench.recipe import Recipe
from workbench.recipe.dump import dump_recipe
from workbench.recipe.load import load_recipe
from workbench.runs.events import Event, Silent, StepDone
from workbench.runs.layout import create_run
from workbench.train import Places, attempt


@dataclass(frozen=True, slots=True)
class Start:
    """What there was by the first training steps."""

    seconds: float
    """Since the process began."""
    decoded: int
    """Images."""
    looked_at: int
    """Images whose features were computed."""


class FirstSteps(Silent):
    """Notes what was done before the first steps, and then stops the run."""

    def __init__(self) -> None:
        self.start: Start | None = None
        self._done: dict[str, int] = {}

    def progress(self, task: str, done: int, total: int) -> None:
        """How far each task has come."""
        self._done[task] = done

    def event(self, event: Event) -> None:
        """The first record of steps ends the measurement."""
        if isinstance(event, StepDone) and self.start is None:
            seconds = time.time() - psutil.Process().create_time()
            self.start = Start(seconds, self._of("decode"), self._of("features"))
            signal.raise_signal(signal.SIGTERM)

    def _of(self, kind: str) -> int:
        return sum(done for task, done in self._done.items() if task.startswith(kind))


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--recipe", type=Path, help="any recipe")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("early")
    changes = (
        ["data.evaluation_views=centre", "data.image_size=224"] if common.pets and not options.recipe else []
    )
    recipe = load_recipe(options.recipe or (RECIPE if common.pets else ON_SAMPLE), changes)
    with workshop() as folder:
        data = common.pets or folder / "data"
        starts = [
            first_steps(recipe, Places(data, folder / f"cache{number}", common.device), folder)
            for number in range(options.rounds)
        ]
        images = looked_at(recipe, data)
    table = Table(
        "Until the first training steps",
        ["recipe", "seconds since the process began", "images decoded", "features computed", "images in all"],
    )
    last = starts[-1]
    seconds = Spread.of(start.seconds for start in starts).text(1)
    table.rows.append([recipe.name, seconds, f"{last.decoded:,}", f"{last.looked_at:,}", f"{images:,}"])
    report.tables.append(table)
    report.finish(common.out)


def first_steps(recipe: Recipe, places: Places, folder: Path) -> Start:
    """Of a run in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_begin, recipe, places, folder).result()


def _begin(recipe: Recipe, places: Places, folder: Path) -> Start:
    directory = create_run(folder / "runs", recipe.name, dump_recipe(recipe), datetime.now())
    watching = FirstSteps()
    outcome = attempt(directory, recipe, places, watching)
    if watching.start is None:
        sys.exit(f"process {os.getpid()}: the run ended with {outcome.code} before a step: {outcome.reason}")
    return watching.start


if __name__ == "__main__":
    main()
