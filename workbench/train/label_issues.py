"""Out-of-fold probabilities of a run's labelled images, and near-duplicates among them, by features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue
from workbench.dataset.order import shuffled_ranks
from workbench.model import build, frozen_copy
from workbench.recipe import Recipe
from workbench.runs.events import Reporter
from workbench.runs.issue_file import OUT_OF_FOLD, Duplicate, IssueSearch, write_search
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.support.errors import UserError
from workbench.train.predict import Predictor
from workbench.train.run_features import LabelledImages, feature_bank, labelled_images

Ints = NDArray[np.int64]

FOLDS = 5

_RIDGE = 0.01
"""Half of it times the squared weights joins the mean cross-entropy: features outnumber a class's images."""
_STEPS = 60
_BLOCK = 1024
"""Rows of the similarity matrix that are in memory at once."""


def search_label_issues(
    run: RunDirectory,
    recipe: Recipe,
    catalogue: Catalogue,
    predictor: Predictor,
    *,
    folds: int,
    seed: int,
    pretrained: bool,
    least_similarity: float,
    cache: Path,
    reporter: Reporter,
) -> None:
    """Judge every labelled image by a head that was not trained on it; write both files into the run.

    Features are the run's own trunk's, or with `pretrained` those it began from. Of validation and test
    images only the features are read, to find copies of them; hidden labels are not read at all.

    Raises:
        UserError: too few labelled images, one that cannot be decoded, or the data has changed.
        OSError: the run's directory cannot be written.
    """
    told = labelled_images(run, recipe, catalogue)
    if not 2 <= folds <= len(told.positions):
        raise UserError(
            f"{len(told.positions)} labelled images do not make {folds} folds",
            where="--folds",
            allowed=f"2 to {len(told.positions)}",
        )
    if pretrained:
        predictor = _as_it_began(predictor, recipe)
    split = told.split
    bank = feature_bank(catalogue, predictor, cache=cache, reporter=reporter)
    features = bank.rows(np.concatenate([told.positions, split.validation, split.test]))
    own = features[: len(told.positions)]
    ids = [catalogue.records[position].id for position in told.positions.tolist()]
    parts = fold_of(ids, told.taught, folds, seed)
    probabilities = out_of_fold(own, told.taught, len(predictor.classes), parts, reporter)
    save_predictions(run.predictions(OUT_OF_FOLD), ids, probabilities, told.taught)
    write_search(
        run,
        IssueSearch(
            folds=folds,
            seed=seed,
            trunk="pretrained" if pretrained else "run",
            trunk_learned=not (pretrained or predictor.trunk_fixed),
            least_similarity=least_similarity,
            duplicates=tuple(_duplicates(features, told, recipe, catalogue, least_similarity)),
        ),
    )


def fold_of(ids: Sequence[str], labels: Ints, folds: int, seed: int) -> Ints:
    """(N,) the fold of each image, by ids and seed; folds share a class to within one image."""
    ranks = shuffled_ranks(ids, "label issues", seed)
    places = np.empty(len(ids), dtype=np.int64)
    places[np.lexsort((ranks, labels))] = np.arange(len(ids))
    return places % folds


def out_of_fold(
    features: Tensor, labels: Ints, classes: int, folds: Ints, reporter: Reporter
) -> NDArray[np.float32]:
    """(N, C) float32 probabilities of each image by a logistic head trained on the other folds.

    Args:
        features: (N, D) float32 on the CPU.
        labels: (N,) in 0 … C - 1.
        folds: (N,) the fold of each image.
    """
    targets = torch.from_numpy(labels)
    probabilities = np.zeros((len(labels), classes), dtype=np.float32)
    numbers = np.unique(folds).tolist()
    for done, fold in enumerate(numbers, 1):
        away = torch.from_numpy(folds != fold)
        logits = _fitted_logits(features[away], targets[away], features[~away], classes)
        probabilities[folds == fold] = torch.softmax(logits, dim=1).numpy()
        reporter.progress("out-of-fold heads", done, len(numbers))
    return probabilities


def _fitted_logits(features: Tensor, targets: Tensor, asked: Tensor, classes: int) -> Tensor:
    """(Q, C) of a ridge logistic regression on standardised features: convex, so that no seed matters."""
    mean, spread = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    inputs = (features - mean) / spread
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, history_size=10, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(inputs @ weight.T + bias, targets)
        value = value + _RIDGE / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return (asked - mean) / spread @ weight.T + bias


def _as_it_began(predictor: Predictor, recipe: Recipe) -> Predictor:
    """The same look at images through the pretrained trunk, which never saw a label of the data set."""
    classifier = build(recipe.model, len(predictor.classes), seed=recipe.seed, image_size=predictor.form.side)
    classifier.to(predictor.form.device).to(memory_format=torch.channels_last).eval()
    trunk = frozen_copy(classifier.trunk, predictor.form.side, predictor.dtype)
    return replace(predictor, classifier=classifier, trunk=trunk)


def _duplicates(
    features: Tensor, told: LabelledImages, recipe: Recipe, catalogue: Catalogue, least: float
) -> Iterator[Duplicate]:
    """Pairs of a labelled image and another labelled, validation or test image, the most alike first."""
    split, classes = told.split, catalogue.classes(recipe.data.target)
    positions = np.concatenate([told.positions, split.validation, split.test]).tolist()
    truth = catalogue.labels(recipe.data.target)
    names = [*told.names, *(classes[truth[p]] for p in positions[len(told.positions) :])]
    ends = np.cumsum([len(told.positions), len(split.validation)])
    for first, second, similarity in alike_pairs(features, len(told.positions), least):
        part = ("labelled", "validation", "test")[int(np.searchsorted(ends, second, side="right"))]
        yield Duplicate(
            id=catalogue.records[positions[first]].id,
            label=names[first],
            other=catalogue.records[positions[second]].id,
            other_label=names[second],
            other_part=part,  # type: ignore[arg-type]
            similarity=similarity,
        )


def alike_pairs(features: Tensor, count: int, least: float) -> list[tuple[int, int, float]]:
    """(i, j, cosine) of rows i < j of (N, D) features that are at least so alike, the most alike first.

    Args:
        count: i is among the first so many rows.
    """
    unit = torch.nn.functional.normalize(features, dim=1)
    found: list[tuple[int, int, float]] = []
    for start in range(0, count, _BLOCK):
        cosines = (unit[start : min(start + _BLOCK, count)] @ unit.T).clamp(-1, 1).numpy()
        rows, columns = np.nonzero(cosines >= least)
        ahead = columns > rows + start
        pairs = zip((rows + start)[ahead].tolist(), columns[ahead].tolist(), strict=True)
        found += [(i, j, float(cosines[i - start, j])) for i, j in pairs]
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))
