"""Facts of images by which a model's answers may differ: how bright, how blurred, how large, of which folder.

What is found in the pixels is kept by the content of the file, so that it is computed once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue
from workbench.dataset.depth import Scale
from workbench.dataset.probe import UnreadableImage, decode_bytes, read_bytes
from workbench.dataset.table import further_columns
from workbench.recipe.data import Data
from workbench.support.caches import DamagedCache, read_sealed, write_sealed
from workbench.support.paths import cache_home
from workbench.support.progress import QUIET, Progress
from workbench.support.units import human_bytes

Floats = NDArray[np.float64]

SIDE = 224
"""Pixels of the short side at which brightness and blur are measured: about what a network is shown."""
_BLUR = 9
"""Pixels of the filter that an image is blurred again with, as in Crete et al. 2007, Sec. 2."""
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_VERSION = 1
_MOST_DIFFERENT = 8
"""A column of numbers that has no more different values than this is one of names: a year, a camera."""

UNITS: Mapping[str, str] = {
    "brightness": "mean grey level, 0 black to 255 white",
    "blur": "0 sharp to 1 blurred (Crete et al. 2007)",
    "size": "width × height in pixels",
    "aspect": "width / height",
    "bytes": "length of the file",
}
"""What is measured of every image, in the order in which it is told."""
_TAKEN = (*UNITS, "class", "said", "cluster", "pair", "folder", "group", "species")
"""A table's column of such a name is called otherwise."""


def brightness_and_blur(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    """Mean grey level (Rec. 601 luma) in 0 … 255, and blur in 0 … 1, of a picture at `SIDE` pixels.

    Blur is the perceptual measure of Crete, Dolmiere, Ladret and Nicolas 2007 (SPIE 6492): how much of the
    difference between neighbours is left after blurring once more. Unlike the variance of the Laplacian it
    does not depend on contrast, which would make dark and plain pictures blurred ones.

    Args:
        pixels: (H, W, 3) uint8.
    """
    from PIL import Image

    # In floats: steps of whole grey levels would be edges of what is very blurred.
    grey = Image.fromarray(pixels.astype(np.float32) @ _LUMA)
    share = SIDE / min(grey.size)
    size = (max(SIDE, round(grey.width * share)), max(SIDE, round(grey.height * share)))
    values = np.asarray(grey.resize(size, Image.Resampling.BILINEAR, reducing_gap=2), dtype=np.float32)
    return float(values.mean()), max(_blur_along(values), _blur_along(values.T))


def _blur_along(values: NDArray[np.float32]) -> float:
    """Blur of (H, W) along its rows' direction, 1 of one colour."""
    padded = np.pad(values, ((_BLUR // 2 + 1, _BLUR // 2), (0, 0)), mode="edge")
    sums = np.cumsum(padded, axis=0, dtype=np.float64)
    again = (sums[_BLUR:] - sums[:-_BLUR]) / _BLUR  # (H, W)
    sharp = np.abs(np.diff(values, axis=0))
    lost = np.maximum(0, sharp - np.abs(np.diff(again, axis=0)))
    total = float(sharp.sum(dtype=np.float64))
    return 1 - float(lost.sum()) / total if total > 0 else 1.0


def image_numbers(
    catalogue: Catalogue,
    positions: Sequence[int],
    wanted: Sequence[str] = tuple(UNITS),
    *,
    cache: Path | None = None,
    reporter: Progress = QUIET,
) -> dict[str, Floats]:
    """Each of `wanted` as (K,) float64; NaN of an image that cannot be decoded.

    Args:
        positions: of K images in the catalogue.
        wanted: names in `UNITS`; only brightness and blur look at pixels.
        cache: default: the cache home.
    """
    records = [catalogue.records[position] for position in positions]
    found: dict[str, Floats] = {}
    if {"brightness", "blur"} & set(wanted):
        pixels = _pixel_facts(catalogue, positions, cache or cache_home(), reporter)  # (K, 2)
        found |= {"brightness": pixels[:, 0], "blur": pixels[:, 1]}
    found["size"] = np.array([record.size[0] * record.size[1] for record in records], dtype=np.float64)
    found["aspect"] = np.array([record.size[0] / record.size[1] for record in records], dtype=np.float64)
    found["bytes"] = np.array([record.bytes for record in records], dtype=np.float64)
    return {name: found[name] for name in UNITS if name in wanted}


def number_words(name: str, low: float, high: float) -> str:
    """`12–71`, `0.05–0.19 MP`, `21.3–40.0 KiB`: what lies between two values of a fact or of a column."""
    match name:
        case "size":
            first, last = (f"{value / 1e6:.{2 if value >= 1e5 else 4}f}" for value in (low, high))
            return _span(first, last, " MP")
        case "bytes":
            return _span(human_bytes(low), human_bytes(high))
        case "brightness":
            return _span(f"{low:.0f}", f"{high:.0f}")
        case "blur" | "aspect":
            return _span(f"{low:.2f}", f"{high:.2f}")
        case _:
            return _span(f"{low:.6g}", f"{high:.6g}")


def _span(low: str, high: str, unit: str = "") -> str:
    return f"{low}{unit}" if low == high else f"{low}–{high}{unit}"


def image_names(
    catalogue: Catalogue, positions: Sequence[int], data: Data
) -> tuple[dict[str, list[str | None]], dict[str, Floats]]:
    """What is written of each image: its folders, its group, and a table's further columns.

    Returns: columns of names, of which None is an empty field; and the columns that hold numbers, as (K,)
        float64 with NaN for an empty field. A column that is the same of all images is left out.
    """
    records = [catalogue.records[position] for position in positions]
    names: dict[str, list[str | None]] = {}
    depth = max((len(PurePosixPath(record.id).parts) - 1 for record in records), default=0)
    for level in range(1, depth + 1):
        parts = [PurePosixPath(record.id).parts[:-1] for record in records]
        names["folder" if level == 1 else f"folder {level}"] = [
            "/".join(part[:level]) if len(part) >= level else None for part in parts
        ]
    if any(record.group for record in records):
        names["group"] = [record.group or None for record in records]
    if catalogue.species and data.target == "breed":
        names["species"] = [
            catalogue.species[record.species] if record.species is not None and record.species >= 0 else None
            for record in records
        ]
    numbers: dict[str, Floats] = {}
    ids = {record.id for record in records}
    by_id = further_columns(data, catalogue.root, ids) if data.dataset == "table" else {}
    for column in next(iter(by_id.values()), {}):
        cells = [by_id.get(record.id, {}).get(column) for record in records]
        name = f"column {column}" if column in (*_TAKEN, *names) else column
        values = _numbers_in(cells)
        if values is None:
            names[name] = cells
        else:
            numbers[name] = values
    return {name: cells for name, cells in names.items() if len(set(cells)) > 1}, numbers


def _numbers_in(cells: Sequence[str | None]) -> Floats | None:
    """The cells as numbers, NaN for empty ones; None where they are names."""
    there = [cell for cell in cells if cell is not None]
    if len(Counter(there)) <= _MOST_DIFFERENT:
        return None
    try:
        values = np.array([math.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)
    except ValueError:
        return None
    return values if np.isfinite(values).sum() == len(there) else None


def _pixel_facts(catalogue: Catalogue, positions: Sequence[int], cache: Path, reporter: Progress) -> Floats:
    """(K, 2) float64 brightness and blur."""
    catalogue.know_contents(reporter)
    digests = [catalogue.contents[position].digest for position in positions]
    kept = _place(catalogue, cache)
    known = _remembered(kept)
    missing = dict(zip(digests, positions, strict=True))
    new = [(digest, position) for digest, position in missing.items() if digest not in known]
    if new:
        paths = [catalogue.records[position].path for _, position in new]
        with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="pixels") as pool:
            measured = pool.map(lambda path: _facts_of(path, catalogue.scale), paths)
            for done, ((digest, _), facts) in enumerate(zip(new, measured, strict=True), 1):
                known[digest] = facts
                if done % 50 == 0 or done == len(new):
                    reporter.progress("look at pixels", done, len(new))
        _remember(kept, known, {content.digest for content in catalogue.contents})
    return np.array([known[digest] for digest in digests], dtype=np.float64).reshape(-1, 2)


def _facts_of(path: Path, scale: Scale | None) -> tuple[float, float]:
    try:
        brightness, blur = brightness_and_blur(decode_bytes(read_bytes(path), scale, side=SIDE).pixels)
        return round(brightness, 3), round(blur, 5)  # as they are kept, so that bins are the same later
    except UnreadableImage:
        return math.nan, math.nan


def _place(catalogue: Catalogue, cache: Path) -> Path:
    """By the scale, too: of pictures with more than 8 bits it decides how bright they are."""
    told = os.fsencode(catalogue.root) + repr(catalogue.scale).encode()
    return cache / "pixel-facts" / f"{hashlib.sha256(told).hexdigest()[:24]}.sealed"


def _remembered(kept: Path) -> dict[str, tuple[float, float]]:
    try:
        content = read_sealed(kept)
        values = json.loads(content) if content is not None else {}
        if values.get("version") != _VERSION:
            return {}
        return {
            digest: (math.nan, math.nan) if facts is None else (float(facts[0]), float(facts[1]))
            for digest, facts in values["facts"].items()
        }
    except (DamagedCache, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}  # looking again is all that it costs


def _remember(kept: Path, known: Mapping[str, tuple[float, float]], there: set[str]) -> None:
    facts = {
        digest: None if math.isnan(pair[0]) else pair for digest, pair in known.items() if digest in there
    }
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time alone
        write_sealed(kept, json.dumps({"version": _VERSION, "facts": facts}).encode())
