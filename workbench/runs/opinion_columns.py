"""What was said of very many images, an array a column: chosen and ordered as places, an object only of a row
that is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from workbench.runs.image_ids import ImageIds

Bools = NDArray[np.bool_]
Flags = NDArray[np.int8]
Places = NDArray[np.integer[Any]]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Opinion:
    """A model's word on one image."""

    id: str
    said: str
    """Class name of its first choice; in a round the pseudo-label, which may be an earlier one kept."""
    second: str | None
    """The most probable class besides `said`; None where the round's predictions are gone."""
    confidence: float
    """The highest probability."""
    margin: float
    """The highest probability less the second highest."""
    entropy: float
    """Of all class probabilities, in nats."""
    true: str | None
    """None where unknown."""
    selected: bool | None = None
    """Whether the student trained on it; None outside rounds."""
    flipped: bool | None = None
    """Whether the pseudo-label differs from the round before; None outside rounds."""
    disagreement: float | None = None
    """How far teacher and student are apart, 0 … 1; None until `changes.with_changes` tells it."""
    flips: int | None = None
    """How often the pseudo-label changed over all rounds; None until `changes.with_changes` tells it."""
    self_confidence: float | None = None
    """Probability of the given label by models that never saw it; None where labels are not judged."""
    label_margin: float | None = None
    """That probability less the best other class's; None likewise."""
    issue: bool | None = None
    """Whether the given label is likely wrong, by the rule of the search; None likewise."""
    too_few: int | None = None
    """Of an image that would be an issue if more labels told of it: how many its given class has, or the one
    that it seems to be; None of all others."""
    twin: str | None = None
    """Id of an image that looks nearly the same; None where there is none, or labels are not judged."""

    @property
    def wrong(self) -> bool | None:
        """Whether it said another class than the true one; None where that is unknown."""
        return None if self.true is None else self.said != self.true


class ClassNames:
    """Names of classes, each once, by the order in which they came."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._places: dict[str, int] = {}
        self.of(names)

    def of(self, names: Iterable[str | None]) -> NDArray[np.int32]:
        """(K,) the place of each of K names, -1 for None; new ones get the next places."""
        known = self._places
        found = [-1 if name is None else known.setdefault(name, len(known)) for name in names]
        return np.array(found, dtype=np.int32)

    @property
    def names(self) -> tuple[str, ...]:
        """By place."""
        return tuple(self._places)


@dataclass(frozen=True, slots=True, eq=False)
class OpinionColumns:
    """The fields of N opinions; a column that is None is None in every row."""

    ids: ImageIds
    names: tuple[str, ...]
    """Class names, each once."""
    said: Places
    """(N,) places in `names`; of `second` and `true` -1 is none."""
    second: Places
    confidence: Floats
    """(N,) float64, as all that is no whole number; NaN is none."""
    margin: Floats
    entropy: Floats
    true: Places
    selected: Flags | None = None
    """(N,) int8 0 or 1, as all flags; -1 is none."""
    flipped: Flags | None = None
    disagreement: Floats | None = None
    flips: Places | None = None
    """-1 is none."""
    self_confidence: Floats | None = None
    label_margin: Floats | None = None
    issue: Flags | None = None
    too_few: Places | None = None
    """0 is none."""
    twin: Mapping[int, str] | None = None
    """By row, of those that have one."""


class OpinionRows(Sequence[Opinion]):
    """Some rows of the columns, in an order: K of N."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, columns: OpinionColumns, places: Places | None = None) -> None:
        """Args: places: (K,) rows of the columns; default: all of them."""
        self.columns = columns
        self.places = np.arange(len(columns.ids)) if places is None else places

    @classmethod
    def of(cls, rows: Iterable[Opinion]) -> OpinionRows:
        """From objects; what is no object yet is given back as it is."""
        if isinstance(rows, OpinionRows):
            return rows
        known = list(rows)
        names = ClassNames()
        given: dict[str, Any] = {name: [getattr(row, name) for row in known] for name in _FIELDS}
        for name in ("said", "second", "true"):
            given[name] = names.of(given[name])
        for name, (kind, none) in _NUMBERS.items():
            there = name in _ALWAYS or any(cell is not None for cell in given[name])
            cells = [none if cell is None else cell for cell in given[name]]
            given[name] = np.array(cells, kind) if there else None
        given["id"] = ImageIds.of(given["id"])
        given["twin"] = {place: twin for place, twin in enumerate(given["twin"]) if twin is not None}
        return cls(OpinionColumns(ids=given.pop("id"), names=names.names, **given))

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, at: int) -> Opinion: ...
    @overload
    def __getitem__(self, at: slice) -> OpinionRows: ...
    def __getitem__(self, at: int | slice) -> Opinion | OpinionRows:
        if isinstance(at, slice):
            return OpinionRows(self.columns, self.places[at])
        place, columns = int(self.places[at]), self.columns
        names: tuple[str | None, ...] = (*columns.names, None)  # at -1
        cells = {name: _cell(getattr(columns, name), place, *how) for name, how in _NUMBERS.items()}
        return Opinion(
            id=columns.ids[place],
            said=columns.names[columns.said[place].item()],
            second=names[columns.second[place].item()],
            true=names[columns.true[place].item()],
            twin=None if columns.twin is None else columns.twin.get(place),
            **cells,
        )

    def __iter__(self) -> Iterator[Opinion]:
        return (self[at] for at in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    def where(self, chosen: Bools) -> OpinionRows:
        """Those of K that are chosen."""
        return OpinionRows(self.columns, self.places[chosen])

    def ids(self) -> list[str]:
        """Of all K."""
        return [self.columns.ids[place] for place in self.places.tolist()]

    def among(self, images: Iterable[str]) -> Bools:
        """(K,) whether each is one of these images."""
        inside = np.zeros(len(self.columns.ids) + 1, dtype=np.bool_)  # one more, for those that are not there
        inside[self.columns.ids.places(images)] = True
        inside[-1] = False
        return inside[self.places]

    def position(self, image: str) -> int | None:
        """Where an image is among the K; None where it is not."""
        place = self.columns.ids.place(image)
        found = [] if place is None else np.flatnonzero(self.places == place).tolist()
        return found[0] if found else None

    def named(self, column: str, name: str) -> Bools:
        """(K,) whether the class in a column, `said` or `true`, is this one."""
        names = self.columns.names
        place = names.index(name) if name in names else -2
        found: Bools = getattr(self.columns, column)[self.places] == place
        return found

    def flag(self, column: str) -> Bools:
        """(K,) where a column of flags is True; False where it is False or None."""
        column_of: Flags | None = getattr(self.columns, column)
        found: Bools = np.zeros(len(self), np.bool_) if column_of is None else column_of[self.places] == 1
        return found

    def numbers(self, column: str) -> Floats:
        """(K,) float64 of a column of numbers, NaN where it is None."""
        kind, none = _NUMBERS[column]
        found = getattr(self.columns, column)
        if found is None:
            return np.full(len(self), np.nan)
        here = found[self.places]
        return here if kind is np.float64 else np.where(here == none, np.nan, here.astype(np.float64))

    @property
    def is_known(self) -> Bools:
        """(K,) whether the true class is known."""
        found: Bools = self.columns.true[self.places] >= 0
        return found

    @property
    def is_wrong(self) -> Bools:
        """(K,) whether another class was said than the true one, which is known."""
        found: Bools = self.columns.true[self.places] != self.columns.said[self.places]
        return found & self.is_known

    @property
    def is_twin(self) -> Bools:
        """(K,) whether another image looks nearly the same."""
        there = np.zeros(len(self.columns.ids), dtype=np.bool_)
        there[list(self.columns.twin or ())] = True
        return there[self.places]

    @cached_property
    def images_of(self) -> Mapping[str, int]:
        """Of every class that occurs, how many images have it as what was said, as the true one, or both."""
        names, true, said = self.columns.names, self.columns.true[self.places], self.columns.said[self.places]
        counts = np.bincount(said, minlength=len(names))
        others = true[(true >= 0) & (true != said)]
        counts = counts + np.bincount(others, minlength=len(names))
        return dict(zip(names, counts.tolist(), strict=True))


_FIELDS = tuple(field.name for field in fields(Opinion))
_ALWAYS = ("confidence", "margin", "entropy")
_NUMBERS: Mapping[str, tuple[Any, Any]] = {
    **dict.fromkeys((*_ALWAYS, "disagreement", "self_confidence", "label_margin"), (np.float64, np.nan)),
    **dict.fromkeys(("selected", "flipped", "issue"), (np.int8, -1)),
    "flips": (np.int32, -1),
    "too_few": (np.int32, 0),
}
"""Column -> its type, and what stands there for None."""


def _cell(column: NDArray[Any] | None, place: int, kind: Any, none: Any) -> Any:
    """A number or flag as Python's own; None where there is none."""
    if column is None:
        return None
    value = column[place].item()
    if value == none or value != value:
        return None
    return bool(value) if kind is np.int8 else value
