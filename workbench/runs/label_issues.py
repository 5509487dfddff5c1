"""Confident learning: which labels are likely wrong, from what models said that never saw them.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels", JAIR 70. The
rules are those of the authors' cleanlab (2.9, `cleanlab.filter.find_label_issues`, `filter_by`), to the
image; ties go to the earlier one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray

from workbench.runs.image_ids import ImageIds
from workbench.runs.layout import RunDirectory
from workbench.runs.opinion_columns import ClassNames, OpinionColumns, OpinionRows
from workbench.runs.opinions import Choices, Opinions
from workbench.runs.predictions import Predictions, SavedPredictions, open_predictions
from workbench.runs.results import read_results
from workbench.support.clean import clean
from workbench.support.digests import require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.records import plain, validated
from workbench.support.regular_file import UnreadableFile, read_json

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_TOLERANCE = 1e-6
"""A class whose images are all alike has a mean that rounding may put above every one of them."""
_LEAST_THRESHOLD = 2 * _TOLERANCE
"""So that a class whose images nobody believes does not count every image there is."""


class IssueRule(StrEnum):
    """How labels are flagged once the confident joint is counted, by cleanlab's names."""

    CONFIDENT_LEARNING = "confident_learning"
    """Those off the diagonal of the confident joint: confidently counted as another class."""
    PRUNE_BY_CLASS = "prune_by_class"
    """Of each class as many as the joint says are wrong, the least probable ones (Method 3 of the paper)."""
    PRUNE_BY_NOISE_RATE = "prune_by_noise_rate"
    """For each pair of classes as many as the joint says, by the largest margin (Method 4)."""
    BOTH = "both"
    """Those that both ways of pruning flag (Method 5)."""
    PREDICTED_NEQ_GIVEN = "predicted_neq_given"
    """Those whose most probable class is another one (Method 1)."""
    LOW_NORMALIZED_MARGIN = "low_normalized_margin"
    """As many as confident learning flags, those furthest behind another class."""
    LOW_SELF_CONFIDENCE = "low_self_confidence"
    """As many as confident learning flags, those of the least probable labels."""


DEFAULT_RULE = IssueRule.LOW_SELF_CONFIDENCE
"""On photographs with one planted wrong label in twenty it finds most, and calls fewest right ones wrong
(docs/results.md)."""
LEAST_A_CLASS = 15
"""Measured there: from about so many labels of a class on more than half of what is flagged is wrong; of
four or five it was a fifth. A class's heads must be known to be right more often than wrong before their
word stands against a label's: at the 80 % that few labels give, Wilson's interval excludes a half from 11."""
LEAST_IN_ALL = 50
"""Cross-validated estimates of fewer images vary too much between samples to say anything of one (Braga-Neto
and Dougherty 2004, "Is cross-validation valid for small-sample microarray classification?", Bioinformatics
20; Beleites et al. 2013, "Sample size planning for classification models", asks for 75 to 100)."""


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """N given labels of C classes, judged."""

    thresholds: Floats
    """(C,) t_j: mean out-of-fold probability of class j over the images given as j; infinite for a class
    that cannot be judged."""
    suggested: Ints
    """(N,) of an issue or a suspect the class that it seems to be; else the class that the image is
    confidently counted as, -1 where no class reaches its threshold."""
    is_issue: Bools
    """(N,) likely wrong, by the rule."""
    too_few: Ints
    """(N,) of a suspect how many labels its given class has, or the one that it seems to be, whichever is
    too few to tell; 0 of an image that is none."""
    confident_joint: Ints
    """(C, C) counts: rows are given classes, columns suggested ones."""
    self_confidence: Floats
    """(N,) probability of the given class."""
    margin: Floats
    """(N,) probability of the given class less that of the best other one, -1 … 1."""
    estimated: float
    """How many labels of judged classes are wrong in all by the calibrated joint, n · Σ Q[i, j] over i ≠ j
    (Eq. 3)."""


def find_label_issues(
    probabilities: NDArray[np.float32],
    given: Ints,
    rule: IssueRule = DEFAULT_RULE,
    *,
    least_a_class: int = LEAST_A_CLASS,
    least_in_all: int = LEAST_IN_ALL,
) -> LabelIssues:
    """Judge labels by out-of-fold probabilities.

    A class of too few labels is not judged: none of them is flagged, and nothing is flagged for seeming to be
    it. What the rule would have flagged had it been judged is a suspect. A class with a single image has not
    even suspects: the model that looked at it had never seen its class.

    Args:
        probabilities: (N, C), rows sum to 1, of models that did not train on the image.
        given: (N,) the labels in 0 … C - 1.
        least_a_class: a class of fewer labels is not judged,
        least_in_all: and none where so many labels are not there.
    """
    count, classes = probabilities.shape
    values = probabilities.astype(np.float64)
    images = np.bincount(given, minlength=classes)
    judged = judged_classes(images, least_a_class, least_in_all)
    found = _flagged(values, given, rule, judged)
    wider = _flagged(values, given, rule, images >= 2)
    too_few = np.zeros(count, dtype=np.int64)
    suspects = np.flatnonzero(wider.flagged & ~found.flagged)
    few = (images > 0) & ~judged
    for suspect in suspects.tolist():
        pair = given[suspect], wider.suggested[suspect]
        too_few[suspect] = min((int(images[c]) for c in pair if few[c]), default=0)
    suggested = np.where(too_few > 0, wider.suggested, found.suggested)
    own = values[np.arange(count), given]
    return LabelIssues(
        thresholds=found.thresholds,
        suggested=suggested,
        is_issue=found.flagged,
        too_few=too_few,
        confident_joint=found.joint,
        self_confidence=own,
        margin=own - _others(values, given).max(axis=1),
        estimated=_estimated(found.joint, np.where(judged, images, 0)),
    )


def judged_classes(
    images: Ints, least_a_class: int = LEAST_A_CLASS, least_in_all: int = LEAST_IN_ALL
) -> Bools:
    """(C,) the classes that have labels enough to be judged, of (C,) counts of labels."""
    if int(images.sum()) < least_in_all:
        return np.zeros(len(images), dtype=np.bool_)
    enough: Bools = images >= max(least_a_class, 2)
    return enough


@dataclass(frozen=True, slots=True)
class _Flagged:
    """What a rule says where some classes are judged: as in `LabelIssues`."""

    flagged: Bools
    suggested: Ints
    joint: Ints
    thresholds: Floats


def _flagged(values: Floats, given: Ints, rule: IssueRule, judged: Bools) -> _Flagged:
    count, classes = values.shape
    there = np.bincount(given, minlength=classes)
    images = np.where(judged, there, 0)
    thresholds = np.full(classes, np.inf)
    means = np.bincount(given, weights=values[np.arange(count), given], minlength=classes)
    thresholds[judged] = np.maximum(means[judged] / images[judged], _LEAST_THRESHOLD)
    possible = judged | (there == 0)
    values = np.where(possible, values, 0.0)  # nothing seems to be a class of too few labels
    suggested = _confident_classes(values, thresholds)
    known = np.flatnonzero(judged[given])
    joint = np.zeros((classes, classes), dtype=np.int64)
    counted = known[suggested[known] >= 0]
    np.add.at(joint, (given[counted], suggested[counted]), 1)
    flagged = np.zeros(count, dtype=np.bool_)
    flagged[known] = _by_rule(values[known], given[known], rule, suggested[known], joint, images)
    unclear = flagged & ((suggested < 0) | (suggested == given))
    likeliest = np.where(possible, _others(values, given), -2.0).argmax(axis=1)  # not even by a tie at none
    suggested = np.where(unclear, likeliest, suggested)
    return _Flagged(flagged, suggested, joint, thresholds)


def _confident_classes(values: Floats, thresholds: Floats) -> Ints:
    """(N,) the one class that reaches its threshold; where several do the most probable one; -1 for none.

    The most probable of all classes, as cleanlab counts; the paper's Eq. 2 has the most probable of those
    that reach their threshold, which is seldom another.
    """
    reached = values >= thresholds - _TOLERANCE
    several = reached.sum(axis=1) > 1
    guessed = np.where(several, values.argmax(axis=1), reached.argmax(axis=1))
    confident: Ints = np.where(reached.any(axis=1), guessed, -1).astype(np.int64)
    return confident


def _by_rule(
    values: Floats, given: Ints, rule: IssueRule, suggested: Ints, joint: Ints, images: Ints
) -> Bools:
    """(N,) the labels that the rule flags; whose own class is the most probable one is not, by most rules."""
    doubted: Bools = _most_probable(values, given) != given
    confident: Bools = (suggested >= 0) & (suggested != given) & doubted
    match rule:
        case IssueRule.CONFIDENT_LEARNING:
            return confident
        case IssueRule.PREDICTED_NEQ_GIVEN:
            return doubted
        case IssueRule.LOW_SELF_CONFIDENCE | IssueRule.LOW_NORMALIZED_MARGIN:
            own = values[np.arange(len(given)), given]
            ahead = _others(values, given).max(axis=1) if rule is IssueRule.LOW_NORMALIZED_MARGIN else 0.0
            return _least(own - ahead, int(confident.sum()))
        case IssueRule.PRUNE_BY_CLASS | IssueRule.PRUNE_BY_NOISE_RATE | IssueRule.BOTH:
            prune = _counts_to_prune(joint, images)
            if rule is not IssueRule.PRUNE_BY_NOISE_RATE:
                doubted &= _pruned_by_class(values, given, prune, images)
            if rule is not IssueRule.PRUNE_BY_CLASS:
                doubted &= _pruned_by_noise_rate(values, given, prune, images)
            return doubted
    assert_never(rule)


def _others(values: Floats, given: Ints) -> Floats:
    """(N, C) the probabilities, of the given class none."""
    others = values.copy()
    others[np.arange(len(given)), given] = -1.0
    return others


def _most_probable(values: Floats, given: Ints) -> Ints:
    """(N,) the most probable class; the given one where it is within rounding of it."""
    favoured = values.copy()
    favoured[np.arange(len(given)), given] += _TOLERANCE
    best: Ints = favoured.argmax(axis=1)
    return best


def _least(scores: Floats, count: int) -> Bools:
    """(N,) those of the `count` lowest scores."""
    chosen = np.zeros(len(scores), dtype=np.bool_)
    chosen[np.argsort(scores, kind="stable")[:count]] = True
    return chosen


def _counts_to_prune(joint: Ints, images: Ints) -> Ints:
    """(C, C) how many labels of class i (rows) are class j (columns) by the calibrated joint.

    Whole numbers: each row sums to the class's labels, and on the diagonal at least one label stays.
    """
    counted = joint.copy()
    np.fill_diagonal(counted, np.maximum(joint.diagonal(), 1))
    calibrated = counted * images[:, None] / counted.sum(axis=1)[:, None]
    whole = np.stack([_rounded(row) for row in calibrated])
    kept = np.maximum(whole.diagonal(), 1)
    elsewhere = np.maximum(np.count_nonzero(whole, axis=1) - 1, 1)
    lessened = np.maximum(whole - ((kept - whole.diagonal()) / elsewhere)[:, None], 0)
    np.fill_diagonal(lessened, kept)
    counts: Ints = lessened.astype(np.int64)
    return counts


def _rounded(row: Floats) -> Floats:
    """Whole numbers of the same sum: those nearest to a half go the other way, of equals the last."""
    row = row.round(9)  # thirds of one class and of another differ in their last bits
    whole = row.round()
    missing = round(float(row.sum().round() - whole.sum()))
    while missing:
        order = np.argsort((row - whole).round(9), kind="stable")
        changed = (order[::-1] if missing > 0 else order)[: abs(missing)]
        whole[changed] += np.sign(missing)
        missing = round(float(row.sum().round() - whole.sum()))
    return whole


def _pruned_by_class(values: Floats, given: Ints, prune: Ints, images: Ints) -> Bools:
    """(N,) of each class the least probable labels, as many as are not its own."""
    chosen = np.zeros(len(given), dtype=np.bool_)
    for number in np.flatnonzero(images >= 2).tolist():
        own = np.flatnonzero(given == number)
        chosen[own] = _least(values[own, number], int(images[number] - prune[number, number]))
    return chosen


def _pruned_by_noise_rate(values: Floats, given: Ints, prune: Ints, images: Ints) -> Bools:
    """(N,) of each class and another the labels furthest behind that other, as many as the joint says."""
    chosen = np.zeros(len(given), dtype=np.bool_)
    for number, other in np.argwhere(prune > 0).tolist():
        own = np.flatnonzero(given == number)
        if number != other and images[number] >= 2:
            chosen[own] |= _least(values[own, number] - values[own, other], int(prune[number, other]))
    return chosen


def _estimated(joint: Ints, images: Ints) -> float:
    """Each row of the joint calibrated to the images given as its class; what lies off the diagonal."""
    sums = joint.sum(axis=1)
    seen = sums > 0
    calibrated = joint[seen] / sums[seen, None] * images[seen, None]
    wrong = calibrated.sum() - calibrated[np.arange(len(calibrated)), np.flatnonzero(seen)].sum()
    total = calibrated.sum()
    return float(wrong / total * images.sum()) if total else 0.0


OUT_OF_FOLD = "out-of-fold"
"""Name of the predictions of models that did not train on the image; their labels are the given ones."""
_LIMIT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A labelled image, and another that the network finds nearly the same."""

    id: str
    label: str
    """The class that it is trained with."""
    other: str
    other_label: str
    other_part: Literal["labelled", "validation", "test"]
    similarity: float
    """Cosine of the two images' features, at most 1."""


@dataclass(frozen=True, slots=True)
class IssueSearch:
    """How the out-of-fold predictions were made, and the pairs found on the way, the most alike first."""

    folds: int
    seed: int
    trunk: Literal["run", "pretrained"]
    trunk_learned: bool
    """The trunk was itself trained on the labels that are judged, so that it may agree with wrong ones."""
    least_similarity: float
    """Cosine from which on two images count as near-duplicates."""
    duplicates: tuple[Duplicate, ...] = ()
    rule: IssueRule = IssueRule.CONFIDENT_LEARNING
    """Which labels are flagged; searches of before there was a choice flagged by this one."""


def write_search(run: RunDirectory, search: IssueSearch) -> None:
    """Keep it with the run. Raises: OSError."""
    summed_write(run.label_issues, run.path, (json.dumps(plain(search), indent=1) + "\n").encode())


def read_search(run: RunDirectory) -> IssueSearch:
    """What was kept.

    Raises:
        FileNotFoundError: nobody has looked for label issues of this run.
        UserError: the file is damaged.
    """
    try:
        found = read_json(run.label_issues, _LIMIT_BYTES)
        require_sum(run.label_issues)
        return validated(IssueSearch, found)
    except FileNotFoundError:
        raise
    except UnreadableFile as error:
        raise UserError(f"damaged: {clean(error.reason)}", where=clean(run.label_issues)) from error
    except ValueError as error:
        raise UserError(f"damaged: {clean(error)}", where=clean(run.label_issues)) from error


def issue_opinions(run: RunDirectory) -> Opinions:
    """An opinion on every labelled image: `true` is the label it was given, `said` what it seems to be.

    Raises:
        UserError: nobody has looked for label issues yet, or the files are damaged.
    """
    found = judged(run)
    predictions, issues, search, classes = found.predictions, found.issues, found.search, found.classes
    probabilities = predictions.probabilities
    shown = issues.is_issue | (issues.too_few > 0)
    said = np.where(shown, issues.suggested, probabilities.argmax(axis=1))
    ordered = np.sort(probabilities, axis=1)[:, ::-1]
    best_two = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-12))).sum(axis=1)
    names, ids = ClassNames(), found.saved.ids
    places = names.of(classes)
    at = np.arange(len(ids))
    columns = OpinionColumns(
        ids=ids,
        names=names.names,
        said=places[said],
        second=places[np.where(best_two[:, 0] != said, best_two[:, 0], best_two[:, 1])],
        confidence=probabilities[at, said].astype(np.float64),
        margin=(ordered[:, 0] - ordered[:, 1]).astype(np.float64),
        entropy=entropy.astype(np.float64),
        true=places[predictions.labels],
        self_confidence=issues.self_confidence.astype(np.float64),
        label_margin=issues.margin.astype(np.float64),
        issue=issues.is_issue.astype(np.int8),
        too_few=issues.too_few,
        twin=_twins(search, ids),
    )
    choices = Choices(found.saved, dict(enumerate(classes)))
    return Opinions(OpinionRows(columns), classes, search.rule.value, choices)


@dataclass(frozen=True, eq=False)
class Judged:
    """The out-of-fold predictions, the verdict on their labels, and how they were made."""

    predictions: Predictions
    saved: SavedPredictions
    """The same in their file."""
    issues: LabelIssues
    search: IssueSearch
    classes: tuple[str, ...]

    @property
    def labels_a_class(self) -> dict[str, int]:
        """Of the classes that have any."""
        counts = np.bincount(self.predictions.labels, minlength=len(self.classes)).tolist()
        return {name: count for name, count in zip(self.classes, counts, strict=True) if count}

    @property
    def too_few(self) -> dict[str, int]:
        """Those of them that cannot be judged, and how many labels each has."""
        counts = self.labels_a_class
        enough = judged_classes(np.array(list(counts.values()), dtype=np.int64))
        return {name: counts[name] for name, can in zip(counts, enough.tolist(), strict=True) if not can}


def judged(run: RunDirectory) -> Judged:
    """Judge a run's labels by what a search kept.

    Raises:
        UserError: nobody has looked for label issues yet, or the files are damaged.
    """
    path = run.predictions(OUT_OF_FOLD)
    try:
        saved, search = open_predictions(path), read_search(run)
    except FileNotFoundError:
        raise UserError(
            "nobody has looked for label issues of this run yet",
            where=clean(run.id),
            hint=f"petbench label-issues {run.handle} does",
        ) from None
    labels, width = saved.labels, saved.width
    classes = read_results(run.results).classes
    if width != len(classes) or width < 2 or (len(labels) and not 0 <= labels.min() <= labels.max() < width):
        raise UserError("damaged predictions: they do not fit the run's classes", where=clean(path))
    predictions = saved.loaded()
    issues = find_label_issues(predictions.probabilities, labels, search.rule)
    return Judged(predictions, saved, issues, search, classes)


def _twins(search: IssueSearch, ids: ImageIds) -> dict[int, str]:
    """Place of an image -> the image most like it, of those with a near-duplicate."""
    found: dict[str, str] = {}
    for pair in search.duplicates:
        found.setdefault(pair.id, pair.other)
        if pair.other_part == "labelled":
            found.setdefault(pair.other, pair.id)
    places = ids.places(found).tolist()
    return {place: twin for place, twin in zip(places, found.values(), strict=True) if place >= 0}
