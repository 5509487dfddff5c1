"""What the data path and the loop cost beside the bare model step.

    python -m benchmarks.throughput [--backbones resnet18 efficientnet_lite0] [--sides 224 128] [--rounds 5]

Images/s of a real training epoch (store, crops, flips, loop, records) over images/s of the bare step on one
resident batch (`benchmarks.bare`), in turns in one process.
"""

from __future__ import annotations

import resource

from benchmarks.bare import BareStep
from benchmarks.contest import Terms, hold
from benchmarks.options import Common, common_of, parser_of, report_of, workshop
from benchmarks.ours import PETBENCH, Rounds
from benchmarks.report import Report, Row, Table
from benchmarks.turns import Epoch, Spread, ratios
from workbench.support.units import human_bytes

MUST, AIM = 0.93, 0.98
HEADER = ["network", "petbench, images/s", "bare step, images/s", "ratio", "peak memory so far"]


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "efficientnet_lite0"])
    parser.add_argument("--sides", nargs="+", type=int, default=[224, 128])
    parser.add_argument("--images", type=int, default=256, help="training images an epoch")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("throughput")
    table = Table("Throughput over the bare step", HEADER)
    report.tables.append(table)
    for backbone in options.backbones:
        for side in options.sides:
            terms = Terms(backbone, side, options.images, options.batch_size, options.batch_size)
            measure(terms, common, Rounds(options.rounds), report, table)
    report.finish(common.out)


def measure(terms: Terms, common: Common, turns: Rounds, report: Report, table: Table) -> Spread:
    """One network at one size; adds its row."""
    with workshop() as folder:
        contest = hold(terms, common, folder)
        epochs = turns.take(contest, [BareStep(contest)])
    ours, bare = _rates(epochs[PETBENCH]), _rates(epochs[BareStep.name])
    ratio = ratios(ours, bare)
    report.rows.append(
        Row(
            f"throughput over the bare step, {terms.label}",
            ratio,
            MUST,
            AIM,
            "higher",
            f"images/s, {contest.precision.training}, batch {terms.batch_size}",
        )
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    table.rows.append(
        [terms.label, Spread.of(ours).text(1), Spread.of(bare).text(1), ratio.text(3), human_bytes(peak)]
    )
    report.notes.append(contest.about)
    return ratio


def _rates(epochs: list[Epoch]) -> list[float]:
    return [epoch.training.rate for epoch in epochs]


if __name__ == "__main__":
    main()
