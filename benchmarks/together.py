"""What two processes that share each step gain over one that has both of their threads, in images a second.

    python -m benchmarks.together [--backbone resnet18] [--side 128] [--rounds 5]

Full steps of a network whose batch norms learn, which processes meet for in every layer; gradients are added
up once a step. Views (crops, flips, a trivial policy) are drawn from squares in memory, each process its own.
Two processes of one thread each and one of two threads take turns.
"""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import time

import numpy as np
import torch

from benchmarks.machine import ROOT
from benchmarks.options import common_of, parser_of, report_of
from benchmarks.report import Row, Table
from benchmarks.turns import Spread, ratios
from workbench.loader import ImageBatches, ImageStore, Samples, stored_side
from workbench.model import build
from workbench.recipe.model import Model
from workbench.recipe.training import Augmentation
from workbench.runs.events import Silent
from workbench.support.ranks import Rank, rank_here
from workbench.train.host import keep_freed_memory
from workbench.train.objectives import Supervised
from workbench.train.precision import Precision
from workbench.train.shared_pass import SharedPass
from workbench.train.step import Stepper
from workbench.train.world import joined

CPU = torch.device("cpu")
CLASSES = 37
WARM_UP = 2
MUST = 0.8
"""Of the one process: what the meetings may cost; several hosts and GPUs are what it is for."""


def main() -> None:
    """Measure and print; as one of the processes, take the steps and print their seconds."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--threads", type=int, default=0, help="be one of the processes, with so many threads"
    )
    options = parser.parse_args()
    given = [f"--backbone={options.backbone}", f"--side={options.side}"]
    given += [f"--batch-size={options.batch_size}", f"--steps={options.steps}"]
    if options.threads:
        print(_seconds(options.backbone, options.side, options.batch_size, options.steps, options.threads))
        return
    common = common_of(options)
    report = report_of("together")
    rounds = [(_taken(1, 2, given), _taken(2, 1, given)) for _ in range(options.rounds)]
    images = options.batch_size * options.steps
    alone, both = ([images / seconds for seconds in found] for found in zip(*rounds, strict=True))
    label = f"{options.backbone} at {options.side} px"
    how = f"images a second, batch of {options.batch_size}, fp32, gloo on this machine"
    gain = ratios(both, alone)
    report.rows.append(Row(f"2 processes over 1 with their threads, {label}", gain, MUST, 1.0, "higher", how))
    table = Table("Images a second", ["processes", "threads each", "rate"])
    table.rows.append(["1", "2", Spread.of(alone).text(1)])
    table.rows.append(["2", "1", Spread.of(both).text(1)])
    report.tables.append(table)
    report.finish(common.out)


def _taken(processes: int, threads: int, given: list[str]) -> float:
    """Seconds of the steps of so many processes together."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.together", *given, f"--threads={threads}"]
    started = []
    for number in range(processes):
        rank = Rank(number, processes, number).variables("127.0.0.1", port) if processes > 1 else {}
        environment = {**os.environ, **rank, "OMP_NUM_THREADS": str(threads)}
        started.append(
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        )
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process of the benchmark failed")
    return max(float(text) for text in said)


def _seconds(backbone: str, side: int, batch_size: int, steps: int, threads: int) -> float:
    torch.set_num_threads(threads)
    keep_freed_memory()
    with joined(rank_here(), CPU) as world:
        classifier = build(Model(backbone=backbone, weights="none"), CLASSES, seed=0, image_size=side)
        classifier.to(memory_format=torch.channels_last).train()
        stepper = Stepper(
            classifier,
            torch.optim.SGD(classifier.parameters(), lr=1e-3, momentum=0.9, fused=True),
            Precision("fp32", "fp32", ""),
            CPU,
            Silent(),
            Supervised(),
            on_features=False,
            micro_batch=0,
            forward=classifier if world.is_alone else SharedPass(classifier, world, mixes_batch=True),
            world=world,
        )
        batches = _batches(
            batch_size * (WARM_UP + steps), side, batch_size, by_rows=not world.is_alone
        ).epoch(0)
        for batch in itertools.islice(batches, WARM_UP):
            stepper.step(batch)
        world.barrier()
        started = time.perf_counter()
        for batch in batches:
            stepper.step(batch)
        return time.perf_counter() - started


def _batches(images: int, side: int, batch_size: int, *, by_rows: bool) -> ImageBatches:
    """Of noise: what a view costs does not depend on what is seen."""
    numbers, stored = np.random.default_rng(0), stored_side(side)
    pixels = numbers.integers(0, 256, (images, 3, stored, stored), dtype=np.uint8)
    sizes = numbers.integers(300, 500, (images, 2))
    store = ImageStore(pixels, sizes, (), np.empty(0, dtype=np.int64))
    samples = Samples.of(np.arange(images), np.arange(images) % CLASSES, CLASSES)
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    views = Augmentation(policy="trivial")
    return ImageBatches(store, samples, views, side, mean, std, batch_size, 0, CPU, by_rows=by_rows)


if __name__ == "__main__":
    main()
