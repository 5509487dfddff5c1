"""The most probable classes of single images, from the predictions that a source's opinions were made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import read_ledger
from workbench.runs.opinions import class_names
from workbench.runs.predictions import Predictions, load_predictions
from workbench.runs.results import read_results
from workbench.runs.sources import RoundSource, Source


@dataclass(frozen=True, slots=True)
class Likely:
    """A class and how probable the model found it."""

    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Choices:
    """Looks up what a model found probable for an image."""

    predictions: Predictions
    names: Mapping[int, str | None]
    """Class index -> name; in an unfinished run some are not known."""
    places: Mapping[str, int]
    """Image id -> row of the predictions."""

    def top(self, image: str, count: int = 5) -> tuple[Likely, ...]:
        """The most probable classes, highest first; empty for an image that is not there."""
        place = self.places.get(image)
        if place is None:
            return ()
        row = self.predictions.probabilities[place]  # (C,) float32
        best = np.argsort(-row, kind="stable")[:count].tolist()
        return tuple(Likely(self.names.get(index) or f"class {index}", float(row[index])) for index in best)


def choices_of(run: RunDirectory, source: Source) -> Choices | None:
    """The choices behind a source's opinions; None where the predictions are gone.

    Raises:
        UserError: the predictions, the ledger or the results are damaged.
    """
    try:
        predictions = load_predictions(run.predictions(source.predictions))
        if isinstance(source, RoundSource):
            ledger = read_ledger(run.ledger(source.round))
            if predictions.ids != tuple(row.id for row in ledger):
                return None
            names = class_names(run, predictions, ledger)
        else:
            names = dict(enumerate(read_results(run.results).classes))
    except FileNotFoundError:
        return None
    return Choices(predictions, names, {id_: place for place, id_ in enumerate(predictions.ids)})
