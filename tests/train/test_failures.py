"""Runs that cannot go on: what they say, and what they leave."""

from __future__ import annotations

import errno
import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.loader.conftest import Recorder
from tests.train.making import HEAD, TRUNK, Trained, go_on, tiny, train
from workbench.loader import Batch
from workbench.model import ImageClassifier
from workbench.runs.events import EpochDone, StageStarted
from workbench.runs.metrics import read_events
from workbench.runs.process import read_exit
from workbench.runs.status import RunStatus, status_of
from workbench.train import run as run_module
from workbench.train.checkpoint import load_newest
from workbench.train.objective import weighted_cross_entropy
from workbench.train.objectives import supervised
from workbench.train.step import HeadStep, Stepped, Stepper


def _spoil_the_loss(monkeypatch: pytest.MonkeyPatch, at_step: int, value: float) -> None:
    """From its `at_step`-th pass (from 1) on the loss is `value`, as when weights have run away."""
    passes = 0

    def spoilt(loss: Tensor) -> Tensor:
        nonlocal passes
        passes += 1
        return loss * value if passes >= at_step else loss

    def network(
        logits: Tensor, targets: Tensor, weights: Tensor, total_weight: float, *, label_smoothing: float
    ) -> Tensor:
        loss = weighted_cross_entropy(logits, targets, weights, total_weight, label_smoothing=label_smoothing)
        return spoilt(loss)

    def head(stepper: HeadStep, batch: Batch) -> tuple[Tensor, Tensor]:
        loss, right = step(stepper, batch)
        loss = spoilt(loss)
        stepper._linear.weight.data *= loss * 0 + 1  # as the gradient of such a loss leaves it
        return loss, right

    step = HeadStep.step
    monkeypatch.setattr(supervised, "weighted_cross_entropy", network)
    monkeypatch.setattr(HeadStep, "step", head)


def _kept(trained: Trained) -> set[str]:
    """What there is of a run that failed."""
    record = read_exit(trained.directory)
    assert record is not None
    assert (record.code, record.reason) == (1, trained.outcome.reason)
    assert "ended with code 1" in trained.directory.log.read_text()
    return {path.name for path in trained.directory.path.iterdir()}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("base", [HEAD, TRUNK], ids=["features", "trunk"])
def test_a_loss_that_is_no_number_stops_the_run_with_step_images_and_advice(
    base: str, value: float, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil_the_loss(monkeypatch, 8, value)
    trained = train(tiny(base, sample, "training.checkpoint_seconds=0"), tmp_path)
    assert trained.outcome.code == 1
    pattern = rf"the loss is {value} at step 8 of fit, images ((?:[A-Za-z_]+_\d+(?:, )?){{8}})"
    found = re.fullmatch(pattern, trained.outcome.reason)
    assert found, trained.outcome.reason
    ids = found[1].split(", ")
    assert len(set(ids)) == 8
    assert all((sample / "images" / f"{name}.jpg").is_file() for name in ids)
    assert "lower optimizer.learning_rate" in trained.outcome.advice
    assert "warmup_epochs" in trained.outcome.advice
    assert "fp32" not in trained.outcome.advice
    assert {"metrics.jsonl", "run.log", "recipe.toml", "checkpoint", "exit.json"} <= _kept(trained)
    assert any(isinstance(r.event, StageStarted) for r in read_events(trained.directory.metrics).records)
    # The last checkpoint is from before the bad step, so a resumed run comes to the same place.
    newest = load_newest(trained.directory.checkpoint, Recorder())
    assert newest is not None
    assert all(tensor.isfinite().all() for tensor in newest[0].values() if tensor.is_floating_point())


def test_many_images_are_named_by_the_first_of_them(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _spoil_the_loss(monkeypatch, 1, float("nan"))
    trained = train(tiny(HEAD, sample, "training.batch_size=20"), tmp_path)
    assert trained.outcome.reason.endswith(" and 12 more")


def test_in_bf16_the_advice_names_fp32(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _spoil_the_loss(monkeypatch, 1, float("nan"))
    trained = train(tiny(TRUNK, sample, "training.precision='bf16'"), tmp_path)
    assert 'training.precision = "fp32"' in trained.outcome.advice


def test_weights_spoilt_by_the_very_last_step_do_not_become_a_result(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last_step_spoils(stepper: Stepper, batch: Batch, *rest: Any) -> Stepped:
        done = original(stepper, batch, *rest)
        with torch.no_grad():
            for parameter in stepper._module.parameters():
                parameter.fill_(float("nan"))
        return done

    original = Stepper.step
    monkeypatch.setattr(Stepper, "step", last_step_spoils)
    trained = train(tiny(HEAD, sample, "training.epochs=1", "training.batch_size=40"), tmp_path)
    assert trained.outcome.code == 1
    assert "the validation loss is nan after epoch 1 of fit" in trained.outcome.reason
    assert "lower optimizer.learning_rate" in trained.outcome.advice


def test_a_run_out_of_memory_goes_on_with_smaller_passes_and_the_same_batches(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batch norm is frozen here, so the passes' size decides nothing but rounding."""
    frozen = ("finetune.batch_norm='frozen'", "model.dropout=0", "training.ema=0", "training.epochs=1")
    plain = train(tiny(TRUNK, sample, *frozen), tmp_path)

    def small(classifier: ImageClassifier, images: Tensor) -> Tensor:
        if classifier.training and len(images) > 3:
            raise torch.OutOfMemoryError("tried to allocate more than there is")
        return forward(classifier, images)

    forward = ImageClassifier.forward
    monkeypatch.setattr(ImageClassifier, "forward", small)
    trained = train(tiny(TRUNK, sample, *frozen), tmp_path)
    assert trained.outcome.code == 0
    said = [text for text in trained.recorder.messages("warning") if "memory" in text]
    assert said == [
        "out of device memory: going on with 4 images a pass; batches stay 8",
        "out of device memory: going on with 2 images a pass; batches stay 8",
    ]
    ours, theirs = ([e.loss for e in t.events(EpochDone) if e.split == "train"] for t in (trained, plain))
    assert ours == pytest.approx(theirs, rel=1e-3)


def test_a_run_out_of_memory_with_two_images_fails_and_keeps_what_it_has(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(classifier: ImageClassifier, images: Tensor) -> Tensor:
        if classifier.training:
            raise torch.OutOfMemoryError("tried to allocate more than there is")
        return forward(classifier, images)

    forward = ImageClassifier.forward
    monkeypatch.setattr(ImageClassifier, "forward", none_left)
    trained = train(tiny(TRUNK, sample), tmp_path)
    assert trained.outcome.code == 1
    assert trained.outcome.reason == "out of device memory with 2 images at a time"
    assert "data.image_size" in trained.outcome.advice
    assert "metrics.jsonl" in _kept(trained)


def test_a_fault_of_petbench_is_told_from_the_users_and_its_traceback_is_kept(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(stepper: Stepper, batch: Batch, *rest: Any) -> Stepped:
        raise KeyError("a\x1b[31mb")

    monkeypatch.setattr(Stepper, "step", broken)
    trained = train(tiny(HEAD, sample), tmp_path)
    assert trained.outcome.code == 1
    assert trained.outcome.reason.startswith("KeyError")
    assert "fault in petbench" in trained.outcome.advice
    log = trained.directory.log.read_text()
    assert "Traceback (most recent call last)" in log
    assert "\x1b" not in log
    monkeypatch.undo()
    assert go_on(trained.directory, tiny(HEAD, sample), tmp_path).outcome.code == 0


def test_warnings_of_libraries_go_to_the_log(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import warnings

    def warning(stepper: Stepper, batch: Batch, *rest: Any) -> Stepped:
        warnings.warn("an odd thing\x1b[2J", stacklevel=1)
        return original(stepper, batch, *rest)

    original = Stepper.step
    monkeypatch.setattr(Stepper, "step", warning)
    trained = train(tiny(HEAD, sample, "training.epochs=1"), tmp_path)
    assert r"UserWarning: an odd thing\x1b[2J" in trained.directory.log.read_text()
    assert "odd thing" not in "".join(capfd.readouterr())


def _np_memory_error() -> Exception:
    try:
        np.empty(2**58)
    except MemoryError as error:
        return error
    raise AssertionError("so much memory")


ALLOCATOR = (
    "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "8000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize("checkpoints", [False, True])
@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError(ALLOCATOR),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        _np_memory_error(),
    ],
    ids=["MemoryError", "allocator", "ENOMEM", "numpy"],
)
def test_want_of_memory_is_said_as_that_with_what_to_lower(
    error: Exception, checkpoints: bool, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = 0

    def greedy(stepper: Stepper, batch: Batch, *rest: Any) -> Stepped:
        nonlocal steps
        steps += 1
        if steps > 3:
            raise error
        return original(stepper, batch, *rest)

    original = Stepper.step
    monkeypatch.setattr(Stepper, "step", greedy)
    often = ["training.checkpoint_seconds=0"] if checkpoints else []
    outcome = train(tiny(HEAD, sample, *often), tmp_path).outcome
    assert outcome.code == 1
    assert outcome.reason.startswith("this machine is out of memory")
    assert "enforce fail" not in outcome.reason
    assert "lower training.batch_size or data.image_size" in outcome.advice
    assert "fault in petbench" not in outcome.advice
    then = "goes on from the last checkpoint" if checkpoints else "begins anew: there is no checkpoint yet"
    assert outcome.advice.endswith(then)


@pytest.mark.parametrize("checkpoints", [False, True])
def test_a_full_disk_calls_the_last_checkpoint_whole_only_where_there_is_one(
    checkpoints: bool, sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_module, "_enter", full)
    often = ["training.checkpoint_seconds=0"] if checkpoints else []
    outcome = train(tiny(HEAD, sample, *often), tmp_path).outcome
    assert outcome.code == 1
    assert outcome.reason.startswith("the disk is full")
    assert ("the last checkpoint is whole" in outcome.advice) is checkpoints


def test_a_resume_that_is_refused_leaves_a_stopped_run_as_it_was(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD, sample, "training.checkpoint_seconds=0", "training.epochs=50")

    class CtrlC(Recorder):
        def event(self, event: Any) -> None:
            if isinstance(event, EpochDone):
                signal.raise_signal(signal.SIGINT)

    run = train(recipe, tmp_path, recorder=CtrlC()).directory
    assert status_of(run) is RunStatus.STOPPED
    newest = sorted(run.checkpoint.glob("0*.safetensors"))[-1]
    newest.write_bytes(newest.read_bytes()[:-1])  # it is passed over, and removed only by what goes on
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    for other in (["data.split_seed=7"], ["data.dataset='folder'", "data.root='/nowhere'"]):
        refused = go_on(run, tiny(HEAD, sample, *other), tmp_path)
        assert refused.outcome.code == 2, refused.outcome
        after = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
        assert after == before
        assert status_of(run) is RunStatus.STOPPED
    short = tiny(HEAD, sample, "training.checkpoint_seconds=0", "training.epochs=3")
    assert go_on(run, short, tmp_path).outcome.code == 0
