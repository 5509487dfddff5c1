"""What a run's model said of each image, put together from predictions, ledgers and results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, read_ledger
from workbench.runs.predictions import Predictions, load_predictions
from workbench.runs.results import read_results
from workbench.runs.status import status_of
from workbench.support.clean import clean
from workbench.support.digests import is_listed
from workbench.support.errors import UserError

SplitName = Literal["val", "test"]


@dataclass(frozen=True, slots=True)
class Opinion:
    """A model's word on one image."""

    id: str
    said: str
    """Class name of its first choice; in a round the pseudo-label, which may be an earlier one kept."""
    second: str | None
    """The most probable class besides `said`; None where the round's predictions are gone."""
    confidence: float
    """The highest probability."""
    margin: float
    """The highest probability less the second highest."""
    entropy: float
    """Of all class probabilities, in nats."""
    true: str | None
    """None where unknown."""
    selected: bool | None = None
    """Whether the student trained on it; None outside rounds."""
    flipped: bool | None = None
    """Whether the pseudo-label differs from the round before; None outside rounds."""
    disagreement: float | None = None
    """How far teacher and student are apart, 0 … 1; None until `changes.with_changes` tells it."""
    flips: int | None = None
    """How often the pseudo-label changed over all rounds; None until `changes.with_changes` tells it."""
    self_confidence: float | None = None
    """Probability of the given label by models that never saw it; None where labels are not judged."""
    label_margin: float | None = None
    """That probability less the best other class's; None likewise."""
    issue: bool | None = None
    """Whether the given label is likely wrong, by the rule of the search; None likewise."""
    too_few: int | None = None
    """Of an image that would be an issue if more labels told of it: how many its given class has, or the one
    that it seems to be; None of all others."""
    twin: str | None = None
    """Id of an image that looks nearly the same; None where there is none, or labels are not judged."""

    @property
    def wrong(self) -> bool | None:
        """Whether it said another class than the true one; None where that is unknown."""
        return None if self.true is None else self.said != self.true


@dataclass(frozen=True, slots=True)
class Opinions:
    """The opinions of one model on one set of images, in the order of the set."""

    rows: tuple[Opinion, ...]
    classes: tuple[str, ...]
    """Every class there is, or in a round of an unfinished run every class that occurs."""
    rule: str = ""
    """By which given labels were judged; empty where they were not."""


def split_opinions(run: RunDirectory, split: SplitName, *, teacher: bool = False) -> Opinions:
    """What the final model, or the teacher, said of the validation or test images.

    Raises:
        UserError: the run has not reached its results, has no such predictions (lists those it has), or they
            are damaged.
    """
    if not run.results.exists():
        raise _unfinished(run)
    name = f"teacher-{split}" if teacher else split
    path = run.predictions(name)
    try:
        predictions = load_predictions(path)
    except FileNotFoundError:
        raise UserError(
            f"the run has no predictions named {name}", where=clean(run.id), allowed=_what_there_is(run)
        ) from None
    classes = read_results(run.results).classes
    width = predictions.probabilities.shape[1]
    if width != len(classes) or (len(predictions.labels) and int(predictions.labels.max()) >= width):
        raise UserError(
            f"damaged predictions: {width} probabilities an image for {len(classes)} classes",
            where=clean(path),
        )
    return Opinions(tuple(_opinions(predictions, classes)), classes)


def round_opinions(run: RunDirectory, number: int) -> Opinions:
    """What the teacher of a round said of the unlabelled pool, and what was believed of it.

    Raises:
        UserError: the run has no such round (lists those it has), or its files are damaged.
    """
    try:
        ledger = read_ledger(run.ledger(number))
    except FileNotFoundError:
        raise UserError(
            f"no round {number}: {_rounds(run)}", where=clean(run.id), allowed=_what_there_is(run)
        ) from None
    seconds = _second_choices(run, number, ledger)
    rows = [
        Opinion(
            id=row.id,
            said=row.pseudo_label,
            second=second,
            confidence=row.confidence,
            margin=row.margin,
            entropy=row.entropy,
            true=row.true_label,
            selected=row.selected,
            flipped=row.flipped,
        )
        for row, second in zip(ledger, seconds, strict=True)
    ]
    if run.results.exists():
        return Opinions(tuple(rows), read_results(run.results).classes)
    names = {name for row in rows for name in (row.said, row.true) if name is not None}
    return Opinions(tuple(rows), tuple(sorted(names)))


def _opinions(predictions: Predictions, classes: Sequence[str]) -> list[Opinion]:
    probabilities = predictions.probabilities  # (N, C) float32
    if not len(probabilities):
        return []
    order = _best_two(probabilities)
    top = np.take_along_axis(probabilities, order, axis=1)
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    return [
        Opinion(
            id=predictions.ids[i],
            said=classes[order[i, 0]],
            second=classes[order[i, 1]],
            confidence=float(top[i, 0]),
            margin=float(top[i, 0] - top[i, 1]),
            entropy=float(entropy[i]),
            true=classes[label] if label >= 0 else None,
        )
        for i, label in enumerate(predictions.labels.tolist())
    ]


def _second_choices(run: RunDirectory, number: int, ledger: Sequence[PseudoLabel]) -> list[str | None]:
    """For each row of a ledger the most probable class besides its pseudo-label, where it can be told.

    Raises:
        UserError: the round's predictions are damaged, or were written and are gone.
    """
    unknown: list[str | None] = [None] * len(ledger)
    path = run.predictions(f"unlabelled-{number:02d}")
    try:
        predictions = load_predictions(path)
    except FileNotFoundError:
        if is_listed(path, run.path):
            raise UserError(
                "the round's predictions are gone",
                where=clean(path),
                hint="copy the file back, or launch the recipe as a new run",
            ) from None
        return unknown
    if predictions.ids != tuple(row.id for row in ledger):
        return unknown
    names = class_names(run, predictions, ledger)
    best = ([names.get(index) for index in order] for order in _best_two(predictions.probabilities).tolist())
    return [
        second if first == row.pseudo_label else first
        for (first, second), row in zip(best, ledger, strict=True)
    ]


def _best_two(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 2) classes of the two highest probabilities of each row, highest first; of equal ones the lower."""
    first = probabilities.argmax(axis=1)
    others = probabilities.copy()
    others[np.arange(len(others)), first] = -1.0
    return np.column_stack([first, others.argmax(axis=1)])


def class_names(
    run: RunDirectory, predictions: Predictions, ledger: Sequence[PseudoLabel]
) -> dict[int, str | None]:
    """What the columns of a round's predictions are called.

    Class index -> name; in an unfinished run of the classes that the pool's true labels tell.
    """
    if run.results.exists():
        return dict(enumerate(read_results(run.results).classes))
    return {
        label: row.true_label
        for label, row in zip(predictions.labels.tolist(), ledger, strict=True)
        if label >= 0
    }


def _unfinished(run: RunDirectory) -> UserError:
    rounds = run.ledgers()
    status = status_of(run)
    going_on = (
        f"it is {'running' if status.is_running else status.value}: "
        f"petbench runs show {run.handle} tells how far it is"
        if status.is_active
        else f"petbench resume {run.handle} goes on with it"
    )
    looking = f"petbench inspect {run.handle} --round {rounds[-1][0]} shows its pool now; " if rounds else ""
    return UserError(
        "no predictions yet: a run looks at its test and validation images once, at its end",
        where=clean(run.id),
        hint=looking + going_on,
    )


def _rounds(run: RunDirectory) -> str:
    span = _span(run)
    if not span:
        return "the run has no rounds of pseudo-labels" + ("" if run.results.exists() else " yet")
    return f"the run has round{'s' if ' ' in span else ''} {span}"


def _span(run: RunDirectory) -> str:
    """The rounds there are: "" none, "1", "1 to 5"."""
    numbers = [number for number, _ in run.ledgers()]
    if len(numbers) < 2:
        return str(numbers[0]) if numbers else ""
    return f"{numbers[0]} to {numbers[-1]}"


def _what_there_is(run: RunDirectory) -> str:
    """The options that find something in this run."""
    options = {
        "test": "--split test",
        "val": "--split val",
        "teacher-test": "--split test --teacher",
        "teacher-val": "--split val --teacher",
    }
    found = [option for name, option in options.items() if run.predictions(name).is_file()]
    if span := _span(run):
        found.append(f"--round {span}")
    return ", ".join(found) or "nothing yet"
