"""[pseudo_label]: what all strategies share, which strategies there are, and which one a table means."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

from pydantic import PlainValidator, SerializeAsAny, model_validator
from pydantic_core import PydanticCustomError

from workbench.recipe.fields import Share, Table, disagreement, knob
from workbench.support.plugins import Registry


@dataclass(frozen=True, slots=True)
class LabelPolicy:
    """One way, as people are told of it."""

    about: str
    recipe: str
    """What to write in [pseudo_label] to have it."""
    knobs: tuple[str, ...]
    """The keys that it goes by."""
    is_meant: Callable[[PseudoLabel], bool]
    """Whether a table's values ask for it; of every table they ask for one."""
    source: str = ""
    """Paper and place that it comes from."""
    looks_at_images: bool = False
    """Whether the trunk looks at the images before any is labelled."""
    is_even: bool = True
    """Whether every class gets its share of the labels."""


LABEL_POLICIES: Registry[LabelPolicy] = Registry("label policy", [])
"""By the names that ALGORITHMS and `petbench strategies` have for them."""


LABEL_POLICIES.add(
    "all",
    LabelPolicy(
        "Every label there is: the pool is what nobody has labelled, the data set's own or extra images.",
        "labelled_fraction = 1.0",
        ("labelled_fraction",),
        lambda labels: labels.labelled_fraction is None and labels.labels_per_class is None,
        is_even=False,
    ),
)
LABEL_POLICIES.add(
    "random",
    LabelPolicy(
        "A plain shuffle, as in the paper; few labels leave classes without one.",
        "labelled_fraction = 0.01, stratified = false",
        ("labelled_fraction", "stratified"),
        lambda labels: _draws(labels) and labels.labelled_fraction is not None and labels.stratified is False,
        source="the paper, Table 1",
        is_even=False,
    ),
)
LABEL_POLICIES.add(
    "stratified",
    LabelPolicy(
        "The same share of every class, at least one image.",
        "labelled_fraction = 0.1",
        ("labelled_fraction", "stratified"),
        lambda labels: (
            _draws(labels) and labels.labelled_fraction is not None and labels.stratified is not False
        ),
    ),
)
LABEL_POLICIES.add(
    "per_class",
    LabelPolicy(
        "So many images of every class.",
        "labels_per_class = 4",
        ("labels_per_class",),
        lambda labels: _draws(labels) and labels.labels_per_class is not None,
    ),
)
LABEL_POLICIES.add(
    "representative",
    LabelPolicy(
        "The most typical images by the pretrained backbone's features; reads no label to choose.",
        'labels_per_class = 1, representative = "kmeans"',
        ("representative", "labels_per_class", "labelled_fraction"),
        lambda labels: not _draws(labels),
        source="Hacohen et al. 2022, TypiClust",
        looks_at_images=True,
    ),
)


def _draws(labels: PseudoLabel) -> bool:
    return labels.representative == "off"


USUAL_STRATEGY = "iterative"
"""Where a table names none."""
KindT = TypeVar("KindT", bound="PseudoLabel")


class PseudoLabel(Table):
    """Hide most labels, and train with the rest on all images."""

    source: ClassVar[str] = ""
    """Paper and place that a strategy comes from."""
    code: ClassVar[str] = ""
    """The module that registers what a strategy does, where that is not the module of its knobs: imported
    where the strategy runs, so that it may import torch. Petbench's own need none."""

    # Declared here, narrowed by each strategy: so it comes first wherever knobs are listed.
    strategy: str = knob(help="how pseudo-labels are chosen, and when")
    labelled_fraction: Share | None = knob(
        None,
        help="share of the training images that keep their label (or labels_per_class); 1, as all of them, "
        "where the data set has unlabelled images of its own or data.extra_unlabelled names some",
        unset="see labels_per_class",
    )
    labels_per_class: int | None = knob(
        None,
        help="so many labels a class instead of a share",
        unset="without labelled_fraction too, all labels that there are",
        ge=1,
        le=100_000,
    )
    stratified: bool | None = knob(
        None,
        help="true unless given: the same share of every class, at least one; false: a plain shuffle, as in "
        "the paper, which may leave classes without a label (with labelled_fraction)",
        unset="true with labelled_fraction",
    )
    representative: Literal["off", "kmeans", "typiclust"] = knob(
        "off",
        help="label as many images in all, but those most typical by the pretrained backbone's features: one "
        "of each cluster, nearest its centre (kmeans) or in its densest part (typiclust); no label is "
        "read to choose them",
        source="Hacohen et al. 2022, TypiClust",
    )

    @model_validator(mode="after")
    def _one_amount_of_labels(self) -> PseudoLabel:
        if self.labelled_fraction is not None and self.labels_per_class is not None:
            raise disagreement(
                "set labelled_fraction or labels_per_class, not both", "labels_per_class", "labelled_fraction"
            )
        if self.labels_per_class is not None and self.stratified is not None:
            raise disagreement(
                "stratified goes with labelled_fraction; labels_per_class is balanced by itself", "stratified"
            )
        if self.labelled_fraction is None and self.stratified is not None:
            raise disagreement(
                "stratified goes with labelled_fraction; without it all labels are used",
                "stratified",
                "labelled_fraction",
            )
        if self.representative != "off" and self.labelled_fraction is None and self.labels_per_class is None:
            raise disagreement(
                "representative chooses which images are labelled; how many, labelled_fraction or "
                "labels_per_class must say",
                "representative",
                "labelled_fraction",
            )
        if self.representative != "off" and self.stratified is not None:
            raise disagreement(
                "stratified has no effect on representative labels, which are chosen without classes",
                "stratified",
                "representative",
            )
        return self

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """A strategy registers itself: a class that says `strategy: Literal["its_name"]`."""
        field = cls.model_fields["strategy"]
        if get_origin(field.annotation) is not Literal:
            return
        inherited = (getattr(base, "model_fields", {}).get("strategy") for base in cls.__bases__)
        if all(of_base is None or of_base.annotation != field.annotation for of_base in inherited):
            (name,) = get_args(field.annotation)
            STRATEGIES.add(name, cls)

    @property
    def is_taught_by_runs(self) -> bool:
        """Whether finished runs stand in the teacher's place."""
        return False

    @property
    def policy(self) -> str:
        """The label policy's name: which images keep their label."""
        return next(name for name, policy in LABEL_POLICIES.items() if policy.is_meant(self))


STRATEGIES: Registry[type[PseudoLabel]] = Registry(
    "strategy", ["workbench.recipe.strategies"], "petbench.strategies"
)
"""Every strategy's knobs by its name. What it does is registered for the knobs: an offline one's rule by
`workbench.pseudo.rule_for`, an online one's objective by `workbench.train.objectives.objective_for`."""


def strategies_of(kind: type[KindT]) -> dict[str, type[KindT]]:
    """The strategies of a kind, such as `Online`, by name."""
    return {name: table for name, table in STRATEGIES.items() if issubclass(table, kind)}


def strategy_of(values: object) -> object:
    """What a [pseudo_label] table's values name as their strategy, if anything."""
    return values.get("strategy", USUAL_STRATEGY) if isinstance(values, dict) else None


def table_of_strategy(name: object) -> type[PseudoLabel] | None:
    """The knobs of the strategy of that name; None where there is none."""
    return STRATEGIES.get(name) if isinstance(name, str) else None


def _read(value: object) -> PseudoLabel:
    if isinstance(value, PseudoLabel):
        return value
    if not isinstance(value, dict):
        raise PydanticCustomError("model_type", "not a table")
    table = table_of_strategy(strategy_of(value))
    if table is None:
        raise PydanticCustomError("unknown_strategy", "no such strategy")
    return table.model_validate(value)


AnyPseudoLabel = Annotated[SerializeAsAny[PseudoLabel], PlainValidator(_read)]
"""The table of whichever strategy it names."""
