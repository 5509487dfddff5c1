"""Online strategies: the student labels every batch of the pool as it trains; `train.objectives` has each."""

from __future__ import annotations

from typing import ClassVar, Literal

from workbench.recipe.fields import ABOVE_ZERO, Probability, knob
from workbench.recipe.labels import PseudoLabel
from workbench.recipe.training import Augmentation


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

    unlabelled_weight: float = knob(
        1.0,
        help="weight of the unlabelled loss, λ",
        source="Sohn et al. 2020, FixMatch, Sec. 4",
        ge=0,
        le=1000,
    )
    ema: float = knob(
        0.999,
        help="decay a step of the average of the student's weights that is evaluated; a run of a few hundred "
        "steps wants 0.99, or the average stays near the start; 0: off",
        source="Sohn et al. 2020, FixMatch, App. B.3",
        ge=0,
        lt=1,
    )


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


class FreeMatch(Consistency):
    """Thresholds follow the model's own confidence, overall and by class; a loss keeps classes in balance."""

    source: ClassVar[str] = "Wang et al. 2023, FreeMatch"

    strategy: Literal["freematch"] = knob("freematch", help="thresholds that adapt by themselves")
    momentum: float = knob(
        0.999,
        help="of the averages that make the thresholds, which start at 1/C; a run of a few hundred steps "
        "wants 0.99, or nearly everything passes",
        source="Wang et al. 2023, FreeMatch, Eq. 5 to 8",
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

    strategy: Literal["softmatch"] = knob("softmatch", help="a soft weight by confidence, no threshold")
    momentum: float = knob(
        0.999,
        help="of the confidence's mean and variance and of the class shares; a run of a few hundred steps "
        "wants 0.99",
        source="Chen et al. 2023, SoftMatch, Eq. 8",
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


class MeanTeacher(Online):
    """The student agrees with the average of its own past weights on another view of the same image."""

    source: ClassVar[str] = "Tarvainen and Valpola 2017, Mean Teacher"

    strategy: Literal["mean_teacher"] = knob("mean_teacher", help="agree with the average of the weights")
    consistency: float = knob(
        100.0,
        help="highest weight of the mean squared difference between the two softmaxes, averaged over images "
        "and classes",
        source="Tarvainen and Valpola 2017, App. B.1",
        ge=0,
        le=100_000,
    )
    rampup_epochs: float = knob(
        5.0,
        help="the weight rises as exp(−5(1 − t)²) over so many epochs; the teacher forgets faster meanwhile",
        unit="epochs",
        source="Tarvainen and Valpola 2017, App. B.1",
        ge=0,
        le=10_000,
    )
    early_ema: float = knob(
        0.99,
        help="decay a step of the teacher's weights during the ramp-up",
        source="Tarvainen and Valpola 2017, App. B.1",
        ge=0,
        lt=1,
    )
    late_ema: float = knob(
        0.999,
        help="decay a step of the teacher's weights afterwards",
        source="Tarvainen and Valpola 2017, App. B.1",
        ge=0,
        lt=1,
    )


class MetaPseudoLabels(TwoViews):
    """A teacher labels for a student and learns from whether that helped the student on labelled images."""

    source: ClassVar[str] = "Pham et al. 2021, Meta Pseudo Labels"

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
    baseline: float = knob(
        0.01,
        help="rate of the average feedback that is taken off each step's, so that only better or worse than "
        "usual counts",
        source="Pham et al. 2021, reference implementation",
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
        help="least confidence of a weak view that teaches the teacher",
        source="Pham et al. 2021, reference implementation",
        only_if=("uda_weight", ABOVE_ZERO),
        ge=0,
        le=2,
    )
    uda_rampup_epochs: float = knob(
        5.0,
        help="the weight rises linearly from 0 over so many epochs",
        unit="epochs",
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


ONLINE: dict[str, type[Online]] = {
    "mean_teacher": MeanTeacher,
    "fixmatch": FixMatch,
    "flexmatch": FlexMatch,
    "freematch": FreeMatch,
    "softmatch": SoftMatch,
    "meta_pseudo_labels": MetaPseudoLabels,
}
