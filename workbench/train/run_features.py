"""A finished run looked at again: its trunk's features of images, what lies near, labels likely wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.dataset import Catalogue, Split, UnreadableImage, apply_corrections, load_review, load_split
from workbench.dataset.catalogue import shuffled_ranks
from workbench.dataset.split import even_folds
from workbench.loader.store_build import Square, decode_square
from workbench.loader.views import ViewFormat
from workbench.model import TrunkPart, build, frozen_copy
from workbench.model.backbones import JoinedTrunk
from workbench.pseudo.neighbours import unit_rows
from workbench.pseudo.typical import k_means
from workbench.recipe import Recipe
from workbench.runs.events import Reporter
from workbench.runs.label_issues import OUT_OF_FOLD, Duplicate, IssueRule, IssueSearch, write_search
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.train.feature_bank import FeatureBanks
from workbench.train.near_rows import alike_pairs, nearest_rows
from workbench.train.predict import Predictor
from workbench.train.ridge_head import fit_head, standard_of

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """The images that a run trained on with a label, and the class that it was told of each."""

    split: Split
    positions: Ints
    """(L,) int64 ascending positions in the catalogue."""
    taught: Ints
    """(L,) int64 classes as training was told them: a person's word, else the data set's."""
    names: tuple[str, ...]
    """Their classes' names."""


def labelled_images(run: RunDirectory, recipe: Recipe, catalogue: Catalogue) -> LabelledImages:
    """What a run was taught, by its own split and its own copy of the corrections.

    Raises:
        UserError: the run has not divided the data yet, or the data has changed since.
    """
    split = load_split(run.split, catalogue)
    target = recipe.data.target
    taught = catalogue.labels(target)
    if run.corrections.exists():
        review = load_review(run.corrections)
        taught = apply_corrections(review, catalogue, split, target, where=run.corrections).taught
    classes = catalogue.classes(target)
    own = taught[split.labelled]
    return LabelledImages(split, split.labelled, own, tuple(classes[number] for number in own.tolist()))


def feature_bank(
    catalogue: Catalogue, predictor: Predictor, *, cache: Path, reporter: Reporter
) -> FeatureBanks:
    """Features of the predictor's trunk: from the cache that training fills, and kept there.

    Asked for an image that cannot be decoded, it raises UserError.
    """
    return FeatureBanks(
        cache,
        catalogue,
        predictor.classifier,
        predictor.form,
        predictor.dtype,
        lambda part, form: partial(_look, catalogue, predictor, part, form),
        reporter,
    )


def _look(
    catalogue: Catalogue, predictor: Predictor, part: TrunkPart, form: ViewFormat, positions: Ints
) -> Tensor:
    """Straight from the files: a few images are no reason to decode a whole data set."""

    def decode(position: int) -> Square:
        record = catalogue.records[position]
        try:
            return decode_square(record.path, form.stored_side, catalogue.scale)
        except UnreadableImage as error:
            raise UserError(
                f"{clean(record.id)} cannot be read: {error.reason}", where=clean(record.path)
            ) from error

    # A batch that is filled up with one image does not decode it again.
    alone, rows = np.unique(positions, return_inverse=True)
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        squares = list(pool.map(decode, alone.tolist()))
    return predictor.features([squares[row] for row in rows.tolist()], part, form)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled training image near another."""

    id: str
    label: str
    """The class that the run trained it with."""
    similarity: float
    """Cosine of the features, -1 to 1."""


def neighbours(
    run: RunDirectory,
    recipe: Recipe,
    catalogue: Catalogue,
    predictor: Predictor,
    positions: Sequence[int],
    count: int,
    *,
    cache: Path,
    reporter: Reporter,
) -> list[list[Neighbour]]:
    """For each image the `count` most alike of the run's labelled images, the most alike first, never itself.

    Features come from the cache that training fills; those missing there (of a trunk that learned: all) are
    computed with the run's final weights and kept in it.

    Raises:
        UserError: the run has not divided the data yet, an image cannot be decoded, or the data has changed.
    """
    told = labelled_images(run, recipe, catalogue)
    labelled, labels = told.positions, dict(zip(told.positions.tolist(), told.names, strict=True))
    bank = feature_bank(catalogue, predictor, cache=cache, reporter=reporter)
    asked = np.array(positions, dtype=np.int64)
    features = bank.rows(np.concatenate([labelled, asked]))
    rows, similarities = nearest_rows(
        features[: len(labelled)], features[len(labelled) :], min(count + 1, len(labelled))
    )
    return [
        [
            Neighbour(catalogue.ids[position], labels[position], similarity)
            for position, similarity in zip(labelled[near].tolist(), alike.tolist(), strict=True)
            if position != own
        ][:count]
        for own, near, alike in zip(positions, rows, similarities, strict=True)
    ]


def feature_clusters(
    catalogue: Catalogue,
    predictor: Predictor,
    positions: Sequence[int],
    count: int,
    *,
    cache: Path,
    reporter: Reporter,
) -> Ints:
    """(K,) int64: the cluster of each image, by k-means on the direction of its features, the largest first.

    Raises:
        UserError: an image cannot be decoded.
    """
    features = feature_bank(catalogue, predictor, cache=cache, reporter=reporter).rows(
        np.array(positions, dtype=np.int64)
    )
    clusters, _ = k_means(unit_rows(features.numpy()), count, seed=0)
    sizes = np.bincount(clusters, minlength=count)
    ranks = np.empty(count, dtype=np.int64)
    ranks[np.argsort(-sizes, kind="stable")] = np.arange(count)
    return ranks[clusters]


FOLDS = 5


def search_label_issues(
    run: RunDirectory,
    recipe: Recipe,
    catalogue: Catalogue,
    predictor: Predictor,
    *,
    folds: int,
    seed: int,
    rule: IssueRule,
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
    groups = None if catalogue.groups is None else catalogue.groups[told.positions]
    apart = len(told.positions) if groups is None else len(np.unique(groups))
    if not 2 <= folds <= apart:
        of = "labelled images" if groups is None else "groups of labelled images"
        raise UserError(f"{apart} {of} do not make {folds} folds", where="--folds", allowed=f"2 to {apart}")
    if pretrained:
        predictor = _as_it_began(predictor, recipe)
    split = told.split
    bank = feature_bank(catalogue, predictor, cache=cache, reporter=reporter)
    features = bank.rows(np.concatenate([told.positions, split.validation, split.test]))
    own = features[: len(told.positions)]
    ids = [catalogue.ids[position] for position in told.positions.tolist()]
    parts = fold_of(ids, told.taught, folds, seed, groups)
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
            rule=rule,
            duplicates=tuple(_duplicates(features, told, recipe, catalogue, least_similarity)),
        ),
    )


def fold_of(ids: Sequence[str], labels: Ints, folds: int, seed: int, groups: Ints | None = None) -> Ints:
    """(N,) the fold of each image, by ids and seed, as `even_folds` deals them: no group is in two."""
    return even_folds(labels, shuffled_ranks(ids, "label issues", seed), folds, groups)


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
    """(Q, C) of a ridge logistic regression on standardised features."""
    standard = standard_of(features)
    return fit_head(standard(features), targets, classes).logits(standard(asked))


def _as_it_began(predictor: Predictor, recipe: Recipe) -> Predictor:
    """The same look at images through the pretrained trunk, which never saw a label of the data set."""
    classifier = build(recipe.model, len(predictor.classes), seed=recipe.seed, image_size=predictor.form.side)
    if isinstance(classifier.trunk, JoinedTrunk):
        scales = predictor.classifier.trunk.get_buffer("scales")
        classifier.trunk.scales.copy_(scales)  # a matter of the run's labelled images, not of the weights
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
