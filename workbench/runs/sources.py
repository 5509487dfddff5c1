"""What there is to inspect in a run: the splits it predicted, by which model, and the rounds of its pool."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinions, SplitName, round_opinions, split_opinions

_SPLITS: tuple[SplitName, ...] = ("test", "val")
_TEACHER = "teacher-"
_ROUND = "round:"


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


Source = SplitSource | RoundSource


def sources_of(run: RunDirectory) -> list[Source]:
    """The sources that the run has files for: its rounds, the final model's splits, the teacher's splits."""
    found: list[Source] = [RoundSource(number) for number, _ in run.ledgers()]
    if run.results.exists():
        splits = [SplitSource(split, teacher) for teacher in (False, True) for split in _SPLITS]
        found += [source for source in splits if run.predictions(source.key).is_file()]
    return found


def source_from(key: str) -> Source | None:
    """The source of a key; None where the key is none."""
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
    return split_opinions(run, source.split, teacher=source.teacher)


def asks_teacher(source: Source) -> bool:
    """Whether the teacher spoke there, whose network the run keeps; later rounds' teachers were not kept."""
    return source.round == 1 if isinstance(source, RoundSource) else source.teacher
