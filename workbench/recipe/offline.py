"""What offline strategies share: a teacher labels the pool between rounds, and a student trains on that."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from workbench.recipe.fields import RunNames, Table, disagreement, knob
from workbench.recipe.pseudo_label import PseudoLabel

_BALANCED = ("balance", ["sinkhorn", "align"])

Similarity = Literal["features", "features+classes"]
SIMILARITY_HELP = (
    "what neighbours and class means are compared by: the trunk's features, or beside them what the "
    "backbone's published classifier says of an image: the square roots of its probabilities at temperature 2"
)
SIMILARITY_SOURCE = "square roots: the Hellinger distance between two of its answers"


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Shares = Annotated[dict[Annotated[str, Field(min_length=1, max_length=200)], Share], Field(min_length=1)]
PoolPrior = Literal["auto", "uniform", "labelled", "estimated"] | Shares
TargetPrior = Literal["off", "validation", "uniform", "pool"] | Shares
PRIOR_HELP = (
    "expected share of each class in the pool: all alike (uniform), as among the labelled images (labelled), "
    "as the teacher's word on the pool has it (estimated), or {class = share}; auto: uniform, or as labelled "
    "where labels are a plain shuffle or all there are, unless the estimate differs from that by more than "
    "chance"
)
PRIOR_SOURCE = "Saerens et al. 2002; Alexandari et al. 2020; auto: Hausser and Strimmer 2009"


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
    target_prior: TargetPrior = knob(
        "validation",
        help="share of each class where the model will be used, which the student's loss is adjusted to "
        "(logit adjustment): as among the validation images (with data.label_folds the labelled ones), all "
        "alike, as in the pool, or {class = share}; off: it learns the mixture that it is taught. The images "
        "that choose epochs, rounds and between teacher and student are weighted for the same mixture",
        source="Menon et al. 2021, eq. 10, with the share met in the denominator",
    )

    gives_negative_labels: ClassVar[bool] = False
    """Whether a rule may say of an image what it is not."""

    @property
    def labellings(self) -> int:
        """How often the pool is labelled, each time for a student."""
        return 1

    @property
    def starts_fresh(self) -> bool:
        """Whether each student starts from the pretrained weights: `student`, of strategies that offer it."""
        return getattr(self, "student", "continue") == "fresh"

    def pool_share(self, number: int) -> float | None:
        """Share of the pool that labelling `number`, from 1, chooses; None where the teacher decides."""
        return None


class InRounds(Offline):
    """Strategies whose teacher labels the pool more than once, each time a student follows from.

    After each round the student and the model that taught it are compared on validation.
    """

    rounds: int = knob(1, help="how often the pool is labelled", ge=1, le=100)
    next_teacher: Literal["best", "latest"] = knob(
        "best",
        help="who teaches the next round: the better of student and teacher on validation (accuracy, then "
        "loss), or the student whatever it is worth (as published); the final model is the best of all "
        "either way",
    )
    patience: int = knob(
        2,
        help="stop after so many rounds in a row whose student did not beat its teacher; 0: never",
        unit="rounds",
        only_if=("next_teacher", ["best"]),
        ge=0,
        le=100,
    )

    @property
    def labellings(self) -> int:
        """A labelling a round."""
        return self.rounds


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
    prior: PoolPrior = knob(
        "auto",
        help=PRIOR_HELP,
        source=PRIOR_SOURCE,
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

    @property
    def expects_classes(self) -> bool:
        """Whether what is chosen, or what the student's loss is told, depends on the pool's class prior."""
        return self.target_prior not in ("off", "pool") or self.balance != "none"

    @model_validator(mode="before")
    @classmethod
    def _by_its_former_name(cls, values: Any) -> Any:
        """`balance_prior`, as runs of 0.1.0 have it."""
        if isinstance(values, dict) and "balance_prior" in values:
            values = dict(values)
            former = values.pop("balance_prior")
            values.setdefault("prior", former)
        return values


class FromProbabilities(Taught):
    """Strategies that go by the teacher's probabilities."""

    teacher: RunNames | None = knob(
        None,
        help="finished runs, ensembles among them, that label the pool together by the mean of their "
        "log-probabilities, in place of a teacher that this run trains: ids, names or paths. None may have "
        "learned from a label that is hidden here, or from an image that validates or tests this run",
        source='Hinton et al. 2015, distillation, with targets = "soft"',
        unset="a teacher of its own",
    )
    calibrate: bool = knob(
        False,
        help="first divide the teacher's logits by the temperature that fits the validation images best",
        source="Guo et al. 2017, temperature scaling",
    )
    propagation: float = knob(
        0.0,
        help="share β of the vote that label propagation over the trunk's features has beside the teacher: "
        "probabilities ∝ p^(1 − β − γ) · z^β · m^γ, with z of label_propagation's default graph; 0: none; "
        "1: it alone. Whoever is clearly worse than the first teacher on validation images has no vote",
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

    @property
    def is_taught_by_runs(self) -> bool:
        """Whether `teacher` names some."""
        return self.teacher is not None

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
