"""`pseudo/round-NN.csv`: what the teacher said of every pool image in a round, and what was believed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from workbench.runs.image_ids import ImageIds
from workbench.support.clean import clean
from workbench.support.csv_columns import SURROGATES, csv_columns, csv_rows
from workbench.support.digests import require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, read_bytes

_LIMIT_BYTES = 512 * 2**20
"""Millions of images."""
_SHARES = ("confidence", "margin")
_NO, _YES = b"01"
_KINDS: Mapping[Any, Any] = {float: np.float64, bool: np.bool_}
"""Of the columns that hold no names."""
_ROUNDING = 1e-3  # of a probability summed from many, or read from float16


@dataclass(frozen=True, slots=True)
class PseudoLabel:
    """The teacher's word on one unlabelled image."""

    id: str
    pseudo_label: str
    """Class name of the teacher's first choice."""
    confidence: float
    """Its probability."""
    margin: float
    """Its probability less the second choice's."""
    entropy: float
    """Of all class probabilities, in nats."""
    selected: bool
    """Whether the student trains on it."""
    weight: float
    """In the student's loss; 0 where not selected."""
    flipped: bool
    """Whether the label differs from the round before."""
    true_label: str | None
    """For scoring only; None (an empty cell) where unknown."""


def write_ledger(path: Path, rows: Iterable[PseudoLabel]) -> None:
    """Write the ledger as RFC 4180 CSV in UTF-8: names with commas, quotes and line ends are quoted.

    Booleans are 0 and 1; floats have every digit.
    """
    columns = _columns()
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # its line end, CR LF, makes it quote a lone CR too
    writer.writerow(columns)
    for row in rows:
        writer.writerow(column.write(getattr(row, name)) for name, column in columns.items())
    path.parent.mkdir(exist_ok=True)
    summed_write(path, path.parent.parent, text.getvalue().encode("utf-8", SURROGATES))


@dataclass(frozen=True, eq=False)
class LedgerColumns:
    """The rows of a ledger, in the file's order, as an array a column; N rows."""

    ids: ImageIds
    names: tuple[str, ...]
    """Every class that is named, once."""
    columns: Mapping[str, NDArray[Any]]
    """By the name of a field: (N,) int32 places in `names`, -1 for none; float64; or bool."""

    def rows(self) -> list[PseudoLabel]:
        """As objects."""
        hints = get_type_hints(PseudoLabel)
        names = (*self.names, None)  # at -1
        cells = {
            name: column.tolist() if hints[name] in _KINDS else [names[place] for place in column.tolist()]
            for name, column in self.columns.items()
        }
        return [
            PseudoLabel(id=id_, **dict(zip(cells, row, strict=True)))
            for id_, *row in zip(self.ids, *cells.values(), strict=True)
        ]


def read_ledger(path: Path) -> list[PseudoLabel]:
    """The rows of a ledger, in the file's order. Columns that a later petbench added are passed over.

    Raises:
        FileNotFoundError: the round has no ledger.
        UserError: the file is no ledger.
    """
    return read_ledger_columns(path).rows()


def read_ledger_columns(path: Path, only: frozenset[str] | None = None) -> LedgerColumns:
    """The same as columns.

    Args:
        only: fields to read besides `id`; default: all. Cells of others are not looked at.

    Raises: as `read_ledger`.
    """
    try:
        content = read_bytes(path, _LIMIT_BYTES)
        if not content.isascii():
            content.decode("utf-8", SURROGATES)
    except UnreadableFile as error:
        raise UserError(f"damaged ledger: {error.reason}", where=clean(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("damaged ledger: not UTF-8 text", where=clean(path)) from error
    try:
        header, known = next(csv_rows(content), []), _columns()
        if not {name for name, column in known.items() if not column.may_lack} <= set(header):
            raise UserError("not a pseudo-label ledger", where=f"{clean(path)}:1", allowed=",".join(known))
        found = _parsed(content, header, known.keys() if only is None else only)
        require_sum(path, content)
        return found
    except UnreadableFile as error:
        raise UserError(f"damaged ledger: {error.reason}", where=clean(path)) from error
    except (ValueError, KeyError, csv.Error) as error:
        raise _damage(path, content) from error


def _parsed(content: bytes, header: list[str], names: Set[str]) -> LedgerColumns:
    """Raises: ValueError, KeyError, csv.Error."""
    places = {name: header.index(name) for name in _columns() if name in header}
    read = {name: place for name, place in places.items() if name in names and name != "id"}
    hints = get_type_hints(PseudoLabel)
    classes: dict[bytes, int] = {}
    ids: list[ImageIds] = []
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in read}
    for piece in csv_columns(content, len(header)):
        ids.append(ImageIds(piece.cells(places["id"])))
        for name, place in read.items():
            if hints[name] is bool:
                parts[name].append(_flags(piece.letters(place)))
            else:
                parts[name].append(_array(name, hints[name], piece.cells(place), classes))
    columns = {
        name: np.concatenate([np.zeros(0, _KINDS.get(hints[name], np.int32)), *part])
        for name, part in parts.items()
    }
    texts = tuple(name.decode("utf-8", SURROGATES) for name in classes)
    return LedgerColumns(ImageIds.joined(ids), texts, columns)


def _array(name: str, kind: Any, cells: list[bytes], classes: dict[bytes, int]) -> NDArray[Any]:
    """A column's cells as an array; classes that were not known get the next places."""
    if kind is float:
        values = np.array([float(cell) for cell in cells], np.float64)
        low, high = (-_ROUNDING, 1 + _ROUNDING) if name in _SHARES else (-math.inf, math.inf)
        if not (np.isfinite(values) & (values >= low) & (values <= high)).all():
            raise ValueError("numbers that are none")
        return values
    if kind is str:
        return np.array([classes.setdefault(cell, len(classes)) for cell in cells], np.int32)
    return np.array([classes.setdefault(cell, len(classes)) if cell else -1 for cell in cells], np.int32)


def _flags(letters: NDArray[np.uint8]) -> NDArray[np.bool_]:
    if not np.isin(letters, (_NO, _YES)).all():
        raise ValueError("flags that are none")
    found: NDArray[np.bool_] = letters == _YES
    return found


def _damage(path: Path, content: bytes) -> UserError:
    """The first row that cannot be read, which columns do not tell."""
    reader = csv_rows(content)
    problem: Exception = ValueError("its rows cannot be read")
    try:
        header = next(reader, [])
        known = [_columns().get(name) for name in header]
        for cells in reader:
            _row(cells, known)
    except (ValueError, KeyError, csv.Error) as error:
        problem = error
    return UserError(f"damaged ledger: {clean(problem, 200)}", where=f"{clean(path)}:{reader.line_num}")


def _row(cells: list[str], columns: list[_Column | None]) -> PseudoLabel:
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells instead of {len(columns)}")
    return PseudoLabel(
        **{one.name: one.read(cell) for one, cell in zip(columns, cells, strict=True) if one is not None}
    )


@dataclass(frozen=True, slots=True)
class _Column:
    """How a field stands in its cells."""

    name: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]
    may_lack: bool
    """Whether a ledger of before there was this column can be read."""


@cache
def _columns() -> dict[str, _Column]:
    """A column for each field, by what it holds."""
    kinds: dict[Any, tuple[Callable[[Any], str], Callable[[str], Any]]] = {
        str: (str, str),
        str | None: (lambda value: value or "", lambda cell: cell or None),
        float: (lambda value: repr(float(value)), _number),
        bool: (lambda value: str(int(value)), {"0": False, "1": True}.__getitem__),
    }
    hints = get_type_hints(PseudoLabel)
    return {
        field.name: _Column(
            field.name,
            kinds[hints[field.name]][0],
            _share if field.name in _SHARES else kinds[hints[field.name]][1],
            field.default is not MISSING,
        )
        for field in fields(PseudoLabel)
    }


def _number(cell: str) -> float:
    value = float(cell)
    if not math.isfinite(value):
        raise ValueError(f"{cell} where a number belongs")
    return value


def _share(cell: str) -> float:
    value = _number(cell)
    if not -_ROUNDING <= value <= 1 + _ROUNDING:
        raise ValueError(f"{cell} where a probability belongs")
    return value
