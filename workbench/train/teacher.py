"""What a rule may know of the teacher: its word on the pool, its features, how it wavers under dropout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workbench.dataset.run_data import named_shares
from workbench.pseudo import (
    Passes,
    Pool,
    estimate_prior,
    expects_classes,
    fit_temperature,
    labelled_shares,
    needs_features,
    needs_passes,
    shrunk_shares,
    soft_targets,
)
from workbench.recipe.by_confidence import Ups
from workbench.recipe.by_features import Prototype
from workbench.recipe.offline import FromProbabilities, Offline, Taught
from workbench.runs.events import Message, Reporter
from workbench.support.clean import clean
from workbench.support.fingerprint import fingerprint
from workbench.train.network import Network
from workbench.train.similarity import compared

LEAST_A_CLASS = 3
"""Validation images a class, on average, below which `prior = "auto"` asks no estimate: it would be noise."""


def view_pool(network: Network, knobs: Offline, number: int, reporter: Reporter) -> Pool:
    """The pool as the teacher, un-noised and as the network now stands, sees it in round `number`.

    Only validation images lend their true labels, and only to `calibrate`.
    """
    setup = network.setup
    split = setup.split
    labels = setup.taught[split.labelled]
    fixed = network.tuning.trunk_fixed
    module = network.evaluated(setup.classifier, trunk_fixed=fixed)
    task = f"label the pool, round {number}"
    probabilities = network.probabilities(split.unlabelled, module, task=task)
    if isinstance(knobs, FromProbabilities) and knobs.calibrate:
        seen = network.probabilities(split.validation, module, task="calibrate on validation")
        temperature = fit_temperature(seen, setup.labels[split.validation])
        reporter.event(Message("info", f"round {number}: the teacher's temperature is {temperature:.3f}"))
        probabilities = soft_targets(probabilities, temperature)
    pool = Pool(probabilities, np.bincount(labels, minlength=len(setup.classes)))
    if needs_features(knobs):
        features = network.features(split.unlabelled, trunk_fixed=fixed, task=f"features, round {number}")
        known = network.features(split.labelled, trunk_fixed=fixed, task="features of labelled images")
        pool = replace(
            pool,
            features=compared(setup.classifier, knobs, features.numpy()),
            labelled_features=compared(setup.classifier, knobs, known.numpy()),
            labels=labels,
        )
    if isinstance(knobs, Taught) and expects_classes(knobs):
        pool = replace(pool, prior=_expected_shares(network, module, knobs, number, pool, reporter))
    if isinstance(knobs, Ups) and needs_passes(knobs):
        pool = replace(pool, passes=_passes(network, knobs, number))
    if isinstance(knobs, Prototype) and number == 1:
        _warn_of_missing_means(network, pool, reporter)
    return pool


def _expected_shares(
    network: Network, module: nn.Module, knobs: Taught, number: int, pool: Pool, reporter: Reporter
) -> NDArray[np.float64]:
    """(C,) what `pseudo_label.prior` makes of this round's pool, told where it is not even."""
    setup = network.setup
    classes = len(setup.classes)
    counts = pool.labelled_counts
    match knobs.prior:
        case "uniform":
            return np.full(classes, 1 / classes)
        case "labelled":
            return labelled_shares(counts)
        case dict():
            return named_shares(knobs.prior, setup.classes, "pseudo_label.prior")
    expected = shrunk_shares(counts) if knobs.policy == "random" else np.full(classes, 1 / classes)
    validation = setup.split.validation
    if knobs.prior == "auto" and len(validation) < LEAST_A_CLASS * classes:
        return expected
    seen = network.probabilities(validation, module, task=f"prior, round {number}")
    truth = setup.labels[validation]
    found = estimate_prior(pool.probabilities, seen, truth, expected, seed=setup.recipe.seed)
    adopts = knobs.prior == "estimated" or found.differs
    far = f"{found.distance:.2f} from what was expected; chance makes {found.noise:.2f}"
    text = f"round {number}: the pool's classes are taken as {'estimated' if adopts else 'expected'}"
    if adopts:
        order = np.argsort(-found.shares)
        most, least = (f"{clean(setup.classes[c])} {100 * found.shares[c]:.1f} %" for c in order[[0, -1]])
        text += f", from {most} to {least}"
    text += f" (the estimate is {far})"
    if adopts or number == 1:
        reporter.event(Message("info", text))
    return found.shares if adopts else expected


@torch.inference_mode()
def _passes(network: Network, knobs: Ups, number: int) -> Passes:
    """Moments over passes with dropout before the head; the trunk, as in evaluation, runs once."""
    setup = network.setup
    fixed = network.tuning.trunk_fixed
    features = network.features(setup.split.unlabelled, trunk_fixed=fixed, task=f"passes, round {number}")
    logits = network.noisy_logits(
        features,
        knobs.passes,
        dropout=knobs.pass_dropout,
        seed=int(fingerprint([setup.recipe.seed, "passes", number])[:15], 16),
    )
    plain = torch.softmax(logits, dim=2)
    tempered = torch.softmax(logits / knobs.negative_temperature, dim=2)
    return Passes(
        plain.mean(dim=0).numpy(),
        plain.std(dim=0).numpy(),
        tempered.mean(dim=0).numpy(),
        tempered.std(dim=0).numpy(),
    )


def _warn_of_missing_means(network: Network, pool: Pool, reporter: Reporter) -> None:
    missing = np.flatnonzero(pool.labelled_counts == 0)
    if len(missing):
        names = ", ".join(clean(network.setup.classes[label]) for label in missing[:3])
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        text = f"prototype: no labelled image of {names}{more}: their images go to other classes' means"
        reporter.event(Message("warning", text))
