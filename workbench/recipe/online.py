"""What online strategies share: the student labels every batch of the pool as it trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from workbench.recipe.fields import Probability, knob
from workbench.recipe.pseudo_label import PseudoLabel
from workbench.recipe.training import Augmentation, batches_of


@dataclass(frozen=True, slots=True)
class Average:
    """How far back a running average looks unless the recipe says: a share of the student's steps.

    Published decays are made for runs of a million steps; in one of a hundred they never leave the start.
    """

    share: float
    most: float
    """The published decay, which long runs come to."""

    def decay(self, steps: int) -> float:
        """Over a student of so many steps: 1 − 1/window, at least 0, which is no average."""
        return min(self.most, 1 - 1 / max(1.0, self.share * steps))

    @property
    def words(self) -> str:
        """For whoever leaves the knob out."""
        return (
            f"looks back over {self.share:g} of the student's steps: 1 − {1 / self.share:g}/steps, "
            f"from 0 up to {self.most:g}"
        )


@dataclass(frozen=True, slots=True)
class Ramp:
    """How long something rises unless the recipe says: a share of the student's epochs."""

    share: float

    @property
    def words(self) -> str:
        """For whoever leaves the knob out."""
        return f"{self.share:g} of the student's epochs"


EMA = Average(0.1, 0.999)
MOMENTUM = Average(0.1, 0.999)
EARLY_EMA = Average(0.01, 0.99)
"""The published early window is a tenth of the late one."""
BASELINE = Average(0.1, 0.99)
CONSISTENCY_RAMP = Ramp(0.25)
"""Tarvainen and Valpola 2017, App. B.1: 40,000 of 150,000 steps."""
UDA_RAMP = Ramp(0.1)


class Online(PseudoLabel):
    """Train a teacher on the labelled images, then a student that labels each batch of the pool anew."""

    epochs_per_round: int = knob(
        20,
        help="epochs that the student trains; each goes once through the pool, labelled images as often as "
        "that takes",
        unit="epochs",
        ge=1,
        le=10_000,
    )
    student: Literal["continue", "fresh"] = knob(
        "continue",
        help="the student starts from the teacher, who is right more often from the first step; or from the "
        "pretrained weights (as published)",
    )
    unlabelled_ratio: int = knob(
        7,
        help="unlabelled images a step for each labelled one, μ",
        source="Sohn et al. 2020, FixMatch, Sec. 4",
        ge=1,
        le=64,
    )

    views: int = knob(
        0,
        help="views of either kind an image has in all, taken in turn; layer groups that never change see "
        "each once, and what they make of it is kept for all runs, so that training late layers costs those "
        "alone; 0: every epoch draws anew",
        ge=0,
        le=100,
    )

    BY_LENGTH: ClassVar[Mapping[str, Average | Ramp]] = {}
    """Knobs that follow from the student's length where the recipe leaves them out."""

    def student_ema(self, usual: float) -> float | None:
        """Decay of the average that is evaluated of the student; None: as `pace` has it.

        Args:
            usual: `training.ema`.
        """
        return usual

    @property
    def last_epochs(self) -> int:
        """Epochs on the labelled images that end the run."""
        return 0

    def steps_an_epoch(self, pool: int, batch: int) -> int:
        """Of a student: an epoch goes once through the pool, beside `batch` labelled images a step."""
        return batches_of(pool, self.unlabelled_ratio * batch)

    def pace(self, steps_an_epoch: int) -> dict[str, float]:
        """What the knobs that were left out come to in a student of such epochs, by name."""
        left_out = {name: rule for name, rule in self.BY_LENGTH.items() if getattr(self, name) is None}
        return {
            name: self._paced(name, rule, steps_an_epoch * self.epochs_per_round)
            for name, rule in left_out.items()
        }

    def _paced(self, name: str, rule: Average | Ramp, steps: int) -> float:
        if isinstance(rule, Ramp):
            return rule.share * self.epochs_per_round
        return rule.decay(steps)

    def given(self, name: str) -> float:
        """A knob's value, which is there once the pace is known."""
        value: float | None = getattr(self, name)
        if value is None:
            raise ValueError(f"{name} follows from the student's length, which is not known yet")
        return value

    def second_view(self, weak: Augmentation) -> Augmentation:
        """How the second view of an unlabelled image is drawn; the first is drawn as `weak` says."""
        return weak


class TwoViews(Online):
    """Methods that compare a weak view ([augmentation] alone) with a strong one."""

    strong_policy: Literal["rand", "trivial"] = knob(
        "rand", help="policy of strong views, on top of [augmentation]: RandAugment or TrivialAugment"
    )
    strong_operations: int = knob(
        2,
        help="operations a strong view, RandAugment's N",
        source="Jiang et al. 2022, TLlib: rand-m10-n2",
        only_if=("strong_policy", ["rand"]),
        ge=1,
        le=10,
    )
    strong_magnitude: int = knob(
        10,
        help="strength of a strong view, RandAugment's M, 0 to 30",
        source="Jiang et al. 2022, TLlib: rand-m10-n2",
        only_if=("strong_policy", ["rand"]),
        ge=0,
        le=30,
    )
    strong_erasing: Probability = knob(
        0.0,
        help="probability of blanking a random rectangle of a strong view; the paper's Cutout is near 1.0",
        source="Sohn et al. 2020, FixMatch, Sec. 2.3",
    )

    def second_view(self, weak: Augmentation) -> Augmentation:
        """The weak view's changes with the policy on top."""
        changes: dict[str, object] = {"policy": self.strong_policy}
        if self.strong_policy == "rand":
            changes["policy_operations"] = self.strong_operations
            changes["policy_magnitude"] = self.strong_magnitude
        if self.strong_erasing:
            changes["erasing"] = self.strong_erasing
        return weak.model_copy(update=changes)


class Consistency(TwoViews):
    """FixMatch and what follows it: the weak view's first choice teaches the strong view."""

    BY_LENGTH: ClassVar[Mapping[str, Average | Ramp]] = {"ema": EMA}

    unlabelled_weight: float = knob(
        1.0,
        help="weight of the unlabelled loss, λ",
        source="Sohn et al. 2020, FixMatch, Sec. 4",
        ge=0,
        le=1000,
    )
    ema: float | None = knob(
        None,
        help="decay a step of the average of the student's weights that is evaluated; 0: off",
        unset=EMA.words,
        source="Sohn et al. 2020, FixMatch, App. B.3: 0.999",
        ge=0,
        lt=1,
    )

    def student_ema(self, usual: float) -> float | None:
        """Its own knob."""
        return self.ema
