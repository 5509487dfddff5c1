"""A full fine-tune epoch, petbench against a plain loop, timm's pipeline, fastai, and the bare step.

    python -m benchmarks.full_epoch [--backbones resnet18 resnet50 efficientnet_lite0] [--sides 224 128]
        [--rounds 3] [--images 128]

Same images, network, start, size, batch and augmentation (random resized crop, flip). Sides take turns, an
epoch each, in one process tree; ratios are of a round's epochs, training and validation together and training
alone. The accuracy each reached after the same number of epochs stands beside its time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.bare import BareStep
from benchmarks.contest import Contest, Terms, hold
from benchmarks.options import Common, common_of, parser_of, report_of, workshop
from benchmarks.ours import PETBENCH, Rounds
from benchmarks.peers.fastai_side import Fastai, fastai_python
from benchmarks.peers.loop_side import LoopSide
from benchmarks.report import Report, Row, Table
from benchmarks.turns import Epoch, Side, Spread, ratios

PEERS = ("plain", "plain-amp", "timm", "fastai")
# The network and size whose ratios are rows of docs/performance.md, and their (must, aim).
GOAL = ("resnet18", 224)
GOALS = {"plain loop, fp32": (2.8, 3.3), Fastai.name: (3.5, 4.0)}
HEADER = [
    "side",
    "training, images/s",
    "validation, images/s",
    "epoch, s",
    "epoch: side / petbench",
    "training: side / petbench",
    "accuracy after the last epoch",
]


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "resnet50", "efficientnet_lite0"])
    parser.add_argument("--sides", nargs="+", type=int, default=[224, 128])
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--images", type=int, default=128, help="training images an epoch")
    parser.add_argument("--validation", type=int, default=74, help="validation images")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3, help="that count; one more comes first to warm up")
    parser.add_argument("--goal-rounds", type=int, default=5, help="of ResNet-18 at 224 px, which has goals")
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("full_epoch")
    for backbone in options.backbones:
        for side in options.sides:
            terms = Terms(backbone, side, options.images, options.validation, options.batch_size)
            rounds = options.goal_rounds if (backbone, side) == GOAL else options.rounds
            measure(terms, common, options.peers, rounds, report)
    report.finish(common.out)


def measure(terms: Terms, common: Common, peers: Sequence[str], rounds: int, report: Report) -> None:
    """One network at one size: a table, and rows where the issue has goals."""
    with workshop() as folder:
        contest = hold(terms, common, folder)
        with _sides(contest, peers, folder, report) as sides:
            epochs = Rounds(rounds).take(contest, sides)
    report.notes.append(contest.about)
    table = Table(f"Full fine-tune epoch, {terms.label}", HEADER)
    report.tables.append(table)
    ours = epochs[PETBENCH]
    for name, theirs in epochs.items():
        table.rows.append(_cells(name, theirs, ours))
        if name in GOALS and (terms.backbone, terms.side) == GOAL:
            must, aim = GOALS[name]
            whole = ratios(_seconds(theirs), _seconds(ours))
            alone = ratios(_training(theirs), _training(ours))
            detail = f"seconds of epochs with validation; training alone {alone.text()}"
            measure = f"full fine-tune epoch, {terms.label}: {name} / petbench"
            report.rows.append(Row(measure, whole, must, aim, "higher", detail))


@contextmanager
def _sides(contest: Contest, peers: Sequence[str], folder: Path, report: Report) -> Iterator[list[Side]]:
    loops = [LoopSide(kind, contest.start, folder) for kind in peers if kind != "fastai"]
    fastai = _fastai(contest, folder, report) if "fastai" in peers else None
    try:
        yield [BareStep(contest), *loops, *([fastai] if fastai else [])]
    finally:
        for loop in loops:
            loop.close()
        if fastai is not None:
            fastai.close()


def _fastai(contest: Contest, folder: Path, report: Report) -> Fastai | None:
    python = fastai_python()
    if python is None:
        report.not_measured.append(f"{contest.terms.label} against fastai: it cannot be installed here")
        return None
    terms = contest.terms
    side = Fastai(
        python, contest.tree.root, contest.fresh(), terms.side, terms.batch_size, contest.device, folder
    )
    report.machine.versions.update(fastai=f"{side.versions['fastai']} (torch {side.versions['torch']})")
    return side


def _cells(name: str, theirs: Sequence[Epoch], ours: Sequence[Epoch]) -> list[str]:
    validates = theirs[0].validation.images > 0
    accuracy = theirs[-1].accuracy
    return [
        name,
        Spread.of(epoch.training.rate for epoch in theirs).text(1),
        Spread.of(epoch.validation.rate for epoch in theirs).text(0) if validates else "–",
        Spread.of(_seconds(theirs)).text(1) if validates else "–",
        ratios(_seconds(theirs), _seconds(ours)).text() if validates else "–",
        ratios(_training(theirs), _training(ours)).text(),
        "–" if math.isnan(accuracy) else f"{100 * accuracy:.1f} %",
    ]


def _seconds(epochs: Sequence[Epoch]) -> list[float]:
    return [epoch.seconds for epoch in epochs]


def _training(epochs: Sequence[Epoch]) -> list[float]:
    return [epoch.training.seconds for epoch in epochs]


if __name__ == "__main__":
    main()
