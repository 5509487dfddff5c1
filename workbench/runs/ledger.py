"""`pseudo/round-NN.csv`: what the teacher said of every pool image in a round, and what was believed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path

from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, read_bytes
from workbench.support.sums import require_sum, summed_write

# Ids come from file names, which may hold undecodable bytes as lone surrogates; they must come back the same.
_SURROGATES = "surrogatepass"
_LIMIT_BYTES = 512 * 2**20
"""Millions of images."""
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


_COLUMNS = tuple(field.name for field in fields(PseudoLabel))


def write_ledger(path: Path, rows: Iterable[PseudoLabel]) -> None:
    """Write the ledger as RFC 4180 CSV in UTF-8: names with commas, quotes and line ends are quoted.

    Booleans are 0 and 1; floats have every digit.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)  # its line end, CR LF, makes it quote a lone CR too
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow(
            (
                row.id,
                row.pseudo_label,
                repr(float(row.confidence)),
                repr(float(row.margin)),
                repr(float(row.entropy)),
                int(row.selected),
                repr(float(row.weight)),
                int(row.flipped),
                row.true_label or "",
            )
        )
    path.parent.mkdir(exist_ok=True)
    summed_write(path, path.parent.parent, text.getvalue().encode("utf-8", _SURROGATES))


def read_ledger(path: Path) -> list[PseudoLabel]:
    """The rows of a ledger, in the file's order.

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
        header = tuple(next(reader, ()))
        if header != _COLUMNS:
            raise UserError("not a pseudo-label ledger", where=f"{clean(path)}:1", allowed=",".join(_COLUMNS))
        rows = [_row(cells) for cells in reader]
        require_sum(path, content)
        return rows
    except UnreadableFile as error:
        raise UserError(f"damaged ledger: {error.reason}", where=clean(path)) from error
    except (ValueError, KeyError, csv.Error) as error:
        where = f"{clean(path)}:{reader.line_num}"
        raise UserError(f"damaged ledger: {clean(error, 200)}", where=where) from error


_BOOLEANS = {"0": False, "1": True}


def _row(cells: list[str]) -> PseudoLabel:
    if len(cells) != len(_COLUMNS):
        raise ValueError(f"{len(cells)} cells instead of {len(_COLUMNS)}")
    id_, label, confidence, margin, entropy, selected, weight, flipped, true_label = cells
    return PseudoLabel(
        id=id_,
        pseudo_label=label,
        confidence=_share(confidence),
        margin=_share(margin),
        entropy=_number(entropy),
        selected=_BOOLEANS[selected],
        weight=_number(weight),
        flipped=_BOOLEANS[flipped],
        true_label=true_label or None,
    )


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
