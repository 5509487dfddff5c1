"""The labelled images of a run as out-of-fold models see them: given and suggested label of each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from workbench.runs.issue_file import OUT_OF_FOLD, IssueSearch, read_search
from workbench.runs.label_issues import LabelIssues, find_label_issues
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinion, Opinions
from workbench.runs.predictions import Predictions, load_predictions
from workbench.runs.results import read_results
from workbench.support.clean import clean
from workbench.support.errors import UserError


def issue_opinions(run: RunDirectory) -> Opinions:
    """An opinion on every labelled image: `true` is the label it was given, `said` what it seems to be.

    Raises:
        UserError: nobody has looked for label issues yet, or the files are damaged.
    """
    predictions, issues, search = judged(run)
    classes = read_results(run.results).classes
    twins = _twins(search)
    probabilities = predictions.probabilities
    said = np.where(issues.is_issue, issues.suggested, probabilities.argmax(axis=1))
    ordered = np.sort(probabilities, axis=1)[:, ::-1]
    best_two = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    rows = [
        Opinion(
            id=name,
            said=classes[said[i]],
            second=classes[best_two[i, 0] if best_two[i, 0] != said[i] else best_two[i, 1]],
            confidence=float(probabilities[i, said[i]]),
            margin=float(ordered[i, 0] - ordered[i, 1]),
            entropy=float(entropy[i]),
            true=classes[predictions.labels[i]],
            self_confidence=float(issues.self_confidence[i]),
            label_margin=float(issues.margin[i]),
            issue=bool(issues.is_issue[i]),
            twin=twins.get(name),
        )
        for i, name in enumerate(predictions.ids)
    ]
    return Opinions(tuple(rows), classes)


def judged(run: RunDirectory) -> tuple[Predictions, LabelIssues, IssueSearch]:
    """The out-of-fold predictions, the verdict on their labels, and how they were made.

    Raises:
        UserError: nobody has looked for label issues yet, or the files are damaged.
    """
    path = run.predictions(OUT_OF_FOLD)
    try:
        predictions, search = load_predictions(path), read_search(run)
    except FileNotFoundError:
        raise UserError(
            "nobody has looked for label issues of this run yet",
            where=clean(run.id),
            hint=f"petbench label-issues {run.handle} does",
        ) from None
    labels, width = predictions.labels, predictions.probabilities.shape[1]
    classes = len(read_results(run.results).classes)
    if width != classes or width < 2 or (len(labels) and not 0 <= labels.min() <= labels.max() < width):
        raise UserError("damaged predictions: they do not fit the run's classes", where=clean(path))
    return predictions, find_label_issues(predictions.probabilities, labels), search


def _twins(search: IssueSearch) -> Mapping[str, str]:
    """Image id -> the image most like it, of those with a near-duplicate."""
    found: dict[str, str] = {}
    for pair in search.duplicates:
        found.setdefault(pair.id, pair.other)
        if pair.other_part == "labelled":
            found.setdefault(pair.other, pair.id)
    return found
