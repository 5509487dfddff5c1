"""What a draft's [data] and [pseudo_label] give each class, counted before anything is launched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.dataset import SplitSummary, split_summary
from workbench.dataset.open import sample_home
from workbench.dataset.run_data import Catalogues, divide
from workbench.dataset.split_summary import ClassCounts
from workbench.recipe import Recipe
from workbench.recipe.dump import resolved
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.fingerprint import fingerprint

_MOST_KEPT = 64


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
        if data.dataset == "sample" and not data.root and not sample_home(self._home).is_dir():
            raise UserError(
                "the sample set is not drawn yet",
                hint="the first run draws it, or petbench data sample does: a few seconds",
            )
        found = divide(recipe, self._catalogues.open(data))
        return split_summary(found.catalogue, found.split, data.target, found.corrected.taught)
