"""Offline strategies that choose by how sure the teacher is; `workbench.pseudo.rules` has each."""

from __future__ import annotations

from typing import ClassVar, Literal

from workbench.recipe.fields import knob
from workbench.recipe.offline import PRIOR_HELP, PRIOR_SOURCE, FromProbabilities, InRounds, Noise, PoolPrior


class OneShot(FromProbabilities):
    """The teacher labels the whole pool once; the student trains on everything: no iterations."""

    source: ClassVar[str] = "Lee 2013, Pseudo-Label; the paper's Table 1, column 2"

    strategy: Literal["one_shot"] = knob("one_shot", help="label the whole pool once")
    student: Literal["continue", "fresh"] = knob(
        "continue", help="the student starts from the teacher's weights, or from the pretrained ones"
    )

    def pool_share(self, number: int) -> float:
        """All of it."""
        return 1.0


class Iterative(FromProbabilities, InRounds):
    """Each round the teacher labels what it is surest of; the student trains on that, then teaches."""

    source: ClassVar[str] = "the paper's Table 1, column 3"

    strategy: Literal["iterative"] = knob("iterative", help="label the surest images, train, label again")
    rounds: int = knob(5, help="how often", ge=1, le=100)
    select: Literal["top_fraction", "threshold"] = knob(
        "top_fraction",
        help="top_fraction: a growing share of the pool by confidence; threshold: all above one",
    )
    fraction: float = knob(
        0.2,
        help="share of the whole pool added each round (round r selects r times it)",
        only_if=("select", ["top_fraction"]),
        gt=0,
        le=1,
    )
    threshold: float = knob(
        0.7,
        help="least confidence (highest probability) of a selected image",
        only_if=("select", ["threshold"]),
        ge=0,
        lt=1,
    )
    student: Literal["continue", "fresh"] = knob(
        "continue",
        help="each round's student starts from the last one's weights, or from the pretrained ones",
    )
    relabel: bool = knob(
        True, help="true: choose and label anew each round; false: a pseudo-label once given stays"
    )

    def pool_share(self, number: int) -> float | None:
        """A fraction more each round; above a threshold lies nobody knows what."""
        return min(1.0, number * self.fraction) if self.select == "top_fraction" else None


class ClassBalanced(FromProbabilities, InRounds):
    """Round r of R takes the ⌊r/R · |U|/C⌋ surest images of every class, so no class crowds out another."""

    source: ClassVar[str] = "after CBST, Zou et al. 2018"

    strategy: Literal["class_balanced"] = knob("class_balanced", help="the surest images of each class")
    rounds: int = knob(5, help="R: the share of the pool grows from 1/R to all of it", ge=1, le=100)
    prior: PoolPrior = knob("auto", help=PRIOR_HELP, source=PRIOR_SOURCE)
    student: Literal["continue", "fresh"] = knob(
        "fresh", help="each round refits from the pretrained weights (as published), or continues"
    )

    def pool_share(self, number: int) -> float:
        """r/R, but for classes that are predicted less often."""
        return number / self.rounds

    @property
    def expects_classes(self) -> bool:
        """Its quotas go by the prior."""
        return True


class Curriculum(FromProbabilities, InRounds):
    """Round t of T takes all above a percentile of confidence that falls to 0; each student starts fresh."""

    source: ClassVar[str] = "Cascante-Bonilla et al. 2021, Curriculum Labeling, Alg. 1"

    strategy: Literal["curriculum"] = knob(
        "curriculum", help="a percentile of confidence that falls to 0, refitting each time"
    )
    rounds: int = knob(
        5, help="T: the threshold is the percentile 100 − 100·t/T of the pool's confidences", ge=1, le=100
    )
    student: Literal["continue", "fresh"] = knob(
        "fresh", help="each round refits from the pretrained weights (as published), or continues"
    )

    def pool_share(self, number: int) -> float:
        """t/T, but for ties."""
        return number / self.rounds


class Ups(InRounds):
    """Believes what many noisy passes agree on, and what they agree an image is not: negative labels."""

    source: ClassVar[str] = "Rizve et al. 2021, In Defense of Pseudo-Labeling (UPS)"
    gives_negative_labels: ClassVar[bool] = True

    strategy: Literal["ups"] = knob("ups", help="sure and steady under dropout; also negative labels")
    rounds: int = knob(5, help="how often", ge=1, le=100)
    passes: int = knob(10, help="passes with dropout over the pool", ge=2, le=1000)
    pass_dropout: float = knob(
        0.3, help="dropout before the head in those passes", unit="probability", gt=0, lt=1
    )
    threshold: float = knob(0.7, help="least mean probability of a positive label, τ_p", gt=0, lt=1)
    spread: float = knob(0.05, help="highest standard deviation of a positive label, κ_p", gt=0, le=1)
    negative_threshold: float = knob(
        0.05, help="highest mean probability of a negative label, τ_n", gt=0, lt=1
    )
    negative_spread: float = knob(
        0.005, help="highest standard deviation of a negative label, κ_n", gt=0, le=1
    )
    negative_temperature: float = knob(
        2.0, help="divides the logits where negative labels are judged", gt=0, le=100
    )
    balanced_rounds: int = knob(
        4,
        help="in so many first rounds a class gives at most max(25, the smallest class's) positives, the "
        "steadiest first",
        ge=0,
        le=100,
    )
    student: Literal["continue", "fresh"] = knob(
        "fresh", help="each round refits from the pretrained weights (as published), or continues"
    )


class StrongNoise(Noise):
    """The noise that a noisy student learns under; 0.2 is the last block's drop rate."""

    policy: Literal["none", "rand", "trivial"] = knob("rand", help="augmentation policy of the student")
    dropout: float = knob(0.5, help="the student's dropout before the head", ge=0, lt=1)
    stochastic_depth: float = knob(0.2, help="the student's stochastic depth", ge=0, lt=1)


class NoisyStudent(FromProbabilities, InRounds):
    """An un-noised teacher labels; as many images of every class teach a noised student, then the teacher."""

    source: ClassVar[str] = "Xie et al. 2020, Self-training with Noisy Student"

    strategy: Literal["noisy_student"] = knob(
        "noisy_student", help="the surest of each class, duplicated where short, to a noised student"
    )
    targets: Literal["hard", "soft"] = knob(
        "soft", help="soft: the teacher's probabilities (as published); hard: its first choice"
    )
    rounds: int = knob(3, help="how often the student becomes the teacher", ge=1, le=100)
    threshold: float = knob(0.3, help="least confidence of a selected image", ge=0, lt=1)
    quota: bool = knob(
        True,
        help="true: ⌈U/C⌉ images of every class, the surest first, duplicated where too few; false: all "
        "above the threshold",
    )
    noise: StrongNoise = knob(
        StrongNoise(), help="the student's noise (as published): {policy, dropout, stochastic_depth}"
    )
    student: Literal["continue", "fresh"] = knob(
        "fresh", help="each student starts from the pretrained weights (as published), or continues"
    )

    def pool_share(self, number: int) -> float | None:
        """As many as there are, where the surest of every class are duplicated up to its share."""
        return 1.0 if self.quota else None
