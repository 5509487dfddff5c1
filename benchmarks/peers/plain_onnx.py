"""An exported ONNX file asked about pictures, with onnxruntime, numpy and Pillow alone: nothing of petbench.

    python plain_onnx.py FOLDER PICTURE_OR_FOLDER… [--batch 64] > answers.csv

FOLDER is what `petbench export RUN --to onnx` made. Prints `file,class,probability` a picture. This is the
Python of its model card with a loop around it; benchmarks/exports.py holds its answers against the run's own.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image, ImageOps

ENDINGS = {".jpg", ".jpeg", ".png"}


def images_of(path: Path, config: Mapping[str, Any]) -> NDArray[np.float32]:
    """(3, S, S) float32 normalised, with several views (V, 3, S, S), of one picture's file."""
    side, stored = config["image_size"], config["stored_side"]
    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    short = min(picture.size)  # what is longer than 3:1 keeps its middle 2:1
    if max(picture.size) > 3 * short:
        kept = [min(length, 2 * short) for length in picture.size]
        left, top = ((length - keep) // 2 for length, keep in zip(picture.size, kept, strict=True))
        picture = picture.crop((left, top, left + kept[0], top + kept[1]))
    square = np.asarray(picture.resize((stored, stored), Image.Resampling.BICUBIC)) / 255
    places = (np.arange(side) + 0.5) / side

    def rows(length: int, share: float | None) -> NDArray[np.float64]:  # bilinear weights along one side
        extent = 1 if share is None else share * min(picture.size) / length
        centres = ((1 - extent) / 2 + extent * places) * stored - 0.5
        centres = np.clip(centres, 0, stored - 1)[:, None]
        weights: NDArray[np.float64] = np.maximum(0, 1 - abs(centres - np.arange(stored)))
        return weights

    shares = {"centre": 7 / 8, "full": 1.0, "close": 3 / 4, "squash": None}  # of the short side; None: all
    views = []
    for view in config["views"]:
        across, down = (rows(length, shares[view]) for length in picture.size)
        views.append(np.einsum("yh,hwc,xw->cyx", down, square, across, optimize=True))
    mean, std = (np.array(config[name])[:, None, None] for name in ("mean", "std"))
    normalised: NDArray[np.float32] = ((np.stack(views) - mean) / std).astype(np.float32)
    return normalised if len(views) > 1 else normalised.squeeze(0)


def pictures_in(given: Iterable[str]) -> Iterator[Path]:
    """The files named, and those of the folders named, in order."""
    for path in map(Path, given):
        if path.is_dir():
            yield from sorted(file for file in path.rglob("*") if file.suffix.lower() in ENDINGS)
        else:
            yield path


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("pictures", nargs="+")
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    config = json.loads((options.folder / "model.json").read_text("utf-8"))
    labels = (options.folder / "labels.txt").read_text("utf-8").splitlines()
    session = onnxruntime.InferenceSession(
        str(options.folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    files = list(pictures_in(options.pictures))
    writer = csv.writer(sys.stdout)
    writer.writerow(["file", "class", "probability"])
    for start in range(0, len(files), options.batch):
        batch = files[start : start + options.batch]
        images = np.stack([images_of(path, config) for path in batch])
        logits = session.run(None, {"images": images})[0]
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        for path, row in zip(batch, odds / odds.sum(axis=1, keepdims=True), strict=True):
            writer.writerow([path.name, labels[row.argmax()], f"{row.max():.6f}"])


if __name__ == "__main__":
    main()
