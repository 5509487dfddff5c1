"""A trained run on pictures of the user's own: the run's weights, its classes, its view of an image."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.compute import Dtype, accelerator_of
from workbench.dataset import UnreadableImage
from workbench.dataset.depth import DEPTHS, Scale
from workbench.loader.preview import Pixels, pixels_of
from workbench.loader.store_build import Square, decode_square
from workbench.loader.views import ViewFormat, plain_views_of
from workbench.model import Cut, ImageClassifier, TrunkPart, build, find_cut, frozen_copy, put_back, tune
from workbench.model.saliency import METHOD_NAMES, Method, method_for, saliency_maps
from workbench.recipe import Recipe, load_recipe
from workbench.runs.ensemble import is_ensemble, read_ensemble, refuse_ensemble
from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance
from workbench.runs.results import trained_model
from workbench.support.clean import clean
from workbench.support.digests import file_sha256
from workbench.support.errors import UserError
from workbench.train.checkpoint import DamagedFile, load_tensors
from workbench.train.conclude import FINAL_WEIGHTS, TEACHER_WEIGHTS
from workbench.train.ensemble import pooled
from workbench.train.feature_bank import INFERENCE_BATCH, features_of, view_format
from workbench.train.host import keep_freed_memory
from workbench.train.inference import shares_by_head, shares_of
from workbench.train.memory import out_of_memory_for_one, unless_out_of_memory
from workbench.train.precision import inference_dtype

Seen = TypeVar("Seen")
Told = TypeVar("Told")

_BATCHES_AHEAD = 3
"""That threads decode while the network looks at one: of large pictures a batch takes longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """A picture and the (C,) float32 probabilities of the run's classes."""

    path: Path
    probabilities: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A picture that could not be decoded, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class Predictor:
    """A run's classifier, which sees pictures as the run's own evaluation saw its images."""

    classes: tuple[str, ...]
    classifier: ImageClassifier
    trunk: nn.Module
    """A copy of the classifier's own, as the run computed a frozen trunk's features."""
    form: ViewFormat
    dtype: Dtype
    trunk_fixed: bool
    """The run computed its head in float32 on the trunk's features, whatever the trunk's arithmetic."""
    lower: tuple[Cut, nn.Module] | None = None
    """Where the run cut its network above groups that never changed, and a copy of these."""
    scale: Scale | None = None
    """How the run read pictures of more than 8 bits; None where it saw none."""

    def predict(self, paths: Iterable[Path]) -> Iterator[Predicted | Unreadable]:
        """What the run says of each picture, in their order, a batch at a time, however many there are."""
        return self.in_batches(paths, self.probabilities, Predicted)

    def in_batches(
        self,
        paths: Iterable[Path],
        look: Callable[[Sequence[Square]], Iterable[Seen]],
        told: Callable[[Path, Seen], Told],
    ) -> Iterator[Told | Unreadable]:
        """`told` of each picture and what `look` makes of it, in their order.

        Threads decode the next batches while the network looks at one; no more than these are in memory.
        """
        pool = ThreadPoolExecutor(max_workers=os.cpu_count() or 1, thread_name_prefix="decode")
        rest = iter(paths)
        ahead: deque[tuple[list[Path], list[Future[Square | Unreadable]]]] = deque()

        def fetch() -> None:
            batch = list(itertools.islice(rest, INFERENCE_BATCH))
            if batch:
                ahead.append((batch, [pool.submit(self.decode, path) for path in batch]))

        try:
            for _ in range(_BATCHES_AHEAD):
                fetch()
            while ahead:
                batch, futures = ahead.popleft()
                decoded = [future.result() for future in futures]
                fetch()
                squares = [square for square in decoded if isinstance(square, Square)]
                rows = iter(look(squares) if squares else ())
                for path, outcome in zip(batch, decoded, strict=True):
                    yield outcome if isinstance(outcome, Unreadable) else told(path, next(rows))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def decode(self, path: Path) -> Square | Unreadable:
        """A picture as the run's store would keep it."""
        try:
            return decode_square(path, self.form.stored_side, self.scale)
        except UnreadableImage as error:
            return Unreadable(path, error.reason)

    def probabilities(self, squares: Sequence[Square]) -> NDArray[np.float32]:
        """(B, C) float32, rows sum to 1; where the device's memory is short, of a part of them at a time.

        Raises:
            RunFailed: there is none for one.
        """
        found = unless_out_of_memory(partial(self._probabilities, squares))
        if found is not None:
            return found
        if len(squares) == 1:
            raise out_of_memory_for_one(self.form.device)
        accelerator_of(self.form.device).release(self.form.device)
        half = len(squares) // 2
        return np.concatenate([self.probabilities(squares[:half]), self.probabilities(squares[half:])])

    def _probabilities(self, squares: Sequence[Square]) -> NDArray[np.float32]:
        views = plain_views_of(squares, self.form)
        if self.trunk_fixed:
            shares = shares_by_head(
                features_of(views, self.trunk, self.form, self.dtype), self.classifier.head
            )
        else:
            shares = shares_of(views, self._logits, self.form, self.dtype)
        return shares.cpu().numpy()

    def _logits(self, views: Tensor) -> Tensor:
        if self.lower is None:
            logits: Tensor = self.classifier(views)
            return logits
        cut, prefix = self.lower
        return cut.logits(self.classifier, prefix(views))

    def features(self, squares: Sequence[Square], part: TrunkPart, form: ViewFormat) -> Tensor:
        """(B, D_t) float32: what one of the trunks makes of its own views, as the run computed."""
        trunk = self.trunk.get_submodule(part.path)
        return features_of(plain_views_of(squares, form), trunk, form, self.dtype)


@dataclass(frozen=True)
class EnsemblePredictor:
    """The predictors of an ensemble's runs, each of which sees a picture in its own way."""

    members: tuple[Predictor, ...]
    temperatures: tuple[float, ...]
    """What each one's logits are divided by."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The same of all."""
        return self.members[0].classes

    def predict(self, paths: Iterable[Path]) -> Iterator[Predicted | Unreadable]:
        """What they say of each picture together, in order."""
        each = itertools.tee(paths, len(self.members))
        said_by = [member.predict(own) for member, own in zip(self.members, each, strict=True)]
        for said in zip(*said_by, strict=True):
            known = [one for one in said if isinstance(one, Predicted)]
            if len(known) < len(said):
                yield next(one for one in said if isinstance(one, Unreadable))
                continue
            shares = pooled([one.probabilities[None] for one in known], self.temperatures)[0]
            yield Predicted(known[0].path, shares)


def open_predictor(
    run: RunDirectory, recipe: Recipe, device: torch.device, *, teacher: bool = False
) -> Predictor | EnsemblePredictor:
    """As `load_predictor`, also of an ensemble of runs, by the weights that it keeps.

    Raises:
        UserError: as `load_predictor`; a member's weights are not those of when the ensemble was made.
    """
    if not is_ensemble(run):
        return load_predictor(run, recipe, device, teacher=teacher)
    trained_model(run, teacher=teacher)
    told = read_ensemble(run).members
    kept = [RunDirectory(run.path / member.folder) for member in told]
    for member, one in zip(told, kept, strict=True):
        require_weights(one, member.weights_sha256)
    return EnsemblePredictor(
        tuple(load_predictor(one, load_recipe(one.recipe), device) for one in kept),
        tuple(member.temperature for member in told),
    )


def require_weights(run: RunDirectory, sha256: str) -> None:
    """See that a run's final weights are those that were written down.

    Raises:
        UserError: they are gone, or others.
    """
    path = run.checkpoint / FINAL_WEIGHTS
    try:
        found = file_sha256(path)
    except OSError as error:
        raise UserError(
            "the weights are gone", where=clean(path), hint="make the ensemble anew from its runs"
        ) from error
    if found != sha256:
        raise UserError(
            "the weights are not those that the ensemble was made of",
            where=clean(path),
            hint="make the ensemble anew from its runs",
        )


def load_predictor(
    run: RunDirectory, recipe: Recipe, device: torch.device, *, teacher: bool = False
) -> Predictor:
    """The run's final model, or with `teacher` the one that first labelled its pool, ready to predict.

    It computes in the run's own arithmetic where the device has it, else in float32.

    Raises:
        UserError: the run has no results yet or had no teacher, or its weights are gone, damaged, or do not
            fit its recipe.
    """
    refuse_ensemble(run, "this")
    results, _ = trained_model(run, teacher=teacher)
    if teacher and run.teachers.exists():
        raise UserError(
            "finished runs were its teacher",
            where=clean(run.id),
            hint=f"ask one of them; {clean(run.teachers)} names them",
        )
    path = run.checkpoint / (TEACHER_WEIGHTS if teacher else FINAL_WEIGHTS)
    if not path.exists():
        raise UserError("the weights are gone", where=clean(path), hint="the run must be trained again")
    keep_freed_memory()
    size = recipe.data.image_size
    classifier = restored(run, recipe, results.classes, path.name)
    tuning = tune(classifier, recipe.finetune)
    classifier.to(device).to(memory_format=torch.channels_last).eval()
    dtype = inference_dtype(results.precision, device)
    form = view_format(recipe, classifier, device)
    trunk, cut = frozen_copy(classifier.trunk, size, dtype), find_cut(classifier, tuning)
    lower = None
    if cut is not None and not tuning.trunk_fixed:
        lower = cut, frozen_copy(cut.prefix(classifier), size, dtype)
    fixed = tuning.trunk_fixed
    return Predictor(results.classes, classifier, trunk, form, dtype, fixed, lower, _scale(run))


def restored(run: RunDirectory, recipe: Recipe, classes: Sequence[str], name: str) -> ImageClassifier:
    """A run's classifier with the weights of `checkpoint/NAME`, on the CPU.

    Raises:
        UserError: they are damaged, of other classes, or do not fit the recipe.
    """
    # Not weights = "none": the weights' name also decides how pixels are normalised.
    size = recipe.data.image_size
    classifier = build(recipe.model, len(classes), seed=0, pretrained=False, image_size=size)
    _load(classifier, run.checkpoint / name, classes)
    return classifier


def _scale(run: RunDirectory) -> Scale | None:
    made = read_provenance(run)
    try:
        bits, white = int(made["bit_depth"]), float(made["float_white"])
    except (KeyError, ValueError, TypeError):
        return None
    return Scale(bits, white) if bits in DEPTHS and white > 0 else None


def _load(classifier: ImageClassifier, path: Path, classes: Sequence[str]) -> None:
    """Fill the network from a file of the run; files of older runs do not tell their classes."""
    try:
        tensors, told = load_tensors(path)
        if tuple(told.get("classes", classes)) != tuple(classes):
            raise UserError("the weights are of other classes than the run's results", where=clean(path))
        put_back(classifier, tensors)
    except DamagedFile as error:
        raise UserError(
            f"the weights are damaged: {clean(error)}",
            where=clean(path),
            hint="copy the file and its .sha256 anew, or train the run again",
        ) from error
    except RuntimeError as error:  # what load_state_dict raises; its message names the tensors
        raise UserError(
            f"the weights do not fit the run's recipe: {clean(error, 400)}", where=clean(path)
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """An image as the run's evaluation sees it, what the run says, and where it sees it."""

    path: Path
    probabilities: NDArray[np.float32]
    """(C,)."""
    method: Method
    of_class: int | None
    """The class that `heat` is about; None of roll-out, which is about none."""
    picture: Pixels
    """(S, S, 3) uint8, the evaluation's view."""
    heat: NDArray[np.float32]
    """(h, w) in [0, 1], at the size of the feature map or of the grid of patches."""


def explain(
    predictor: Predictor, paths: Iterable[Path], *, of_class: int | None = None
) -> Iterator[Explained | Unreadable]:
    """Where the run sees what it says of each picture, in their order, by the method that suits its network.

    Maps are computed in float32; the probabilities are in the run's own arithmetic, as `predict` has them.

    Args:
        of_class: Grad-CAM for this class, else for the one that the run says.

    Raises:
        UserError: no method suits the run's backbone, or a class is asked of one that knows none.
    """
    method = _method(predictor)
    if of_class is not None and method != "grad-cam":
        raise UserError(
            f"{predictor.classifier.backbone} is looked into by {METHOD_NAMES[method]}, "
            "which is the same for every class",
            where="--class",
            hint="leave it out",
        )

    def look(squares: Sequence[Square]) -> list[Row]:
        return _explained(predictor, squares, of_class, method)

    yield from predictor.in_batches(paths, look, lambda path, row: Explained(path, *row))


def _method(predictor: Predictor) -> Method:
    side, device = predictor.form.side, predictor.form.device
    return method_for(predictor.classifier, torch.zeros(1, 3, side, side, device=device))


Row = tuple[NDArray[np.float32], Method, int | None, Pixels, NDArray[np.float32]]


def _explained(
    predictor: Predictor, squares: Sequence[Square], of_class: int | None, method: Method
) -> list[Row]:
    probabilities = predictor.probabilities(squares)
    classes = probabilities.argmax(axis=1) if of_class is None else np.full(len(squares), of_class)
    views = plain_views_of(squares, predictor.form.as_shown)
    wanted = torch.from_numpy(classes).to(predictor.form.device)
    maps = saliency_maps(predictor.classifier, views, wanted, method)
    about: list[int | None] = classes.tolist() if method == "grad-cam" else [None] * len(squares)
    return [
        (row, method, of, picture, heat)
        for row, of, picture, heat in zip(
            probabilities, about, pixels_of(views, predictor.form), maps.cpu().numpy(), strict=True
        )
    ]
