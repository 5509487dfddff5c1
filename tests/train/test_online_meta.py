"""Meta Pseudo Labels: what the teacher learns from its student, against finite differences."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.train.worlds import alone, in_world
from workbench.compute import autocast
from workbench.loader import PoolBatch
from workbench.model import ImageClassifier
from workbench.model.classifier import Architecture, LayerGroup
from workbench.recipe import Optimizer
from workbench.recipe.strategies.online import MetaPseudoLabels
from workbench.train.objectives import Beginning, Clock, Labelled
from workbench.train.objectives.meta_pseudo_labels import MetaPseudoLabelsObjective, drawn_classes, uda_loss
from workbench.train.shared_pass import SharedPass
from workbench.train.world import World

CLASSES, SIDE = 3, 2
CPU = torch.device("cpu")


def _network(seed: int) -> ImageClassifier:
    """(B, 3, 2, 2) -> tanh features -> logits."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4), nn.Tanh())
    architecture = Architecture(
        name="tiny",
        trunk=trunk,
        groups=(LayerGroup("body", ("1",)),),
        feature_width=4,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        native_size=SIDE,
    )
    return ImageClassifier(architecture, CLASSES)


def _convolving(seed: int) -> ImageClassifier:
    """The same with a convolution and a batch norm."""
    torch.manual_seed(seed)
    trunk = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * SIDE * SIDE, 4))
    groups = tuple(LayerGroup(f"part{place}", (place,)) for place in ("0", "1", "3"))
    architecture = Architecture(
        name="convolving",
        trunk=trunk,
        groups=groups,
        feature_width=4,
        mean=(0.5, 0.5, 0.5),
        std=(0.2, 0.2, 0.2),
        native_size=SIDE,
    )
    return ImageClassifier(architecture, CLASSES)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("mixes_batch", [True, False])
def test_every_tensor_of_student_and_teacher_has_a_gradient_also_under_autocast(
    dtype: Any, mixes_batch: bool
) -> None:
    """torch 2.5 keeps the casts of a pass without gradients, which is first here, for one that wants some."""
    teacher, student = _convolving(0), _convolving(1)
    optimizer = Optimizer(name="sgd", learning_rate=0.1)
    table = MetaPseudoLabels(labels_per_class=4)
    table = table.model_copy(update=table.pace(10_000))
    beginning = Beginning(teacher, CLASSES, 10, CPU, 0.0, optimizer, mixes_batch=mixes_batch)
    objective = MetaPseudoLabelsObjective(table, beginning)
    student.train()
    objective.begin_step(Clock(0, 1, 1.0))
    with autocast(CPU, dtype):
        loss = objective.loss(student, _labelled(), _pool(6))
    loss.value.backward()  # type: ignore[no-untyped-call]
    with autocast(CPU, dtype):
        objective.end_step(student)
    for network in (student, objective._teacher):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            if not name.startswith("trunk.0.bias"):  # batch norm takes a bias before it away
                assert parameter.grad.any(), name


def _shared_step(world: World) -> dict[str, Tensor]:
    """What a step that the processes share makes of the teacher."""
    teacher, student = _convolving(0), _convolving(1)
    optimizer = Optimizer(name="sgd", learning_rate=0.1)
    table = MetaPseudoLabels(labels_per_class=4, labels="argmax")
    table = table.model_copy(update=table.pace(10_000))
    objective = MetaPseudoLabelsObjective(
        table, Beginning(teacher, CLASSES, 10, CPU, 0.0, optimizer, world=world)
    )
    forward: nn.Module = student
    if not world.is_alone:
        forward = SharedPass(student, world, mixes_batch=True)
        objective.know_twins(lambda network: SharedPass(network, world, mixes_batch=True))
    forward.train()
    objective.begin_step(Clock(0, 1, 1.0))
    objective.loss(forward, _labelled(), _pool(6)).value.backward()  # type: ignore[no-untyped-call]
    world.sum_gradients(student.parameters())
    with torch.no_grad():
        for parameter in student.parameters():
            assert parameter.grad is not None
            parameter.sub_(0.5 * parameter.grad)
    objective.end_step(student)
    before = _convolving(0).state_dict()
    after = {name.removeprefix("teacher/"): tensor for name, tensor in objective.state().items()}
    return {name: (after[name] - tensor).float() for name, tensor in before.items()}


@pytest.mark.slow
def test_two_processes_teach_the_teacher_what_one_would() -> None:
    one = alone(_shared_step)
    first, second = in_world(2, _shared_step)
    moved = torch.cat([tensor.flatten() for tensor in one.values()])
    assert all(torch.equal(first[name], second[name]) for name in one)
    apart = torch.cat([(first[name] - one[name]).flatten() for name in one])
    assert float(apart.norm()) <= 1e-5 * float(moved.norm())


def _labelled() -> Labelled:
    random = torch.Generator().manual_seed(5)
    targets = torch.eye(CLASSES)[torch.tensor([0, 1, 2, 1])]
    return Labelled(torch.randn(4, 3, SIDE, SIDE, generator=random), targets, torch.ones(4), 4.0)


def _pool(images: int) -> PoolBatch:
    """Both views of an image are the same."""
    views = torch.randn(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(6))
    return PoolBatch(views, views.clone(), torch.arange(images), np.arange(images))


def _objective(teacher: ImageClassifier, **knobs: Any) -> MetaPseudoLabelsObjective:
    table = MetaPseudoLabels(labels_per_class=4, **{"uda_weight": 0.0, **knobs})
    table = table.model_copy(update=table.pace(10_000))
    optimizer = Optimizer(name="sgd", learning_rate=0.1, momentum=0.0)
    return MetaPseudoLabelsObjective(table, Beginning(teacher, CLASSES, 10, CPU, 0.0, optimizer))


def _step(
    objective: MetaPseudoLabelsObjective, student: nn.Module, pool: PoolBatch, rate: float
) -> dict[str, Tensor]:
    """A whole step with plain gradient descent; returns the teacher's gradient by name."""
    before = {name: tensor.clone() for name, tensor in objective.state().items()}
    objective.begin_step(Clock(0, 1, 1.0))
    student.train()
    student.zero_grad()
    objective.loss(student, _labelled(), pool).value.backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(student.parameters(), lr=rate).step()
    objective.end_step(student)
    after = objective.state()
    return {k: (before[k] - after[k]) / 0.1 for k in before if k.startswith("teacher/")}


def _loss(model: nn.Module) -> float:
    labelled = _labelled()
    with torch.no_grad():
        return float(functional.cross_entropy(model(labelled.inputs), labelled.targets))


def test_the_expected_feedback_is_the_gradient_of_the_students_loss_after_its_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over all labels it may draw, the teacher descends E[ℓ_L(θ')], here differentiated numerically."""
    teacher, pool, rate = _network(1), _pool(1), 2.0
    own = _step(_objective(teacher, feedback=False), _network(2), pool, rate)
    with torch.no_grad():
        shares = torch.softmax(teacher(pool.weak), dim=1)[0].tolist()
    expected_gradient = {name: torch.zeros_like(tensor) for name, tensor in own.items()}
    losses = []
    for label, share in enumerate(shares):
        objective, student = _objective(teacher, baseline=1e-9), _network(2)

        def draw(probabilities: Tensor, label: int = label) -> Tensor:
            return torch.full((len(probabilities),), label)

        monkeypatch.setattr(objective, "_labels", draw)
        gradient = _step(objective, student, pool, rate)
        losses.append(_loss(student))
        for name, tensor in gradient.items():
            expected_gradient[name] += share * (tensor - own[name])

    def expectation(changed: ImageClassifier) -> float:
        with torch.no_grad():
            found = torch.softmax(changed(pool.weak.double()), dim=1)[0]
        return sum(float(p) * loss for p, loss in zip(found, losses, strict=True))

    assert max(losses) - min(losses) > 0.1
    for name, parameter in teacher.named_parameters():
        for index in range(0, parameter.numel(), 5):
            ends = []
            for nudge in (1e-5, -1e-5):
                changed = copy.deepcopy(teacher).double()
                with torch.no_grad():
                    changed.get_parameter(name).view(-1)[index] += nudge
                ends.append(expectation(changed))
            numeric = (ends[0] - ends[1]) / 2e-5
            assert float(expected_gradient[f"teacher/{name}"].view(-1)[index]) == pytest.approx(
                numeric, abs=2e-5
            )


def test_the_feedback_is_to_first_order_the_rate_times_the_product_of_the_gradients() -> None:
    teacher, student, pool, rate = _network(1), _network(2), _pool(6), 2e-3
    labels = teacher(pool.weak).argmax(dim=1)
    labelled = _labelled()
    on_labels = torch.autograd.grad(
        functional.cross_entropy(student(labelled.inputs), labelled.targets), list(student.parameters())
    )
    on_pool = torch.autograd.grad(
        functional.cross_entropy(student(pool.strong), labels), list(student.parameters())
    )
    product = rate * sum(float((a * b).sum()) for a, b in zip(on_labels, on_pool, strict=True))
    objective = _objective(teacher, labels="argmax", baseline=1.0)  # the average is the last feedback itself
    _step(objective, student, pool, rate)
    assert float(objective.state()["usual"]) == pytest.approx(product, rel=0.05)


def test_without_feedback_the_teacher_does_not_know_of_its_student() -> None:
    first, second = (_objective(_network(1), feedback=False, labels="argmax") for _ in range(2))
    ours = _step(first, _network(2), _pool(6), 2.0)
    theirs = _step(second, _network(3), _pool(6), 0.0)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert float(first.state()["usual"]) == 0
    third, fourth = (_objective(_network(1), labels="argmax") for _ in range(2))
    heard = _step(third, _network(2), _pool(6), 2.0)
    other = _step(fourth, _network(3), _pool(6), 2.0)
    assert any(not torch.equal(heard[name], other[name]) for name in heard)


def test_soft_targets_of_its_own_would_give_the_teacher_no_gradient() -> None:
    """Why labels are hard: H(sg[p], p) is at its minimum over p."""
    logits = torch.randn(8, CLASSES, requires_grad=True)
    loss = functional.cross_entropy(logits, torch.softmax(logits, dim=1).detach())
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.abs().max() < 1e-7


def test_the_usual_feedback_is_a_running_average_from_0() -> None:
    teacher = _network(1)
    last = _objective(teacher, baseline=1.0, labels="argmax")
    _step(last, _network(2), _pool(6), 1.0)
    average = _objective(teacher, baseline=0.25, labels="argmax")
    _step(average, _network(2), _pool(6), 1.0)
    assert float(average.state()["usual"]) == pytest.approx(0.25 * float(last.state()["usual"]), rel=1e-5)


def test_the_teachers_consistency_loss_is_its_equation() -> None:
    random = torch.Generator().manual_seed(9)
    weak, strong = 3 * torch.randn(12, CLASSES, generator=random), torch.randn(12, CLASSES, generator=random)
    w, s = weak.numpy().astype(np.float64), strong.numpy().astype(np.float64)
    sharp = np.exp(w / 0.7) / np.exp(w / 0.7).sum(axis=1, keepdims=True)
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    expected = ((sharp.max(axis=1) >= 0.6) * -(sharp * log_p).sum(axis=1)).mean()
    assert float(uda_loss(weak, strong, 0.7, 0.6)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("step", [0, 3, 50])
def test_the_teachers_own_loss_is_its_equation(step: int) -> None:
    """H(y, T(x)) with smoothed, weighted targets + λ(t)·UDA, and H(ŷ, T(A(u))) for the feedback to weigh."""
    random = torch.Generator().manual_seed(11)
    teacher, student, smoothing = _network(1), _network(2), 0.1
    weights = torch.tensor([0.5, 2.0, 1.0, 1.5])
    labelled = Labelled(_labelled().inputs, _labelled().targets, weights, float(weights.sum()))
    weak, strong = (torch.randn(6, 3, SIDE, SIDE, generator=random) for _ in range(2))
    pool = PoolBatch(weak, strong, torch.arange(6), np.arange(6))
    table = MetaPseudoLabels(
        labels_per_class=4,
        labels="argmax",
        uda_weight=8.0,
        uda_rampup_epochs=2.0,
        uda_temperature=0.7,
        uda_threshold=0.4,
        baseline=0.01,
    )
    optimizer = Optimizer(name="sgd", learning_rate=0.1, momentum=0.0)
    objective = MetaPseudoLabelsObjective(table, Beginning(teacher, CLASSES, 10, CPU, smoothing, optimizer))
    objective.begin_step(Clock(step, 10, 1.0))
    loss = objective.loss(student, labelled, pool)
    waiting = objective._waiting
    assert waiting is not None

    def logits(network: ImageClassifier, images: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
        state = {name: tensor.numpy().astype(np.float64) for name, tensor in network.state_dict().items()}
        flat = images.flatten(1).numpy().astype(np.float64)
        features = np.tanh(flat @ state["trunk.1.weight"].T + state["trunk.1.bias"])
        found: np.ndarray[Any, np.dtype[np.float64]] = (
            features @ state["head.linear.weight"].T + state["head.linear.bias"]
        )
        return found

    def log_softmax(z: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
        return np.asarray(z - np.log(np.exp(z).sum(axis=1, keepdims=True)))

    y = labelled.targets.numpy() * (1 - smoothing) + smoothing / CLASSES
    w = weights.numpy().astype(np.float64)
    supervised = -(w * (y * log_softmax(logits(teacher, labelled.inputs))).sum(axis=1)).sum() / w.sum()
    z_weak, z_strong = logits(teacher, weak), logits(teacher, strong)
    q = np.exp(log_softmax(z_weak))
    sure = q.max(axis=1) >= 0.4
    assert 0 < sure.sum() < len(sure)
    sharp = np.exp(log_softmax(z_weak / 0.7))
    uda = (sure * -(sharp * log_softmax(z_strong)).sum(axis=1)).mean()
    ramp = min(1.0, step / 10 / 2)
    assert waiting.own.item() == pytest.approx(supervised + 8.0 * ramp * uda, rel=1e-5)
    named, rows = q.argmax(axis=1), np.arange(6)
    assert waiting.said.item() == pytest.approx(-log_softmax(z_strong)[rows, named].mean(), rel=1e-5)
    assert loss.value.item() == pytest.approx(
        -log_softmax(logits(student, strong))[rows, named].mean(), rel=1e-5
    )
    told = -(w * (labelled.targets.numpy() * log_softmax(logits(student, labelled.inputs))).sum(axis=1)).sum()
    assert waiting.before.item() == pytest.approx(told / w.sum(), rel=1e-5)


def test_the_student_learns_from_the_pool_alone() -> None:
    student, pool = _network(2), _pool(6)
    objective = _objective(_network(1), labels="argmax")
    objective.begin_step(Clock(0, 1, 1.0))
    loss = objective.loss(student, _labelled(), pool)
    labels = _network(1)(pool.weak).argmax(dim=1)
    torch.testing.assert_close(loss.value, functional.cross_entropy(student(pool.strong), labels))


def test_its_state_restores_the_teacher_its_optimiser_and_the_average() -> None:
    objective, student = _objective(_network(1)), _network(2)
    torch.manual_seed(0)
    _step(objective, student, _pool(6), 1.0)
    saved = {name: tensor.clone() for name, tensor in objective.state().items()}
    other = _objective(_network(7))
    other.restore(saved)
    twin = copy.deepcopy(student)
    found = []
    for each, model in ((objective, student), (other, twin)):
        torch.manual_seed(1)
        found.append(_step(each, model, _pool(6), 1.0))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_classes_are_drawn_as_torch_draws_them_without_its_look_at_the_numbers() -> None:
    shares = torch.softmax(3 * torch.randn(200, 37, generator=torch.Generator().manual_seed(0)), dim=1)
    shares[::2, :30] = 0
    torch.manual_seed(1)
    wanted = torch.multinomial(shares, 1)[:, 0]
    torch.manual_seed(1)
    assert torch.equal(drawn_classes(shares), wanted)
