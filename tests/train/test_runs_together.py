"""Whole runs that two processes train together, tiny ones, many in one pair of processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from torch import Tensor

from tests.loader.conftest import Recorder
from tests.train.making import CLASSES, HEAD, TRAIN_IMAGES, TRUNK, make_sample, places, tiny
from tests.train.worlds import in_world
from workbench.loader import batches as batches_module
from workbench.loader.views import render
from workbench.recipe import STRATEGIES
from workbench.recipe.dump import dump_recipe
from workbench.recipe.online import Online
from workbench.recipe.pseudo_label import strategies_of
from workbench.runs.events import Message
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.predictions import load_predictions
from workbench.runs.results import read_results
from workbench.runs.run_history import read_history
from workbench.train import attempt, follow
from workbench.train.checkpoint import load_tensors
from workbench.train.loop import StageRun
from workbench.train.state import Best
from workbench.train.step import Stepped, Stepper
from workbench.train.world import World

pytestmark = pytest.mark.timeout(900)  # one of them trains all recipes

EPOCHS = 2
"""Of `TRUNK`."""
ONE_EPOCH = ("training.epochs=1",)
QUIET = ("model.dropout=0.0", "training.epochs=1", "training.ema=0.0", 'optimizer.name="sgd"')
FROZEN = ('finetune.batch_norm_statistics="frozen"', "optimizer.learning_rate=1e-2")
LEARNING = ("optimizer.learning_rate=1e-2",)


@dataclass(frozen=True)
class Told:
    """How a run went, as one of its processes saw it."""

    code: int
    stages: tuple[str, ...]
    """What the network's weights came to after each stage."""
    said: tuple[str, ...] = ()
    drawn: int = 0
    """Training views that it made."""


def _strategy(name: str) -> tuple[str, tuple[str, ...]]:
    is_online = name in strategies_of(Online)
    lines = ["labelled_fraction = 0.5", "epochs_per_round = 1", f'strategy = "{name}"']
    if is_online:
        lines.append("unlabelled_ratio = 1")
    # The small network has no residual blocks that could be left out.
    changes = ("pseudo_label.noise.stochastic_depth=0.0",) if name == "noisy_student" else ()
    base = (TRUNK if is_online else HEAD) + "\n[pseudo_label]\n" + "\n".join(lines) + "\n"
    return base, (*ONE_EPOCH, *changes)


RECIPES: dict[str, tuple[str, tuple[str, ...]]] = {
    **{name: _strategy(name) for name in STRATEGIES},
    "saliency": (TRUNK, (*ONE_EPOCH, "training.saliency_weight=0.1")),
    "frozen norms": (TRUNK, (*QUIET, *FROZEN)),
    "learning norms": (TRUNK, (*QUIET, *LEARNING)),
    "half precision": (TRUNK, (*ONE_EPOCH, 'training.precision="bf16"')),
    "whole": (TRUNK, ()),
}


def _take_part(world: World, home: Path, name: str, folder: str = "together") -> Told:
    """Train a recipe in this process of the world."""
    base, changes = RECIPES[name]
    recipe = tiny(base, home / "sample", *changes)
    run = world.agree(
        lambda: create_run(home / folder, recipe.name, dump_recipe(recipe), datetime.now()).path
    )
    if world.is_first:
        (home / folder / name).symlink_to(run)
    return _go_on(world, home, RunDirectory(run), recipe)


def _go_on(world: World, home: Path, run: RunDirectory, recipe: Any) -> Told:
    place, recorder = replace(places(home), world=world), Recorder()
    stages: list[str] = []
    drawn: list[int] = []
    train = StageRun.run

    def counted(squares: Tensor, *given: Any) -> Tensor:
        drawn.append(len(squares))
        return render(squares, *given)

    def watched(stage: StageRun) -> Best:
        best = train(stage)
        found = sorted(stage.network.weights().items())
        stages.append(repr([(key, float(value.double().sum())) for key, value in found]))
        return best

    with patch.object(StageRun, "run", watched), patch.object(batches_module, "render", counted):
        code = attempt(run, recipe, place, recorder).code if world.is_first else follow(run, recipe, place)
    said = [event.text for event in recorder.events if isinstance(event, Message)]
    return Told(code, tuple(stages), tuple(said), sum(drawn))


def _stopped(world: World, home: Path) -> tuple[Told, Told]:
    """The same run, of which the second process is asked to stop at its eighth step; then gone on with."""
    step, taken = Stepper.step, [0]

    def counted(stepper: Stepper, *given: Any) -> Stepped:
        taken[0] += 1
        if taken[0] == 8 and not world.is_first:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(stepper, *given)

    with patch.object(Stepper, "step", counted):
        first = _take_part(world, home, "whole", "stopped")
    base, changes = RECIPES["whole"]
    run = RunDirectory((home / "stopped" / "whole").resolve())
    return first, _go_on(world, home, run, tiny(base, home / "sample", *changes))


def _take_parts(world: World, home: Path, names: Sequence[str]) -> dict[str, Told]:
    return {name: _take_part(world, home, name) for name in names}


def _few(world: World, home: Path) -> dict[str, Told]:
    """The runs whose files are looked at, and the one that is `stopped` and then `resumed`."""
    runs = _take_parts(world, home, ["frozen norms", "iterative", "whole"])
    stopped, resumed = _stopped(world, home)
    return {**runs, "stopped": stopped, "resumed": resumed}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of `together` are."""
    home = tmp_path_factory.mktemp("together")
    make_sample(home / "sample")
    return home


@pytest.fixture(scope="module")
def together(home: Path) -> list[Any]:
    """What each process saw of the runs of `_few`."""
    return in_world(2, _few, home)


def _weights(home: Path, folder: str, name: str) -> dict[str, Any]:
    return load_tensors(home / folder / name / "checkpoint" / "final.safetensors")[0]


@pytest.mark.slow
def test_every_strategy_and_objective_runs_in_step_on_two_processes(tmp_path: Path) -> None:
    """In one test: a pair of processes serves all, and workers of pytest do not each train them."""
    make_sample(tmp_path / "sample")
    together = in_world(2, _take_parts, tmp_path, list(RECIPES))
    for name in RECIPES:
        first, second = (runs[name] for runs in together)
        assert (first.code, second.code) == (0, 0), (tmp_path / "together" / name / "run.log").read_text()
        assert first.stages == second.stages, name
        assert first.stages, name
        assert any("2 processes share each batch" in text for text in first.said), name


@pytest.mark.slow
def test_a_run_says_on_how_many_devices_it_trained_and_what_each_did(together: list[Any], home: Path) -> None:
    run = RunDirectory(home / "together" / "whole")
    ranks = read_history(run.metrics).ranks
    assert ranks is not None
    assert len(ranks.images_per_second) == len(ranks.memory_bytes) == 2
    results = read_results(run.results)
    assert (results.devices, results.peak_memory_bytes) == (2, max(ranks.memory_bytes))
    alike = read_history(run.metrics).epochs("train")[-1].images_per_second
    assert sum(ranks.images_per_second) == pytest.approx(alike, rel=0.5)  # each counts its own rows and time
    head = RunDirectory(home / "together" / "iterative")
    assert read_history(head.metrics).ranks is None  # every process trains the whole head


@pytest.mark.slow
def test_each_process_draws_half_of_every_batch(together: list[Any]) -> None:
    first, second = (runs["whole"] for runs in together)
    images = EPOCHS * (TRAIN_IMAGES - CLASSES)  # one of five a class validates
    assert (first.drawn, second.drawn) == (images // 2, images // 2)


@pytest.mark.slow
def test_two_processes_end_where_one_would(together: list[Any], home: Path) -> None:
    name = "frozen norms"
    assert _take_part(World(), home, name, "alone").code == 0
    found, alone = _weights(home, "together", name), _weights(home, "alone", name)
    begun = _weights(home, "together", "iterative")  # its trunk is as drawn
    moved = sum(float((alone[key] - begun[key]).double().square().sum()) for key in alone)
    apart = sum(float((alone[key] - found[key]).double().square().sum()) for key in alone)
    assert apart <= (1e-4**2) * moved  # over all steps; one step's are compared beside SharedPass
    said = [
        load_predictions(RunDirectory(home / folder / name).predictions("test")).probabilities
        for folder in ("together", "alone")
    ]
    assert np.abs(said[0] - said[1]).max() < 1e-4


@pytest.mark.slow
def test_a_run_that_one_process_is_asked_to_stop_goes_on_to_the_same_weights(
    together: list[Any], home: Path
) -> None:
    assert [runs["stopped"].code for runs in together] == [130, 130]
    assert [runs["resumed"].code for runs in together] == [0, 0]
    whole, again = _weights(home, "together", "whole"), _weights(home, "stopped", "whole")
    assert all(bool((whole[key] == again[key]).all()) for key in whole)


@pytest.mark.slow
def test_frozen_trunks_say_the_same_of_the_pool_in_shards(together: list[Any], home: Path) -> None:
    assert _take_part(World(), home, "iterative", "alone").code == 0
    said = [
        load_predictions(RunDirectory(home / folder / "iterative").predictions("unlabelled-01"))
        for folder in ("together", "alone")
    ]
    assert np.array_equal(said[0].probabilities, said[1].probabilities)
