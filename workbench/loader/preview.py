"""What training will see of a few images: its own augmented views, without a store of the whole data set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from workbench.dataset.catalogue import Catalogue, ImageRecord, heads_of
from workbench.dataset.depth import Scale
from workbench.loader.batches import BatchOrder, ImageBatches
from workbench.loader.colours import WHITE
from workbench.loader.samples import PLAIN, Samples
from workbench.loader.store import HeadStore, ImageStore
from workbench.loader.store_build import Decoder, HeadDecoder, decode_square
from workbench.loader.views import ViewFormat, plain_views
from workbench.recipe import Augmentation, Data
from workbench.support.atomic import atomic_path
from workbench.support.clean import clean
from workbench.support.errors import UserError

Pixels = NDArray[np.uint8]

_HEAT = (
    (0.0, (10, 26, 74)),
    (0.25, (54, 72, 110)),
    (0.5, (124, 122, 120)),
    (0.75, (188, 174, 96)),
    (1.0, (255, 232, 60)),
)
"""Dark blue by grey to yellow: lightness rises evenly, so it reads without colour, too."""


def pixels_of(views: Tensor, form: ViewFormat) -> Pixels:
    """(B, H, W, 3) uint8 of normalised views (B, 3, H, W)."""
    mean, std = np.array(form.mean), np.array(form.std)
    shares = views.detach().cpu().permute(0, 2, 3, 1).numpy() * std + mean
    pixels: Pixels = np.clip(np.rint(shares * WHITE), 0, WHITE).astype(np.uint8)
    return pixels


def heat_overlay(picture: Pixels, heat: NDArray[np.float32]) -> Pixels:
    """A picture (H, W, 3) under a map (h, w) in [0, 1], enlarged smoothly: dark blue at 0, yellow at 1."""
    height, width = picture.shape[:2]
    enlarged = Image.fromarray(heat.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    values = np.clip(np.asarray(enlarged), 0, 1)  # (H, W)
    places = [place for place, _ in _HEAT]
    colour = np.stack(
        [np.interp(values, places, [colour[channel] for _, colour in _HEAT]) for channel in range(3)], axis=-1
    )
    cover = (0.3 + 0.3 * values)[..., None]  # the picture stays plain to see where nothing speaks
    mixed = (1 - cover) * picture + cover * colour
    overlay: Pixels = np.rint(mixed).astype(np.uint8)
    return overlay


def grey_map(heat: NDArray[np.float32]) -> Pixels:
    """A map (h, w) in [0, 1] as grey pixels (h, w) uint8 at its own size."""
    grey: Pixels = np.rint(np.clip(heat, 0, 1) * WHITE).astype(np.uint8)
    return grey


def save_png(pixels: Pixels, path: Path) -> None:
    """Write (H, W, 3) or (H, W) uint8 as PNG, whole or not at all.

    Raises:
        UserError: it cannot be written there.
    """
    try:
        with atomic_path(path) as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG")
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=clean(path)) from error


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """An image as evaluation sees it, and as training may; (S, S, 3) uint8 each."""

    record: ImageRecord
    plain: Pixels
    views: tuple[Pixels, ...]


def choose_images(catalogue: Catalogue, data: Data, count: int, seed: int) -> list[int]:
    """Positions of `count` training images of as many classes as there are, drawn by `seed`.

    With head_crops = "only", images without a head box are passed over: training never sees them.
    """
    draws = np.random.default_rng(seed)
    train = draws.permutation(catalogue.positions("train"))
    if data.head_crops == "only":
        train = train[[catalogue.records[p].head is not None for p in train.tolist()]]
    labels = catalogue.labels(data.target)[train]
    order = draws.permutation(len(catalogue.classes(data.target)))
    # The first image of every class, then the second of every class, …
    turn = np.zeros(len(train), dtype=np.int64)
    for label in np.unique(labels):
        turn[labels == label] = np.arange((labels == label).sum())
    chosen: list[int] = train[np.lexsort((order[labels], turn))][:count].tolist()
    return chosen


def previews(
    catalogue: Catalogue,
    positions: Sequence[int],
    data: Data,
    augmentation: Augmentation,
    form: ViewFormat,
    *,
    views: int,
    seed: int,
) -> list[Preview]:
    """Training views of these images, drawn by the loader itself; mixing blends them with one another.

    With fixed copies (`data.augmented_copies`) an image has no more views than copies, with head crops every
    other view is of the head, or all are.

    Raises:
        UnreadableImage: an image cannot be decoded.
        UserError: head_crops = "only" and no image has a head box.
    """
    records = tuple(catalogue.records[position] for position in positions)
    few = replace(catalogue, records=records)
    store = _small_store(records, form, decode_square, catalogue.scale)
    if data.head_crops != "off":
        store = replace(store, heads=_small_heads(records, form, catalogue.scale))
    labels = np.maximum(few.labels(data.target), 0)  # of what class an image is changes no view of it
    samples = Samples.of(np.arange(len(few)), labels, len(few.classes(data.target)))
    samples = samples.with_head_crops(few, data.head_crops).with_copies(data.augmented_copies)
    drawn: list[list[Pixels]] = [[] for _ in records]
    for position, view in _drawn(store, samples, augmentation, form, views, seed):
        if len(drawn[position]) < views:
            drawn[position].append(pixels_of(view[None], form)[0])
    plain = pixels_of(plain_views(store, np.arange(len(few)), form), form)
    return [Preview(*parts) for parts in zip(records, plain, map(tuple, drawn), strict=True)]


def _drawn(
    store: ImageStore, samples: Samples, augmentation: Augmentation, form: ViewFormat, views: int, seed: int
) -> Iterator[tuple[int, Tensor]]:
    """(position, view) of as many epochs as `views` may need; the plain ones among fixed copies left out."""
    batches = ImageBatches(
        store,
        samples,
        augmentation,
        side=form.side,
        mean=form.mean,
        std=form.std,
        batch_size=len(samples),
        seed=seed,
        device=form.device,
    )
    order = BatchOrder(len(samples), len(samples), seed)
    is_fixed = bool((samples.copies >= PLAIN).any())
    for epoch in range(1, 2 if is_fixed else views + 1):
        rows = order.shuffled(epoch)
        for batch in batches.epoch(epoch):
            by_sample = np.argsort(rows)  # so that an image's views come in the order of its samples
            for sample in range(len(samples)):
                if samples.copies[sample] != PLAIN:
                    yield int(samples.positions[sample]), batch.inputs[int(by_sample[sample])]


def _small_heads(records: Sequence[ImageRecord], form: ViewFormat, scale: Scale | None) -> HeadStore | None:
    boxes = heads_of(records)
    if not boxes:
        return None
    decode = HeadDecoder({records[i].path: box for i, box in boxes.items()}, scale)
    return HeadStore.of(_small_store([records[i] for i in boxes], form, decode, scale), boxes, len(records))


def _small_store(
    records: Sequence[ImageRecord], form: ViewFormat, decode: Decoder, scale: Scale | None
) -> ImageStore:
    """These images alone, as the store of the whole data set would keep them."""
    side = form.stored_side
    with ThreadPoolExecutor(thread_name_prefix="decode") as pool:
        squares = list(pool.map(lambda record: decode(record.path, side, scale), records))
    sizes: NDArray[np.int64] = np.array([(square.width, square.height) for square in squares], dtype=np.int64)
    return ImageStore(np.stack([square.pixels for square in squares]), sizes, (), np.zeros(0, dtype=np.int64))
