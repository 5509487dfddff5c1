"""What every strategy shares: which of the training images keep their label."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import model_validator

from workbench.recipe.fields import Fraction, Table, disagreement, knob

LabelPolicy = Literal["random", "stratified", "per_class", "representative"]


class PseudoLabel(Table):
    """Hide most labels, and train with the rest on all images."""

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
    representative: Literal["off", "kmeans", "typiclust"] = knob(
        "off",
        help="label as many images in all, but those most typical by the pretrained backbone's features: one "
        "of each cluster, nearest its centre (kmeans) or in its densest part (typiclust); no label is "
        "read to choose them",
        source="Hacohen et al. 2022, TypiClust",
    )

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
        if self.representative != "off" and self.stratified is not None:
            raise disagreement(
                "stratified has no effect on representative labels, which are chosen without classes",
                "stratified",
                "representative",
            )
        return self

    @property
    def policy(self) -> LabelPolicy:
        """The label policy's name, as in ALGORITHMS: which images keep their label."""
        if self.representative != "off":
            return "representative"
        if self.labels_per_class is not None:
            return "per_class"
        return "random" if self.stratified is False else "stratified"
