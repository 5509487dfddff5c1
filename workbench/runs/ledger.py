"""`pseudo/round-NN.csv`: what the teacher said of every pool image in a round, and what was believed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from workbench.support.clean import clean
from workbench.support.digests import require_sum, summed_write
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, read_bytes

# Ids come from file names, which may hold undecodable bytes as lone surrogates; they must come back the same.
_SURROGATES = "surrogatepass"
_LIMIT_BYTES = 512 * 2**20
"""Millions of images."""
_SHARES = ("confidence", "margin")
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
    summed_write(path, path.parent.parent, text.getvalue().encode("utf-8", _SURROGATES))


def read_ledger(path: Path) -> list[PseudoLabel]:
    """The rows of a ledger, in the file's order. Columns that a later petbench added are passed over.

    Raises:
        FileNotFoundError: the round has no ledger.
        UserError: the file is no ledger.
    """
    try:
        content = read_bytes(path, _LIMIT_BYTES)
        text = content.decode("utf-8", _SURROGATES)
    except UnreadableFile as error:
        raise UserError(f"damaged ledger: {error.reason}", where=clean(path)) from error
    except UnicodeDecodeError as error:
        raise UserError("damaged ledger: not UTF-8 text", where=clean(path)) from error
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header, columns = next(reader, []), _columns()
        if not {name for name, column in columns.items() if not column.may_lack} <= set(header):
            raise UserError("not a pseudo-label ledger", where=f"{clean(path)}:1", allowed=",".join(columns))
        known = [columns.get(name) for name in header]
        rows = [_row(cells, known) for cells in reader]
        require_sum(path, content)
        return rows
    except UnreadableFile as error:
        raise UserError(f"damaged ledger: {error.reason}", where=clean(path)) from error
    except (ValueError, KeyError, csv.Error) as error:
        where = f"{clean(path)}:{reader.line_num}"
        raise UserError(f"damaged ledger: {clean(error, 200)}", where=where) from error


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
