"""Opening Inspect on the pool of a round: seconds and memory as the pool grows.

    python -m benchmarks.opened_rounds [--sizes 10000 100000 1000000] [--classes 37] [--rounds 5]

A drawn run: what five rounds' teachers said of the pool, as ledgers and predictions of float16. Each size has
a process of its own, which reads the last round as the screen does, with flips over all rounds and the
disagreement with the first one; then the order and the filters are changed. Seconds are the processor's.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.machine import ROOT
from benchmarks.options import common_of, parser_of, report_of
from benchmarks.report import Row, Table
from benchmarks.turns import Spread
from workbench.runs.doubt import Doubt
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.support.digests import summed_write
from workbench.support.units import human_bytes
from workbench.tui.screens.inspect.material import read_material
from workbench.tui.screens.inspect.review_queue import Query, ReviewQueue

GOAL_SIZE, MUST_SECONDS, AIM_SECONDS = 100_000, 1.0, 0.5
SIZES = (10_000, GOAL_SIZE, 1_000_000)
CLASSES, ROUNDS = 37, 5
PIECE = 100_000  # rows drawn at once
HEADER = [
    "images",
    "ledgers and predictions",
    "opened, s",
    "another order, s",
    "other filters, s",
    "memory kept, an image",
    "at its most above the start",
]
COLUMNS = "id,pseudo_label,confidence,margin,entropy,selected,weight,flipped,true_label\r\n"


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(opened(RunDirectory(options.one))))
        return
    common, report = common_of(options), report_of("opened_rounds")
    table = Table(f"Inspect on a round of {options.rounds}, {options.classes} classes", HEADER)
    for size in options.sizes:
        told = measured(size, options.classes, options.rounds)
        table.rows.append(
            [
                f"{size:,}",
                human_bytes(told["on_disk"]),
                f"{told['opened']:.2f}",
                f"{told['order']:.3f}",
                f"{told['filters']:.3f}",
                human_bytes(told["kept"] / size),
                human_bytes(told["peak"]),
            ]
        )
        if size == GOAL_SIZE:
            report.rows.append(goal_row(told))
    report.tables.append(table)
    report.finish(common.out)


def goal_row(told: dict[str, Any]) -> Row:
    """What `measured` told of `GOAL_SIZE` images."""
    how = f"{human_bytes(told['kept'] / GOAL_SIZE)} an image kept"
    measure = f"Inspect on {GOAL_SIZE:,} pool images, processor seconds"
    return Row(measure, Spread.of([told["opened"]]), MUST_SECONDS, AIM_SECONDS, "lower", how)


def measured(images: int, classes: int = CLASSES, rounds: int = ROUNDS) -> dict[str, Any]:
    """What one size costs, in a process of its own."""
    with TemporaryDirectory(prefix="petbench-bench-") as folder:
        run = RunDirectory(Path(folder) / "drawn")
        run.path.mkdir()
        draw_rounds(run, images, classes, rounds)
        command = [sys.executable, "-m", "benchmarks.opened_rounds", "--one", str(run.path)]
        done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        on_disk = sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file())
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) | {"on_disk": on_disk}
    print(f"opened_rounds: {images:,}: {told}", file=sys.stderr, flush=True)
    return told


def draw_rounds(run: RunDirectory, images: int, classes: int, rounds: int) -> None:
    """Ledgers and predictions of a pool."""
    random = np.random.default_rng(0)
    names = [f"class_{number:03d}" for number in range(classes)]
    true = random.integers(0, classes, images)
    ids = [f"{names[label]}/image_{place:07d}.jpg" for place, label in enumerate(true.tolist())]
    before = np.full(images, -1)
    for number in range(1, rounds + 1):
        shares = np.empty((images, classes), dtype=np.float16)
        lines = [COLUMNS]
        for first in range(0, images, PIECE):
            rows = slice(first, min(first + PIECE, images))
            drawn = random.gamma(0.3, size=(rows.stop - first, classes)) + 1e-6
            drawn[np.arange(len(drawn)), true[rows]] += 3 * random.random(len(drawn))
            shares[rows] = drawn / drawn.sum(axis=1, keepdims=True)
            said = shares[rows].argmax(axis=1)
            exact = np.sort(shares[rows].astype(np.float64), axis=1)
            entropy = -(exact * np.log(np.maximum(exact, 1e-12))).sum(axis=1)
            flipped = (said != before[rows]) & (number > 1)
            before[rows] = said
            cells = (ids[rows], said.tolist(), exact[:, -1].tolist(), exact[:, -2].tolist())
            more = (entropy.tolist(), flipped.tolist(), true[rows].tolist())
            lines += [
                f"{id_},{names[label]},{best!r},{best - second!r},{spread!r},"
                f"{int(best > 0.5)},{float(best > 0.5)!r},{int(flip)},{names[truth]}\r\n"
                for id_, label, best, second, spread, flip, truth in zip(*cells, *more, strict=True)
            ]
        run.ledger(number).parent.mkdir(exist_ok=True)
        summed_write(run.ledger(number), run.path, "".join(lines).encode())
        save_predictions(run.predictions(f"unlabelled-{number:02d}"), ids, shares, true)


def opened(run: RunDirectory) -> dict[str, Any]:
    """What it costs in this process, which has opened none before."""
    resident, before, began = of_process("VmHWM"), of_process("RssAnon"), time.process_time()
    material = read_material(run, "", run.path.parent)
    queue = ReviewQueue()
    queue.take(material)
    queue.arrange("", 0)
    opened = time.process_time() - began
    ordered = seconds(queue, Query(Doubt.FLIPS))
    filtered = seconds(queue, Query(Doubt.DISAGREEMENT, wrong=True, taught=True))
    gc.collect()
    peak, kept = of_process("VmHWM") - resident, of_process("RssAnon") - before
    return {"opened": opened, "order": ordered, "filters": filtered, "kept": kept, "peak": peak}


def seconds(queue: ReviewQueue, query: Query) -> float:
    """Of another list."""
    began = time.process_time()
    queue.query = query
    queue.arrange("", 0)
    return time.process_time() - began


def of_process(name: str) -> int:
    """Bytes: `VmHWM`, resident at most since it began; `RssAnon`, its own now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
