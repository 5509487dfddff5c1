"""Compiled training steps: the same training under the same names, and no compilation that does not pay."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.train.making import CPU, HEAD, TRUNK, Crash, differing, go_on, tiny, train
from workbench.loader import Batch
from workbench.recipe import Optimizer
from workbench.recipe.problems import RecipeError
from workbench.runs.events import Silent
from workbench.support.errors import UserError
from workbench.train import compiled as compiled_module
from workbench.train.compiled import (
    FullBatches,
    check_compiler,
    choose_compilation,
    compiled,
    judge,
    usual_sizes,
)
from workbench.train.objectives import Supervised
from workbench.train.optim import make_optimizer
from workbench.train.precision import Precision
from workbench.train.step import Stepper

FP32 = Precision("fp32", "fp32", "for the test")
ON = "training.compile='on'"
SMALL = ("model.backbone='squeezenet1_1'", ON)
"""A network of few operations: tracing it takes a second."""


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Compilation without a compiler: shapes of the images that a graph was made for. It runs as it is."""
    shapes: list[tuple[int, ...]] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        images = (one for one in inputs if isinstance(one, torch.Tensor) and one.dim() == 4)
        shapes.extend(tuple(one.shape) for one in images if one.shape[1] == 3 and one.shape[-1] >= 32)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiled_module, "BACKEND", backend)
    return shapes


def test_a_compiled_run_trains_the_same_network_under_the_same_names(
    traced: list[tuple[int, ...]], sample: Path, tmp_path: Path
) -> None:
    plain = train(tiny(TRUNK, sample, SMALL[0]), tmp_path / "plain")
    assert not traced
    fast = train(tiny(TRUNK, sample, *SMALL), tmp_path / "compiled")
    assert fast.outcome.code == 0, fast.outcome
    assert {shape[0] for shape in traced} == {8}
    assert not differing(fast.weights(), plain.weights())
    assert "compile: training steps are compiled (as the recipe says)" in fast.recorder.messages("info")


def test_an_epochs_last_smaller_batch_compiles_nothing(
    traced: list[tuple[int, ...]], sample: Path, tmp_path: Path
) -> None:
    trained = train(tiny(TRUNK, sample, *SMALL, "training.batch_size=12"), tmp_path)  # 40 are 3 batches and 4
    assert trained.outcome.code == 0, trained.outcome
    assert traced
    assert {shape[0] for shape in traced} == {12}


def test_each_size_of_progressive_views_is_compiled_for(
    traced: list[tuple[int, ...]], sample: Path, tmp_path: Path
) -> None:
    growing = ("data.image_size=64", "training.progressive=0.5", "training.epochs=4")
    trained = train(tiny(TRUNK, sample, *SMALL, *growing), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert {shape[-1] for shape in traced} == {32, 64}


@pytest.mark.parametrize(
    ("backbone", "passes"),
    [
        ("shufflenet_v2_x0_5", {8 + 2 * 16}),  # its batch norms see all views in one batch
        ("squeezenet1_1", {16, 8 + 16}),  # without any, weak views pass by themselves, without gradients
    ],
)
def test_an_online_objectives_batches_are_compiled(
    traced: list[tuple[int, ...]], sample: Path, tmp_path: Path, backbone: str, passes: set[int]
) -> None:
    online = """
[pseudo_label]
strategy = "fixmatch"
labelled_fraction = 0.5
epochs_per_round = 1
unlabelled_ratio = 2
"""
    few = (f"model.backbone='{backbone}'", ON, "training.epochs=1")
    trained = train(tiny(TRUNK + online, sample, *few), tmp_path)
    assert trained.outcome.code == 0, trained.outcome
    assert {shape[0] for shape in traced} == {8, *passes}  # the teacher's are 8


def test_resumed_a_compiled_run_ends_as_if_undisturbed(
    traced: list[tuple[int, ...]], sample: Path, tmp_path: Path
) -> None:
    recipe = tiny(TRUNK, sample, *SMALL, "training.checkpoint_seconds=0")
    undisturbed = train(recipe, tmp_path / "undisturbed")
    crashed = train(recipe, tmp_path / "crashed", recorder=Crash(7))
    resumed = go_on(crashed.directory, recipe, tmp_path / "crashed")
    assert resumed.results.weights_sha256 == undisturbed.results.weights_sha256
    said = [text for text in resumed.recorder.messages("info") if text.startswith("compile:")]
    assert not said  # decided once


def test_what_cannot_be_compiled_ends_the_run_with_advice(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        raise ValueError("Python.h: No such file")

    torch._dynamo.reset()
    monkeypatch.setattr(compiled_module, "BACKEND", broken)
    trained = train(tiny(TRUNK, sample, *SMALL), tmp_path)
    assert trained.outcome.code == 1
    assert "cannot be compiled here" in trained.outcome.reason
    assert "Python.h" in trained.outcome.reason
    assert 'training.compile = "off"' in trained.outcome.advice


def test_on_without_a_compiler_is_refused_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match="no-such-compiler is not there"):
        check_compiler("on", CPU)
    check_compiler("auto", CPU)
    check_compiler("off", CPU)


def test_on_cached_features_on_is_refused_and_auto_compiles_nothing(sample: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.compile has no effect"):
        tiny(HEAD, sample, ON)
    trained = train(tiny(HEAD, sample, "training.compile='auto'"), tmp_path)
    (said,) = (text for text in trained.recorder.messages("info") if text.startswith("compile:"))
    assert said == "compile: nothing is compiled (training runs on features that are computed once)"


def test_auto_compiles_nothing_on_a_cpu() -> None:
    chosen = choose_compilation("auto", nn.Identity(), 32, 8, 10**6, FP32, CPU)
    assert (chosen.is_on, chosen.reason) == (False, "auto compiles on a GPU only")


@pytest.mark.parametrize(
    ("eager", "fast", "cost", "steps", "expected"),
    [
        (0.100, 0.080, 60.0, 3001, True),  # 60.02 s saved
        (0.100, 0.080, 60.0, 2999, False),
        (0.100, 0.100, 0.1, 10**9, False),
        (0.100, 0.120, 0.1, 10**9, False),
    ],
)
def test_it_pays_where_the_steps_save_more_than_it_took(
    eager: float, fast: float, cost: float, steps: int, expected: bool
) -> None:
    assert judge(eager, fast, cost, steps).is_on == expected


def test_usual_sizes_are_those_of_whole_batches() -> None:
    assert usual_sizes(8, 0) == {8}
    assert usual_sizes(8, 56) == {56, 64, 120}


def test_an_evaluation_and_an_odd_batch_go_through_the_network_itself() -> None:
    network, other = nn.Linear(3, 2), nn.Linear(3, 2)
    module = FullBatches(network, other, {4})
    whole, odd = torch.ones(4, 3), torch.ones(3, 3)
    assert torch.equal(module(whole), other(whole))
    assert torch.equal(module(odd), network(odd))
    module.eval()
    assert not network.training
    assert torch.equal(module(whole), network(whole))
    assert {id(p) for p in module.parameters()} == {id(p) for p in network.parameters()}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_really_compiled_a_step_is_the_eager_one_to_rounding() -> None:
    def network() -> nn.Module:
        torch.manual_seed(0)
        pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *pooled)

    images = torch.rand(6, 3, 16, 16).to(memory_format=torch.channels_last)
    targets = torch.eye(5)[torch.tensor([0, 1, 2, 3, 4, 0])]
    batch = Batch(images, targets, torch.ones(6), 6.0, torch.arange(6).numpy())
    after = []
    for fast in (False, True):
        module = network()
        groups = [{"params": list(module.parameters()), "lr": 0.1, "weight_decay": 0.0}]
        torch._dynamo.reset()
        stepper = Stepper(
            module,
            make_optimizer(Optimizer(name="sgd", learning_rate=0.1), groups),
            FP32,
            CPU,
            Silent(),
            Supervised(0.0),
            on_features=False,
            micro_batch=0,
            forward=FullBatches(module, compiled(module), {6}) if fast else None,
        )
        losses = [float(stepper.step(batch).loss) for _ in range(3)]
        after.append((losses, module.state_dict()))
    (eager_losses, eager), (fast_losses, fast_state) = after
    assert fast_losses == pytest.approx(eager_losses, rel=1e-4)
    assert fast_losses[-1] < fast_losses[0]
    assert list(fast_state) == list(eager)
    for name, tensor in eager.items():
        torch.testing.assert_close(fast_state[name], tensor, rtol=1e-4, atol=1e-6)
