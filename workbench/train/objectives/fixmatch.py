"""FixMatch and what followed it: a pseudo-label counts from a threshold on, fixed, learned or soft."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from workbench.loader import PoolBatch
from workbench.recipe.online import Consistency
from workbench.recipe.strategies.online import FixMatch, FlexMatch, FreeMatch, SoftMatch
from workbench.train.objectives.objective import Beginning, Labelled, Loss, Objective, Pseudo, objective_for


class ConsistencyObjective(Objective, ABC):
    """(1/B) Σ H(y, p(α(x))) + λ (1/μB) Σ w(q)·H(argmax q, p(A(u))), with q = sg[p(α(u))].

    Sohn et al. 2020, Eq. 3 and 4. Each method is a way to give the weights w. Where batch norm learns, all
    views pass the network together, so that it sees one batch of labelled and unlabelled images.
    """

    def __init__(self, knobs: Consistency, beginning: Beginning) -> None:
        self._unlabelled_weight = knobs.unlabelled_weight
        self._label_smoothing = beginning.label_smoothing
        self._classes = beginning.classes
        self._mixes_batch = beginning.mixes_batch

    def loss(self, model: nn.Module, labelled: Labelled, unlabelled: PoolBatch | None) -> Loss:
        """The labelled loss and the weighted consistency of the pool's batch."""
        assert unlabelled is not None
        certain, weak, strong = three_views(model, labelled, unlabelled, as_one=self._mixes_batch)
        pseudo = self.judge(torch.softmax(weak.detach(), dim=1), unlabelled.rows)
        consistency = (pseudo.weights * F.cross_entropy(strong, pseudo.labels, reduction="none")).mean()
        value = labelled.cross_entropy(certain, self._label_smoothing) + self._unlabelled_weight * consistency
        return Loss(self.completed(value, strong, pseudo), certain, pseudo)

    @abstractmethod
    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """Pseudo-labels and their weights; the method's own averages move on.

        Args:
            probabilities: (U, C) float32 of the weak views, without gradient.
            rows: (U,) int64 of the images in the pool.
        """

    def completed(self, value: Tensor, strong: Tensor, pseudo: Pseudo) -> Tensor:
        """The loss with what a method adds to it; strong (U, C) are logits of the strong views."""
        return value


def three_views(
    model: nn.Module, labelled: Labelled, unlabelled: PoolBatch, *, as_one: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (B, C), (U, C), (U, C) float32 of the labelled images, the weak and the strong views.

    No gradient is asked of the weak ones: apart from the others they cost a third.

    Args:
        as_one: in one batch.
    """
    first, count = len(labelled.inputs), len(unlabelled.positions)
    if as_one:
        logits: Tensor = model(torch.cat([labelled.inputs, unlabelled.weak, unlabelled.strong])).float()
        certain, weak, strong = logits.tensor_split([first, first + count])
        return certain, weak, strong
    with torch.no_grad():
        weak = model(unlabelled.weak).float()
    logits = model(torch.cat([labelled.inputs, unlabelled.strong])).float()
    certain, strong = logits.tensor_split([first])
    return certain, weak, strong


def histogram(labels: Tensor, weights: Tensor, classes: int) -> Tensor:
    """(C,) float32, the weight of each class among labels (U,); unlike bincount the host need not wait."""
    counts = torch.zeros(classes, dtype=torch.float32, device=labels.device)
    return counts.scatter_add_(0, labels, weights.float())


@objective_for(FixMatch)
class FixMatchObjective(ConsistencyObjective):
    """w = 1[max q ≥ τ] (Sohn et al. 2020, Eq. 4)."""

    def __init__(self, knobs: FixMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._threshold = torch.full((beginning.classes,), knobs.threshold, device=beginning.device)

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """Those at or above the threshold."""
        confidence, labels = probabilities.max(dim=1)
        return Pseudo(labels, (confidence >= self._threshold[labels]).float())

    @property
    def thresholds(self) -> Tensor:
        """τ for every class."""
        return self._threshold


NONE = -1
"""Of an image that no class has been sure of yet."""
UNSEEN = -2
"""Of one that has not been looked at, where that makes a difference."""


@objective_for(FlexMatch)
class FlexMatchObjective(ConsistencyObjective):
    """w = 1[max q ≥ τ·β/(2 − β)] at c = argmax q (Zhang et al. 2021, Eq. 5 to 7 and 11).

    û_n is the class of pool image n when max q last reached τ; σ(c) = #{û = c};
    β(c) = σ(c) / max(max σ, #{û = none}), which is Eq. 11's warm-up.

    As published, none counts the whole pool: in a run of few epochs thresholds stay near 0, as if there were
    none. With `warmup = "seen"` it counts the images seen so far, this batch's among them.
    """

    def __init__(self, knobs: FlexMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._tau = knobs.threshold
        self._only_seen = knobs.warmup == "seen"
        start = UNSEEN if self._only_seen else NONE
        self._learned = torch.full((beginning.pool,), start, dtype=torch.int64, device=beginning.device)

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """Those at or above their class's threshold, by what was learned before this batch or up to it."""
        confidence, labels = probabilities.max(dim=1)
        before = self.thresholds
        learned = torch.where(confidence >= self._tau, labels, self._learned[rows].clamp(min=NONE))
        self._learned = self._learned.scatter(0, rows, learned)
        thresholds = self.thresholds if self._only_seen else before
        return Pseudo(labels, (confidence >= thresholds[labels]).float())

    @property
    def thresholds(self) -> Tensor:
        """(C,) τ·β/(2 − β)."""
        ones = torch.ones_like(self._learned, dtype=torch.float32)
        # The unseen come first, then those of no class.
        counts = histogram(self._learned - UNSEEN, ones, self._classes + 2)[1:]
        status = counts[1:] / counts.max().clamp(min=1)
        return self._tau * status / (2 - status)

    def state(self) -> dict[str, Tensor]:
        """û of the whole pool."""
        return {"learned": self._learned}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put û back."""
        self._learned = state["learned"].to(self._learned.device)


_TINY = 1e-12


@objective_for(FreeMatch)
class FreeMatchObjective(ConsistencyObjective):
    """w = 1[max q ≥ τ·p̃(c)/max p̃] at c = argmax q (Wang et al. 2023, Eq. 5 to 8).

    τ, p̃ and h̃ are averages of the batches' mean confidence, mean q and shares of argmax q; all start at 1/C.
    The fairness loss is Σ norm(p̃/h̃)·log norm(p̄/h̄) (Eq. 9 to 11), with p̄ and h̄ the mean and the shares of
    argmax of the strong views that pass.
    """

    def __init__(self, knobs: FreeMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._momentum = knobs.given("momentum")
        self._fairness_weight = knobs.fairness_weight
        even = torch.full((beginning.classes,), 1 / beginning.classes, device=beginning.device)
        self._confidence, self._shares, self._histogram = even[0].clone(), even.clone(), even.clone()

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """The averages take in the batch, then the thresholds judge it."""
        confidence, labels = probabilities.max(dim=1)
        even = torch.full_like(confidence, 1 / len(labels))
        self._confidence = self._average(self._confidence, confidence.mean())
        self._shares = self._average(self._shares, probabilities.mean(dim=0))
        self._histogram = self._average(self._histogram, histogram(labels, even, self._classes))
        return Pseudo(labels, (confidence >= self.thresholds[labels]).float())

    def completed(self, value: Tensor, strong: Tensor, pseudo: Pseudo) -> Tensor:
        """With the fairness loss."""
        if not self._fairness_weight:
            return value
        return value + self._fairness_weight * fairness_loss(
            strong, pseudo.weights, self._shares, self._histogram
        )

    @property
    def thresholds(self) -> Tensor:
        """(C,) τ·p̃/max p̃."""
        return self._confidence * self._shares / self._shares.max()

    def state(self) -> dict[str, Tensor]:
        """The three averages."""
        return {"confidence": self._confidence, "shares": self._shares, "histogram": self._histogram}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""
        device = self._shares.device
        self._confidence, self._shares = state["confidence"].to(device), state["shares"].to(device)
        self._histogram = state["histogram"].to(device)

    def _average(self, old: Tensor, new: Tensor) -> Tensor:
        return self._momentum * old + (1 - self._momentum) * new


def fairness_loss(strong: Tensor, passed: Tensor, shares: Tensor, counts: Tensor) -> Tensor:
    """Σ_c norm(p̃/h̃)·log norm(p̄/h̄), () float32; 0 where nothing passed.

    Args:
        strong: (U, C) logits of the strong views.
        passed: (U,) 1 for those whose weak view is above its threshold, else 0.
        shares, counts: (C,) p̃ and h̃.

    A class that no view's argmax names has no h̄ to divide by: its share counts as 0, as in the authors' code.
    """
    probabilities = torch.softmax(strong, dim=1)
    number = passed.sum().clamp(min=1)
    mean = (probabilities * passed[:, None]).sum(dim=0) / number
    named = histogram(probabilities.argmax(dim=1), passed / number, strong.shape[1])
    expected = _normalised(_ratio(shares, counts))
    found = _normalised(_ratio(mean, named))
    loss = (expected * torch.log(found + _TINY)).sum()
    return torch.where(passed.sum() > 0, loss, torch.zeros_like(loss))


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below > 0, above / below.clamp(min=_TINY), torch.zeros_like(above))


def _normalised(values: Tensor) -> Tensor:
    return values / values.sum().clamp(min=_TINY)


@objective_for(SoftMatch)
class SoftMatchObjective(ConsistencyObjective):
    """w = exp(−n²·min(max q' − μ, 0)²/(2σ²)) (Chen et al. 2023, Eq. 7 and 8).

    μ and σ² are averages of the batches' mean and variance of max q', from 1/C and 1. With uniform alignment
    q' = norm(q·(1/C)/p̃), p̃ an average of the batches' mean q that starts at the first one's (Sec. 3.3);
    pseudo-labels come from q itself.
    """

    def __init__(self, knobs: SoftMatch, beginning: Beginning) -> None:
        super().__init__(knobs, beginning)
        self._knobs = knobs
        self._momentum = knobs.given("momentum")
        device = beginning.device
        self._mean = torch.tensor(1 / beginning.classes, device=device)
        self._variance = torch.tensor(1.0, device=device)
        self._shares = torch.zeros(beginning.classes, device=device)  # none seen yet

    def judge(self, probabilities: Tensor, rows: Tensor) -> Pseudo:
        """The averages take in the batch, then weigh it."""
        labels = probabilities.argmax(dim=1)
        if self._knobs.uniform_alignment:
            probabilities = self._aligned(probabilities)
        confidence = probabilities.max(dim=1).values
        self._mean = self._average(self._mean, confidence.mean())
        if len(confidence) > 1:  # one image has no variance
            self._variance = self._average(self._variance, confidence.var())
        return Pseudo(labels, self._weights(confidence))

    def weights_now(self, probabilities: Tensor) -> Tensor:
        """By the averages as they are."""
        if self._knobs.uniform_alignment and bool(self._shares.sum() > 0):
            probabilities = self._scaled(probabilities)
        return self._weights(probabilities.max(dim=1).values)

    def _weights(self, confidence: Tensor) -> Tensor:
        below = (confidence - self._mean).clamp(max=0)
        return torch.exp(-(self._knobs.sigmas**2) * below.square() / (2 * self._variance))

    def state(self) -> dict[str, Tensor]:
        """The three averages."""
        return {"mean": self._mean, "variance": self._variance, "shares": self._shares}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back."""
        device = self._shares.device
        self._mean, self._variance = state["mean"].to(device), state["variance"].to(device)
        self._shares = state["shares"].to(device)

    def _aligned(self, probabilities: Tensor) -> Tensor:
        seen = probabilities.mean(dim=0)
        is_first = self._shares.sum() == 0
        self._shares = torch.where(is_first, seen, self._average(self._shares, seen))
        return self._scaled(probabilities)

    def _scaled(self, probabilities: Tensor) -> Tensor:
        scaled = probabilities / (self._classes * self._shares).clamp(min=1e-12)
        return scaled / scaled.sum(dim=1, keepdim=True)

    def _average(self, old: Tensor, new: Tensor) -> Tensor:
        return self._momentum * old + (1 - self._momentum) * new
