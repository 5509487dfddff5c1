"""A head-only epoch on cached features against the same epoch through the frozen trunk, EfficientNet-Lite0.

    python -m benchmarks.head_epoch [--images 2944] [--rounds 2]

Both are stages of petbench on the same images. Through the trunk: views are flipped anew each epoch, so their
features cannot be kept. On cached features: plain views, features computed before the clock starts.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.contest import Terms, hold
from benchmarks.options import common_of, parser_of, report_of, workshop
from benchmarks.report import Row
from benchmarks.stages import StageSide, network_of
from benchmarks.turns import Spread, ratios, rounds_of
from workbench.recipe import Augmentation, Finetune
from workbench.recipe.plan import PLAIN_VIEWS, Stage

MUST, AIM = 1000, 4000
THROUGH, CACHED = "through the trunk", "on cached features"
CACHED_EPOCHS = 20
BACKBONE = "efficientnet_lite0"


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=2944, help="80 %% of the pets' trainval images")
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("head_epoch")
    terms = Terms(BACKBONE, options.side, options.images, 37, options.batch_size)
    with workshop() as folder:
        contest = hold(terms, common, folder)
        network = network_of(contest)
        sides = [
            StageSide(CACHED, contest, network, on_cached_features),
            StageSide(THROUGH, contest, network, through_the_trunk),
        ]
        # Only the cached side needs to warm up (its bank fills); the other's first turn is as good as any.
        sides[0].epoch()
        found = rounds_of(sides, options.rounds, warm=True)
    cached, through = found[CACHED], found[THROUGH]
    training = ratios([e.training.seconds for e in through], [e.training.seconds for e in cached])
    whole = ratios([e.seconds for e in through], [e.seconds for e in cached])
    trained = [Spread.of(epoch.training.seconds for epoch in side) for side in (through, cached)]
    how = (
        f"seconds of training on {terms.images} images: {trained[0].text(1)} over {trained[1].text(4)}, mean "
        f"of {CACHED_EPOCHS} epochs a turn; with validation of {terms.validation} images {whole.text(0)}"
    )
    measure = f"head epoch, {terms.label}: {THROUGH} / {CACHED}"
    report.rows.append(Row(measure, training, MUST, AIM, "higher", how))
    report.notes.append(contest.about)
    report.finish(common.out)


def through_the_trunk(stage: Stage) -> Stage:
    """The head alone learns, from views that differ each epoch."""
    return replace(_head_only(stage), augmentation=Augmentation(random_crop=False, flip=True))


def on_cached_features(stage: Stage) -> Stage:
    """The head alone learns, from views that stay."""
    return replace(_head_only(stage), augmentation=PLAIN_VIEWS, epochs=CACHED_EPOCHS)


def _head_only(stage: Stage) -> Stage:
    return replace(stage, finetune=Finetune(layers=("head",), batch_norm="frozen"))


if __name__ == "__main__":
    main()
