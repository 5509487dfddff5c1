"""Each online objective against a direct numpy transcription of its equations."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from workbench.loader import PoolBatch
from workbench.recipe import Optimizer
from workbench.recipe.online import EMA, Online
from workbench.recipe.pseudo_label import strategies_of
from workbench.recipe.strategies.online import FixMatch, FlexMatch, FreeMatch, MeanTeacher, SoftMatch
from workbench.train.objectives import (
    Beginning,
    Clock,
    Labelled,
    Objective,
    Supervised,
    implemented,
    make_objective,
)
from workbench.train.objectives.fixmatch import fairness_loss
from workbench.train.objectives.mean_teacher import ramp

CPU = torch.device("cpu")
CLASSES, POOL, WIDTH = 5, 40, 7
Floats = NDArray[np.float64]


def _model(seed: int = 0) -> nn.Linear:
    """Softmax regression, scaled so that some of its choices are sure."""
    torch.manual_seed(seed)
    model = nn.Linear(WIDTH, CLASSES)
    with torch.no_grad():
        model.weight.mul_(8)
    return model


def _labelled(seed: int, images: int = 6) -> Labelled:
    random = torch.Generator().manual_seed(seed)
    targets = torch.eye(CLASSES)[torch.randint(CLASSES, (images,), generator=random)]
    return Labelled(torch.randn(images, WIDTH, generator=random), targets, torch.ones(images), 6.0)


def _pool(seed: int, images: int = 16) -> PoolBatch:
    random = torch.Generator().manual_seed(seed)
    rows = torch.randperm(POOL, generator=random)[:images]
    weak = torch.randn(images, WIDTH, generator=random)
    strong = weak + 0.3 * torch.randn(images, WIDTH, generator=random)
    return PoolBatch(weak, strong, rows, rows.numpy())


def _table(strategy: str, **knobs: Any) -> Online:
    """The knobs of a strategy in a student of 200,000 steps, which has the published decays."""
    table = strategies_of(Online)[strategy](strategy=strategy, labels_per_class=4, **knobs)
    return table.model_copy(update=table.pace(10_000))


def make(strategy: str, model: nn.Module, **knobs: Any) -> Objective:
    """The objective of a strategy on a pool of `POOL` images."""
    table = _table(strategy, **knobs)
    beginning = Beginning(model, CLASSES, POOL, CPU, 0.0, Optimizer(name="sgd", learning_rate=0.1))
    return make_objective(table, beginning)


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


@dataclass(frozen=True)
class Seen:
    """What the equations are about, in float64."""

    supervised: float
    q: Floats
    p: Floats
    strong: Floats

    @property
    def confidence(self) -> Floats:
        """max q."""
        highest: Floats = self.q.max(axis=1)
        return highest

    def consistency(self, weights: Floats) -> float:
        """(1/μB) Σ w·H(argmax q, p)."""
        chosen = self.q.argmax(axis=1)
        return float((weights * -np.log(self.p[np.arange(len(chosen)), chosen])).mean())


def _seen(model: nn.Linear, labelled: Labelled, pool: PoolBatch) -> Seen:
    weight, bias = (t.detach().numpy().astype(np.float64) for t in (model.weight, model.bias))

    def logits(inputs: Tensor) -> Floats:
        found: Floats = inputs.numpy().astype(np.float64) @ weight.T + bias
        return found

    certain = _softmax(logits(labelled.inputs))
    y = labelled.targets.argmax(dim=1).numpy()
    supervised = float(-np.log(certain[np.arange(len(y)), y]).mean())
    strong = logits(pool.strong)
    return Seen(supervised, _softmax(logits(pool.weak)), _softmax(strong), strong)


STEPS = [(11, 21), (12, 22), (13, 23)]
"""Seeds of three steps' batches."""


def _losses(objective: Objective, model: nn.Module) -> list[tuple[float, Tensor]]:
    found = []
    for labelled, pool in STEPS:
        objective.begin_step(Clock(0, 1, 1.0))
        loss = objective.loss(model, _labelled(labelled), _pool(pool))
        assert loss.pseudo is not None
        found.append((float(loss.value.detach()), loss.pseudo.weights))
    return found


def test_every_online_strategy_of_the_recipe_has_exactly_one_objective() -> None:
    assert implemented() == frozenset(strategies_of(Online).values())
    assert len(set(strategies_of(Online).values())) == len(strategies_of(Online))


@pytest.mark.parametrize("threshold", [0.0, 0.6, 0.95])
def test_fixmatch_is_its_equation(threshold: float) -> None:
    model = _model()
    objective = make("fixmatch", model, threshold=threshold, unlabelled_weight=1.5)
    for (value, weights), (labelled, pool) in zip(_losses(objective, model), STEPS, strict=True):
        seen = _seen(model, _labelled(labelled), _pool(pool))
        mask = (seen.confidence >= threshold).astype(np.float64)
        assert weights.tolist() == mask.tolist()
        assert value == pytest.approx(seen.supervised + 1.5 * seen.consistency(mask), rel=1e-5)


def test_fixmatch_above_every_confidence_is_supervised_training() -> None:
    model = _model()
    labelled, pool = _labelled(1), _pool(2)
    online = make("fixmatch", model, threshold=1.1).loss(model, labelled, pool)
    plain = Supervised().loss(model, labelled, None)
    assert float(online.value.detach()) == pytest.approx(float(plain.value.detach()), rel=1e-6)
    ours = torch.autograd.grad(online.value, list(model.parameters()))
    theirs = torch.autograd.grad(plain.value, list(model.parameters()))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("strategy", ["fixmatch", "flexmatch", "softmatch", "mean_teacher"])
def test_labelled_images_count_by_their_weights_and_smoothed_targets(strategy: str) -> None:
    model, smoothing = _model(), 0.1
    plain, pool = _labelled(1), _pool(2)
    weights = torch.tensor([0.5, 2.0, 1.0, 0.0, 3.0, 1.5])
    labelled = Labelled(plain.inputs, plain.targets, weights, float(weights.sum()))
    table = _table(strategy)
    values = []
    for one, share in ((plain, 0.0), (labelled, smoothing)):
        beginning = Beginning(model, CLASSES, POOL, CPU, share, Optimizer(name="sgd", learning_rate=0.1))
        values.append(float(make_objective(table, beginning).loss(model, one, pool).value.detach()))
    log_p = np.log(_softmax(model(plain.inputs).detach().numpy().astype(np.float64)))
    y = plain.targets.numpy().astype(np.float64)
    smoothed = y * (1 - smoothing) + smoothing / CLASSES
    w = weights.numpy().astype(np.float64)
    supervised = [-(y * log_p).sum(axis=1).mean(), -(w * (smoothed * log_p).sum(axis=1)).sum() / w.sum()]
    assert values[1] - values[0] == pytest.approx(supervised[1] - supervised[0], rel=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_flexmatchs_thresholds_rise_with_what_a_class_has_learned_up_to_tau(seed: int) -> None:
    tau = 0.9
    objective = make("flexmatch", _model(), threshold=tau, warmup="pool")
    learned = torch.randint(-1, CLASSES, (POOL,), generator=torch.Generator().manual_seed(seed))
    objective.restore({"learned": learned})
    thresholds = objective.thresholds
    assert thresholds is not None
    counts = np.array([(learned == c).sum() for c in range(CLASSES)])
    assert thresholds.numpy()[np.argsort(counts, kind="stable")].tolist() == sorted(thresholds.tolist())
    assert float(thresholds.max()) <= tau + 1e-6
    assert all(float(t) == 0 for t, count in zip(thresholds, counts, strict=True) if not count)


def test_flexmatch_counts_only_the_images_seen_so_far() -> None:
    model, tau = _model(), 0.9
    objective = make("flexmatch", model, threshold=tau)
    learned = np.full(POOL, -2)
    for (value, weights), (labelled, pool) in zip(_losses(objective, model), STEPS, strict=True):
        seen, rows = _seen(model, _labelled(labelled), _pool(pool)), _pool(pool).positions
        chosen = seen.q.argmax(axis=1)
        learned[rows] = np.where(seen.confidence >= tau, chosen, np.maximum(learned[rows], -1))
        sigma = np.array([(learned == c).sum() for c in range(CLASSES)])
        beta = sigma / max(sigma.max(), (learned == -1).sum())
        mask = (seen.confidence >= (tau * beta / (2 - beta))[chosen]).astype(np.float64)
        assert weights.tolist() == mask.tolist()
        assert value == pytest.approx(seen.supervised + seen.consistency(mask), rel=1e-5)
    assert objective.state()["learned"].tolist() == learned.tolist()
    assert set(learned) >= {-2, -1, 0}  # some were never looked at


def test_flexmatchs_two_warm_ups_are_one_once_every_image_was_seen() -> None:
    both = [make("flexmatch", _model(), threshold=0.9, warmup=warmup) for warmup in ("seen", "pool")]
    learned = torch.randint(-1, CLASSES, (POOL,), generator=torch.Generator().manual_seed(3))
    for objective in both:
        objective.restore({"learned": learned})
    first, second = (objective.thresholds for objective in both)
    assert first is not None
    assert second is not None
    assert torch.equal(first, second)


@given(st.integers(2, 10**7))
def test_an_average_that_follows_the_runs_length_leaves_its_start_and_stays_below_the_published(
    steps: int,
) -> None:
    decay = EMA.decay(steps)
    assert 0 <= decay <= 0.999
    assert decay ** (steps - 1) < 1e-3
    assert decay == 0.999 or 1 / (1 - decay) <= max(1.0, 0.1 * steps) * (1 + 1e-9)


@pytest.mark.parametrize("strategy", sorted(strategies_of(Online)))
def test_what_a_recipe_gives_stays_as_given_and_the_rest_follows_from_the_length(strategy: str) -> None:
    table: Any = strategies_of(Online)[strategy]
    given_all = dict.fromkeys(table.BY_LENGTH, 0.25)
    assert table(strategy=strategy, labels_per_class=4, **given_all).pace(13) == {}
    for name in table.BY_LENGTH:
        others = {key: value for key, value in given_all.items() if key != name}
        assert set(table(strategy=strategy, labels_per_class=4, **others).pace(13)) == {name}
    short = table(strategy=strategy, labels_per_class=4, epochs_per_round=5).pace(13)  # 65 steps
    expected = {"ema": 1 - 1 / 6.5, "momentum": 1 - 1 / 6.5, "late_ema": 1 - 1 / 6.5, "early_ema": 0.0}
    expected |= {"rampup_epochs": 1.25, "uda_rampup_epochs": 0.5, "baseline": 1 / 6.5}
    assert short == pytest.approx({name: expected[name] for name in table.BY_LENGTH})


def test_no_gradient_goes_through_the_weak_views() -> None:
    model = _model()
    pool = _pool(2)
    weak = pool.weak.clone().requires_grad_()
    watched = PoolBatch(weak, pool.strong, pool.rows, pool.positions)
    for strategy in ("fixmatch", "flexmatch", "freematch", "softmatch"):
        loss = make(strategy, model).loss(model, _labelled(1), watched).value
        (gradient,) = torch.autograd.grad(loss, weak)
        assert not gradient.any(), strategy


def test_flexmatch_is_its_equation_over_several_steps() -> None:
    model, tau = _model(), 0.9
    objective = make("flexmatch", model, threshold=tau, warmup="pool")
    learned = np.full(POOL, -1)
    for (value, weights), (labelled, pool) in zip(_losses(objective, model), STEPS, strict=True):
        seen, rows = _seen(model, _labelled(labelled), _pool(pool)), _pool(pool).positions
        sigma = np.array([(learned == c).sum() for c in range(CLASSES)])
        beta = sigma / max(sigma.max(), (learned == -1).sum())
        chosen = seen.q.argmax(axis=1)
        mask = (seen.confidence >= (tau * beta / (2 - beta))[chosen]).astype(np.float64)
        learned[rows[seen.confidence >= tau]] = chosen[seen.confidence >= tau]
        assert weights.tolist() == mask.tolist()
        assert value == pytest.approx(seen.supervised + seen.consistency(mask), rel=1e-5)
    assert objective.state()["learned"].tolist() == learned.tolist()
    assert set(learned) >= {-1, 0}  # some are, some are not


def test_flexmatch_that_has_learned_all_classes_alike_is_fixmatch() -> None:
    model = _model()
    flex, fix = make("flexmatch", model, threshold=0.8), make("fixmatch", model, threshold=0.8)
    flex.restore({"learned": torch.arange(POOL) % CLASSES})
    labelled, pool = _labelled(1), _pool(2)
    mine, other = flex.loss(model, labelled, pool), fix.loss(model, labelled, pool)
    assert mine.pseudo is not None
    assert other.pseudo is not None
    assert torch.equal(mine.pseudo.weights, other.pseudo.weights)
    assert 0 < mine.pseudo.weights.sum() < len(mine.pseudo.weights)
    assert float(mine.value) == float(other.value)


def test_freematch_is_its_equation_over_several_steps() -> None:
    model, m, fairness = _model(), 0.8, 0.05
    objective = make("freematch", model, momentum=m, fairness_weight=fairness)
    tau, shares, counts = 1 / CLASSES, np.full(CLASSES, 1 / CLASSES), np.full(CLASSES, 1 / CLASSES)
    for (value, weights), (labelled, pool) in zip(_losses(objective, model), STEPS, strict=True):
        seen = _seen(model, _labelled(labelled), _pool(pool))
        chosen = seen.q.argmax(axis=1)
        tau = m * tau + (1 - m) * seen.confidence.mean()
        shares = m * shares + (1 - m) * seen.q.mean(axis=0)
        counts = m * counts + (1 - m) * np.bincount(chosen, minlength=CLASSES) / len(chosen)
        mask = (seen.confidence >= (tau * shares / shares.max())[chosen]).astype(np.float64)
        assert weights.tolist() == mask.tolist()
        passed = mask > 0
        mean = seen.p[passed].mean(axis=0)
        named = np.bincount(seen.p[passed].argmax(axis=1), minlength=CLASSES) / passed.sum()
        ratio = np.divide(mean, named, out=np.zeros(CLASSES), where=named > 0)
        expected, found = shares / counts, ratio / ratio.sum()
        loss = (expected / expected.sum() * np.log(found + 1e-12)).sum()
        whole = seen.supervised + seen.consistency(mask) + fairness * loss
        assert value == pytest.approx(whole, rel=1e-4)
    state = objective.state()
    assert float(state["confidence"]) == pytest.approx(tau, rel=1e-5)
    np.testing.assert_allclose(state["shares"].numpy(), shares, rtol=1e-5)
    np.testing.assert_allclose(state["histogram"].numpy(), counts, rtol=1e-5)


def test_freematchs_first_averages_by_hand() -> None:
    objective = make("freematch", _model(), momentum=0.9)
    q = torch.tensor([[0.6, 0.4, 0, 0, 0], [0.2, 0.8, 0, 0, 0]])
    objective.judge(q, torch.tensor([0, 1]))  # type: ignore[attr-defined]
    state = objective.state()
    assert float(state["confidence"]) == pytest.approx(0.9 * 0.2 + 0.1 * 0.7)
    assert state["shares"].tolist() == pytest.approx([0.22, 0.24, 0.18, 0.18, 0.18])
    assert state["histogram"].tolist() == pytest.approx([0.23, 0.23, 0.18, 0.18, 0.18])


def test_fairness_is_nothing_where_nothing_passes() -> None:
    strong = torch.randn(8, CLASSES, requires_grad=True)
    even = torch.full((CLASSES,), 1 / CLASSES)
    loss = fairness_loss(strong, torch.zeros(8), even, even)
    assert float(loss) == 0
    (gradient,) = torch.autograd.grad(loss, strong)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("aligned", [True, False])
def test_softmatch_is_its_equation_over_several_steps(aligned: bool) -> None:
    model, m, n = _model(), 0.7, 2.0
    objective = make("softmatch", model, momentum=m, sigmas=n, uniform_alignment=aligned)
    mu, variance, shares = 1 / CLASSES, 1.0, None
    for (value, weights), (labelled, pool) in zip(_losses(objective, model), STEPS, strict=True):
        seen = _seen(model, _labelled(labelled), _pool(pool))
        q = seen.q
        if aligned:
            mean = q.mean(axis=0)
            shares = mean if shares is None else m * shares + (1 - m) * mean
            q = q / CLASSES / shares
            q = q / q.sum(axis=1, keepdims=True)
        confidence = q.max(axis=1)
        mu = m * mu + (1 - m) * confidence.mean()
        variance = m * variance + (1 - m) * confidence.var(ddof=1)
        expected = np.exp(-(n**2) * np.minimum(confidence - mu, 0) ** 2 / (2 * variance))
        np.testing.assert_allclose(weights.numpy(), expected, rtol=1e-4)
        assert value == pytest.approx(seen.supervised + seen.consistency(expected), rel=1e-4)


def test_softmatchs_first_averages_by_hand() -> None:
    objective = make("softmatch", _model(), momentum=0.9, uniform_alignment=False)
    q = torch.tensor([[0.6, 0.4, 0, 0, 0], [0.2, 0.8, 0, 0, 0]])
    pseudo = objective.judge(q, torch.tensor([0, 1]))  # type: ignore[attr-defined]
    state = objective.state()
    assert float(state["mean"]) == pytest.approx(0.9 * 0.2 + 0.1 * 0.7)
    assert float(state["variance"]) == pytest.approx(0.9 + 0.1 * 0.02)  # unbiased: 2 · 0.1² / (2 − 1)
    assert pseudo.weights.tolist() == [1, 1]  # both are above the mean
    assert pseudo.labels.tolist() == [0, 1]


def test_mean_teachers_loss_and_its_teacher_are_their_equations() -> None:
    model = _model()
    objective = make("mean_teacher", model, consistency=30.0, rampup_epochs=2.0, early_ema=0.5, late_ema=0.75)
    teacher = copy.deepcopy(model)
    with torch.no_grad():
        model.weight.add_(0.3)  # the student has moved
    for step in range(4):
        labelled, pool = _labelled(step), _pool(100 + step)
        objective.begin_step(Clock(step, 1, 1.0))
        loss = objective.loss(model, labelled, pool)
        own, other = _seen(model, labelled, pool), _seen(teacher, labelled, pool)
        gap = ((own.q - other.p) ** 2).mean()  # two views of each image: the teacher has the second
        weight = 30.0 * (np.exp(-5 * (1 - step / 2) ** 2) if step < 2 else 1.0)
        assert float(loss.value) == pytest.approx(own.supervised + weight * gap, rel=1e-4)
        objective.end_step(model)
        m = 0.5 if step < 2 else 0.75
        with torch.no_grad():
            teacher.weight.copy_(m * teacher.weight + (1 - m) * model.weight)
            teacher.bias.copy_(m * teacher.bias + (1 - m) * model.bias)
        evaluated = objective.evaluated
        assert isinstance(evaluated, nn.Linear)
        torch.testing.assert_close(evaluated.weight, teacher.weight)


def test_mean_teachers_ramp_rises_from_e_to_the_minus_5_to_1_and_stays() -> None:
    assert ramp(0, 8) == pytest.approx(np.exp(-5))
    assert ramp(4, 8) == pytest.approx(np.exp(-1.25))
    assert [ramp(8, 8), ramp(100, 8), ramp(0, 0)] == [1, 1, 1]
    rising = [ramp(epoch, 8) for epoch in np.linspace(0, 8, 50)]
    assert rising == sorted(rising)


def test_the_teacher_of_mean_teacher_gets_no_gradient() -> None:
    model = _model()
    objective = make("mean_teacher", model)
    objective.begin_step(Clock(9, 1, 1.0))
    objective.loss(model, _labelled(1), _pool(2)).value.backward()  # type: ignore[no-untyped-call]
    assert objective.evaluated is not None
    assert all(parameter.grad is None for parameter in objective.evaluated.parameters())
    assert all(parameter.grad is not None for parameter in model.parameters())


class _Normed(nn.Module):
    """Remembers how many images pass its batch norm at once."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.linear = nn.BatchNorm1d(WIDTH), nn.Linear(WIDTH, CLASSES)
        self.seen: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append(len(inputs))
        result: Tensor = self.linear(self.norm(inputs))
        return result


def test_batch_norm_sees_labelled_weak_and_strong_views_as_one_batch() -> None:
    model = _Normed()
    make("fixmatch", model).loss(model, _labelled(1), _pool(2))
    assert model.seen == [6 + 16 + 16]


@pytest.mark.parametrize("strategy", ["flexmatch", "freematch", "softmatch", "mean_teacher"])
def test_an_objective_restored_from_its_state_goes_on_as_it_would_have(strategy: str) -> None:
    model = _model()
    knobs = {"momentum": 0.5} if strategy in ("freematch", "softmatch") else {}
    whole, cut = make(strategy, model, **knobs), make(strategy, model, **knobs)
    for number, (labelled, pool) in enumerate(STEPS):
        values = []
        for objective in (whole, cut):
            objective.begin_step(Clock(number, 1, 1.0))
            values.append(float(objective.loss(model, _labelled(labelled), _pool(pool)).value))
            objective.end_step(model)
        assert values[0] == values[1]
        with torch.no_grad():
            model.weight.mul_(1.1)
        saved = {name: tensor.clone() for name, tensor in cut.state().items()}
        cut = make(strategy, _model(7), **knobs)
        cut.restore(saved)


def test_knob_models_hold_the_papers_constants() -> None:
    fix, free = FixMatch(labels_per_class=4), FreeMatch(labels_per_class=4)
    soft, mean = SoftMatch(labels_per_class=4), MeanTeacher(labels_per_class=4)
    assert (fix.threshold, fix.unlabelled_weight, fix.unlabelled_ratio) == (0.95, 1.0, 7)
    assert (soft.sigmas, soft.uniform_alignment, FlexMatch(labels_per_class=4).threshold) == (2.0, True, 0.95)
    long = [table.pace(10_000) for table in (fix, free, soft, mean)]
    assert long[0] == {"ema": 0.999}
    assert long[1] == long[2] == {"ema": 0.999, "momentum": 0.999}
    assert long[3] == {"rampup_epochs": 5.0, "early_ema": 0.99, "late_ema": 0.999}
    assert all(issubclass(table, Online) and table.source for table in strategies_of(Online).values())
