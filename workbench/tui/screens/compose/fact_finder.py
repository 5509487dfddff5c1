"""What is found out of a draft off the screen: its split counted, its backbone asked for, past runs alike."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from workbench.dataset import SplitSummary, split_summary
from workbench.dataset.run_data import Catalogues, divide, sample_home
from workbench.dataset.split import ClassCounts
from workbench.recipe import Recipe
from workbench.recipe.data import DATASETS
from workbench.recipe.dump import resolved
from workbench.runs.estimate import Estimate, Machine, estimate
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.digests import fingerprint
from workbench.support.errors import UserError
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.compose.knob_fields import BACKBONE
from workbench.tui.screens.compose.networks import Network, cached_network, fetch_network, network_name

_MOST_KEPT = 64
_PAUSE_SECONDS = 0.3
"""A draft that was not changed for so long is worth reading a data set for."""
_NAME_SECONDS = 0.8
"""A backbone's name that was not changed for so long is worth starting a process for."""


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """The counts, or why there are none."""

    summary: SplitSummary | None
    problem: str = ""

    @property
    def labels(self) -> tuple[int, int] | None:
        """(labelled, unlabelled) images."""
        return None if self.summary is None else (self.summary.total.labelled, self.summary.total.unlabelled)

    @property
    def fewest(self) -> ClassCounts | None:
        """The class with the fewest labelled images; the first of several."""
        return min(self.summary.classes, key=lambda row: row.labelled) if self.summary else None


def split_key(recipe: Recipe) -> str:
    """Equal for recipes whose split is the same, as far as their files stay as they are."""
    labels, amounts = recipe.pseudo_label, None
    if labels is not None:
        how = (labels.stratified, labels.representative)
        amounts = [labels.labelled_fraction, labels.labels_per_class, *how]
    return fingerprint([resolved(recipe.data), amounts, recipe.training.saliency_weight > 0])


class SplitReader:
    """Counts splits; keeps the data set's catalogue, and what was counted. For one thread at a time."""

    def __init__(self, data_home: Path) -> None:
        self._home = data_home
        self._catalogues = Catalogues(data_home)
        self._facts: dict[str, SplitFacts] = {}

    def known(self, recipe: Recipe) -> SplitFacts | None:
        """What was counted before."""
        return self._facts.get(split_key(recipe))

    def read(self, recipe: Recipe) -> SplitFacts:
        """Count; reading a data set for the first time takes seconds.

        What is missing is told in the facts and looked for again next time.
        """
        key = split_key(recipe)
        if key in self._facts:
            return self._facts[key]
        try:
            facts = SplitFacts(self._count(recipe))
        except UserError as error:
            return SplitFacts(None, str(error))
        except OSError as error:
            return SplitFacts(None, f"cannot be read: {clean(error)}")
        if len(self._facts) >= _MOST_KEPT:
            self._facts.pop(next(iter(self._facts)))
        self._facts[key] = facts
        return facts

    def _count(self, recipe: Recipe) -> SplitSummary:
        data = recipe.data
        if DATASETS[data.dataset].is_drawn and not data.root and not sample_home(self._home).is_dir():
            raise UserError(
                "the sample set is not drawn yet",
                hint="the first run draws it, or petbench data sample does: a few seconds",
            )
        found = divide(recipe, self._catalogues.open(data))
        return split_summary(found.catalogue, found.split, data.target, found.corrected.taught)


@dataclass(frozen=True, slots=True)
class Question:
    """A recipe whose split is to be counted."""

    key: str
    """Another one for another recipe."""
    recipe: Recipe


@dataclass(frozen=True, slots=True)
class Answer:
    """What was counted, and what past runs tell."""

    key: str
    split: SplitFacts
    estimate: Estimate | None


class FactFinder:
    """What is known of the draft on the screen, and what has to be found out.

    It starts nothing by itself: `look_at_network` and `look_at_split` say what is missing, `ask_network` and
    `count`, which take seconds, find it, and `take` keeps an answer that is still wanted.
    """

    def __init__(self) -> None:
        self.network: Network | None = None
        self.network_problem = ""
        self.split: SplitFacts | None = None
        self.estimate: Estimate | None = None
        self._name: str | None = None
        self._asked: str | None = None
        self._question: Question | None = None
        self._refused: dict[str, str] = {}
        """Backbones that petbench refused, and why."""
        self._reader: SplitReader | None = None
        self._reading = threading.Lock()

    # The backbone

    def look_at_network(self, draft: Draft) -> str | None:
        """Take up what is known of the draft's backbone; its name where petbench has to be asked now."""
        self._name = name = network_name(draft.look()[BACKBONE])
        if name is None or (self.network is not None and self.network.name == name):
            return None
        self.network, self.network_problem = None, self._refused.get(name, "")
        if name in self._refused:
            return None
        self.network = cached_network(name)
        if self.network is not None or self._asked == name:
            return None
        self._asked = name
        return name

    async def ask_network(self, name: str) -> bool:
        """Ask petbench for a backbone, once its name stays for a moment; whether it is wanted still."""
        network = None
        try:
            await asyncio.sleep(_NAME_SECONDS)
            network = await fetch_network(name)
        except (UserError, ValueError, KeyError) as error:
            self._refused[name] = str(error) or "petbench could not tell this backbone's layers"
        finally:
            if self._asked == name:
                self._asked = None
        if self._name != name:
            return False
        self.network, self.network_problem = network, self._refused.get(name, "")
        return True

    # The split and the estimate

    def look_at_split(self, draft: Draft) -> Question | None:
        """Take up what is known of the draft's split; a question where there is something to find out."""
        recipe = draft.recipe
        key = "" if recipe is None else f"{split_key(recipe)} {recipe!r}"
        if key == self._key:
            return None
        self._question = None if recipe is None else Question(key, recipe)
        if recipe is not None:
            self.split = None if self._reader is None else self._reader.known(recipe)
        return self._question

    def look_at_runs(self) -> Question | None:
        """The question once more, where past runs told nothing yet."""
        return self._question if self.estimate is None else None

    async def count(
        self,
        question: Question,
        data_home: Path,
        past_runs: Callable[[], Sequence[RunSummary]],
        tell: Callable[[Answer], object],
    ) -> None:
        """Read the data set and ask past runs, once the draft has not changed for a moment.

        Args:
            tell: called in a thread with the answer, also when this is cancelled meanwhile.
        """
        await asyncio.sleep(_PAUSE_SECONDS)
        await asyncio.to_thread(lambda: tell(self._answer(question, data_home, past_runs)))

    def _answer(
        self, question: Question, data_home: Path, past_runs: Callable[[], Sequence[RunSummary]]
    ) -> Answer:
        with self._reading:
            if self._reader is None:
                self._reader = SplitReader(data_home)
            split = self._reader.read(question.recipe)
        past = past_runs()
        told = estimate(question.recipe, past, _machines(), labels=split.labels) if past else None
        return Answer(question.key, split, told)

    def take(self, answer: Answer) -> bool:
        """Keep an answer; whether it is to the latest question."""
        if answer.key != self._key:
            return False
        self.split, self.estimate = answer.split, answer.estimate
        return True

    @property
    def summary(self) -> SplitSummary | None:
        """The split's counts; None while they are not known or cannot be."""
        return None if self.split is None else self.split.summary

    @property
    def _key(self) -> str:
        return "" if self._question is None else self._question.key


@lru_cache(maxsize=1)
def _machines() -> tuple[Machine, ...]:
    """Where a run launched from here may be computed."""
    from workbench.jobs.device import wanted_devices

    host = socket.gethostname()
    return tuple(
        Machine(host, "cpu" if device.name == "cpu" else device.label) for device in wanted_devices("auto")
    )
