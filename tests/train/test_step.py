"""One optimiser step, and what happens when the memory does not hold a batch."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.loader.conftest import Recorder
from workbench.loader import Batch
from workbench.support.errors import RunFailed
from workbench.train.objectives import Supervised
from workbench.train.precision import Precision
from workbench.train.step import Stepper

CPU = torch.device("cpu")
FP32 = Precision("fp32", "fp32", "for the test")
CLASSES = 3


class SmallMemory(nn.Module):
    """A network that runs out of memory above `limit` images, as a GPU does: with torch's own error."""

    def __init__(self, inner: nn.Module, limit: int) -> None:
        super().__init__()
        self.inner = inner
        self.limit = limit
        self.seen: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        if len(inputs) > self.limit:
            raise torch.OutOfMemoryError("tried to allocate more than there is")
        self.seen.append(len(inputs))
        result: Tensor = self.inner(inputs)
        return result


def _batch(images: int) -> Batch:
    random = torch.Generator().manual_seed(images)
    labels = torch.randint(CLASSES, (images,), generator=random)
    inputs = torch.randn(images, 8, generator=random)
    weights = torch.rand(images, generator=random) + 0.5
    targets = functional.one_hot(labels, CLASSES).float()
    return Batch(inputs, targets, weights, float(weights.sum()), np.arange(images))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, CLASSES))


def _stepper(
    module: nn.Module, recorder: Recorder, *, micro_batch: int = 0, smoothing: float = 0.0
) -> Stepper:
    return Stepper(
        module,
        torch.optim.SGD(module.parameters(), lr=0.1),
        FP32,
        CPU,
        recorder,
        Supervised(smoothing),
        on_features=False,
        micro_batch=micro_batch,
    )


def _gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad for p in module.parameters() if p.grad is not None]


def test_a_step_is_a_plain_step_on_the_weighted_loss() -> None:
    module, batch = _network(), _batch(10)
    twin = copy.deepcopy(module)
    stepped = _stepper(module, Recorder(), smoothing=0.1).step(batch)
    logits = twin(batch.inputs)
    each = functional.cross_entropy(logits, batch.targets, label_smoothing=0.1, reduction="none")
    expected = (each * batch.weights).sum() / batch.weights.sum()
    expected.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(twin.parameters(), lr=0.1).step()
    torch.testing.assert_close(stepped.loss, expected.detach())
    assert int(stepped.right) == int((logits.argmax(1) == batch.targets.argmax(1)).sum())
    for ours, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("images", "limit", "passes"), [(12, 6, [6, 6]), (12, 3, [3] * 4), (13, 4, [3, 3, 3, 2, 2])]
)
def test_out_of_memory_halves_the_micro_batch_and_keeps_the_gradient(
    images: int, limit: int, passes: list[int]
) -> None:
    module, recorder, batch = _network(), Recorder(), _batch(images)
    twin = copy.deepcopy(module)
    small = SmallMemory(module, limit)
    stepper = _stepper(small, recorder)
    stepped = stepper.step(batch)
    whole = _stepper(twin, Recorder()).step(batch)
    assert small.seen == passes
    torch.testing.assert_close(stepped.loss, whole.loss)
    assert stepped.right == whole.right
    for ours, theirs in zip(_gradients(module), _gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert stepper.micro_batch <= limit
    assert f"going on with {stepper.micro_batch} images a pass" in recorder.messages("warning")[-1]


def test_a_smaller_micro_batch_is_kept_for_the_next_batches() -> None:
    recorder = Recorder()
    small = SmallMemory(_network(), 4)
    stepper = _stepper(small, recorder)
    stepper.step(_batch(8))
    stepper.step(_batch(8))
    assert small.seen == [4, 4, 4, 4]
    assert len(recorder.messages("warning")) == 1


def test_memory_that_runs_out_in_the_backward_pass_is_handled_alike() -> None:
    class Greedy(torch.autograd.Function):
        @staticmethod
        def forward(context: object, inputs: Tensor) -> Tensor:
            return inputs.clone()

        @staticmethod
        def backward(context: object, *gradients: Tensor) -> Tensor:
            if len(gradients[0]) > 4:
                raise torch.OutOfMemoryError("tried to allocate more than there is")
            return gradients[0]

    class Network(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, inputs: Tensor) -> Tensor:
            result: Tensor = Greedy.apply(self.inner(inputs))
            return result

    module = _network()
    twin = copy.deepcopy(module)
    stepper = _stepper(Network(module), Recorder())
    stepper.step(_batch(8))
    _stepper(twin, Recorder()).step(_batch(8))
    assert stepper.micro_batch == 4
    for ours, theirs in zip(_gradients(module), _gradients(twin), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_out_of_memory_with_two_images_fails_the_run_with_advice() -> None:
    module = _network()
    before = [p.clone() for p in module.parameters()]
    with pytest.raises(RunFailed, match="out of device memory with 2 images at a time") as failure:
        _stepper(SmallMemory(module, 1), Recorder()).step(_batch(8))
    assert "data.image_size" in failure.value.advice
    assert all(torch.equal(p, b) for p, b in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize("images", range(2, 18))
@pytest.mark.parametrize("micro_batch", [2, 3, 4, 8])
def test_no_pass_gets_a_single_image_which_batch_norm_would_refuse(images: int, micro_batch: int) -> None:
    module = SmallMemory(nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Linear(4, CLASSES)), 99)
    _stepper(module, Recorder(), micro_batch=micro_batch).step(_batch(images))
    assert min(module.seen) >= 2
    assert max(module.seen) <= micro_batch + 1
    assert sum(module.seen) == images


def test_an_objective_that_cannot_be_cut_fails_out_of_memory_with_advice_instead_of_changing() -> None:
    class Whole(Supervised):
        can_be_cut = False

    small = SmallMemory(_network(), 4)
    optimizer = torch.optim.SGD(small.parameters(), lr=0.1)
    stepper = Stepper(small, optimizer, FP32, CPU, Recorder(), Whole(), on_features=False, micro_batch=0)
    stepper.step(_batch(4))
    with pytest.raises(RunFailed, match="out of device memory with 8 labelled images") as failure:
        stepper.step(_batch(8))
    assert "pseudo_label.unlabelled_ratio" in failure.value.advice
