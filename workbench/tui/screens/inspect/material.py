"""What the screen shows, read in threads: a source of the run, and where its images lie; immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from workbench.dataset.review import Review
from workbench.dataset.verdict_file import VerdictFile, verdict_file
from workbench.recipe import Recipe, load_recipe
from workbench.recipe.data import Data
from workbench.runs.doubt import Doubt, known_orders, with_changes
from workbench.runs.layout import RunDirectory
from workbench.runs.opinion_columns import OpinionRows
from workbench.runs.opinions import Opinions
from workbench.runs.slices import Slice
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
from workbench.support.units import human_bytes


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
    verdicts: VerdictFile
    """Where verdicts on its images are kept."""
    review: Review
    problem: str = ""
    """Why there is nothing to show, or why part of it is missing."""
    sliced: Slice | None = None
    """The slice whose images alone are asked for."""

    @property
    def slices_of(self) -> SplitSource | None:
        """The split of which slices are told: the one shown, else the validation images."""
        if isinstance(self.source, SplitSource):
            return self.source
        splits = [one for one in self.sources if isinstance(one, SplitSource)]
        validation = SplitSource("val")
        return validation if validation in splits else next(iter(splits), None)

    @property
    def round(self) -> int | None:
        """The round shown; None for a split."""
        return self.source.round if isinstance(self.source, RoundSource) else None

    @property
    def can_review(self) -> bool:
        """Whether the images train, so that a verdict changes anything."""
        return isinstance(self.source, RoundSource | IssueSource)

    @property
    def classes(self) -> tuple[str, ...]:
        """The run's, and those that verdicts have named since."""
        named = (correction.label for correction in self.review.corrections if correction.label)
        return tuple(dict.fromkeys((*self.opinions.classes, *named)))

    def beside(self, by: int) -> Source | None:
        """The source so many places from the one shown; None where there is none."""
        if self.source not in self.sources:
            return None
        place = self.sources.index(self.source) + by
        return self.sources[place] if 0 <= place < len(self.sources) else None


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Where the images of a data set lie."""

    paths: Mapping[str, Path]
    """By image; empty while nobody has looked, and where there are none."""
    problem: str = ""
    """Why there are none; empty where there are, and while nobody has looked."""
    look: str = ""
    """Changes when the data set does: `pictures.files.look_of`."""

    @property
    def why_no_picture(self) -> str:
        """Why one of its images has none."""
        if self.problem:
            return "the images are not on this machine"
        return "the image is not in the data set any more" if self.paths else "looking for the images…"


def read_material(run: RunDirectory, wanted: str, runs_home: Path) -> Material:
    """Read a run's source.

    Args:
        wanted: the source's key (`round:3`, `test`, …); one that is not there gives the default: the last
            round, else the validation images.
    """
    recipe, problem = _recipe(run)
    if not run.path.is_dir():
        problem = f"{run.id} is not there any more"
    verdicts = verdict_file(runs_home, recipe, run=run.id, slug=run.slug, since=run.created)
    review, review_problem = read_review(verdicts)
    sources = tuple(sources_of(run))
    source = source_from(wanted)
    if source not in sources:
        source = default_source(sources)
    opinions = Opinions(OpinionRows.of(()), ())
    try:
        if source is not None:
            opinions = opinions_of(run, source)
            opinions = with_changes(run, opinions, source)
            opinions.rows.among(())  # makes the index by which all look-ups go, here in the thread
    except UserError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{run.id} cannot be read: {error.strerror or error}"
    orders = tuple(known_orders(opinions))
    problem = problem or review_problem
    return Material(run, recipe, sources, source, opinions, orders, verdicts, review, problem)


def default_source(sources: tuple[Source, ...]) -> Source | None:
    """The last round, else the validation images as `petbench inspect` has it, else anything."""
    rounds = [source for source in sources if isinstance(source, RoundSource)]
    if rounds:
        return rounds[-1]
    validation = SplitSource("val")
    return validation if validation in sources else next(iter(sources), None)


def find_files(data: Data, data_home: Path) -> ImageFiles:
    """Look through the data set of a recipe."""
    from workbench.tui.pictures.files import look_of, picture_files

    try:
        paths = picture_files(data, data_home)
        return ImageFiles(paths, look=look_of(paths))
    except UserError as error:
        return ImageFiles({}, str(error))
    except OSError as error:
        return ImageFiles({}, f"the data cannot be read: {error.strerror or error}")


def size_words(path: Path) -> str:
    """`500 × 375, 41 kB`, or why the file cannot be read."""
    from workbench.dataset.probe import UnreadableImage, read_header

    try:
        header = read_header(path)
    except UnreadableImage as error:
        return error.reason
    width, height = header.size
    return f"{width} × {height}, {human_bytes(header.bytes)}"


def _recipe(run: RunDirectory) -> tuple[Recipe | None, str]:
    try:
        return load_recipe(run.recipe), ""
    except UserError as error:
        return None, str(error)


def read_review(verdicts: VerdictFile) -> tuple[Review, str]:
    """The review, and what is wrong with its file; an empty one then."""
    try:
        return verdicts.read(), ""
    except UserError as error:
        return Review(), str(error)
