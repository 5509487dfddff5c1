"""The images of a run that a person goes through: which of them, in what order, marked or judged already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from shlex import quote
from typing import Any

from workbench.dataset.review import Correction, Review, Verdict
from workbench.runs.doubt import Choice, Doubt, choose, rank
from workbench.runs.opinion_columns import Opinion, OpinionRows
from workbench.runs.opinions import Opinions
from workbench.runs.slices import Slice
from workbench.runs.sources import RoundSource, Source, SplitSource
from workbench.support.records import plain, record_or_defaults
from workbench.tui.screens.inspect.material import Material


class Reviewed(StrEnum):
    """Which images to show by what a person said of them."""

    ANY = "any"
    NO = "not reviewed"
    YES = "reviewed"

    @property
    def next(self) -> Reviewed:
        """The one after it, going round."""
        members = list(Reviewed)
        return members[(members.index(self) + 1) % len(members)]


@dataclass(frozen=True, slots=True)
class Query:
    """Order and filters; every filter must hold. Compared by value, kept in the session."""

    order: Doubt = Doubt.CONFIDENCE
    surest_first: bool = False
    class_name: str = ""
    true: str = ""
    """With `said`: one cell of the confusion matrix."""
    said: str = ""
    wrong: bool = False
    taught: bool = False
    flipped: bool = False
    reviewed: Reviewed = Reviewed.ANY
    slice: str = ""
    """Key of a slice of the split."""

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is on."""
        return self.without_filters() != self

    def without_filters(self) -> Query:
        """The same order of all images."""
        return Query(order=self.order, surest_first=self.surest_first)

    def for_source(
        self,
        source: Source | None,
        orders: Sequence[Doubt],
        classes: Sequence[str],
        sliced: Slice | None = None,
    ) -> Query:
        """The query without what the source cannot tell; `sliced` is the slice that is known of it."""
        query = self
        if query.order not in orders:
            query = replace(query, order=orders[0] if orders else Doubt.CONFIDENCE)
        if not isinstance(source, RoundSource):
            query = replace(query, taught=False, flipped=False)
        if query.class_name not in classes:
            query = replace(query, class_name="")
        if query.slice and (sliced is None or sliced.key != query.slice):
            query = replace(query, slice="")
        if query.true not in classes or query.said not in classes:
            query = replace(query, true="", said="")
        return query

    def pick(self, opinions: Opinions, reviewed: Set[str], sliced: Slice | None = None) -> OpinionRows:
        """The opinions to show, in their order.

        Args:
            reviewed: ids with a verdict.
            sliced: the slice of the query's key.
        """
        pair = (self.true, self.said) if self.true and self.said else None
        choice = Choice(self.wrong, self.taught, self.flipped, self.class_name or None, pair)
        fitting = choose(opinions, choice)
        if sliced is not None and sliced.key == self.slice:
            fitting = fitting.where(fitting.among(sliced.ids))
        if self.reviewed is not Reviewed.ANY:
            fitting = fitting.where(fitting.among(reviewed) == (self.reviewed is Reviewed.YES))
        return rank(fitting, self.order, surest_first=self.surest_first)

    def options(self, source: Source) -> list[str]:
        """`petbench inspect` options that give the same list, quoted for a shell."""
        found = [*source.options]
        if self.order not in (Doubt.CONFIDENCE, Doubt.SELF_CONFIDENCE):  # each its source's own
            found += ["--order", self.order.value]
        if self.class_name:
            found += ["--class", quote(self.class_name)]
        if self.true and self.said:
            found += ["--pair", quote(self.true), quote(self.said)]
        if self.slice:
            found += ["--slice", quote(self.slice)]
        flags = {
            "--surest": self.surest_first,
            "--wrong": self.wrong,
            "--selected": self.taught,
            "--flipped": self.flipped,
        }
        return found + [flag for flag, is_on in flags.items() if is_on]


def pack_query(query: Query) -> dict[str, Any]:
    """As JSON values."""
    packed: dict[str, Any] = plain(query)
    return packed


def unpack_query(values: Mapping[str, Any]) -> Query:
    """What `pack_query` packed; anything else, such as another version's, falls back to the default."""
    return record_or_defaults(values, Query)


class ReviewQueue:
    """What the panels of Inspect share: the material, the query, and the images that it gives.

    `shown` follows by `arrange`, not by itself: a verdict moves images out of the list only when it is asked.
    """

    def __init__(self) -> None:
        self.material: Material | None = None
        """None before anything was read."""
        self.query = Query()
        self.shown = OpinionRows.of(())
        self.marked: set[str] = set()
        """Ids; each of an image that is shown."""
        self.corrections: dict[str, Correction] = {}
        """By image; the review as its file has it, and what is on the way there."""

    @property
    def loaded(self) -> Material:
        """The material, for what can only be done once there is one."""
        assert self.material is not None
        return self.material

    # What it holds

    def take(self, material: Material) -> None:
        """Another source, or the same read anew; the query loses what the source cannot tell."""
        self.material = material
        self.query = self.query.for_source(
            material.source, material.orders, material.opinions.classes, material.sliced
        )
        self._look_up()

    def take_review(self, review: Review, problem: str) -> None:
        """What the review's file says now, whoever else writes there."""
        self.material = replace(self.loaded, review=review, problem=problem or self.loaded.problem)
        self._look_up()

    def _look_up(self) -> None:
        self.corrections = {correction.id: correction for correction in self.loaded.review.corrections}

    def arrange(self, keep: str, cursor: int) -> int:
        """Choose and order the images anew.

        Returns:
            where the cursor is to be: on the image `keep` if that is shown, else where it was.
        """
        self.shown = self.query.pick(self.loaded.opinions, self.corrections.keys(), self.loaded.sliced)
        if self.marked:
            self.marked &= set(self.shown.where(self.shown.among(self.marked)).ids())
        place = self.shown.position(keep) if keep else None
        return cursor if place is None else place

    def at(self, cursor: int) -> Opinion | None:
        """The image under the cursor; None where no image fits."""
        return self.shown[cursor] if len(self.shown) else None

    def ids(self, start: int, count: int) -> list[str]:
        """The images from `start` on, at most `count` of them."""
        return self.shown[start : start + count].ids()

    # What is judged

    def judged(self, cursor: int, *, alone: bool) -> list[Opinion]:
        """What a verdict is about: the marked images, else, or where `alone`, the one under the cursor."""
        if self.marked and not alone:
            return list(self.shown.where(self.shown.among(self.marked)))
        return [self.shown[cursor]]

    def judge(self, verdict: Verdict, judged: Sequence[Opinion], labels: Sequence[str]) -> list[Correction]:
        """Give a verdict on images, which are marked no longer.

        Args:
            labels: one an image; empty for images that are left out.

        Returns:
            what is to be written into the review's file.
        """
        corrections = [
            Correction(opinion.id, verdict, label, said=opinion.said, run=self.loaded.run.id)
            for opinion, label in zip(judged, labels, strict=True)
        ]
        self.marked -= {correction.id for correction in corrections}
        self.corrections |= {correction.id: correction for correction in corrections}
        return corrections

    def following(self, cursor: int, judged: Sequence[Opinion]) -> str:
        """Where the cursor goes: the first image from it on that was not judged now; empty: it stays."""
        images = {opinion.id for opinion in judged}
        return next((opinion.id for opinion in self.shown[cursor:] if opinion.id not in images), "")

    # What can be done

    def refusal(self, action: str, current: Opinion | None) -> str | None:
        """Why an action (by its name) cannot be done with the image under the cursor; None when it can."""
        material = self.material
        if action in _NEED_NOTHING:
            return None
        if material is None or material.source is None:
            return "this run has nothing to inspect yet"
        match action:
            case "taught" | "flipped" if material.round is None:
                return "only the pool has pseudo-labels: s chooses a round"
            case "slices" if material.slices_of is None:
                return "slices are of validation and test images, which a run looks at once, at its end"
            case "earlier" if material.beside(-1) is None:
                return "this is the first there is to look at"
            case "later" if material.beside(1) is None:
                return "this is the last there is to look at"
            case "clear" if not self.query.is_filtered:
                return "no filter is on"
            case "accept" | "relabel" | "exclude" if isinstance(material.source, SplitSource):
                return _why_not_judged(material, material.source)
            case "large" | "saliency" | "neighbours" | "mark" | "accept" | "relabel" | "exclude" if (
                not current
            ):
                return "no image fits the filters: 0 takes them off"
            case "unmark" if not self.marked:
                return "no image is marked"
            case "undo" if not material.review.corrections:
                return "nothing to take back: the review is empty"
            case "relaunch" if not material.review.corrections:
                return "nothing to train with: a accepts, r relabels, x excludes an image"
            case "relaunch" if material.recipe is None:
                return "the run's recipe cannot be read"
            case _:
                return None

    def commands(self, current: Opinion | None) -> list[str]:
        """Command lines: the list, the image's verdict, what the helper processes show of it."""
        material = self.loaded
        assert material.source is not None
        handle = quote(material.run.handle)
        options = " ".join(self.query.options(material.source))
        lines = [f"petbench inspect {handle} {options}", f"petbench review {handle}"]
        if current is None:
            return lines
        image = quote(current.id)
        if material.can_review:
            given = self.corrections.get(current.id)
            if given is None:
                lines.append(f"petbench review {handle} --accept {image}")
            elif given.verdict is Verdict.RELABEL:
                lines.append(f"petbench review {handle} --relabel {image} {quote(given.label)}")
            else:
                lines.append(f"petbench review {handle} --{given.verdict.value} {image}")
        return [
            *lines,
            f"petbench neighbours {handle} {image}",
            f"petbench saliency {handle} {image} --out look",
        ]


_NEED_NOTHING = ("close", "watch")


def _why_not_judged(material: Material, source: SplitSource) -> str:
    name = "test" if source.split == "test" else "validation"
    pool = any(isinstance(one, RoundSource) for one in material.sources)
    instead = "s chooses the pool of a round" if pool else "this run has no pool to correct"
    return f"{name} images measure the run and never train it: {instead}"
