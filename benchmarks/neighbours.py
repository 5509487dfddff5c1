"""Labels spread among very many images: seconds, recall and memory of the graph and of what is solved on it.

    python -m benchmarks.neighbours [--sizes 10000 100000 300000] [--width 256] [--classes 37]
        [--neighbours 10]

Features are drawn: images of a hundred kinds, which differ in 24 ways each, through two random layers; no two
alike. Each size has a process of its own, so that the peak memory is its own. Recall is that of 1,000 random
images, whose true neighbours are looked up among all. One in a hundred images is labelled.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import ROOT
from benchmarks.options import common_of, parser_of, report_of
from benchmarks.report import Row, Table
from benchmarks.turns import Spread
from workbench.pseudo import Pool
from workbench.pseudo.graph import neighbour_graph, spread_labels
from workbench.pseudo.neighbours import LEAST_RECALL, Near, unit_rows
from workbench.recipe.strategies.by_features import LabelPropagation
from workbench.support.units import human_bytes

GOAL_SIZE, MUST_SECONDS, AIM_SECONDS = 100_000, 60.0, 20.0
SIZES = (10_000, GOAL_SIZE, 300_000)
CHECKED = 1000
WIDTH = 256
KINDS, WAYS = 100, 24
HEADER = [
    "images",
    "graph, s",
    "processor, s",
    "recall, told",
    "recall of 1,000",
    "spread labels, s",
    "peak memory",
    "of that features",
]


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--classes", type=int, default=37)
    parser.add_argument("--neighbours", type=int, default=10)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.width, options.classes, options.neighbours)))
        return
    common, report = common_of(options), report_of("neighbours")
    table = Table(
        f"{options.neighbours} neighbours, {options.width} columns, {options.classes} classes", HEADER
    )
    for size in options.sizes:
        knobs = ["--width", options.width, "--classes", options.classes, "--neighbours", options.neighbours]
        told = alone(size, *knobs)
        table.rows.append(
            [
                f"{size:,}",
                f"{told['graph']:.1f}",
                f"{told['processor']:.1f}",
                f"{told['told']:.3f}",
                f"{told['recall']:.3f}",
                f"{told['spread']:.1f}",
                human_bytes(told["peak"]),
                human_bytes(4 * size * options.width),
            ]
        )
        if size == GOAL_SIZE:
            report.rows.append(goal_row(told, options.width))
    report.tables.append(table)
    report.finish(common.out)


def alone(size: int, *knobs: object) -> dict[str, Any]:
    """What `measured` tells in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.neighbours", "--one", size, *knobs]
    done = subprocess.run(list(map(str, command)), check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"neighbours: {size:,}: {told}", file=sys.stderr, flush=True)
    return told


def goal_row(told: dict[str, Any], width: int = WIDTH) -> Row:
    """What `measured` told of `GOAL_SIZE` images."""
    how = f"recall {told['recall']:.3f} of {CHECKED} images, {LEAST_RECALL} wanted"
    measure = f"graph of {GOAL_SIZE:,} × {width}, seconds"
    return Row(measure, Spread.of([told["graph"]]), MUST_SECONDS, AIM_SECONDS, "lower", how)


def measured(images: int, width: int, classes: int, neighbours: int) -> dict[str, Any]:
    """What one size costs, in this process."""
    random = np.random.default_rng(0)
    features, kinds = drawn(images, width, random)
    found: list[Near] = []

    def kept(unit: NDArray[np.float32], k: int) -> Near:
        if not found:
            found.append(search(unit, k))
        return found[0]

    labelled = max(classes, images // 100)
    pool = Pool(
        np.full((images - labelled, classes), 1 / classes, dtype=np.float32),
        np.bincount(kinds[:labelled] % classes, minlength=classes),
        features=features[labelled:],
        labelled_features=features[:labelled],
        labels=kinds[:labelled] % classes,
    )
    search = pool.search
    knobs = LabelPropagation(labelled_fraction=0.01, neighbours=neighbours)
    began, processor = time.perf_counter(), time.process_time()
    neighbour_graph(features, neighbours, knobs.gamma, kept)
    graph, processor = time.perf_counter() - began, time.process_time() - processor
    began = time.perf_counter()
    spread_labels(Pool(**{name: getattr(pool, name) for name in pool.__slots__} | {"search": kept}), knobs)
    spread = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "graph": graph,
        "processor": processor,
        "told": found[0].recall,
        "recall": recall_of(found[0], unit_rows(features), random),
        "spread": spread,
        "peak": peak,
    }


def drawn(
    images: int, width: int, random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, D) float32 features and the (N,) kind of each."""
    kinds = random.integers(0, KINDS, images)
    layers = [random.normal(size=(WAYS, width)) / 5, random.normal(size=(width, width)) / width**0.5]
    centres, offset = random.normal(size=(KINDS, WAYS)), random.normal(size=width) / 10
    features = np.empty((images, width), dtype=np.float32)
    for rows in np.array_split(np.arange(images), max(1, images // 10_000)):
        ways = centres[kinds[rows]] + 0.7 * random.normal(size=(len(rows), WAYS))
        seen = np.maximum(np.maximum(ways @ layers[0] + offset, 0) @ layers[1], 0)
        features[rows] = seen + 0.02 * random.normal(size=seen.shape)
    return features, kinds


def recall_of(near: Near, unit: NDArray[np.float32], random: np.random.Generator) -> float:
    """Share of the true neighbours of random images that were found."""
    k = near.rows.shape[1]
    shares = []
    for row in random.choice(len(unit), min(CHECKED, len(unit)), replace=False).tolist():
        cosines = unit @ unit[row]
        cosines[row] = -np.inf
        true = np.argpartition(-cosines, k - 1)[:k]
        shares.append(np.isin(true, near.rows[row]).mean())
    return float(np.mean(shares))


if __name__ == "__main__":
    main()
