"""How much a run changed its mind about an image: teacher against student, and over its rounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import read_ledger
from workbench.runs.opinions import Opinions
from workbench.runs.predictions import Predictions, load_predictions
from workbench.runs.sources import IssueSource, RoundSource, Source, SplitSource


def with_changes(run: RunDirectory, opinions: Opinions, source: Source) -> Opinions:
    """The same opinions with `disagreement`, and in rounds `flips`, where the run has the files to tell them.

    Raises:
        UserError: one of those files is damaged.
    """
    apart = disagreements(run, source)
    flips = flip_counts(run) if isinstance(source, RoundSource) else {}
    rows = [replace(row, disagreement=apart.get(row.id), flips=flips.get(row.id)) for row in opinions.rows]
    return Opinions(tuple(rows), opinions.classes)


def disagreements(run: RunDirectory, source: Source) -> dict[str, float]:
    """Image id -> total variation distance, ½ Σ |p − q| in 0 … 1, between two models' probabilities.

    Of a split the teacher's and the final model's. Of a round its own and the last round's, whose teacher is
    the student of all rounds before; of the last round its own and the first's. Empty where one is missing,
    and of labelled images.

    Raises:
        UserError: one of the two files is damaged.
    """
    pair: tuple[str, str]
    if isinstance(source, IssueSource):
        return {}
    if isinstance(source, SplitSource):
        pair = (source.split, f"teacher-{source.split}")
    else:
        rounds = [number for number, _ in run.ledgers()]
        if len(rounds) < 2:
            return {}
        other = rounds[0] if source.round == rounds[-1] else rounds[-1]
        pair = (f"unlabelled-{source.round:02d}", f"unlabelled-{other:02d}")
    try:
        first, second = (load_predictions(run.predictions(name)) for name in pair)
    except FileNotFoundError:
        return {}
    return _distances(first, second)


def flip_counts(run: RunDirectory) -> dict[str, int]:
    """Image id -> how often its pseudo-label changed from one round to the next, over all rounds so far.

    Raises:
        UserError: a ledger is damaged.
    """
    counts: Counter[str] = Counter()
    for _, path in run.ledgers():
        counts.update({row.id: int(row.flipped) for row in read_ledger(path)})
    return dict(counts)


def _distances(first: Predictions, second: Predictions) -> dict[str, float]:
    """Total variation distances of the images that both have."""
    if first.probabilities.shape[1] != second.probabilities.shape[1]:
        return {}
    place = {id_: index for index, id_ in enumerate(second.ids)}
    shared = [(index, place[id_]) for index, id_ in enumerate(first.ids) if id_ in place]
    if not shared:
        return {}
    here, there = np.array(shared).T  # (K,) int64 each
    apart = np.abs(first.probabilities[here] - second.probabilities[there]).sum(axis=1) / 2
    return {first.ids[index]: float(value) for index, value in zip(here.tolist(), apart, strict=True)}
