"""What the screen shows, read from the run's directory in a thread: one immutable value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.dataset.review import Review, load_review, review_path
from workbench.recipe import Recipe, load_recipe
from workbench.runs.changes import with_changes
from workbench.runs.choices import Choices, choices_of
from workbench.runs.doubt import Doubt, known_orders
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinions
from workbench.runs.sources import (
    IssueSource,
    RoundSource,
    Source,
    SplitSource,
    opinions_of,
    source_from,
    sources_of,
)
from workbench.support.errors import UserError


@dataclass(frozen=True, eq=False)
class Material:
    """One source of one run, with what people said of its images."""

    run: RunDirectory
    recipe: Recipe | None
    """None where the run's recipe cannot be read."""
    sources: tuple[Source, ...]
    """All that the run has; empty for one that has not got so far."""
    source: Source | None
    """The one shown; None when there are none."""
    opinions: Opinions
    orders: tuple[Doubt, ...]
    choices: Choices | None
    review_file: Path
    review: Review
    problem: str = ""
    """Why there is nothing to show, or why part of it is missing."""

    @property
    def round(self) -> int | None:
        """The round shown; None for a split."""
        return self.source.round if isinstance(self.source, RoundSource) else None

    @property
    def can_review(self) -> bool:
        """Whether the images train, so that a verdict changes anything."""
        return isinstance(self.source, RoundSource | IssueSource)


def read_material(run: RunDirectory, wanted: str, runs_home: Path) -> Material:
    """Read a run's source.

    Args:
        wanted: the source's key (`round:3`, `test`, …); one that is not there gives the default: the last
            round, else the test images.
    """
    recipe, problem = _recipe(run)
    if not run.path.is_dir():
        problem = f"{run.id} is not there any more"
    review_file = review_file_of(run, recipe, runs_home)
    review, review_problem = read_review(review_file)
    sources = tuple(sources_of(run))
    source = source_from(wanted)
    if source not in sources:
        source = default_source(sources)
    opinions, choices = Opinions((), ()), None
    try:
        if source is not None:
            opinions = opinions_of(run, source)
            opinions = with_changes(run, opinions, source)
            choices = choices_of(run, source)
    except UserError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{run.id} cannot be read: {error.strerror or error}"
    orders = tuple(known_orders(opinions))
    problem = problem or review_problem
    return Material(run, recipe, sources, source, opinions, orders, choices, review_file, review, problem)


def default_source(sources: tuple[Source, ...]) -> Source | None:
    """The last round, else the test images, else anything."""
    rounds = [source for source in sources if isinstance(source, RoundSource)]
    if rounds:
        return rounds[-1]
    test = SplitSource("test")
    return test if test in sources else next(iter(sources), None)


def review_file_of(run: RunDirectory, recipe: Recipe | None, runs_home: Path) -> Path:
    """Where verdicts on the run's images go: the review of its recipe's name, as `petbench review` has it."""
    return review_path(runs_home, recipe.name if recipe is not None else run.slug)


def _recipe(run: RunDirectory) -> tuple[Recipe | None, str]:
    try:
        return load_recipe(run.recipe), ""
    except UserError as error:
        return None, str(error)


def read_review(path: Path) -> tuple[Review, str]:
    """The review, and what is wrong with its file; an empty one then."""
    try:
        return load_review(path), ""
    except UserError as error:
        return Review(), str(error)
