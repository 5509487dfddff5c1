"""[pseudo_label]: every strategy by its name, and which one a table means."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator, Tag

from workbench.recipe.by_confidence import ClassBalanced, Curriculum, Iterative, NoisyStudent, OneShot, Ups
from workbench.recipe.by_features import LabelPropagation, Prototype
from workbench.recipe.labels import PseudoLabel
from workbench.recipe.offline import Offline
from workbench.recipe.online import (
    ONLINE,
    FixMatch,
    FlexMatch,
    FreeMatch,
    MeanTeacher,
    MetaPseudoLabels,
    SoftMatch,
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
