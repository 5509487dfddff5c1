"""Inspect's choices of what to look at: source, order, filters."""

from __future__ import annotations

from dataclasses import replace

from workbench.runs.doubt import Doubt, confused_pairs
from workbench.runs.sources import IssueSource, RoundSource, Source
from workbench.support.clean import clean
from workbench.tui.screens.asking import AskChoice
from workbench.tui.screens.inspect.core import InspectCore
from workbench.tui.screens.inspect.material import Material

_ORDERS = {
    Doubt.CONFIDENCE: "confidence: how probable the first choice is",
    Doubt.MARGIN: "margin: how far the second choice is behind the first",
    Doubt.ENTROPY: "entropy: how far the probability is spread over all classes",
    Doubt.DISAGREEMENT: "disagreement: how far teacher and student are apart",
    Doubt.FLIPS: "flips: how often the pseudo-label changed over the rounds",
    Doubt.SELF_CONFIDENCE: "self-confidence: how probable the given label is out of fold",
    Doubt.LABEL_MARGIN: "label margin: how far another class is ahead of the given one",
}
_ANY = ""


class Filtering(InspectCore):
    """`do_…` of source, order and filters."""

    def why_not(self, action: str) -> str | None:
        """Rounds have pseudo-labels, splits have none; nothing goes before something is read."""
        material = self.material
        if action in _NEED_NOTHING:
            return None
        if material is None or material.source is None:
            return "this run has nothing to inspect yet"
        match action:
            case "inspect.taught" | "inspect.flipped" if material.round is None:
                return "only the pool has pseudo-labels: s chooses a round"
            case "inspect.earlier" if self._beside(material, -1) is None:
                return "this is the first there is to look at"
            case "inspect.later" if self._beside(material, 1) is None:
                return "this is the last there is to look at"
            case "inspect.clear" if not self.wish.is_filtered:
                return "no filter is on"
        return None

    # Source

    async def do_source(self) -> None:
        """Ask for one."""
        material = self._material()
        choices = [(source.key, _told(source)) for source in material.sources]
        if material.run.results.exists() and IssueSource() not in material.sources:
            choices.append((IssueSource().key, "label issues: judge the labelled images now"))
        chosen = material.source.key if material.source is not None else ""
        key = await self.app.push_screen_wait(AskChoice("What to look at", choices, chosen))
        if key is not None:
            self._go(key)

    def do_earlier(self) -> None:
        """The source before."""
        self._go_beside(-1)

    def do_later(self) -> None:
        """The source after."""
        self._go_beside(1)

    def _go_beside(self, by: int) -> None:
        source = self._beside(self._material(), by)
        if source is not None:
            self._go(source.key)

    def _beside(self, material: Material, by: int) -> Source | None:
        if material.source not in material.sources:
            return None
        place = material.sources.index(material.source) + by
        return material.sources[place] if 0 <= place < len(material.sources) else None

    def _go(self, key: str) -> None:
        """Show another source; the same image stays under the cursor where it has it."""
        self.move_place(replace(self.place, source=key))
        self.load(key)

    # Order

    async def do_order(self) -> None:
        """Ask for one."""
        choices = [(order.value, _ORDERS[order]) for order in self._material().orders]
        value = await self.app.push_screen_wait(AskChoice("Order by", choices, self.wish.order.value))
        if value is not None:
            self.choose(replace(self.wish, order=Doubt(value)))

    def do_turn(self) -> None:
        """The other way round."""
        self.choose(replace(self.wish, surest_first=not self.wish.surest_first))

    # Filters

    async def do_class(self) -> None:
        """Ask for one, with how many images it has."""
        opinions = self._material().opinions
        choices = [(_ANY, "any class")]
        for name in opinions.classes:
            number = sum(name in (row.said, row.true) for row in opinions.rows)
            choices.append((name, f"{clean(name)}  ({number})"))
        value = await self.app.push_screen_wait(AskChoice("Only this class", choices, self.wish.class_name))
        if value is not None:
            self.choose(replace(self.wish, class_name=value))

    async def do_pair(self) -> None:
        """Ask for one, the most confused first."""
        pairs = confused_pairs(self._material().opinions.rows)
        choices = [(_ANY, "any")]
        choices += [
            (str(number), f"{clean(pair.true)} → {clean(pair.predicted)}  ({pair.count})")
            for number, pair in enumerate(pairs)
        ]
        value = await self.app.push_screen_wait(AskChoice("Only where one was taken for the other", choices))
        if value == _ANY:
            self.choose(replace(self.wish, true="", said=""))
        elif value is not None:
            pair = pairs[int(value)]
            self.choose(replace(self.wish, true=pair.true, said=pair.predicted))

    def do_wrong(self) -> None:
        """On or off."""
        self.choose(replace(self.wish, wrong=not self.wish.wrong))

    def do_taught(self) -> None:
        """On or off."""
        self.choose(replace(self.wish, taught=not self.wish.taught))

    def do_flipped(self) -> None:
        """On or off."""
        self.choose(replace(self.wish, flipped=not self.wish.flipped))

    def do_reviewed(self) -> None:
        """The next of three."""
        self.choose(replace(self.wish, reviewed=self.wish.reviewed.next))

    def do_clear(self) -> None:
        """All off."""
        self.choose(self.wish.without_filters())

    def _material(self) -> Material:
        """What is read; actions that need it are refused before it is."""
        assert self.material is not None
        return self.material


_NEED_NOTHING = ("inspect.close", "inspect.watch")


def _told(source: Source) -> str:
    if isinstance(source, RoundSource):
        return f"round {source.round}: the unlabelled pool, as its teacher saw it"
    if isinstance(source, IssueSource):
        return "label issues: the labelled images, as models that never saw them"
    return f"{source.words.removeprefix('the ')}{'' if source.teacher else ', by the final model'}"
