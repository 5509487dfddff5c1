"""A recipe on a drawn sample set, a tiny pipeline where the extra is installed, and fakes that need none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.generate.tiny_pipeline import write_pipeline
from tests.train.making import HEAD, make_sample, tiny
from workbench.generate.pipeline import Picture, PipelineFacts
from workbench.recipe import Recipe
from workbench.train.host import one_thread

FACTS = PipelineFacts("Fake", "", "0" * 64, guidance=7.5, steps=2, size=32, precision="fp32")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small sample set."""
    return make_sample(tmp_path_factory.mktemp("generate") / "sample")


@pytest.fixture
def recipe(sample: Path) -> Recipe:
    """On the sample set; its trunk has random weights, so near copies are found by look."""
    return tiny(HEAD, sample)


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pipeline of random weights."""
    for package in ("diffusers", "transformers", "peft"):
        pytest.importorskip(package, reason=f"the extra `generate` is not installed: no {package}")
    return write_pipeline(tmp_path_factory.mktemp("pipeline") / "tiny")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


@dataclass
class FakePainter:
    """Paints noise that follows from the seed, or what it is told to; remembers what it was asked for."""

    pictures: Callable[[str, int], NDArray[np.uint8] | Picture | None] = lambda _prompt, _seed: None
    facts: PipelineFacts = FACTS
    asked: list[tuple[str, int]] = field(default_factory=list)
    breaks_at: int = -1
    """Raise KeyboardInterrupt at this call."""
    error: Exception | None = None
    calls: int = 0

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        if self.calls == self.breaks_at:
            raise KeyboardInterrupt
        if self.error is not None:
            raise self.error
        self.calls += 1
        self.asked += zip(prompts, seeds, strict=True)
        return [self._one(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _one(self, prompt: str, seed: int) -> Picture:
        told = self.pictures(prompt, seed)
        if isinstance(told, Picture):
            return told
        return Picture(noise(seed) if told is None else told)


def noise(seed: int) -> NDArray[np.uint8]:
    """(32, 32, 3) uint8 of coarse random colours: no two have one look."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.kron(coarse, np.ones((4, 4, 1), dtype=np.uint8))


CPU = torch.device("cpu")
