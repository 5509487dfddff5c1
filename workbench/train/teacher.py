"""The teacher of a round: what it says of the pool, what a rule may know of it, the labels it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.dataset.run_data import named_shares
from workbench.model import ImageClassifier
from workbench.pseudo import (
    Passes,
    PassesAsked,
    Pool,
    Selection,
    Voter,
    beside_classes,
    caveat_of,
    choose,
    estimate_prior,
    has_voters,
    hear_voters,
    judge,
    labelled_shares,
    needs_features,
    passes_of,
    shrunk_shares,
    soft_targets,
)
from workbench.pseudo.pool import hard_targets
from workbench.recipe import PseudoLabel
from workbench.recipe.offline import FromProbabilities, Offline, Taught
from workbench.recipe.pseudo_label import LABEL_POLICIES
from workbench.runs.calibration import fit_temperature
from workbench.runs.events import Message, Reporter, RoundLabelled
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel as LedgerRow
from workbench.runs.ledger import write_ledger
from workbench.runs.predictions import save_predictions
from workbench.support.clean import clean
from workbench.support.digests import fingerprint
from workbench.support.errors import UserError
from workbench.support.units import in_percent, p_words
from workbench.train.network import Network
from workbench.train.setup import Setup
from workbench.train.state import RunState
from workbench.train.taught import Word

LEAST_A_CLASS = 3
"""Validation images a class, on average, below which `prior = "auto"` asks no estimate: it would be noise."""


def view_pool(
    network: Network, knobs: Offline, number: int, reporter: Reporter, word: Word | None = None
) -> Pool:
    """The pool as the teacher, un-noised and as the network now stands, sees it in round `number`.

    Only validation images lend their true labels, and only to `calibrate`, to `prior` and to hear voters.

    Args:
        word: of finished runs that teach in the network's place.
    """
    setup = network.setup
    split = setup.split
    labels = setup.taught[split.labelled]
    fixed = network.tuning.trunk_fixed
    module = network.evaluated(setup.classifier, trunk_fixed=fixed)
    task = f"label the pool, round {number}"

    @cache
    def on_validation() -> NDArray[np.float32]:
        if word is not None:
            return word.val.probabilities
        return network.probabilities(split.validation, module, task=f"validation, round {number}")

    if word is None:
        probabilities = network.probabilities(split.unlabelled, module, task=task)
    else:
        probabilities = word.pool.probabilities
    if isinstance(knobs, FromProbabilities) and knobs.calibrate:
        seen = on_validation()
        temperature = fit_temperature(seen, setup.labels[split.validation])
        reporter.event(Message("info", f"round {number}: the teacher's temperature is {temperature:.3f}"))
        probabilities = soft_targets(probabilities, temperature)
    pool = Pool(probabilities, np.bincount(labels, minlength=len(setup.classes)))

    def features(positions: NDArray[np.int64], task: str) -> NDArray[np.float32]:
        found = network.features(positions, trunk_fixed=fixed, task=task)
        return compared(setup.classifier, knobs, found.numpy())

    if needs_features(knobs):
        pool = replace(
            pool,
            features=features(split.unlabelled, f"features, round {number}"),
            labelled_features=features(split.labelled, "features of labelled images"),
            labels=labels,
            search=network.neighbours,
        )
    if isinstance(knobs, Taught) and knobs.expects_classes:
        pool = replace(pool, prior=_expected_shares(network, knobs, number, pool, on_validation, reporter))
    # The first teacher's word is the measure, for all rounds; within folds there is nothing to measure by.
    if has_voters(knobs) and number == 1 and len(split.validation):
        seen = features(split.validation, "features of validation images")
        pool = replace(pool, unheard=_unheard(setup, knobs, pool, seen, on_validation(), reporter))
    asked = passes_of(knobs)
    if asked is not None:
        pool = replace(pool, passes=_passes(network, asked, number))
    if number == 1 and (caveat := caveat_of(knobs, pool, [clean(name) for name in setup.classes])):
        reporter.event(Message("warning", caveat))
    return pool


def _expected_shares(
    network: Network,
    knobs: Taught,
    number: int,
    pool: Pool,
    on_validation: Callable[[], NDArray[np.float32]],
    reporter: Reporter,
) -> NDArray[np.float64]:
    """(C,) what `pseudo_label.prior` makes of this round's pool, told where it is not even.

    Args:
        on_validation: what the teacher says of validation images.
    """
    setup = network.setup
    classes = len(setup.classes)
    # Extra images are drawn from elsewhere and say nothing of the pool.
    counts = np.bincount(setup.taught[setup.own_labelled], minlength=classes)
    match knobs.prior:
        case "uniform":
            return np.full(classes, 1 / classes)
        case "labelled":
            return labelled_shares(counts)
        case dict():
            return named_shares(knobs.prior, setup.classes, "pseudo_label.prior")
    is_even = LABEL_POLICIES[knobs.policy].is_even
    expected = np.full(classes, 1 / classes) if is_even else shrunk_shares(counts)
    validation = setup.split.validation
    if knobs.prior == "auto" and len(validation) < LEAST_A_CLASS * classes:
        return expected
    seen = on_validation()
    truth = setup.labels[validation]
    found = estimate_prior(pool.probabilities, seen, truth, expected, seed=setup.recipe.seed)
    adopts = knobs.prior == "estimated" or found.differs
    far = f"{found.distance:.2f} from what was expected; chance makes {found.noise:.2f}"
    text = f"round {number}: the pool's classes are taken as {'estimated' if adopts else 'expected'}"
    if adopts:
        order = np.argsort(-found.shares)
        most, least = (f"{clean(setup.classes[c])} {in_percent(found.shares[c], 1)}" for c in order[[0, -1]])
        text += f", from {most} to {least}"
    text += f" (the estimate is {far})"
    if adopts or number == 1:
        reporter.event(Message("info", text))
    return found.shares if adopts else expected


def _unheard(
    setup: Setup,
    knobs: FromProbabilities,
    pool: Pool,
    features: NDArray[np.float32],
    teacher: NDArray[np.float32],
    reporter: Reporter,
) -> tuple[Voter, ...]:
    """Who is clearly worse than the first teacher on validation images and has no vote, said aloud.

    Args:
        features: (V, D) of the validation images.
        teacher: (V, C) what the first teacher says of them.
    """
    lost = []
    for hearing in hear_voters(pool, knobs, features, teacher, setup.labels[setup.split.validation]):
        if not hearing.is_lost:
            continue
        lost.append(hearing.voter)
        pair = hearing.pair
        images = pair.both + pair.only_first + pair.only_second + pair.neither
        own, teachers = ((pair.both + only) / images for only in (pair.only_second, pair.only_first))
        text = (
            f"pseudo_label.{hearing.voter} has no vote: on {images} validation images it is right about "
            f"{in_percent(own)}, the teacher about {in_percent(teachers)} (McNemar's p {p_words(pair.p)})"
        )
        reporter.event(Message("warning", text))
    return tuple(lost)


@torch.inference_mode()
def _passes(network: Network, asked: PassesAsked, number: int) -> Passes:
    """Moments over passes with dropout before the head; the trunk, as in evaluation, runs once."""
    setup = network.setup
    fixed = network.tuning.trunk_fixed
    features = network.features(setup.split.unlabelled, trunk_fixed=fixed, task=f"passes, round {number}")
    logits = network.noisy_logits(
        features,
        asked.count,
        dropout=asked.dropout,
        seed=int(fingerprint([setup.recipe.seed, "passes", number])[:15], 16),
    )
    plain = torch.softmax(logits, dim=2)
    tempered = torch.softmax(logits / asked.temperature, dim=2)
    return Passes(
        plain.mean(dim=0).numpy(),
        plain.std(dim=0).numpy(),
        tempered.mean(dim=0).numpy(),
        tempered.std(dim=0).numpy(),
    )


def compared(
    classifier: ImageClassifier, knobs: PseudoLabel, features: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, D) float32 features as they are, or (N, D + K) with what the published classifier makes of them.

    Raises:
        UserError: the backbone came without its published classifier.
    """
    if getattr(knobs, "similarity", "features") == "features":
        return features
    head = classifier.published_head
    if head is None:
        raise UserError(
            f"the weights of {clean(classifier.backbone)} came without their published classifier",
            where="pseudo_label.similarity",
            allowed='"features"',
            hint="torchvision's own weights and efficientnet_lite0, 1 and 2 have theirs",
        )
    return beside_classes(features, head.weight.numpy(), head.bias.numpy())


HISTOGRAM_BINS = 20


def label_pool(
    setup: Setup,
    knobs: Offline,
    state: RunState,
    number: int,
    pool: Pool,
    directory: RunDirectory,
    reporter: Reporter,
) -> Selection:
    """Select round `number`'s pseudo-labels and record them.

    Args:
        pool: `split.unlabelled` as the un-noised teacher sees it.

    The pool's true labels, where they are known, are read here only to score what was selected, after it was
    selected.
    """
    pool = judge(pool, knobs, state.selection)
    selection = choose(pool, knobs, number, state.selection)
    if pool.recall < 1:
        text = f"round {number}: neighbours were looked for by cells, {in_percent(pool.recall)} of them found"
        reporter.event(Message("info", text))
    flipped = np.zeros(len(pool.probabilities), dtype=np.bool_)
    if state.pool_predicted is not None:
        flipped = state.pool_predicted != pool.predicted
    truth = setup.labels[setup.split.unlabelled]
    reporter.event(_summary(number, pool, selection, flipped, truth))
    write_round(setup, directory, number, pool, selection, flipped)
    state.flipped, state.pool_predicted = int(flipped.sum()), pool.predicted
    return selection


def _summary(
    number: int, pool: Pool, selection: Selection, flipped: NDArray[np.bool_], truth: NDArray[np.int64]
) -> RoundLabelled:
    # An image that a rule repeats counts once; one with negative labels alone is told no class.
    rows, first = np.unique(selection.rows[selection.positive], return_index=True)
    taught = selection.targets[selection.positive][first].argmax(axis=1)
    confidence = pool.confidence
    histogram, _ = np.histogram(confidence, bins=HISTOGRAM_BINS, range=(0.0, 1.0))
    return RoundLabelled(
        round=number,
        pool=len(confidence),
        selected=len(rows),
        accuracy=share_right(taught, truth[rows]),
        pool_accuracy=share_right(pool.predicted, truth),
        flipped=int(flipped.sum()),
        threshold=float(confidence[rows].min()) if len(rows) else 1.0,
        per_class=np.bincount(taught, minlength=pool.probabilities.shape[1]).tolist(),
        confidence_histogram=histogram.tolist(),
    )


def share_right(told: NDArray[np.int64], truth: NDArray[np.int64]) -> float | None:
    """How many of these classes are the true ones, 0 … 1, of those whose truth is known; None of none."""
    known = truth >= 0
    return float((told == truth)[known].mean()) if known.any() else None


def record_online(
    setup: Setup,
    directory: RunDirectory,
    number: int,
    probabilities: NDArray[np.float32],
    weights: NDArray[np.float32],
) -> None:
    """Write what an online student says of the pool in the end, as a round that people can inspect.

    Args:
        probabilities: (U, C) of plain views, by the weights that its stage keeps.
        weights: (U,) what each would weigh by the rule that the student's last step went by.
    """
    counts = np.bincount(setup.taught[setup.split.labelled], minlength=len(setup.classes))
    pool = Pool(probabilities, counts)
    rows = np.flatnonzero(weights > 0)
    chosen = Selection(rows, hard_targets(probabilities[rows]), weights[rows])
    write_round(setup, directory, number, pool, chosen, np.zeros(len(weights), dtype=np.bool_))


def write_round(
    setup: Setup,
    directory: RunDirectory,
    number: int,
    pool: Pool,
    selection: Selection,
    flipped: NDArray[np.bool_],
) -> None:
    """The round's ledger and the pool's predictions, by the process that writes."""
    if not setup.world.is_first:
        return
    truth = setup.labels[setup.split.unlabelled]
    records, classes = setup.catalogue.records, setup.classes
    ids = [records[p].id for p in setup.split.unlabelled]
    taught, weights = pool.predicted.copy(), np.zeros(len(ids), dtype=np.float32)
    positive = selection.positive
    told = selection.rows[positive]
    taught[told] = selection.targets[positive].argmax(axis=1)
    np.add.at(weights, told, selection.weights[positive])
    chosen = np.zeros(len(ids), dtype=np.bool_)
    chosen[told] = True
    top_two = -np.partition(-pool.probabilities, 1, axis=1)[:, :2]
    entropy = -(pool.probabilities * np.log(np.maximum(pool.probabilities, 1e-12))).sum(axis=1)
    rows = [
        LedgerRow(
            id=ids[i],
            pseudo_label=classes[taught[i]],
            confidence=float(top_two[i, 0]),
            margin=float(top_two[i, 0] - top_two[i, 1]),
            entropy=float(entropy[i]),
            selected=bool(chosen[i]),
            weight=float(weights[i]),
            flipped=bool(flipped[i]),
            true_label=classes[truth[i]] if truth[i] >= 0 else None,
        )
        for i in range(len(ids))
    ]
    write_ledger(directory.ledger(number), rows)
    save_predictions(directory.predictions(f"unlabelled-{number:02d}"), ids, pool.probabilities, truth)
