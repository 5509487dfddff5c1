"""In what numbers a run computes: stated by its recipe, kept with it, and no other's afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.compute.posing import POSER, PosingGpu
from tests.loader.conftest import Recorder
from tests.train.making import HEAD, TRUNK, places, tiny, train
from workbench.compute import ACCELERATORS, stated, times_convolutions
from workbench.compute.accelerators import Cpu
from workbench.model.cut import folded
from workbench.runs.events import Silent
from workbench.runs.provenance import read_provenance
from workbench.support.errors import UserError
from workbench.train.begin import warn_of_emulation
from workbench.train.feature_bank import feature_folder, view_format
from workbench.train.learner import Learner
from workbench.train.precision import Precision, as_stated, check_precision, choose_precision, inference_dtype
from workbench.train.setup import prepare
from workbench.train.state import RunState


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> PosingGpu:
    """A GPU that is not there."""
    posing = PosingGpu()
    monkeypatch.setitem(ACCELERATORS, POSER.type, posing)
    return posing


def _chosen(wanted: Any) -> tuple[str, str]:
    found = choose_precision(wanted, nn.Identity(), 32, POSER, trains_on_images=True)
    return found.training, found.inference


@pytest.mark.parametrize(
    ("native", "dtype"),
    [(("bf16", "fp16", "tf32"), "bf16"), (("fp16",), "fp16"), ((), "fp32")],
    ids=["H100", "T4", "P100"],
)
def test_auto_takes_what_a_gpu_computes_in_itself(
    native: tuple[str, ...], dtype: str, gpu: PosingGpu
) -> None:
    gpu.native = native
    assert _chosen("auto") == (dtype, dtype)
    assert _chosen("fp32") == ("fp32", "fp32")


def test_bf16_is_refused_on_a_gpu_that_emulates_it_unless_that_is_what_is_wanted(gpu: PosingGpu) -> None:
    gpu.native = ("fp16",)
    with pytest.raises(UserError, match="has no bf16 of its own") as error:
        check_precision("bf16", POSER)
    assert error.value.allowed == "auto, fp16, fp32, emulated_bf16"
    for wanted in ("auto", "fp16", "fp32", "emulated_bf16"):
        check_precision(wanted, POSER)
    assert _chosen("emulated_bf16") == ("bf16", "bf16")
    gpu.native = ("bf16", "fp16")
    check_precision("bf16", POSER)
    check_precision("bf16", torch.device("cpu"))  # there it is slow, and no more than that


def test_a_run_that_began_in_bf16_says_so_where_it_is_only_emulated(
    gpu: PosingGpu, sample: Path, tmp_path: Path
) -> None:
    setup = prepare(tiny(HEAD, sample), places(tmp_path), Silent())
    there = replace(setup, places=replace(setup.places, device=POSER))
    state = RunState(precision=Precision("bf16", "bf16", "as it was on another card"))
    for native, warned in (("bf16", 0), ("fp16", 1)):
        gpu.native = (native,)
        recorder = Recorder()
        warn_of_emulation(there, state, recorder)
        assert len([text for text in recorder.messages("warning") if "only emulates bf16" in text]) == warned


def test_a_finished_run_infers_as_it_did_where_the_device_can(gpu: PosingGpu) -> None:
    gpu.native = ("fp16",)
    said = {
        words: inference_dtype(words, POSER)
        for words in (
            "fp32",
            "fp16",
            "bf16",
            "fp32 training, bf16 inference",
            "fp32 training, fp16 inference",
        )
    }
    assert list(said.values()) == ["fp32", "fp16", "fp32", "fp32", "fp16"]
    assert inference_dtype("fp16", torch.device("cpu")) == "fp32"


def test_features_in_tf32_and_in_float32_are_kept_apart(gpu: PosingGpu, sample: Path, tmp_path: Path) -> None:
    recipe = tiny(HEAD, sample)
    setup = prepare(recipe, places(tmp_path), Silent())

    def folder(tf32: bool, device: torch.device, dtype: Any = "fp32") -> Path:
        form = view_format(recipe, setup.classifier, device)
        (part,) = setup.classifier.parts
        with stated(tf32=tf32, deterministic=False):
            return feature_folder(tmp_path, setup.catalogue, setup.classifier, part, form, dtype)

    cpu = torch.device("cpu")
    assert folder(True, POSER) != folder(False, POSER)
    assert folder(True, POSER, "bf16") == folder(False, POSER, "bf16") != folder(False, POSER, "fp16")
    assert folder(True, cpu) == folder(False, cpu)
    gpu.native = ("fp16",)  # a T4 has no TF32, whatever is allowed
    assert folder(True, POSER) == folder(False, POSER)


def test_the_peak_of_memory_is_measured_anew_for_each_run(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may train several, as a sweep's worker does."""
    begun: list[torch.device] = []
    monkeypatch.setattr(Cpu, "begin_peak", lambda self, device: begun.append(device))
    monkeypatch.setattr(Cpu, "peak_bytes", lambda self, device: 100 + len(begun))
    for attempt in (1, 2):
        results = train(tiny(HEAD, sample, "training.epochs=1"), tmp_path).results
        assert len(begun) == attempt
        assert results.peak_memory_bytes == 100 + attempt


@pytest.mark.parametrize(
    ("change", "timed"),
    [("seed=1", True), ("training.deterministic=true", False), ("training.progressive=0.5", False)],
)
def test_a_gpus_convolutions_are_timed_unless_views_grow_or_the_same_bits_are_asked_for(
    change: str, timed: bool, sample: Path, gpu: PosingGpu
) -> None:
    recipe = tiny(TRUNK, sample, "data.image_size=64", change)
    with as_stated(recipe.training):
        assert times_convolutions(POSER) is timed
    assert not times_convolutions(POSER)


def test_folding_is_proved_in_float32_whatever_the_run_allows() -> None:
    seen: list[bool] = []

    class Watching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)
            return images

    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), Watching())
    with stated(tf32=True, deterministic=False):
        twin = folded(network, 8)
        assert torch.backends.cudnn.allow_tf32
    assert seen == [False, False]
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in twin.modules())


def test_a_run_computes_as_its_recipe_says_and_keeps_that(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[bool, bool]] = set()

    def follow(learner: Any) -> None:
        flags = torch.backends.cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled()
        seen.add(flags)
        original(learner)

    original = Learner.follow
    monkeypatch.setattr(Learner, "follow", follow)
    before = torch.backends.cuda.matmul.allow_tf32, torch.are_deterministic_algorithms_enabled()
    plain = train(tiny(TRUNK, sample, "training.epochs=1"), tmp_path)
    assert seen == {(False, False)}
    seen.clear()
    changes = ("training.epochs=1", "training.tf32=true", "training.deterministic=true")
    stated_run = train(tiny(TRUNK, sample, *changes), tmp_path)
    assert seen == {(True, True)}
    assert (
        torch.backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
    ) == before
    kept = [read_provenance(run.directory) for run in (plain, stated_run)]
    assert [record.get("float32") for record in kept] == ["fp32", "fp32"]  # a processor has no TF32
    assert [record.get("deterministic") for record in kept] == [None, "true"]
    assert [record.get("timed_convolutions") for record in kept] == [None, None]
    # On a processor nothing is gained by it, and nothing changes.
    assert stated_run.results.weights_sha256 == plain.results.weights_sha256
