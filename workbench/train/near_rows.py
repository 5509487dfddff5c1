"""Rows of features near each other, on whatever device a run has."""

from __future__ import annotations

import hashlib
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.compute import accelerator_of, exact_float32, full_precision
from workbench.pseudo.neighbours import EXACT_ON_DEVICE, EXACT_UP_TO, Near, nearest_others
from workbench.train.memory import unless_out_of_memory

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_BLOCK = 1024
"""Rows of the similarity matrix that are in memory at most at once."""
_MOST = 2**27
"""Similarities that are in memory at once, 512 MB; never fewer than one row's."""
_FREE_SHARE = 0.25
"""Most of a device's free memory that features and similarities take each: the network's weights stay."""
_TILE = (4096, 2**16)
"""Rows and columns of similarities that a device computes at once: 1 GB."""


class NeighbourSearch:
    """`nearest_others`, on the device where that has memory of its own and can be exact about more rows.

    What was found last is kept, by the rows' bytes: rounds whose trunk is fixed ask the same again.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._last: tuple[object, Near] | None = None

    def __call__(self, unit: Floats, k: int) -> Near:
        """The k nearest others of each of (N, D) rows of length 1."""
        key = unit.shape, k, hashlib.blake2b(np.ascontiguousarray(unit).data).digest()
        if self._last is None or self._last[0] != key:
            self._last = key, self._found(unit, k)
        return self._last[1]

    def _found(self, unit: Floats, k: int) -> Near:
        if EXACT_UP_TO < len(unit) <= EXACT_ON_DEVICE and self._has_room(unit):
            found = unless_out_of_memory(partial(nearest_on, self._device, unit, k))
            if found is not None:
                return found
            accelerator_of(self._device).release(self._device)
        return nearest_others(unit, k)

    def _has_room(self, unit: Floats) -> bool:
        own = accelerator_of(self._device)
        wanted = max(unit.nbytes, _TILE[0] * _TILE[1] * 4)
        return own.has_own_memory and wanted <= _FREE_SHARE * own.free_bytes(self._device)


@torch.inference_mode()
def nearest_on(device: torch.device, unit: Floats, k: int) -> Near:
    """The exact k nearest others of each row, k < N, by products in tiles; of equals the device chooses.

    Raises:
        torch.OutOfMemoryError: the features or a tile do not fit.
    """
    height, width = _TILE
    everything = torch.from_numpy(unit).to(device)  # (N, D) float32
    count = len(everything)
    found = Near(np.empty((count, k), dtype=np.int64), np.empty((count, k), dtype=np.float32))
    with full_precision(device), exact_float32():
        for first in range(0, count, height):
            rows = everything[first : first + height]
            best = rows.new_full((len(rows), k), -torch.inf)
            places = torch.zeros((len(rows), k), dtype=torch.int64, device=device)
            for start in range(0, count, width):
                cosines = rows @ everything[start : start + width].T
                # A row is not its own neighbour; the diagonal lies where both ranges overlap.
                if -len(rows) < first - start < cosines.shape[1]:
                    cosines.diagonal(first - start).fill_(-torch.inf)
                tile, columns = cosines.topk(min(k, cosines.shape[1]), dim=1)
                best, order = torch.cat([best, tile], dim=1).topk(k, dim=1)
                places = torch.cat([places, columns + start], dim=1).gather(1, order)
            found.rows[first : first + height] = places.cpu().numpy()
            found.cosines[first : first + height] = best.cpu().numpy()
    return found


def nearest_rows(known: Tensor, asked: Tensor, count: int) -> tuple[Ints, Floats]:
    """The rows of `known` (L, D) with the highest cosine to each of `asked` (Q, D), exactly.

    Returns: rows (Q, count) int64, the most alike first, ties in the order of rows; their cosines (Q, count)
        float32.
    """
    unit, height = _unit(known), max(1, _MOST // max(1, len(known)))
    rows, alike = [], []
    for first in range(0, len(asked), height):
        cosines = (_unit(asked[first : first + height]) @ unit.T).clamp(-1, 1).numpy()  # (Q, L)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
        rows.append(order)
        alike.append(np.take_along_axis(cosines, order, axis=1))
    return np.concatenate(rows), np.concatenate(alike)


def alike_pairs(features: Tensor, count: int, least: float) -> list[tuple[int, int, float]]:
    """(i, j, cosine) of rows i < j of (N, D) features that are at least so alike, the most alike first.

    Args:
        count: i is among the first so many rows.
    """
    unit = _unit(features)
    height = max(1, min(_BLOCK, _MOST // max(1, len(unit))))
    found: list[tuple[int, int, float]] = []
    for start in range(0, count, height):
        cosines = (unit[start : min(start + height, count)] @ unit.T).clamp(-1, 1).numpy()
        rows, columns = np.nonzero(cosines >= least)
        ahead = columns > rows + start
        pairs = zip((rows + start)[ahead].tolist(), columns[ahead].tolist(), strict=True)
        found += [(i, j, float(cosines[i - start, j])) for i, j in pairs]
    return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))


def _unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features, dim=1)
