"""The features of a folder's images: from the bank that runs fill, and kept there for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.compute import Dtype, accelerator_of, computes_in, find_device
from workbench.dataset.catalogue import Catalogue, ImageRecord
from workbench.dataset.listing import image_id
from workbench.dataset.probe import UnreadableImage, read_header
from workbench.labels.protocol import Phase
from workbench.model import build, frozen_copy
from workbench.recipe import Model, Recipe
from workbench.recipe.data import Data
from workbench.runs.events import Silent
from workbench.support.errors import UserError
from workbench.train.feature_bank import FeatureBanks, view_format
from workbench.train.predict import Predictor, Unreadable
from workbench.train.run_features import feature_bank

Floats = NDArray[np.float32]
Tell = Callable[[Phase, int, int], None]
_CHUNK = 256
"""Images between two words on how far it is: four passes."""


@dataclass(frozen=True, eq=False)
class FolderFeatures:
    """What a pretrained trunk makes of the images that can be read."""

    paths: tuple[str, ...]
    """As the journal has them."""
    features: Floats
    """(N, D) float32, a row a path."""


def folder_features(
    folder: Path,
    paths: Sequence[str],
    *,
    backbone: str,
    image_size: int,
    device: str = "auto",
    cache: Path,
    tell: Tell,
) -> FolderFeatures:
    """Look at every image of a folder in one plain view; those that cannot be read are left out.

    Args:
        paths: below the folder, with forward slashes.
        device: as `find_device` has it.
        cache: the cache home, where features are kept by what the images hold.

    Raises:
        UserError: the backbone, its weights or the device cannot be had.
        OSError: the disk is full.
    """
    recipe = Recipe(
        name="label",
        data=Data(dataset="table", root=str(folder), image_size=image_size, evaluation_views=("centre",)),
        model=Model(backbone=backbone),
    )
    catalogue, own = _catalogue(folder, paths, tell)
    predictor = _predictor(recipe, find_device(device))
    bank = feature_bank(catalogue, predictor, cache=cache, reporter=Silent())
    rows, left = [], []
    positions = np.arange(len(catalogue))
    tell("features", 0, len(positions))
    for start in range(0, len(positions), _CHUNK):
        chunk = positions[start : start + _CHUNK]
        found, read = _rows(bank, catalogue, predictor, chunk)
        rows.append(found)
        left += [own[position] for position in read.tolist()]
        tell("features", int(chunk[-1]) + 1, len(positions))
    width = predictor.classifier.feature_width
    return FolderFeatures(
        tuple(left), np.concatenate(rows) if rows else np.empty((0, width), dtype=np.float32)
    )


def _rows(
    bank: FeatureBanks, catalogue: Catalogue, predictor: Predictor, positions: NDArray[np.int64]
) -> tuple[Floats, NDArray[np.int64]]:
    """(K, D) features and (K,) positions of those of the images that can be decoded."""
    try:
        return bank.rows(positions).numpy(), positions
    except UserError:  # one of them cannot be: which, only decoding tells
        decoded = [predictor.decode(catalogue.records[position].path) for position in positions.tolist()]
        whole = [not isinstance(square, Unreadable) for square in decoded]
        read = positions[np.array(whole, dtype=np.bool_)]
        return bank.rows(read).numpy(), read


def _catalogue(folder: Path, paths: Sequence[str], tell: Tell) -> tuple[Catalogue, list[str]]:
    """The images whose header can be read, in the order that a table of them has, and their paths."""
    known = sorted((image_id(folder / path, folder), path) for path in paths)
    records, own = [], []
    for done, (name, path) in enumerate(known, 1):
        try:
            header = read_header(folder / path)
        except UnreadableImage:
            continue
        finally:
            if done % 100 == 0 or done == len(known):
                tell("decoding", done, len(known))
        records.append(ImageRecord(name, folder / path, -1, None, "unlabelled", header.size, header.bytes))
        own.append(path)
    return Catalogue("table", folder, (), (), tuple(records)), own


def _predictor(recipe: Recipe, device: torch.device) -> Predictor:
    """The pretrained trunk, ready to look at images."""
    size = recipe.data.image_size
    classifier = build(recipe.model, 2, seed=0, image_size=size)
    classifier.to(device).to(memory_format=torch.channels_last).eval()
    # A processor would have to time it first.
    is_native = not accelerator_of(device).times_arithmetic and computes_in("bf16", device)
    dtype: Dtype = "bf16" if is_native else "fp32"
    form = view_format(recipe, classifier, device)
    return Predictor((), classifier, frozen_copy(classifier.trunk, size, dtype), form, dtype, True)
