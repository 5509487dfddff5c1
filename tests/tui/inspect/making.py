"""A small run to inspect: three classes of coloured pictures, two rounds of a pool, test images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.runs.making import CLASSES, finish, make_results, make_run
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, write_ledger
from workbench.runs.predictions import save_predictions
from workbench.tui.helper import HelperResult
from workbench.tui.places import InspectPlace

POOL = tuple(f"{name}/{name}_{number:02d}.png" for number in range(8) for name in CLASSES)
"""24 ids, as a folder data set has them."""
TEST = tuple(f"{name}/test_{name}_{number}.png" for number in range(2) for name in CLASSES)
HUES = ((200, 60, 40), (40, 160, 60), (60, 80, 200))
"""The colour of each class's pictures."""


def make_data(folder: Path) -> Path:
    """Class folders of small pictures: a dark half, and a half in the class's colour."""
    for id_ in (*POOL, *TEST):
        path = folder / id_
        path.parent.mkdir(parents=True, exist_ok=True)
        image = Image.new("RGB", (48, 36), (20, 20, 20))
        image.paste(HUES[CLASSES.index(path.parent.name)], (0, 0, 24, 36))
        image.save(path)
    return folder


def make_inspectable(home: Path, data: Path, *, finished: bool = True, rounds: int = 2) -> RunDirectory:
    """A run on `data`. The least sure image of the last round is the first of the pool, then in its order.

    In round 2 every fourth image is wrong, the even ones are selected, the first six flipped.
    """
    run = make_run(
        home,
        data={"dataset": "folder", "root": str(data)},
        pseudo_label={"strategy": "iterative", "labelled_fraction": 0.1},
    )
    for number in range(1, rounds + 1):
        add_round(run, number)
    if not finished:
        return run
    for name in ("test", "teacher-test", "val"):
        probabilities, labels = _told(TEST, wrong_every=3, shift=0.1 if name == "teacher-test" else 0.0)
        save_predictions(run.predictions(name), TEST, probabilities, labels)
    results = replace(make_results(teacher_accuracy=0.7), classes=CLASSES)
    return finish(run, results)


def add_round(run: RunDirectory, number: int) -> None:
    """The ledger and the predictions of a round; round 1 is right everywhere."""
    probabilities, labels = _told(POOL, wrong_every=4 if number > 1 else 0, shift=0.02 * number)
    rows = []
    for index, (id_, row, label) in enumerate(zip(POOL, probabilities, labels.tolist(), strict=True)):
        ordered = np.sort(row)[::-1]
        rows.append(
            PseudoLabel(
                id=id_,
                pseudo_label=CLASSES[int(row.argmax())],
                confidence=float(ordered[0]),
                margin=float(ordered[0] - ordered[1]),
                entropy=float(-(row * np.log(row)).sum()),
                selected=index % 2 == 0,
                weight=1.0,
                flipped=number > 1 and index < 6,
                true_label=CLASSES[label],
            )
        )
    write_ledger(run.ledger(number), rows)
    save_predictions(run.predictions(f"unlabelled-{number:02d}"), POOL, probabilities, labels)


def place_of(run: RunDirectory, source: str = "") -> InspectPlace:
    """Where the run is inspected."""
    return InspectPlace(run=run.id, source=source)


class FakeHelper:
    """Stands for the helper processes, which need torch: answers at once, and keeps what it was asked."""

    def __init__(self, *, problem: str = "") -> None:
        self.asked: list[tuple[str, ...]] = []
        self.problem = problem
        self.method = "grad-cam"

    async def __call__(self, *arguments: str) -> HelperResult:
        """What the two commands print."""
        import json

        self.asked.append(arguments)
        if self.problem:
            return HelperResult(1, "", self.problem)
        images = arguments[arguments.index("--") + 2 :]
        if arguments[0] == "neighbours":
            near = [{"id": POOL[1], "label": "Bengal", "similarity": 0.875}]
            answer = [{"id": image, "neighbours": near} for image in images]
            return HelperResult(0, json.dumps({"images": answer}), "")
        out = Path(arguments[arguments.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 30), (250, 0, 250)).save(out / "overlay-00.png")
        overlay = str(out / "overlay-00.png")
        answer = [{"id": images[0], "said": "Bengal", "method": self.method, "overlay": overlay}]
        return HelperResult(0, json.dumps({"images": answer}), "")


def _told(
    ids: Sequence[str], *, wrong_every: int, shift: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, 3) float32 probabilities, surer from image to image, and (N,) int64 true labels."""
    rows, labels = [], []
    for index, id_ in enumerate(ids):
        label = CLASSES.index(id_.partition("/")[0])
        said = (label + 1) % 3 if wrong_every and index % wrong_every == 0 else label
        sure = 0.40 + 0.5 * index / len(ids) + shift
        row = np.full(3, (1 - sure) * 0.4)
        row[said] = sure
        row[(said + 2) % 3] = (1 - sure) * 0.6
        rows.append(row)
        labels.append(label)
    return np.array(rows, dtype=np.float32), np.array(labels, dtype=np.int64)
