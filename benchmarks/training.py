"""What the data path and the loop cost beside the bare model step, and what cached features save.

    python -m benchmarks.training [--data-dir DIR] [--device cpu] [--images 512]

Prints, for ResNet-18 and EfficientNet-Lite0 at 224 px, images/s of a real training epoch (`StageRun`: store,
crops, flips, loop, records) over images/s of the same step on one batch that stays in memory; then seconds of
a head-only epoch through the frozen trunk over seconds of the same epoch on its cached features. All in turns
in one process, so that a busy machine slows both sides.
"""

from __future__ import annotations

import argparse
import dataclasses
import resource
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.loader import Batch, Samples
from workbench.recipe import Augmentation, Finetune, Recipe
from workbench.runs.events import EpochDone, Event, Silent
from workbench.support.paths import data_home
from workbench.support.units import human_bytes
from workbench.train.interrupt import StopRequest
from workbench.train.loop import StageRun, Surroundings
from workbench.train.network import Network
from workbench.train.precision import Precision, choose_precision
from workbench.train.setup import Places, Setup, find_device, prepare
from workbench.train.stage import PLAIN_VIEWS, Stage, plan
from workbench.train.state import RunState

REPEATS = 3
BARE_STEPS = 4


class TrainSpeed(Silent):
    """Keeps what epochs said of their training part."""

    def __init__(self) -> None:
        self.images_per_second: list[float] = []
        self.seconds: list[float] = []

    def event(self, event: Event) -> None:
        """Note a training epoch."""
        if isinstance(event, EpochDone) and event.split == "train":
            self.images_per_second.append(event.images_per_second)
            self.seconds.append(event.seconds)


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory() as cache:
        places = Places(
            data_home(options.data_dir), options.cache or Path(cache), find_device(options.device)
        )
        for backbone in options.backbones:
            _print_throughput(_setup(_recipe(backbone, options.batch_size), places), options.images)
        _print_cached(_setup(_recipe("efficientnet_lite0", options.batch_size), places))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path, help="holds oxford-iiit-pet/; else $PETBENCH_DATA")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--images", type=int, default=512, help="training images an epoch of the throughput part"
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "efficientnet_lite0"])
    parser.add_argument("--cache", type=Path, help="keep the decoded store here; else a temporary directory")
    return parser.parse_args()


def _recipe(backbone: str, batch_size: int) -> Recipe:
    return Recipe.model_validate(
        {
            "name": f"benchmark {backbone}",
            "model": {"backbone": backbone, "weights": "none"},
            "finetune": {"layers": "all", "batch_norm": "all"},
            "optimizer": {"name": "adamw", "learning_rate": 1e-4},
            "training": {"epochs": 1, "batch_size": batch_size},
        }
    )


def _setup(recipe: Recipe, places: Places) -> Setup:
    return prepare(recipe, places, Silent())


def _print_throughput(setup: Setup, images: int) -> None:
    precision = choose_precision("auto", setup.classifier, 224, setup.device, trains_on_images=True)
    network = Network(setup, precision, Silent())
    stage = plan(setup.recipe)[0]
    positions = setup.split.labelled[:images]
    few = dataclasses.replace(setup.split, validation=setup.split.validation[:8])
    network.setup = dataclasses.replace(setup, split=few)
    rates: list[float] = []
    bare: list[float] = []
    for _ in range(REPEATS):
        speed = TrainSpeed()
        run = _stage_run(stage, network, positions, speed)
        run.run()
        rates += speed.images_per_second
        bare.append(_bare_rate(run))
    ratio = statistics.median(rate / alone for rate, alone in zip(rates, bare, strict=True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{setup.recipe.model.backbone} 224 px, batch {setup.recipe.training.batch_size}, "
        f"{precision.training}: "
        f"petbench {statistics.median(rates):.1f} images/s, "
        f"bare step {statistics.median(bare):.1f} images/s, ratio {ratio:.3f} "
        f"(median of {REPEATS}; all {', '.join(f'{r / b:.3f}' for r, b in zip(rates, bare, strict=True))}); "
        f"peak memory {human_bytes(peak)}, store {human_bytes(setup.store.pixels.nbytes)}"
    )


def _bare_rate(run: StageRun) -> float:
    """Images/s of the stage's own step, again and again on one batch in memory."""
    batch: Batch = next(iter(run.batches.epoch(1)))
    run.module.train()
    float(run.stepper.step(batch).loss)
    started = time.perf_counter()
    for _ in range(BARE_STEPS):
        loss = run.stepper.step(batch).loss
    float(loss)  # wait for the device
    return BARE_STEPS * len(batch.positions) / (time.perf_counter() - started)


def _print_cached(setup: Setup) -> None:
    network = Network(setup, Precision("fp32", "fp32", "benchmark"), Silent())
    head = dataclasses.replace(
        plan(setup.recipe)[0], finetune=Finetune(layers=("head",), batch_norm="frozen")
    )
    through = dataclasses.replace(head, augmentation=Augmentation(random_crop=False, flip=True))
    cached = dataclasses.replace(head, augmentation=PLAIN_VIEWS, epochs=20)
    seconds = {}
    for name, stage in (("through the trunk", through), ("on cached features", cached)):
        speed = TrainSpeed()
        _stage_run(stage, network, setup.split.labelled, speed).run()
        seconds[name] = statistics.median(speed.seconds)
    ratio = seconds["through the trunk"] / seconds["on cached features"]
    print(
        f"head-only epoch of {len(setup.split.labelled)} images: "
        + ", ".join(f"{name} {value:.3f} s" for name, value in seconds.items())
        + f", ratio {ratio:.0f}"
    )


def _stage_run(stage: Stage, network: Network, positions: NDArray[np.int64], speed: TrainSpeed) -> StageRun:
    setup = network.setup
    samples = Samples.of(positions, setup.labels[positions], len(setup.classes))
    around = Surroundings(speed, StopRequest(), heartbeat=lambda: None, save=lambda _: None)
    return StageRun(stage, network, samples, len(samples), RunState(), around, restored=None)


if __name__ == "__main__":
    main()
