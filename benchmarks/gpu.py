"""What only a GPU can show: ResNet-152's share of its bare step, how long the GPU idles, Table 1's wall time.

    python -m benchmarks.gpu [--device cuda] [--images 2944] [--table1]

Without a GPU it says what it did not measure, and ends. Idle time is what no kernel or copy covers of the
epoch's wall time, by torch's profiler. `--table1` runs the paper's nine cells with five seeds each through
`petbench sweep recipes/paper/table1.toml` with ResNet-152 from random weights: a timing, its accuracies mean
nothing; it needs the pets.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from benchmarks.bare import BareStep
from benchmarks.contest import Contest, Terms, hold
from benchmarks.machine import ROOT
from benchmarks.options import Common, common_of, parser_of, report_of, workshop
from benchmarks.ours import PETBENCH, EpochClock, Rounds, stage_run
from benchmarks.peers.loop_side import LoopSide
from benchmarks.report import Report, Row
from benchmarks.stages import changed, network_of
from benchmarks.turns import Spread, ratios

SHARE_MUST, IDLE_MUST, LOOP_MUST = 0.95, 0.05, 3.0
SWEEP = ROOT / "recipes" / "paper" / "table1.toml"


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=2944)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--table1", action="store_true", help="also time the paper's Table 1")
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("gpu")
    if common.device.type != "cuda":
        report.not_measured += [
            "plain loop / petbench on a GPU, GPU idle time, ResNet-152's share of its bare step, the wall "
            "time of Table 1: no GPU here"
        ]
        report.finish(common.out)
        return
    for backbone, against_loop in (("resnet152", False), ("resnet18", True)):
        terms = Terms(backbone, 224, options.images, options.batch_size, options.batch_size)
        with workshop() as folder:
            contest = hold(terms, common, folder)
            share_of_bare(contest, options.rounds, report)
            idle(contest, report)
            if against_loop:
                plain_loop(contest, options.rounds, folder, report)
        report.notes.append(contest.about)
    if options.table1:
        table1(common, report)
    else:
        report.not_measured.append("the wall time of Table 1: not asked for (--table1)")
    report.finish(common.out)


def share_of_bare(contest: Contest, rounds: int, report: Report) -> None:
    """Training images/s over those of the bare step."""
    found = Rounds(rounds).take(contest, [BareStep(contest)])
    share = ratios(*([epoch.training.rate for epoch in found[name]] for name in (PETBENCH, BareStep.name)))
    measure = f"throughput over the bare step on the GPU, {contest.terms.label}"
    report.rows.append(Row(measure, share, SHARE_MUST, 1.0, "higher", contest.precision.training))


def plain_loop(contest: Contest, rounds: int, folder: Path, report: Report) -> None:
    """The references' loop in fp32 with a worker a core."""
    loop = LoopSide("plain", contest.start, folder)
    try:
        found = Rounds(rounds).take(contest, [loop])
    finally:
        loop.close()
    gain = ratios(*([epoch.seconds for epoch in found[name]] for name in (loop.name, PETBENCH)))
    measure = f"full fine-tune epoch on the GPU, {contest.terms.label}: {loop.name} / petbench"
    report.rows.append(Row(measure, gain, LOOP_MUST, LOOP_MUST, "higher", "seconds with validation"))


def idle(contest: Contest, report: Report) -> None:
    """Share of an epoch's training in which the GPU had nothing to do."""
    network = network_of(contest)
    stage = changed(contest, lambda stage: stage)
    stage_run(stage, network, EpochClock()).run()  # warms up
    clock = EpochClock()
    run = stage_run(stage, network, clock)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        clock.start()
        run.run()
    spans = [
        (event.time_range.start / 1e6, event.time_range.end / 1e6)
        for event in profile.events() or []
        if str(event.device_type).endswith("CUDA")
    ]
    epoch = clock.epochs[0]
    share = 1 - covered(spans) / epoch.seconds
    measure = f"GPU idle in an epoch, {contest.terms.label}"
    how = "share of training and validation that no kernel or copy covers; the profiler adds some"
    report.rows.append(Row(measure, Spread.of([share]), IDLE_MUST, 0.0, "lower", how))


def covered(spans: Iterable[tuple[float, float]]) -> float:
    """Length of the union of (start, end) spans."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def table1(common: Common, report: Report) -> None:
    """Nine cells, five seeds."""
    if common.pets is None:
        report.not_measured.append("the wall time of Table 1: the pets are not on this machine")
        return
    with workshop() as folder:
        command = table1_command(common, str(folder / "runs"))
        started = time.perf_counter()
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PETBENCH_CACHE": str(folder / "cache")}, check=False
        )
        seconds = time.perf_counter() - started
    told = " ".join(command[3:])
    report.notes.append(
        f"Table 1: {seconds / 60:.1f} minutes, exit code {done.returncode}: `petbench {told}`"
    )


def table1_command(common: Common, runs: str) -> Sequence[str]:
    """The sweep with random weights."""
    words = ["sweep", str(SWEEP), "--set", "model.weights=none", "--runs-dir", runs]
    words += ["--data-dir", str(common.pets), "--device", str(common.device)]
    return [sys.executable, "-m", "workbench", *words]


if __name__ == "__main__":
    main()
