"""What freezing early layers saves: a step of `layer4` and head against a step of all layers, ResNet-18.

    python -m benchmarks.late_layers [--side 224] [--rounds 7]

Steps on one resident batch, in turns; and whole training epochs with data path, which hold the same ratio
down by what does not change.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.contest import Terms, hold
from benchmarks.options import common_of, parser_of, report_of, workshop
from benchmarks.report import Row, Table
from benchmarks.stages import ResidentStep, StageSide, network_of
from benchmarks.turns import Epoch, Spread, ratios, rounds_of
from workbench.recipe import Finetune
from workbench.recipe.plan import Stage

MUST, AIM = 2.0, 2.2
ALL, LATE = "all layers", "layer4 + head"
STEPS = 3


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--images", type=int, default=128, help="of the whole epochs")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("late_layers")
    terms = Terms("resnet18", options.side, options.images, options.batch_size, options.batch_size)
    with workshop() as folder:
        contest = hold(terms, common, folder)
        changes = {ALL: every_layer, LATE: late_layers}
        steps = rounds_of([ResidentStep(n, contest, c, STEPS) for n, c in changes.items()], options.rounds)
        whole = rounds_of(
            [StageSide(n, contest, network_of(contest), c) for n, c in changes.items()],
            max(1, options.rounds // 2),
        )
    of_steps, of_epochs = _gain(steps), _gain(whole)
    how = f"seconds of steps on a resident batch of {terms.batch_size}, {contest.precision.training}, frozen "
    how += f"groups' batch norm frozen too; of whole training epochs {of_epochs.text()}"
    report.rows.append(Row(f"`layer4 + head` step, {terms.label}", of_steps, MUST, AIM, "higher", how))
    table = Table("Images a second", ["what learns", "steps on a resident batch", "training epoch"])
    for name in changes:
        cells = [Spread.of(e.training.rate for e in found[name]).text(1) for found in (steps, whole)]
        table.rows.append([name, *cells])
    report.tables.append(table)
    report.notes.append(contest.about)
    report.finish(common.out)


def every_layer(stage: Stage) -> Stage:
    """As it is."""
    return stage


def late_layers(stage: Stage) -> Stage:
    """Backward stops below `layer4`."""
    return replace(stage, finetune=Finetune(layers=("layer4", "head"), batch_norm="tuned"))


def _gain(found: dict[str, list[Epoch]]) -> Spread:
    return ratios(
        [1 / epoch.training.rate for epoch in found[ALL]], [1 / epoch.training.rate for epoch in found[LATE]]
    )


if __name__ == "__main__":
    main()
