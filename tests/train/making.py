"""Tiny runs: a sample set of a few images, small networks, everything under one directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.loader.conftest import Recorder
from workbench.dataset.sample import SampleOptions, generate_sample
from workbench.recipe import Recipe, parse_recipe
from workbench.recipe.dump import dump_recipe
from workbench.runs.events import Event, StepDone
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.results import Results
from workbench.train import Outcome, Places, attempt
from workbench.train import run as run_module
from workbench.train.checkpoint import load_tensors
from workbench.train.setup import Setup, prepare

CPU = torch.device("cpu")
CLASSES = 10
TRAIN_IMAGES = 5 * CLASSES
TEST_IMAGES = 2 * CLASSES
# One of five a class validates, so a supervised run trains on 40.
POOL_IMAGES = TRAIN_IMAGES - CLASSES

_SMALL = """
[data]
dataset = "sample"
image_size = 32
evaluation_views = ["centre"]
[model]
backbone = "shufflenet_v2_x0_5"
weights = "none"
"""

HEAD = f"""
schema = 1
name = "tiny"
{_SMALL}[finetune]
layers = ["head"]
[optimizer]
name = "adamw"
learning_rate = 1e-2
[augmentation]
random_crop = false
flip = false
[training]
epochs = 3
batch_size = 8
precision = "fp32"
"""
"""Supervised, the head alone on cached features."""

PSEUDO = """
[pseudo_label]
strategy = "iterative"
labelled_fraction = 0.5
rounds = 2
epochs_per_round = 2
fraction = 0.4
"""
"""Added to either: 20 labelled images, 20 in the pool."""

TRUNK = f"""
schema = 1
name = "tiny-trunk"
{_SMALL}dropout = 0.3
[finetune]
layers = "all"
[optimizer]
name = "adam"
learning_rate = 1e-3
schedule = "cosine"
[training]
epochs = 2
batch_size = 8
precision = "fp32"
ema = 0.9
"""
"""Supervised, through the trunk: random crop and flip, dropout, a schedule, an average, Adam."""


def make_sample(root: Path) -> Path:
    """A sample set of `TRAIN_IMAGES` and `TEST_IMAGES` pictures of 64 pixels."""
    generate_sample(root, SampleOptions(train_per_class=5, test_per_class=2, size=64))
    return root


def recipe_text(base: str, data: Path) -> str:
    """`base` on the data set at `data`."""
    return base.replace("[data]\n", f'[data]\nroot = "{data}"\n')


def tiny(base: str, data: Path, *changes: str) -> Recipe:
    """The recipe `base` on `data`, with `--set` changes."""
    return parse_recipe(recipe_text(base, data), overrides=changes)


EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True)
class Trained:
    """An attempt that ended, whichever way."""

    directory: RunDirectory
    outcome: Outcome
    recorder: Recorder

    @property
    def results(self) -> Results:
        """Of an attempt that got there."""
        assert self.outcome.results is not None, self.outcome
        return self.outcome.results

    def events(self, kind: type[EventT]) -> list[EventT]:
        """The events of a kind, in order."""
        return [event for event in self.recorder.events if isinstance(event, kind)]

    def weights(self, name: str = "final") -> dict[str, Tensor]:
        """The tensors of `checkpoint/NAME.safetensors`."""
        return load_tensors(self.directory.checkpoint / f"{name}.safetensors")[0]


def places(home: Path) -> Places:
    """Everything under `home`, on the CPU."""
    return Places(data_home=home / "data", cache=home / "cache", device=CPU)


def train(recipe: Recipe, home: Path, *, recorder: Recorder | None = None) -> Trained:
    """Train a recipe in a new directory under `home`."""
    directory = create_run(home / "runs", recipe.name, dump_recipe(recipe), datetime.now())
    return go_on(directory, recipe, home, recorder=recorder)


def go_on(
    directory: RunDirectory, recipe: Recipe, home: Path, *, recorder: Recorder | None = None
) -> Trained:
    """Another attempt in the same directory."""
    recorder = recorder or Recorder()
    return Trained(directory, attempt(directory, recipe, places(home), recorder), recorder)


class Crash(Recorder):
    """Breaks at the `at`-th interval of steps."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.left = at

    def event(self, event: Event) -> None:
        super().event(event)
        if isinstance(event, StepDone):
            self.left -= 1
            if not self.left:
                raise RuntimeError("power")


def poison_hidden_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every unlabelled image of the runs that follow a wrong label, hidden as its own was."""

    def poisoned(recipe: object, places: Places, reporter: object, **options: object) -> Setup:
        setup = prepare(recipe, places, reporter, **options)  # type: ignore[arg-type]
        hidden = setup.split.unlabelled
        for labels in (setup.labels, setup.taught):
            labels[hidden] = (labels[hidden] + 1 + np.arange(len(hidden)) % 3) % CLASSES
        return setup

    monkeypatch.setattr(run_module, "prepare", poisoned)


def differing(
    first: dict[str, Tensor], second: dict[str, Tensor], prefixes: Sequence[str] = ("",)
) -> set[str]:
    """Names under `prefixes` of the tensors that are not the same in both."""
    assert first.keys() == second.keys()
    return {
        name
        for name in first
        if name.startswith(tuple(prefixes)) and not torch.equal(first[name], second[name])
    }
