"""What there is to inspect in a run: predicted splits, by which model, rounds of its pool, its labels."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.runs.label_issues import OUT_OF_FOLD, issue_opinions
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinions, SplitName, round_opinions, split_opinions

_SPLITS: tuple[SplitName, ...] = ("val", "test")
_TEACHER = "teacher-"
_ROUND = "round:"
LABEL_ISSUES = "label-issues"


@dataclass(frozen=True, slots=True)
class SplitSource:
    """What a model said of the validation or test images at the run's end."""

    split: SplitName
    teacher: bool = False
    """The teacher's word, not the final model's."""

    @property
    def key(self) -> str:
        """Short and unique: `test`, `teacher-val`."""
        return f"{_TEACHER if self.teacher else ''}{self.split}"

    @property
    def words(self) -> str:
        """As a sentence has it."""
        images = "test images" if self.split == "test" else "validation images"
        return f"the teacher's {images}" if self.teacher else f"the {images}"

    @property
    def options(self) -> tuple[str, ...]:
        """`petbench inspect` options that show the same."""
        return ("--split", self.split, *(("--teacher",) if self.teacher else ()))

    @property
    def predictions(self) -> str:
        """Name of the predictions behind it."""
        return self.key


@dataclass(frozen=True, slots=True)
class RoundSource:
    """What a round's teacher said of the unlabelled pool."""

    round: int

    @property
    def key(self) -> str:
        """Short and unique: `round:3`."""
        return f"{_ROUND}{self.round}"

    @property
    def words(self) -> str:
        """As a sentence has it."""
        return f"the pool in round {self.round}"

    @property
    def options(self) -> tuple[str, ...]:
        """`petbench inspect` options that show the same."""
        return ("--round", str(self.round))

    @property
    def predictions(self) -> str:
        """Name of the predictions behind it."""
        return f"unlabelled-{self.round:02d}"


@dataclass(frozen=True, slots=True)
class IssueSource:
    """What models that did not train on them said of the labelled images."""

    @property
    def key(self) -> str:
        """Short and unique."""
        return LABEL_ISSUES

    @property
    def words(self) -> str:
        """As a sentence has it."""
        return "the labelled images out of fold"

    @property
    def options(self) -> tuple[str, ...]:
        """`petbench inspect` options that show the same."""
        return (f"--{LABEL_ISSUES}",)

    @property
    def predictions(self) -> str:
        """Name of the predictions behind it."""
        return OUT_OF_FOLD


Source = SplitSource | RoundSource | IssueSource


def sources_of(run: RunDirectory) -> list[Source]:
    """The sources that the run has files for: rounds, the final model's splits, the teacher's, labels."""
    found: list[Source] = [RoundSource(number) for number, _ in run.ledgers()]
    if run.results.exists():
        splits = [SplitSource(split, teacher) for teacher in (False, True) for split in _SPLITS]
        found += [source for source in splits if run.predictions(source.predictions).is_file()]
        if run.label_issues.is_file() and run.predictions(OUT_OF_FOLD).is_file():
            found.append(IssueSource())
    return found


def source_from(key: str) -> Source | None:
    """The source of a key; None where the key is none."""
    if key == LABEL_ISSUES:
        return IssueSource()
    if key.startswith(_ROUND):
        number = key.removeprefix(_ROUND)
        return RoundSource(int(number)) if number.isascii() and number.isdecimal() else None
    known: dict[str, Source] = {
        source.key: source for source in (SplitSource(s, t) for s in _SPLITS for t in (False, True))
    }
    return known.get(key)


def opinions_of(run: RunDirectory, source: Source) -> Opinions:
    """What was said there.

    Raises:
        UserError: the run has no such source, or its files are damaged.
    """
    if isinstance(source, RoundSource):
        return round_opinions(run, source.round)
    if isinstance(source, IssueSource):
        return issue_opinions(run)
    return split_opinions(run, source.split, teacher=source.teacher)


def asks_teacher(source: Source) -> bool:
    """Whether the teacher spoke there, whose network the run keeps; later rounds' teachers were not kept."""
    if isinstance(source, RoundSource):
        return source.round == 1
    return isinstance(source, SplitSource) and source.teacher
