"""Cost as the work grows: seconds and memory for 1k, 10k and 100k images, 37 and 1,000 classes.

    python -m benchmarks.growth [--sizes 1000x37 10000x37 10000x1000 100000x37 100000x1000] [--rounds 7]

Drawn JPEG files in class folders, ResNet-18 at 80 px from random weights. Each size has a process of its own,
which reads the folder, divides it, builds the store, does all that again as a later start would, and trains
an epoch over all labelled images; the processes take turns of 20 steps each, in the middle of their epochs.
The fall of images/s is the first size's rate over the last's of the same round.

Where a size has 100,000 images, rows tell of a later start on them, and of as many drawn ones the graph of
neighbours and Inspect (`neighbours`, `opened_rounds`).

Last comes a store larger than the memory that is allowed: the largest size again, its store's pages dropped
from the page cache and its process held under an RLIMIT_DATA below the store's size. The kernel enforces it
on private memory (anonymous and private writable maps; not on the store's read-only shared map).
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import neighbours, opened_rounds
from benchmarks.options import Common, common_of, parser_of, report_of, workshop
from benchmarks.pictures import draw_folder
from benchmarks.report import Report, Row, Table
from benchmarks.turns import Spread, Turn, ratios
from benchmarks.worker import Worker
from workbench.support.units import human_bytes

MUST, AIM = 1.05, 1.0
MANY, START_MUST, START_AIM = 100_000, 1.0, 0.5
SIZES = ("1000x37", "10000x37", "10000x1000", "100000x37", "100000x1000")
DRAWN = (96, 72)  # pixels: small, so that 100,000 of them fit any disk and are quickly decoded
SIDE, BATCH, STEPS = 80, 32, 20
# Below the store of 100,000 images (2.3 GiB at 80 px), above what torch and ResNet-18 need for themselves.
LIMIT_SHARE = 0.9
HEADER = [
    "images",
    "classes",
    "read folder, s",
    "later start, s",
    "split, s",
    "build store, s",
    "store",
    "private memory at its most",
    "peak RSS, store's pages included",
    "images/s",
]


@dataclass(slots=True)
class Size:
    """One size under way."""

    images: int
    classes: int
    worker: Worker
    opened: dict[str, Any]
    turns: list[Turn] = field(default_factory=list)
    private: int = 0
    peak: int = 0

    def turn(self, steps: int) -> dict[str, Any]:
        """Train so many steps; returns what the worker told."""
        told = self.worker.ask("turn", steps=steps)
        self.turns.append(Turn(told["images"], told["seconds"]))
        self.private = max(self.private, told["private_bytes"])
        self.peak = max(self.peak, told["peak_bytes"])
        return told


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="IMAGESxCLASSES, smallest first")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=STEPS, help="of a turn")
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("growth")
    with workshop() as folder:
        sizes: list[Size] = []
        try:
            for text in options.sizes:
                sizes.append(begin(text, options.backbone, common, folder))
            for number in range(options.rounds + 1):
                for size in sizes:
                    size.turn(options.steps)
                    if not number:
                        size.turns.clear()  # the first only warms up
        finally:
            for size in sizes:
                size.worker.close()
        tell(report, sizes, options.backbone)
        beside_training(report, sizes)
        larger_than_memory(report, options.sizes[-1], options.backbone, common, folder, options.steps)
    report.finish(common.out)


def begin(text: str, backbone: str, common: Common, folder: Path, limit: int = 0) -> Size:
    """Draw the images if that has not been done, and have a process open them."""
    images, classes = map(int, text.split("x"))
    root = folder / text
    if not root.exists():
        print(f"growth: {images} images of {classes} classes", file=sys.stderr, flush=True)
        draw_folder(root, images, classes, DRAWN)
    worker = Worker([sys.executable, "-m", "benchmarks.growth_worker"], folder / f"{text}-{limit}.log")
    opened = worker.ask(
        "open",
        root=str(root),
        cache=str(folder / f"cache-{text}"),
        backbone=backbone,
        side=SIDE,
        batch_size=BATCH,
        device=str(common.device),
        limit_bytes=limit,
    )
    return Size(images, classes, worker, opened, private=opened["private_bytes"], peak=opened["peak_bytes"])


def tell(report: Report, sizes: list[Size], backbone: str) -> None:
    """The row and the table."""
    table = Table(f"Growth: {backbone}, {SIDE} px, batch {BATCH}", HEADER)
    for size in sizes:
        told = size.opened
        table.rows.append(
            [
                f"{size.images:,}",
                f"{size.classes:,}",
                f"{told['read']:.2f}",
                f"{told['again']:.2f}",
                f"{told['split']:.3f}",
                f"{told['store']:.1f}",
                human_bytes(told["store_bytes"]),
                human_bytes(size.private),
                human_bytes(size.peak),
                Spread.of(turn.rate for turn in size.turns).text(1),
            ]
        )
    report.tables.append(table)
    same = [size for size in sizes if size.classes == sizes[0].classes]
    first, last = same[0], same[-1]
    fall = ratios([turn.rate for turn in first.turns], [turn.rate for turn in last.turns])
    report.rows.append(
        Row(
            f"images/s of {first.images:,} over those of {last.images:,} images",
            fall,
            MUST,
            AIM,
            "lower",
            f"{first.classes} classes, turns of {first.turns[0].images} images; 1.05 is a fall of 5 %",
        )
    )


def beside_training(report: Report, sizes: list[Size]) -> None:
    """Rows of what else grows with the images, where so many were measured: start-up, the graph, Inspect."""
    many = next((size for size in sizes if size.images == MANY), None)
    if many is None:
        return
    again = Spread.of([many.opened["again"]])
    how = f"{many.classes} classes; list, contents, split, store"
    report.rows.append(
        Row(f"a later start on {MANY:,} images, seconds", again, START_MUST, START_AIM, "lower", how)
    )
    report.rows.append(neighbours.goal_row(neighbours.alone(neighbours.GOAL_SIZE)))
    report.rows.append(opened_rounds.goal_row(opened_rounds.measured(opened_rounds.GOAL_SIZE)))


def larger_than_memory(
    report: Report, text: str, backbone: str, common: Common, folder: Path, steps: int
) -> None:
    """Train from a store that is not allowed to lie in private memory, and whose pages are not cached."""
    for path in (folder / f"cache-{text}").rglob("pixels.npy"):
        drop_from_page_cache(path)
        store_bytes = path.stat().st_size
    limit = int(LIMIT_SHARE * store_bytes)
    try:
        size = begin(text, backbone, common, folder, limit)
    except RuntimeError as error:
        report.not_measured.append(
            f"a store larger than memory: {human_bytes(store_bytes)} of pixels is too little to hold torch "
            f"below it ({str(error).splitlines()[-1]})"
        )
        return
    try:
        before = size.opened["disk_bytes"]
        told = size.turn(steps)
        size.turns.clear()
        told = size.turn(steps)
    finally:
        size.worker.close()
    read = human_bytes(told["disk_bytes"] - before)
    report.notes.append(
        f"A store larger than memory: RLIMIT_DATA {human_bytes(limit)}, store {human_bytes(store_bytes)}, "
        f"its pages dropped from the page cache first. Training went on at {size.turns[-1].rate:.1f} "
        f"images/s with {human_bytes(size.private)} private, having read {read} from the disk."
    )


def drop_from_page_cache(path: Path) -> None:
    """So that the next reader reads the disk; nothing may have the file mapped."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
