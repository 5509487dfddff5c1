"""[pseudo_label]: one knob model a strategy; `workbench.pseudo` implements each in a file of its name."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator, Tag, model_validator

from workbench.recipe.fields import Fraction, Table, disagreement, knob


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


class PseudoLabel(Table):
    """Hide most labels, train a teacher on the rest, and a student on what the teacher says of the hidden."""

    source: ClassVar[str] = ""

    # Declared here, narrowed by each strategy: so it comes first wherever knobs are listed.
    strategy: str = knob(help="how pseudo-labels are chosen, and when")
    labelled_fraction: Fraction | None = knob(
        None,
        help="share of the training images that keep their label (or labels_per_class)",
        unset="see labels_per_class",
    )
    labels_per_class: int | None = knob(
        None,
        help="so many labels a class instead of a share",
        unset="see labelled_fraction",
        ge=1,
        le=100_000,
    )
    stratified: bool | None = knob(
        None,
        help="true unless given: the same share of every class, at least one; false: a plain shuffle, as in "
        "the paper, which may leave classes without a label (with labelled_fraction)",
        unset="true with labelled_fraction",
    )
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
    pseudo_weight: float = knob(
        1.0, help="weight of a pseudo-labelled image in the loss; a labelled one has 1", gt=0, le=100
    )
    epochs_per_round: int = knob(
        5, help="epochs that the student trains in a round", unit="epochs", ge=1, le=10_000
    )
    noise: Noise = knob(Noise(), help="the student's noise: {policy, dropout, stochastic_depth}")

    @model_validator(mode="after")
    def _one_amount_of_labels(self) -> PseudoLabel:
        if (self.labelled_fraction is None) == (self.labels_per_class is None):
            raise disagreement(
                "set exactly one of labelled_fraction and labels_per_class",
                "labels_per_class",
                "labelled_fraction",
            )
        if self.labels_per_class is not None and self.stratified is not None:
            raise disagreement(
                "stratified goes with labelled_fraction; labels_per_class is balanced by itself", "stratified"
            )
        return self

    @property
    def policy(self) -> Literal["random", "stratified", "per_class"]:
        """The label policy's name, as in ALGORITHMS: which images keep their label."""
        if self.labels_per_class is not None:
            return "per_class"
        return "random" if self.stratified is False else "stratified"


class OneShot(PseudoLabel):
    """The teacher labels the whole pool once; the student trains on everything: no iterations."""

    source: ClassVar[str] = "Lee 2013, Pseudo-Label; the paper's Table 1, column 2"

    strategy: Literal["one_shot"] = knob("one_shot", help="label the whole pool once")
    student: Literal["continue", "fresh"] = knob(
        "continue", help="the student starts from the teacher's weights, or from the pretrained ones"
    )


class Iterative(PseudoLabel):
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


class ClassBalanced(PseudoLabel):
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


STRATEGIES: dict[str, type[PseudoLabel]] = {
    "one_shot": OneShot,
    "iterative": Iterative,
    "class_balanced": ClassBalanced,
}


def _strategy_of(value: object) -> object:
    if isinstance(value, PseudoLabel):
        return getattr(value, "strategy", None)
    return value.get("strategy", "iterative") if isinstance(value, dict) else None


AnyPseudoLabel = Annotated[
    Annotated[OneShot, Tag("one_shot")]
    | Annotated[Iterative, Tag("iterative")]
    | Annotated[ClassBalanced, Tag("class_balanced")],
    Discriminator(_strategy_of),
]
