"""Every offline strategy on cached features of a frozen EfficientNet-Lite0: one table, one command.

    python -m benchmarks.strategies [--data-dir DIR] [--cache DIR] [--seeds 3] [--jobs 2]
        [--labels 37 4 10% …] [--strategies class_balanced …] [--out FILE.json]

Each cell is `petbench run`'s own code on recipes/lite_pseudo_class_balanced.toml with other [pseudo_label]
knobs, seeds 0, 1, … of run and split alike. Prints the final model's test accuracy in percent, mean ±
standard deviation over the seeds, validation's mean in brackets (by which to choose), and under how many
seeds the teacher was kept, because no student beat it on validation.

"4 a class, skewed pool": half of the breeds, drawn by the seed, keep an eighth of their unlabelled images.
Tested as the pool is mixed (each breed's recall by its share of the pool, with target_prior = "pool"), and
evenly, as the test images are (with target_prior as by default).

"defects", "skewed" and "twins", 10 a class: sets that are no pets (`petbench data sample --kind`), drawn into
the cache at 128 px.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import tomllib
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.dataset import make_split, open_catalogue
from workbench.dataset.review import Correction, Verdict, file_text
from workbench.dataset.sample import SampleKind, SampleOptions, generate_sample
from workbench.recipe import Recipe
from workbench.recipe.dump import dump_recipe
from workbench.runs.results import Evaluation
from workbench.support.paths import cache_home, data_home

BASE = Path(__file__).parent.parent / "recipes" / "lite_pseudo_class_balanced.toml"
SKEWED = "4 a class, skewed pool"
AS_POOL, EVENLY = f"{SKEWED}: as the pool", f"{SKEWED}: evenly"
LABELS: dict[str, dict[str, Any]] = {
    "1% random": {"labelled_fraction": 0.01, "stratified": False},
    "37, one a class": {"labels_per_class": 1},
    "37 representative": {"labels_per_class": 1, "representative": "kmeans"},
    "4 a class": {"labels_per_class": 4},
    "10% random": {"labelled_fraction": 0.1, "stratified": False},
    "50% random": {"labelled_fraction": 0.5, "stratified": False},
    AS_POOL: {"labels_per_class": 4, "target_prior": "pool"},
    EVENLY: {"labels_per_class": 4},
}
KINDS = {f"{kind.value}, 10 a class": kind for kind in SampleKind if kind.is_folder}
LABELS |= {name: {"labels_per_class": 10} for name in KINDS}
DRAWN = 150
"""Training images of the commonest class of a drawn set, half as many for the test."""
RARE_KEEP = 8
"""Of a rare breed's unlabelled images one in so many stays."""
DEFAULT_LABELS = ("37, one a class", "4 a class", AS_POOL, EVENLY, "10% random", "50% random")
STRATEGIES: dict[str, dict[str, Any]] = {
    "one_shot": {"strategy": "one_shot", "student": "fresh"},
    "iterative": {"strategy": "iterative"},
    "iterative + threshold": {"strategy": "iterative", "select": "threshold"},
    "class_balanced": {"strategy": "class_balanced"},
    "curriculum": {"strategy": "curriculum"},
    "ups": {"strategy": "ups"},
    "noisy_student": {  # on cached features dropout is all the noise there can be
        "strategy": "noisy_student",
        "noise": {"policy": "none", "dropout": 0.5, "stochastic_depth": 0.0},
    },
    "label_propagation": {"strategy": "label_propagation", "student": "fresh"},
    "label_propagation + sinkhorn": {
        "strategy": "label_propagation", "student": "fresh", "balance": "sinkhorn",
    },
    "prototype": {"strategy": "prototype", "student": "fresh"},
    "prototype + sinkhorn": {
        "strategy": "prototype", "student": "fresh", "balance": "sinkhorn", "similarity": "features+classes",
    },
    "class_balanced + vote": {
        "strategy": "class_balanced", "balance": "sinkhorn", "similarity": "features+classes",
        "propagation": 0.34, "prototypes": 0.33, "rounds": 2,
    },
    "class_balanced + vote, soft": {
        "strategy": "class_balanced", "balance": "sinkhorn", "similarity": "features+classes",
        "propagation": 0.34, "prototypes": 0.33, "rounds": 2, "targets": "soft",
    },
}  # fmt: skip
# Of the student, whatever the strategy: enough to fit from a fresh head on cached features.
EPOCHS = 20
SIDE = 224
"""Pixels. One view of that side, as in all tables of docs/results.md that compare strategies."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of the table."""

    labels: str
    strategy: str
    seed: int
    data: Path
    cache: Path


@dataclass(frozen=True, slots=True)
class Done:
    """What a run came to."""

    labels: str
    strategy: str
    seed: int
    validation: float
    test: float
    teacher_validation: float
    teacher_test: float
    student_test: float
    """Of the best student, also where the teacher was kept."""
    kept_teacher: bool
    labels_right: float | None
    """Of the last round's pseudo-labels."""


def main() -> None:
    """Run what was asked for, and print it."""
    options = _options()
    data, cache = data_home(options.data_dir), options.cache or cache_home()
    # Seeds outermost, so that a stopped table has whole columns; the first run alone fills the cache.
    jobs = [
        Job(labels, strategy, seed, data, cache)
        for seed in range(options.seeds)
        for labels in options.labels
        for strategy in options.strategies
    ]
    done = [run(jobs[0])]
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for one in pool.map(run, jobs[1:]):
            done.append(one)
            if options.out is not None:
                options.out.write_text(json.dumps([asdict(one) for one in done], indent=1))
    for line in table(done):
        print(line)
    below = sum(one.validation < one.teacher_validation for one in done)
    print(f"\n{below} of {len(done)} final models are below their teacher on validation")


def run(job: Job) -> Done:
    """One run, in a directory of its own that goes away."""
    import torch

    from workbench.runs.attempt_control import Tenure
    from workbench.runs.events import Silent
    from workbench.runs.layout import create_run
    from workbench.runs.process import write_process
    from workbench.train.interrupt import StopRequest
    from workbench.train.run import execute
    from workbench.train.setup import Places

    torch.set_num_threads(1)
    values = tomllib.loads(BASE.read_text(encoding="utf-8"))
    values["pseudo_label"] = {"epochs_per_round": EPOCHS} | STRATEGIES[job.strategy] | LABELS[job.labels]
    values["seed"] = job.seed
    values["data"] |= {"split_seed": job.seed, "image_size": SIDE, "evaluation_views": ["centre"]}
    places = Places(job.data, job.cache, torch.device("cpu"))
    mixture = None
    with tempfile.TemporaryDirectory() as home:
        if job.labels in KINDS:
            values["data"] |= _drawn(KINDS[job.labels], job.cache)
        if job.labels.startswith(SKEWED):
            values["data"]["corrections"] = str(Path(home) / "thinned.toml")
            mixture = _thin_out(Recipe.model_validate(values), job, Path(home) / "thinned.toml")
        recipe = Recipe.model_validate(values)
        directory = create_run(Path(home), recipe.name, dump_recipe(recipe), datetime.now())
        tenure = Tenure(directory, write_process(directory, "cpu"))
        results = execute(directory, recipe, places, Silent(), StopRequest(), tenure)
    assert results.teacher_test is not None  # every offline strategy has a teacher
    validation, test, teacher_validation, teacher_test, student_test = (
        _as_mixed(on, mixture) if job.labels == AS_POOL and mixture is not None else on.accuracy
        for on in (
            results.val,
            results.test,
            results.teacher_val or results.val,
            results.teacher_test,
            results.student_test or results.test,
        )
    )
    return Done(
        job.labels,
        job.strategy,
        job.seed,
        validation,
        test,
        teacher_validation,
        teacher_test,
        student_test,
        kept_teacher=results.best_stage == "teacher",
        labels_right=results.rounds[-1].pseudo_label_accuracy,
    )


def _drawn(kind: SampleKind, cache: Path) -> dict[str, Any]:
    """[data] of a drawn set, which is made where it is not there yet."""
    root = cache / f"benchmark-{kind.value}"
    generate_sample(root, SampleOptions(0, DRAWN, DRAWN // 2, 128, kind))
    validation = {"validation": "own"} if (root / "val").is_dir() else {}
    return {"dataset": "folder", "root": str(root), "image_size": 128} | validation


def _thin_out(recipe: Recipe, job: Job, path: Path) -> NDArray[np.float64]:
    """Write the corrections that take most images of half of the breeds out of the pool.

    Returns: (C,) the shares of the breeds in what stays.
    """
    data = recipe.data.model_copy(update={"corrections": ""})
    catalogue = open_catalogue(data, data_home=job.data)
    pool = make_split(catalogue, data, recipe.pseudo_label).unlabelled
    labels = catalogue.labels(data.target)
    classes = len(catalogue.classes(data.target))
    random = np.random.default_rng(job.seed)
    stays = []
    for label in range(classes):
        own = random.permutation(pool[labels[pool] == label])
        stays.append(own)
    for label in random.choice(classes, classes // 2, replace=False):
        stays[label] = stays[label][: max(1, len(stays[label]) // RARE_KEEP)]
    kept = set(np.concatenate(stays).tolist())
    gone = [catalogue.records[position].id for position in pool.tolist() if position not in kept]
    path.write_text(file_text([Correction(id_, Verdict.EXCLUDE, "") for id_ in gone]), encoding="utf-8")
    return np.array([len(own) for own in stays]) / len(kept)


def _as_mixed(on: Evaluation, mixture: NDArray[np.float64]) -> float:
    """Accuracy on images that are mixed so: the classes' recalls, weighted by their shares."""
    return float(sum(share * (recall or 0.0) for share, recall in zip(mixture, on.recall, strict=True)))


def table(done: Iterable[Done]) -> list[str]:
    """The runs as Markdown: a row a strategy, a column an amount of labels."""
    done = list(done)
    columns = list(dict.fromkeys(one.labels for one in done))
    lines = ["| strategy | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    teachers = []
    for labels in columns:
        by_seed = {one.seed: one.teacher_test for one in done if one.labels == labels}
        teachers.append(_spread(list(by_seed.values())))
    lines.append("| the teacher | " + " | ".join(teachers) + " |")
    for strategy in dict.fromkeys(one.strategy for one in done):
        cells = []
        for labels in columns:
            mine = [one for one in done if (one.strategy, one.labels) == (strategy, labels)]
            cells.append(_cell(mine))
        lines.append(f"| {strategy} | " + " | ".join(cells) + " |")
    return lines


def _cell(runs: list[Done]) -> str:
    if not runs:
        return "–"
    test = [one.test for one in runs]
    validation = 100 * statistics.mean(one.validation for one in runs)
    kept = sum(one.kept_teacher for one in runs)
    return f"{_spread(test)} ({validation:.1f})" + (f" kept {kept}" if kept else "")


def _spread(values: list[float]) -> str:
    mean = 100 * statistics.mean(values)
    return f"{mean:.1f}" + (f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else "")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="holds oxford-iiit-pet/; else $PETBENCH_DATA")
    parser.add_argument("--cache", type=Path, help="features and decoded images; else $PETBENCH_CACHE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, one core each")
    parser.add_argument("--labels", nargs="+", choices=LABELS, default=list(DEFAULT_LABELS))
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--out", type=Path, help="also write every run as JSON here")
    return parser.parse_args()


if __name__ == "__main__":
    main()
