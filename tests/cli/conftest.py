"""Two runs trained once for commands that look at finished runs; a home of its own for those that train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import torch

from tests.cli.whole import Petbench, petbench_of
from tests.train.making import make_sample
from workbench.dataset.sample import SampleOptions, generate_sample
from workbench.recipe import dump_recipe, parse_recipe
from workbench.runs.events import Silent
from workbench.runs.layout import RunDirectory, create_run
from workbench.train import Places, attempt
from workbench.train.host import one_thread

PSEUDO_LABELLED = """
schema = 1
name = "balanced"
[data]
dataset = "sample"
image_size = 64
evaluation_views = ["centre"]
[model]
backbone = "efficientnet_lite0"
[finetune]
layers = ["head"]
[optimizer]
name = "adamw"
learning_rate = 3e-3
[augmentation]
random_crop = false
flip = false
[training]
epochs = 6
batch_size = 8
precision = "fp32"
[pseudo_label]
strategy = "class_balanced"
labelled_fraction = 0.3
epochs_per_round = 3
rounds = 2
"""

SUPERVISED = """
schema = 1
name = "supervised"
[data]
dataset = "sample"
image_size = 32
[model]
backbone = "mobilenet_v3_small"
weights = "none"
[finetune]
layers = "all"
[training]
epochs = 1
batch_size = 32
precision = "fp32"
"""


@dataclass(frozen=True, slots=True)
class World:
    """A data home, a runs home, and the two finished runs in it."""

    data: Path
    runs: Path
    pseudo_labelled: RunDirectory
    supervised: RunDirectory

    @property
    def images(self) -> Path:
        """The sample's picture files."""
        return self.data / "petbench-sample" / "images"


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few drawn pets, for whole runs that take a second."""
    return make_sample(tmp_path_factory.mktemp("tiny") / "sample")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with runs, data and cache of its own."""
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"PETBENCH_{name}", str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
def petbench(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Petbench]:
    """Runs `petbench ARGUMENTS` in this process; processes that it starts have one thread too."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with one_thread():
        yield petbench_of(monkeypatch, capsys)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Really trained, on drawn pictures of 64 pixels: seconds. Tests must not change it."""
    base = tmp_path_factory.mktemp("trained")
    data, runs = base / "data", base / "runs"
    options = SampleOptions(seed=0, train_per_class=8, test_per_class=4, size=64)
    generate_sample(data / "petbench-sample", options)
    places = Places(data_home=data, cache=base / "cache", device=torch.device("cpu"))
    with one_thread():  # on a busy machine two threads that wait for each other take ten times as long
        made = [_train(runs, text, places) for text in (PSEUDO_LABELLED, SUPERVISED)]
    return World(data, runs, *made)


@pytest.fixture
def world(trained: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The trained runs, where the commands look for runs and data."""
    monkeypatch.setenv("PETBENCH_DATA", str(trained.data))
    monkeypatch.setenv("PETBENCH_RUNS", str(trained.runs))
    with one_thread():
        yield trained


def _train(runs: Path, recipe_text: str, places: Places) -> RunDirectory:
    recipe = parse_recipe(recipe_text)
    directory = create_run(runs, recipe.name, dump_recipe(recipe), datetime.now())
    outcome = attempt(directory, recipe, places, Silent())
    assert outcome.code == 0, outcome.reason
    return directory
