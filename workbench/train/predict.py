"""A trained run on pictures of the user's own: the run's weights, its classes, its view of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.dataset import UnreadableImage
from workbench.dataset.depth import DEPTHS, Scale
from workbench.loader.decoding import Square, decode_square
from workbench.loader.store import stored_side
from workbench.loader.views import ViewFormat, plain_views_of
from workbench.model import Cut, ImageClassifier, build, find_cut, frozen_copy, put_back, tune
from workbench.recipe import Recipe
from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance
from workbench.runs.results import read_results
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.train.checkpoint import DamagedFile, load_tensors
from workbench.train.conclude import FINAL_WEIGHTS, TEACHER_WEIGHTS
from workbench.train.features import view_format
from workbench.train.memory import keep_freed_memory
from workbench.train.precision import Dtype, has_bf16, inference_dtype

BATCH = 64


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

    def predict(self, paths: Sequence[Path]) -> Iterator[Predicted | Unreadable]:
        """What the run says of each picture, in their order, a batch at a time."""
        with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
            for start in range(0, len(paths), BATCH):
                batch = paths[start : start + BATCH]
                yield from self._predict_batch(batch, list(pool.map(self.decode, batch)))

    def _predict_batch(
        self, paths: Sequence[Path], decoded: Sequence[Square | Unreadable]
    ) -> Iterator[Predicted | Unreadable]:
        squares = [square for square in decoded if isinstance(square, Square)]
        rows = iter(self.probabilities(squares) if squares else ())
        for path, outcome in zip(paths, decoded, strict=True):
            yield outcome if isinstance(outcome, Unreadable) else Predicted(path, next(rows))

    def decode(self, path: Path) -> Square | Unreadable:
        """A picture as the run's store would keep it."""
        try:
            return decode_square(path, stored_side(self.form.side), self.scale)
        except UnreadableImage as error:
            return Unreadable(path, error.reason)

    @torch.inference_mode()
    def probabilities(self, squares: Sequence[Square]) -> NDArray[np.float32]:
        """(B, C) float32, rows sum to 1."""
        views = plain_views_of(squares, self.form)
        with self._autocast():
            outputs: Tensor = self.trunk(views) if self.trunk_fixed else self._logits(views)
        outputs = self.form.averaged(outputs.float())
        logits: Tensor = self.classifier.head(outputs) if self.trunk_fixed else outputs
        probabilities: NDArray[np.float32] = torch.softmax(logits, dim=1).cpu().numpy()
        return probabilities

    def _logits(self, views: Tensor) -> Tensor:
        if self.lower is None:
            logits: Tensor = self.classifier(views)
            return logits
        cut, prefix = self.lower
        return cut.logits(self.classifier, prefix(views))

    @torch.inference_mode()
    def features(self, squares: Sequence[Square]) -> Tensor:
        """(B, D) float32 on the CPU: what the head sees, in the run's own arithmetic."""
        with self._autocast():
            features: Tensor = self.trunk(plain_views_of(squares, self.form))
            return self.form.averaged(features.float()).cpu()

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.form.device.type, torch.bfloat16, enabled=self.dtype == "bf16")


def load_predictor(
    run: RunDirectory, recipe: Recipe, device: torch.device, *, teacher: bool = False
) -> Predictor:
    """The run's final model, or with `teacher` the one that first labelled its pool, ready to predict.

    It computes in the run's own arithmetic where the device has it, else in float32.

    Raises:
        UserError: the run has no results yet or had no teacher, or its weights are gone, damaged, or do not
            fit its recipe.
    """
    if not run.results.exists():
        raise UserError(
            "the run has no trained model: it has not reached its results",
            where=clean(run.id),
            hint=f"petbench resume {run.handle} goes on with it; petbench runs show {run.handle} tells more",
        )
    results = read_results(run.results)
    if teacher and results.teacher_test is None:
        raise UserError("the run had no teacher: it trained without pseudo-labels", where=clean(run.id))
    path = run.checkpoint / (TEACHER_WEIGHTS if teacher else FINAL_WEIGHTS)
    if not path.exists():
        raise UserError("the weights are gone", where=clean(path), hint="the run must be trained again")
    keep_freed_memory()
    size = recipe.data.image_size
    # Not weights = "none": the weights' name also decides how pixels are normalised.
    classifier = build(recipe.model, len(results.classes), seed=0, pretrained=False, image_size=size)
    tuning = tune(classifier, recipe.finetune)
    _load(classifier, path, results.classes)
    classifier.to(device).to(memory_format=torch.channels_last).eval()
    dtype = inference_dtype(results.precision) if has_bf16(device) else "fp32"
    form = view_format(recipe, classifier, device)
    trunk, cut = frozen_copy(classifier.trunk, size, dtype), find_cut(classifier, tuning)
    lower = None
    if cut is not None and not tuning.trunk_fixed:
        lower = cut, frozen_copy(cut.prefix(classifier), size, dtype)
    fixed = tuning.trunk_fixed
    return Predictor(results.classes, classifier, trunk, form, dtype, fixed, lower, _scale(run))


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
