"""Offline strategies that label by the trunk's features; `workbench.pseudo.rules` has each."""

from __future__ import annotations

from typing import ClassVar, Literal

from workbench.recipe.fields import knob
from workbench.recipe.offline import SIMILARITY_HELP, SIMILARITY_SOURCE, InRounds, Similarity, Taught


class LabelPropagation(Taught, InRounds):
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
        source="Iscen et al. 2019, Eq. 11",
    )
    class_weights: Literal["none", "inverse"] = knob(
        "none",
        help="inverse, as published: every image, labelled or not, also weighs in inverse proportion to how "
        "many of its class train the student, 1/(|L_j| + |U_j|), in place of training.class_weights",
        source="Iscen et al. 2019, Eq. 12",
    )
    student: Literal["continue", "fresh"] = knob(
        "continue", help="each student starts from the last weights, or from the pretrained ones"
    )

    def pool_share(self, number: int) -> float:
        """All that a label reaches, mostly all."""
        return 1.0


class Prototype(Taught, InRounds):
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

    def pool_share(self, number: int) -> float:
        """All of it."""
        return 1.0
