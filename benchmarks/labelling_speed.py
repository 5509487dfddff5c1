"""How long the engine of `petbench label` takes from a stroke to the next images, by images and labels.

    python -m benchmarks.labelling_speed [--images 10000] [--classes 37] [--threads 1]

Features are made up: blobs of as many directions as EfficientNet-Lite0 has. Seconds a stroke: reading the
journal, fitting the head anew from where it was, what it says of all images, and choosing the next group.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from workbench.active.grouping import Groups
from workbench.active.head import Learner, labels_of
from workbench.active.offer_queue import Queue
from workbench.labels.journal import NAME, read
from workbench.labels.protocol import Offer
from workbench.labels.strokes import Assign, make_stroke

WIDTH = 1280


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    torch.set_num_threads(options.threads)
    random = np.random.default_rng(0)
    truth = random.integers(options.classes, size=options.images)
    centres = random.standard_normal((options.classes, WIDTH)) * 0.3
    features = (centres[truth] + random.standard_normal((options.images, WIDTH))).astype(np.float32)
    paths = [f"{number:06d}.jpg" for number in range(options.images)]
    start = time.monotonic()
    groups, learner, queue = Groups(features), Learner(features), Queue(paths)
    print(f"clusters of {options.images:,} images: {time.monotonic() - start:.1f} s, once\n")
    print("| labels | journal s | refit s | reorder s | together s |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        journal = Path(scratch) / NAME
        done = 0
        for wanted in (200, 1000, 2500, 5000):
            for kind in range(options.classes):
                rows = [row for row in range(done, wanted) if truth[row] == kind]
                make_stroke(journal, Assign([paths[row] for row in rows], f"class {kind}"), "somebody")
            done = wanted
            learner.learn(labels_of(read(journal), paths))
            extra = paths[wanted : wanted + 10]
            for path, kind in zip(extra, truth[wanted:], strict=False):
                make_stroke(journal, Assign([path], f"class {kind}"), "somebody")
            times = [time.monotonic()]
            labels = labels_of(said := read(journal), paths)
            times.append(time.monotonic())
            learner.learn(labels)
            times.append(time.monotonic())
            queue.offer(Offer(1, "doubtful", most=24), said, labels, learner, groups)
            times.append(time.monotonic())
            steps = [*np.diff(times), times[-1] - times[0]]
            print(f"| {wanted + 10:,} | {' | '.join(f'{step:.2f}' for step in steps)} |", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=37)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
