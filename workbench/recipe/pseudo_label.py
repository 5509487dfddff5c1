"""[pseudo_label]: one knob model a strategy; `workbench.pseudo` implements each offline one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Tag, model_validator

from workbench.recipe.fields import Table, disagreement, knob
from workbench.recipe.labels import PseudoLabel as PseudoLabel
from workbench.recipe.online import (
    ONLINE,
    FixMatch,
    FlexMatch,
    FreeMatch,
    MeanTeacher,
    MetaPseudoLabels,
    SoftMatch,
)

_BALANCED = ("balance", ["sinkhorn", "align"])

Similarity = Literal["features", "features+classes"]
SIMILARITY_HELP = (
    "what neighbours and class means are compared by: the trunk's features, or beside them what the "
    "backbone's published classifier says of an image: the square roots of its probabilities at temperature 2"
)
SIMILARITY_SOURCE = "square roots: the Hellinger distance between two of its answers"


class Noise(Table):
    """What the student suffers and the teacher does not, instead of the recipe's own values."""

    policy: Literal["none", "rand", "trivial"] | None = knob(
        None, help="augmentation policy of the student", unset="as augmentation.policy"
    )
    dropout: float | None = knob(
        None, help="the student's dropout before the head", unset="as model.dropout", ge=0, lt=1
    )
    stochastic_depth: float | None = knob(
        None, help="the student's stochastic depth", unset="as model.stochastic_depth", ge=0, lt=1
    )


class StrongNoise(Noise):
    """The noise that a noisy student learns under; 0.2 is the last block's drop rate."""

    policy: Literal["none", "rand", "trivial"] = knob("rand", help="augmentation policy of the student")
    dropout: float = knob(0.5, help="the student's dropout before the head", ge=0, lt=1)
    stochastic_depth: float = knob(0.2, help="the student's stochastic depth", ge=0, lt=1)


class Offline(PseudoLabel):
    """Hide most labels, train a teacher on the rest, and a student on what the teacher says of the hidden."""

    pseudo_weight: float = knob(
        1.0, help="weight of a pseudo-labelled image in the loss; a labelled one has 1", gt=0, le=100
    )
    labelled_weight: float | None = knob(
        None,
        help="weight of a labelled image in the loss while a student trains; of itself it is 1, with "
        "class_balanced max(1, 0.25·S/L), with noisy_student S/L, for S pseudo-labels and L labels",
        unset="the strategy's own",
        gt=0,
        le=10_000,
    )
    epochs_per_round: int = knob(
        5, help="epochs that the student trains in a round", unit="epochs", ge=1, le=10_000
    )
    noise: Noise = knob(Noise(), help="the student's noise: {policy, dropout, stochastic_depth}")


class Taught(Offline):
    """Strategies that give every chosen image one class, or a probability of each."""

    targets: Literal["hard", "soft"] = knob(
        "hard", help="hard: the teacher's first choice; soft: its probabilities"
    )
    temperature: float = knob(
        1.0,
        help="softens (above 1) or sharpens the teacher's probabilities",
        only_if=("targets", ["soft"]),
        gt=0,
        le=100,
    )
    balance: Literal["none", "sinkhorn", "align"] = knob(
        "none",
        help="make the pool's classes as frequent as expected before anything is chosen: exactly (sinkhorn), "
        "or by scaling each class (align: distribution alignment)",
        source="Cuturi 2013; Berthelot et al. 2020, ReMixMatch, Sec. 3.1",
    )
    balance_prior: Literal["uniform", "labelled"] = knob(
        "uniform",
        help="expected share of each class that has a label: all alike, or as among the labelled images",
        only_if=_BALANCED,
    )
    sinkhorn_steps: int = knob(
        50,
        help="alternations between the columns' sums and the rows'",
        only_if=("balance", ["sinkhorn"]),
        ge=1,
        le=10_000,
    )
    alignment_decay: float = knob(
        0.0,
        help="decay a round of the average class share that align divides by; 0: the round's own, which over "
        "a whole pool is exact (online methods, which see a batch, keep 0.999 a step)",
        only_if=("balance", ["align"]),
        ge=0,
        lt=1,
    )


class FromProbabilities(Taught):
    """Strategies that go by the teacher's probabilities."""

    calibrate: bool = knob(
        False,
        help="first divide the teacher's logits by the temperature that fits the validation images best",
        source="Guo et al. 2017, temperature scaling",
    )
    propagation: float = knob(
        0.0,
        help="share β of the vote that label propagation over the trunk's features has beside the teacher: "
        "probabilities ∝ p^(1 − β − γ) · z^β · m^γ, with z of label_propagation's default graph; 0: none; "
        "1: it alone",
        source="Heskes 1998, logarithmic opinion pool; Iscen et al. 2019",
        ge=0,
        le=1,
    )
    prototypes: float = knob(
        0.0,
        help="share γ of the vote that the refined class means of prototype's defaults have; 0: none",
        source="Heskes 1998, logarithmic opinion pool; Ren et al. 2018",
        ge=0,
        le=1,
    )
    similarity: Similarity = knob("features", help=SIMILARITY_HELP, source=SIMILARITY_SOURCE)

    @model_validator(mode="after")
    def _votes_add_up(self) -> FromProbabilities:
        if self.propagation + self.prototypes > 1:
            raise disagreement(
                f"propagation and prototypes share one vote: together at most 1, not "
                f"{self.propagation + self.prototypes:g}",
                "prototypes",
                "propagation",
            )
        if self.similarity != "features" and not self.propagation + self.prototypes:
            raise disagreement(
                "similarity has no effect unless propagation or prototypes have a share of the vote",
                "similarity",
            )
        return self


class OneShot(FromProbabilities):
    """The teacher labels the whole pool once; the student trains on everything: no iterations."""

    source: ClassVar[str] = "Lee 2013, Pseudo-Label; the paper's Table 1, column 2"

    strategy: Literal["one_shot"] = knob("one_shot", help="label the whole pool once")
    student: Literal["continue", "fresh"] = knob(
        "continue", help="the student starts from the teacher's weights, or from the pretrained ones"
    )


class Iterative(FromProbabilities):
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


class ClassBalanced(FromProbabilities):
    """Round r of R takes the ⌊r/R · |U|/C⌋ surest images of every class, so no class crowds out another."""

    source: ClassVar[str] = "after CBST, Zou et al. 2018"

    strategy: Literal["class_balanced"] = knob("class_balanced", help="the surest images of each class")
    rounds: int = knob(5, help="R: the share of the pool grows from 1/R to all of it", ge=1, le=100)
    prior: Literal["uniform", "labelled"] = knob(
        "uniform", help="expected share of each class in the pool: all alike, or as among the labelled images"
    )
    student: Literal["continue", "fresh"] = knob(
        "fresh", help="each round refits from the pretrained weights (as published), or continues"
    )


class Curriculum(FromProbabilities):
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


class Ups(Offline):
    """Believes what many noisy passes agree on, and what they agree an image is not: negative labels."""

    source: ClassVar[str] = "Rizve et al. 2021, In Defense of Pseudo-Labeling (UPS)"

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


class NoisyStudent(FromProbabilities):
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


class LabelPropagation(Taught):
    """Labels spread through the graph of nearest neighbours among the backbone's features."""

    source: ClassVar[str] = "Iscen et al. 2019, Label Propagation for Deep Semi-supervised Learning"

    strategy: Literal["label_propagation"] = knob(
        "label_propagation", help="labels spread over nearest neighbours' features"
    )
    rounds: int = knob(
        1,
        help="how often; more than once is of use where the trunk learns, and its features move",
        ge=1,
        le=100,
    )
    neighbours: int = knob(
        10, help="k of the graph; the paper's 50 suits pools of tens of thousands", ge=1, le=1000
    )
    alpha: float = knob(
        0.8,
        help="how far labels spread, α; the paper's 0.99 suits pools of tens of thousands",
        gt=0,
        lt=1,
    )
    gamma: float = knob(3.0, help="power of the cosine similarity, γ", gt=0, le=100)
    similarity: Similarity = knob("features", help=SIMILARITY_HELP, source=SIMILARITY_SOURCE)
    weighting: Literal["entropy", "none"] = knob(
        "entropy",
        help="entropy: an image weighs 1 − H(z)/log C, by how certain its label is; none: all alike",
    )
    student: Literal["continue", "fresh"] = knob(
        "continue", help="each student starts from the last weights, or from the pretrained ones"
    )


class Prototype(Taught):
    """The class means of the labelled features, refined over the pool by soft k-means, label it.

    With `balance = "sinkhorn"` every refinement gives each class its share, so that none swallows another.
    """

    source: ClassVar[str] = "soft k-means as in Ren et al. 2018, Sec. 3.1.1; Snell et al. 2017"

    strategy: Literal["prototype"] = knob("prototype", help="nearest refined class mean of the features")
    rounds: int = knob(
        1,
        help="how often; more than once is of use where the trunk learns, and its features move",
        ge=1,
        le=100,
    )
    refinements: int = knob(10, help="steps of soft k-means; 0: the labelled means alone", ge=0, le=1000)
    sharpness: float = knob(
        0.05,
        help="temperature of the soft assignment: cosine similarity to each mean, divided by it",
        gt=0,
        le=10,
    )
    similarity: Similarity = knob("features", help=SIMILARITY_HELP, source=SIMILARITY_SOURCE)
    student: Literal["continue", "fresh"] = knob(
        "continue", help="each student starts from the last weights, or from the pretrained ones"
    )


OFFLINE: dict[str, type[Offline]] = {
    "one_shot": OneShot,
    "iterative": Iterative,
    "class_balanced": ClassBalanced,
    "curriculum": Curriculum,
    "ups": Ups,
    "noisy_student": NoisyStudent,
    "label_propagation": LabelPropagation,
    "prototype": Prototype,
}

STRATEGIES: dict[str, type[PseudoLabel]] = {**OFFLINE, **ONLINE}


def _strategy_of(value: object) -> object:
    if isinstance(value, PseudoLabel):
        return getattr(value, "strategy", None)
    return value.get("strategy", "iterative") if isinstance(value, dict) else None


AnyPseudoLabel = Annotated[
    Annotated[OneShot, Tag("one_shot")]
    | Annotated[Iterative, Tag("iterative")]
    | Annotated[ClassBalanced, Tag("class_balanced")]
    | Annotated[Curriculum, Tag("curriculum")]
    | Annotated[Ups, Tag("ups")]
    | Annotated[NoisyStudent, Tag("noisy_student")]
    | Annotated[LabelPropagation, Tag("label_propagation")]
    | Annotated[Prototype, Tag("prototype")]
    | Annotated[MeanTeacher, Tag("mean_teacher")]
    | Annotated[FixMatch, Tag("fixmatch")]
    | Annotated[FlexMatch, Tag("flexmatch")]
    | Annotated[FreeMatch, Tag("freematch")]
    | Annotated[SoftMatch, Tag("softmatch")]
    | Annotated[MetaPseudoLabels, Tag("meta_pseudo_labels")],
    Discriminator(_strategy_of),
]
