"""What a run's model said of each image, put together from predictions, ledgers and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import LedgerColumns, read_ledger_columns
from workbench.runs.opinion_columns import ClassNames, OpinionColumns, OpinionRows
from workbench.runs.predictions import SavedPredictions, open_predictions
from workbench.runs.results import read_results
from workbench.runs.status import status_of
from workbench.support.clean import clean
from workbench.support.digests import is_listed
from workbench.support.errors import UserError

SplitName = Literal["val", "test"]


@dataclass(frozen=True, slots=True)
class Likely:
    """A class and how probable the model found it."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Choices:
    """Looks up what a model found probable for an image, in the run's file."""

    predictions: SavedPredictions
    names: Mapping[int, str | None]
    """Class index -> name; in an unfinished run some are not known."""

    def top(self, image: str, count: int = 5) -> tuple[Likely, ...]:
        """The most probable classes, highest first; empty for an image that is not there, or not any more."""
        place = self.predictions.ids.place(image)
        row = None if place is None else self.predictions.row(place)  # (C,) float32
        if row is None:
            return ()
        best = np.argsort(-row, kind="stable")[:count].tolist()
        return tuple(Likely(self.names.get(index) or f"class {index}", float(row[index])) for index in best)


@dataclass(frozen=True, slots=True)
class Opinions:
    """The opinions of one model on one set of images, in the order of the set."""

    rows: OpinionRows
    classes: tuple[str, ...]
    """Every class there is, or in a round of an unfinished run every class that occurs."""
    rule: str = ""
    """By which given labels were judged; empty where they were not."""
    choices: Choices | None = field(default=None, compare=False)
    """All that was found probable; None where the predictions are gone, or of other images."""


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
        predictions = open_predictions(path)
    except FileNotFoundError:
        raise UserError(
            f"the run has no predictions named {name}", where=clean(run.id), allowed=_what_there_is(run)
        ) from None
    classes = read_results(run.results).classes
    if predictions.width != len(classes):
        raise UserError(
            f"damaged predictions: {predictions.width} probabilities an image for {len(classes)} classes",
            where=clean(path),
        )
    choices = Choices(predictions, dict(enumerate(classes)))
    return Opinions(OpinionRows(_said(predictions, classes)), classes, choices=choices)


def round_opinions(run: RunDirectory, number: int) -> Opinions:
    """What the teacher of a round said of the unlabelled pool, and what was believed of it.

    Raises:
        UserError: the run has no such round (lists those it has), or its files are damaged.
    """
    try:
        ledger = read_ledger_columns(run.ledger(number))
    except FileNotFoundError:
        raise UserError(
            f"no round {number}: {_rounds(run)}", where=clean(run.id), allowed=_what_there_is(run)
        ) from None
    names, columns = ClassNames(ledger.names), ledger.columns
    choices = _round_choices(run, number, ledger)
    if choices is None:
        second = np.full(len(ledger.ids), -1, dtype=np.int32)
    else:
        second = _second_choices(choices, names, columns["pseudo_label"])
    opinions = OpinionColumns(
        ids=ledger.ids,
        names=names.names,
        said=columns["pseudo_label"],
        second=second,
        confidence=columns["confidence"],
        margin=columns["margin"],
        entropy=columns["entropy"],
        true=columns["true_label"],
        selected=columns["selected"].astype(np.int8),
        flipped=columns["flipped"].astype(np.int8),
    )
    if run.results.exists():
        classes = read_results(run.results).classes
    else:
        occurring = np.union1d(opinions.said, opinions.true[opinions.true >= 0])
        classes = tuple(sorted(opinions.names[place] for place in occurring.tolist()))
    return Opinions(OpinionRows(opinions), classes, choices=choices)


def _said(predictions: SavedPredictions, classes: Sequence[str]) -> OpinionColumns:
    names, count = ClassNames(), len(predictions.ids)
    places = names.of(classes)
    best = np.empty((count, 2), dtype=np.int32)
    top, entropy = np.empty((count, 2), dtype=np.float32), np.empty(count, dtype=np.float32)
    for rows, probabilities in predictions.blocks():
        best[rows] = order = _best_two(probabilities)
        top[rows] = np.take_along_axis(probabilities, order, axis=1)
        entropy[rows] = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    labels = predictions.labels
    return OpinionColumns(
        ids=predictions.ids,
        names=names.names,
        said=places[best[:, 0]],
        second=places[best[:, 1]],
        confidence=top[:, 0].astype(np.float64),
        margin=(top[:, 0] - top[:, 1]).astype(np.float64),
        entropy=entropy.astype(np.float64),
        true=np.where(labels >= 0, places[labels], -1),
    )


def _round_choices(run: RunDirectory, number: int, ledger: LedgerColumns) -> Choices | None:
    """The predictions behind a ledger; None where there are none, or of other images.

    Raises:
        UserError: the round's predictions are damaged, or were written and are gone.
    """
    path = run.predictions(f"unlabelled-{number:02d}")
    try:
        predictions = open_predictions(path)
    except FileNotFoundError:
        if is_listed(path, run.path):
            raise UserError(
                "the round's predictions are gone",
                where=clean(path),
                hint="copy the file back, or launch the recipe as a new run",
            ) from None
        return None
    if predictions.ids != ledger.ids:
        return None
    return Choices(predictions, _class_names(run, predictions, ledger))


def _second_choices(choices: Choices, names: ClassNames, said: NDArray[np.int32]) -> NDArray[np.int32]:
    """(N,) the most probable class of each image besides its pseudo-label; -1 where it has no name."""
    places = names.of(choices.names.get(index) for index in range(choices.predictions.width))
    second = np.empty(len(said), dtype=np.int32)
    for rows, probabilities in choices.predictions.blocks():
        best = places[_best_two(probabilities)]  # (B, 2)
        second[rows] = np.where(best[:, 0] == said[rows], best[:, 1], best[:, 0])
    return second


def _best_two(probabilities: NDArray[np.float32]) -> NDArray[np.int64]:
    """(N, 2) classes of the two highest probabilities of each row, highest first; of equal ones the lower."""
    first = probabilities.argmax(axis=1)
    others = probabilities.copy()
    others[np.arange(len(others)), first] = -1.0
    return np.column_stack([first, others.argmax(axis=1)])


def _class_names(
    run: RunDirectory, predictions: SavedPredictions, ledger: LedgerColumns
) -> dict[int, str | None]:
    """What the columns of a round's predictions are called.

    Class index -> name; in an unfinished run of the classes that the pool's true labels tell.
    """
    if run.results.exists():
        return dict(enumerate(read_results(run.results).classes))
    names, true = (*ledger.names, None), ledger.columns["true_label"]  # None at -1
    labels, last = np.unique(predictions.labels[::-1], return_index=True)
    rows = (len(true) - 1 - last).tolist()
    return {
        label: names[int(true[row])] for label, row in zip(labels.tolist(), rows, strict=True) if label >= 0
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
