"""What a draft's [data] and [pseudo_label] give each class, counted before anything is launched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.dataset import (
    Catalogue,
    SplitSummary,
    apply_corrections,
    load_review,
    make_split,
    open_catalogue,
    split_summary,
)
from workbench.dataset.open import sample_home
from workbench.dataset.split_summary import ClassCounts
from workbench.recipe.data import Data
from workbench.recipe.dump import resolved
from workbench.recipe.labels import PseudoLabel
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


def split_key(data: Data, labels: PseudoLabel | None) -> str:
    """Equal for recipes whose split is the same, as far as their files stay as they are."""
    amounts = None
    if labels is not None:
        amounts = [labels.labelled_fraction, labels.labels_per_class, labels.stratified]
    return fingerprint([resolved(data), amounts])


class SplitReader:
    """Counts splits; keeps the data set's catalogue, and what was counted. For one thread at a time."""

    def __init__(self, data_home: Path) -> None:
        self._home = data_home
        self._catalogue: tuple[str, Catalogue] | None = None
        self._facts: dict[str, SplitFacts] = {}

    def known(self, data: Data, labels: PseudoLabel | None) -> SplitFacts | None:
        """What was counted before."""
        return self._facts.get(split_key(data, labels))

    def read(self, data: Data, labels: PseudoLabel | None) -> SplitFacts:
        """Count; reading a data set for the first time takes seconds.

        What is missing is told in the facts and looked for again next time.
        """
        key = split_key(data, labels)
        if key in self._facts:
            return self._facts[key]
        try:
            facts = SplitFacts(self._count(data, labels))
        except UserError as error:
            return SplitFacts(None, str(error))
        except OSError as error:
            return SplitFacts(None, f"cannot be read: {clean(error)}")
        if len(self._facts) >= _MOST_KEPT:
            self._facts.pop(next(iter(self._facts)))
        self._facts[key] = facts
        return facts

    def _count(self, data: Data, labels: PseudoLabel | None) -> SplitSummary:
        if data.dataset == "sample" and not data.root and not sample_home(self._home).is_dir():
            raise UserError(
                "the sample set is not drawn yet",
                hint="the first run draws it, or petbench data sample does: a few seconds",
            )
        catalogue = self._open(data)
        split = make_split(catalogue, data, labels)
        if not data.corrections:
            return split_summary(catalogue, split, data.target)
        path = Path(data.corrections).expanduser()
        corrected = apply_corrections(load_review(path), catalogue, split, data.target, where=path)
        return split_summary(catalogue, corrected.split, data.target, corrected.taught)

    def _open(self, data: Data) -> Catalogue:
        named = [data.dataset, data.root, data.test_fraction, data.split_seed, data.validation]
        key = fingerprint([*named, data.target, data.extra_labelled, data.extra_unlabelled])
        if self._catalogue is None or self._catalogue[0] != key:
            self._catalogue = (key, open_catalogue(data, data_home=self._home))
        return self._catalogue[1]
