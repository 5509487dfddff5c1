"""Online strategies: the student labels every batch of the pool as it trains; `train.objectives` has each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from workbench.recipe.fields import ABOVE_ZERO, knob
from workbench.recipe.online import (
    BASELINE,
    CONSISTENCY_RAMP,
    EARLY_EMA,
    EMA,
    MOMENTUM,
    UDA_RAMP,
    Average,
    Consistency,
    Online,
    Ramp,
    TwoViews,
)


class MeanTeacher(Online):
    """The student agrees with the average of its own past weights on another view of the same image."""

    source: ClassVar[str] = "Tarvainen and Valpola 2017, Mean Teacher"

    BY_LENGTH: ClassVar[Mapping[str, Average | Ramp]] = {
        "rampup_epochs": CONSISTENCY_RAMP,
        "early_ema": EARLY_EMA,
        "late_ema": EMA,
    }

    strategy: Literal["mean_teacher"] = knob("mean_teacher", help="agree with the average of the weights")
    consistency: float = knob(
        100.0,
        help="highest weight of the mean squared difference between the two softmaxes, averaged over images "
        "and classes",
        source="Tarvainen and Valpola 2017, App. B.1",
        ge=0,
        le=100_000,
    )
    rampup_epochs: float | None = knob(
        None,
        help="the weight rises as exp(−5(1 − t)²) over so many epochs; the teacher forgets faster meanwhile",
        unit="epochs",
        unset=CONSISTENCY_RAMP.words,
        source="Tarvainen and Valpola 2017, App. B.1",
        ge=0,
        le=10_000,
    )
    early_ema: float | None = knob(
        None,
        help="decay a step of the teacher's weights during the ramp-up",
        unset=EARLY_EMA.words,
        source="Tarvainen and Valpola 2017, App. B.1: 0.99",
        ge=0,
        lt=1,
    )
    late_ema: float | None = knob(
        None,
        help="decay a step of the teacher's weights afterwards",
        unset=EMA.words,
        source="Tarvainen and Valpola 2017, App. B.1: 0.999",
        ge=0,
        lt=1,
    )

    def student_ema(self, usual: float) -> float:
        """None: its teacher is the average."""
        return 0.0


class FixMatch(Consistency):
    """A strong view learns the weak view's first choice, where that is sure enough."""

    source: ClassVar[str] = "Sohn et al. 2020, FixMatch"

    strategy: Literal["fixmatch"] = knob("fixmatch", help="weak view teaches strong view, above a threshold")
    threshold: float = knob(
        0.95,
        help="least confidence of a weak view that teaches, τ; above 1: none does",
        source="Sohn et al. 2020, FixMatch, Sec. 4",
        ge=0,
        le=2,
    )


class FlexMatch(Consistency):
    """FixMatch with a lower threshold for classes that are learned more slowly."""

    source: ClassVar[str] = "Zhang et al. 2021, FlexMatch"

    strategy: Literal["flexmatch"] = knob("flexmatch", help="a threshold a class, by how far it has learned")
    threshold: float = knob(
        0.95,
        help="threshold of the class learned best, τ; others have τ·β/(2 − β)",
        source="Zhang et al. 2021, FlexMatch, Eq. 7 and 11",
        ge=0,
        le=2,
    )
    warmup: Literal["seen", "pool"] = knob(
        "seen",
        help="thresholds rise as fewer images wait for a sure label: among those seen so far, this batch's "
        "too, or of the whole pool as published, where nearly everything passes throughout the first epoch; "
        "from the second epoch on both are the same",
        source="Zhang et al. 2021, FlexMatch, Eq. 11: pool",
    )


class FreeMatch(Consistency):
    """Thresholds follow the model's own confidence, overall and by class; a loss keeps classes in balance."""

    source: ClassVar[str] = "Wang et al. 2023, FreeMatch"

    BY_LENGTH: ClassVar[Mapping[str, Average | Ramp]] = {"ema": EMA, "momentum": MOMENTUM}

    strategy: Literal["freematch"] = knob("freematch", help="thresholds that adapt by themselves")
    momentum: float | None = knob(
        None,
        help="of the averages that make the thresholds, which start at 1/C",
        unset=MOMENTUM.words,
        source="Wang et al. 2023, FreeMatch, Eq. 5 to 8: 0.999",
        ge=0,
        lt=1,
    )
    fairness_weight: float = knob(
        0.001,
        help="weight of the class-fairness loss; 0.01 with more than about 4 labels a class",
        source="Wang et al. 2023, FreeMatch, Eq. 11 and App. C",
        ge=0,
        le=10,
    )


class SoftMatch(Consistency):
    """Every image of the pool counts, with a weight that falls off below the mean confidence."""

    source: ClassVar[str] = "Chen et al. 2023, SoftMatch"

    BY_LENGTH: ClassVar[Mapping[str, Average | Ramp]] = {"ema": EMA, "momentum": MOMENTUM}

    strategy: Literal["softmatch"] = knob("softmatch", help="a soft weight by confidence, no threshold")
    momentum: float | None = knob(
        None,
        help="of the confidence's mean and variance and of the class shares",
        unset=MOMENTUM.words,
        source="Chen et al. 2023, SoftMatch, Eq. 8: 0.999",
        ge=0,
        lt=1,
    )
    sigmas: float = knob(
        2.0,
        help="the weight is exp(−n²·min(p − μ, 0)²/(2σ²)) with this n",
        source="Chen et al. 2023, SoftMatch, App. A",
        gt=0,
        le=100,
    )
    uniform_alignment: bool = knob(
        True,
        help="weigh by confidences after scaling classes to be equally frequent, so that rare ones count",
        source="Chen et al. 2023, SoftMatch, Sec. 3.3",
    )


class MetaPseudoLabels(TwoViews):
    """A teacher labels for a student and learns from whether that helped the student on labelled images."""

    source: ClassVar[str] = "Pham et al. 2021, Meta Pseudo Labels"

    BY_LENGTH: ClassVar[Mapping[str, Average | Ramp]] = {
        "baseline": BASELINE,
        "uda_rampup_epochs": UDA_RAMP,
    }

    strategy: Literal["meta_pseudo_labels"] = knob(
        "meta_pseudo_labels", help="the teacher learns from how the student fares"
    )
    labels: Literal["sampled", "argmax"] = knob(
        "sampled",
        help="hard labels that the teacher draws from its probabilities, or its first choices; soft ones are "
        "not offered, since with soft targets of its own the feedback h has zero gradient",
        source="Pham et al. 2021, Sec. 2 and App. A",
    )
    feedback: bool = knob(
        True,
        help="false: the ablation h = 0, a teacher that never hears of its student; run both, with several "
        "seeds, before you credit the feedback",
        source="Pham et al. 2021, Eq. 12",
    )
    baseline: float | None = knob(
        None,
        help="rate of the average feedback that is taken off each step's, so that only better or worse than "
        "usual counts",
        unset=f"{1 / BASELINE.share:g}/steps of the student, from {1 - BASELINE.most:g} up to 1",
        source="Pham et al. 2021, reference implementation: 0.01",
        only_if=("feedback", [True]),
        gt=0,
        le=1,
    )
    uda_weight: float = knob(
        8.0,
        help="highest weight of the teacher's own consistency loss (UDA), λ",
        source="Pham et al. 2021, reference implementation",
        ge=0,
        le=1000,
    )
    uda_temperature: float = knob(
        0.7,
        help="sharpens the weak view's probabilities that teach the strong view",
        source="Pham et al. 2021, reference implementation",
        only_if=("uda_weight", ABOVE_ZERO),
        gt=0,
        le=100,
    )
    uda_threshold: float = knob(
        0.6,
        help="least confidence of a weak view, sharpened, that teaches the teacher",
        source="Pham et al. 2021, reference implementation",
        only_if=("uda_weight", ABOVE_ZERO),
        ge=0,
        le=2,
    )
    uda_rampup_epochs: float | None = knob(
        None,
        help="the weight rises linearly from 0 over so many epochs",
        unit="epochs",
        unset=UDA_RAMP.words,
        only_if=("uda_weight", ABOVE_ZERO),
        ge=0,
        le=10_000,
    )
    finetune_epochs: int = knob(
        5,
        help="epochs on the labelled images that end the run, since until then the student saw no true "
        "label; kept where they are better on validation; 0: none",
        unit="epochs",
        source="Pham et al. 2021, Sec. 2",
        ge=0,
        le=10_000,
    )

    @property
    def last_epochs(self) -> int:
        """`finetune_epochs`."""
        return self.finetune_epochs

    def _paced(self, name: str, rule: Average | Ramp, steps: int) -> float:
        value = super()._paced(name, rule, steps)
        return 1 - value if name == "baseline" else value  # a rate, not a decay
