"""Small real pictures, and stores of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from workbench.dataset.catalogue import Catalogue, HeadBox, ImageRecord
from workbench.loader.store import ImageStore
from workbench.runs.events import Event, Message

CPU = torch.device("cpu")


@dataclass
class Recorder:
    """A reporter that remembers."""

    events: list[Event] = field(default_factory=list)
    steps: list[tuple[str, int, int]] = field(default_factory=list)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def progress(self, task: str, done: int, total: int) -> None:
        self.steps.append((task, done, total))

    def messages(self, level: str) -> list[str]:
        """Texts of the messages of a level."""
        return [e.text for e in self.events if isinstance(e, Message) and e.level == level]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def smooth_picture(width: int, height: int, phase: float = 0.0) -> NDArray[np.uint8]:
    """(height, width, 3) uint8 waves, dozens of pixels long: any sound resampling gives nearly the same."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [
        np.sin(x / 37 + phase) * np.cos(y / 29),
        np.cos(x / 23 - y / 41 + 2 * phase),
        np.sin(y / 31 + phase) + 0.3 * np.cos(x / 53),
    ]
    return np.stack([np.clip(128 + 90 * wave, 0, 255) for wave in waves], axis=2).astype(np.uint8)


def catalogue_of(paths: list[Path], heads: dict[int, HeadBox] | None = None) -> Catalogue:
    """A catalogue of these files in two breeds by turns; unreadable files get a made-up size."""
    records = []
    for position, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                size = image.size
        except OSError:
            size = (10, 10)
        records.append(
            ImageRecord(
                id=path.stem,
                path=path,
                breed=position % 2,
                species=None,
                part="train",
                size=size,
                bytes=path.stat().st_size,
                head=(heads or {}).get(position),
            )
        )
    return Catalogue("folder", paths[0].parent, ("a", "b"), (), tuple(records))


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[int], Catalogue]:
    """A maker of catalogues of so many PNG files in various sizes."""

    def make(count: int) -> Catalogue:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        paths = [folder / f"picture_{i}.png" for i in range(count)]
        for i, path in enumerate(paths):
            Image.fromarray(smooth_picture(90 + 7 * (i % 5), 80 + 11 * (i % 3), phase=i)).save(path)
        return catalogue_of(paths)

    return make


def store_of(pictures: list[NDArray[np.uint8]], side: int) -> ImageStore:
    """A store of (H, W, 3) uint8 pictures in memory."""
    squares = [
        np.asarray(Image.fromarray(p).resize((side, side), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        for p in pictures
    ]
    sizes = [(p.shape[1], p.shape[0]) for p in pictures]
    return ImageStore(np.stack(squares), np.array(sizes), (), np.empty(0, dtype=np.int64))


def random_store(count: int, side: int, seed: int = 0) -> ImageStore:
    """A store of noise from images of many shapes."""
    source = np.random.default_rng(seed)
    pixels = source.integers(0, 256, (count, 3, side, side), dtype=np.uint8)
    return ImageStore(pixels, source.integers(60, 200, (count, 2)), (), np.empty(0, dtype=np.int64))
