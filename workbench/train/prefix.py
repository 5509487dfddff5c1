"""A network's frozen part, run apart: without gradients, once where the same views come again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.loader import Batch
from workbench.model import Cut, ImageClassifier, frozen_copy
from workbench.support.spans import Part, spanned
from workbench.train.precision import Dtype

Ints = NDArray[np.int64]
MapBatch = tuple[Tensor, Ints]
"""Maps and the positions of their images."""

TRAINING_BYTES = 2**30
"""Most that a stage's maps may take. A constant, since beyond it steps compute their own, whose last bits may
differ: a resumed run must decide alike."""
EVALUATION_BYTES = 2**30
"""Most that all evaluations' maps may take. Whatever is kept, evaluation sees the same bits."""
FREE_SHARE = 0.25
"""And most of the free memory that these may take."""


class Prefix:
    """What is below a network's cut, in one arithmetic.

    Nothing in there changes during a run, so it is a copy, made once. In bf16 maps are the network's own bit
    for bit; in fp32 batch norms are folded, and they agree to rounding (1e-6 of their norm).
    """

    def __init__(
        self,
        cut: Cut,
        classifier: ImageClassifier,
        image_size: int,
        dtype: Dtype,
        device: torch.device,
    ) -> None:
        self.cut = cut
        self._module = frozen_copy(cut.prefix(classifier), image_size, dtype).requires_grad_(False)
        self._dtype, self._device = dtype, device

    @spanned(Part.FORWARD, "frozen groups")
    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """(B, C, h, w), or features (B, D), of images (B, 3, H, W); float32 or bfloat16."""
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._dtype == "bf16"):
            maps: Tensor = self._module(images)
        return maps


class Above(nn.Module):
    """A classifier whose frozen part is run by its prefix, or has been.

    Parameters, buffers and their names are the classifier's own; nothing here is saved.

    Args:
        on_maps: inputs are what the prefix returned, not images.
    """

    def __init__(self, classifier: ImageClassifier, prefix: Prefix, *, on_maps: bool) -> None:
        super().__init__()
        self._classifier = classifier
        self._prefix = prefix
        self._on_maps = on_maps

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, C)."""
        maps = inputs if self._on_maps else self._prefix.maps(inputs)
        if maps.ndim == 4:
            maps = maps.contiguous(memory_format=torch.channels_last)
        return self._prefix.cut.logits(self._classifier, maps)


@spanned(Part.FEATURES, "maps of fixed views")
def maps_of(prefix: Prefix, batches: Iterable[Batch], count: int) -> Tensor | None:
    """(K, …) the prefix's maps of all `count` images of the batches, in their order.

    None, after the first batch, if they would take more than `TRAINING_BYTES`.
    """
    found: Tensor | None = None
    done = 0
    for batch in batches:
        maps = prefix.maps(batch.inputs)
        if found is None:
            if count * maps[0].nbytes > TRAINING_BYTES:
                return None
            found = maps.new_empty((count, *maps.shape[1:]))
        found[done : done + len(maps)] = maps
        done += len(maps)
    return found


class KeptMaps:
    """Maps of plain views, batch by batch, by the images that an evaluation asks for.

    They are kept in the very batches that they were computed in, so whether they are changes no bit.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sets: dict[bytes, list[MapBatch]] = {}
        self._bytes = 0

    def batches(self, positions: Ints, computed: Iterator[MapBatch]) -> Iterator[MapBatch]:
        """(maps, positions) a batch: kept ones, or `computed`, which are kept if there is room for all."""
        key = positions.tobytes()
        if key in self._sets:
            yield from self._sets[key]
            return
        kept: list[MapBatch] | None = None
        size = 0
        for number, (maps, batch) in enumerate(computed):
            if not number:
                size = maps.nbytes // len(batch) * len(positions)
                kept = [] if size <= self._room() else None
            if kept is not None:
                kept.append((maps, batch))
            yield maps, batch
        if kept is not None:
            self._sets[key] = kept
            self._bytes += size

    def _room(self) -> int:
        on_gpu = self._device.type == "cuda"
        free = torch.cuda.mem_get_info(self._device)[0] if on_gpu else psutil.virtual_memory().available
        return min(EVALUATION_BYTES - self._bytes, int(FREE_SHARE * free))
