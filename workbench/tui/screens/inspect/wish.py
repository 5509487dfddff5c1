"""What of a run is to be shown and in what order: small, compared by value, kept in the session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from enum import StrEnum
from shlex import quote
from typing import Any

from workbench.runs.doubt import Choice, Doubt, choose, rank
from workbench.runs.opinions import Opinion, Opinions
from workbench.runs.sources import RoundSource, Source


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
class Wish:
    """Order and filters; every filter must hold."""

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

    @property
    def is_filtered(self) -> bool:
        """Whether any filter is on."""
        return self.without_filters() != self

    def without_filters(self) -> Wish:
        """The same order of all images."""
        return Wish(order=self.order, surest_first=self.surest_first)

    def for_source(self, source: Source | None, orders: Sequence[Doubt], classes: Sequence[str]) -> Wish:
        """The wish without what the source cannot tell."""
        wish = self
        if wish.order not in orders:
            wish = replace(wish, order=orders[0] if orders else Doubt.CONFIDENCE)
        if not isinstance(source, RoundSource):
            wish = replace(wish, taught=False, flipped=False)
        if wish.class_name not in classes:
            wish = replace(wish, class_name="")
        if wish.true not in classes or wish.said not in classes:
            wish = replace(wish, true="", said="")
        return wish

    def pick(self, opinions: Opinions, reviewed: Set[str]) -> list[Opinion]:
        """The opinions to show, in their order.

        Args:
            reviewed: ids with a verdict.
        """
        pair = (self.true, self.said) if self.true and self.said else None
        choice = Choice(self.wrong, self.taught, self.flipped, self.class_name or None, pair)
        fitting = choose(opinions, choice)
        if self.reviewed is not Reviewed.ANY:
            wanted = self.reviewed is Reviewed.YES
            fitting = [opinion for opinion in fitting if (opinion.id in reviewed) == wanted]
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
        flags = {
            "--surest": self.surest_first,
            "--wrong": self.wrong,
            "--selected": self.taught,
            "--flipped": self.flipped,
        }
        return found + [flag for flag, is_on in flags.items() if is_on]


def pack_wish(wish: Wish) -> dict[str, Any]:
    """As JSON values."""
    return {name: getattr(wish, name) for name in Wish.__slots__}


def unpack_wish(values: Mapping[str, Any]) -> Wish:
    """What `pack_wish` packed; anything else, such as another version's, falls back to the default."""
    plain = Wish()
    found: dict[str, Any] = {}
    for name in Wish.__slots__:
        default, value = getattr(plain, name), values.get(name)
        kind = type(default)
        if kind in (Doubt, Reviewed):
            if value in [member.value for member in kind]:
                found[name] = kind(value)
        elif type(value) is kind:
            found[name] = value
    return Wish(**found)
