"""A CSV file as columns of cells, a piece of its rows at a time: no object a row is kept."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_ROWS = 65_536
"""In a piece of a file whose cells are quoted."""
_BYTES = 2**23
"""In a piece of a file whose cells are not: that many rows, more or less."""
_COMMA, _END, _RETURN = b",\n\r"
# Ids come from file names, which may hold undecodable bytes as lone surrogates; they must come back the same.
SURROGATES = "surrogatepass"


class CsvRows(Protocol):
    """What `csv.reader` gives."""

    line_num: int
    """Lines that the rows so far take."""

    def __iter__(self) -> Iterator[list[str]]: ...
    def __next__(self) -> list[str]: ...


def csv_rows(content: bytes) -> CsvRows:
    """The rows one by one, the header first."""
    return csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", errors=SURROGATES, newline=""))


class Columns(Protocol):
    """The cells of some rows, by their place in the header."""

    def cells(self, place: int) -> list[bytes]:
        """(K) as UTF-8, lone surrogates as they are."""

    def letters(self, place: int) -> NDArray[np.uint8]:
        """(K,) uint8 the one letter of each cell. Raises: ValueError, one has another length."""


def csv_columns(content: bytes, width: int) -> Iterator[Columns]:
    """The rows below the header.

    Args:
        content: RFC 4180 in UTF-8.
        width: cells of a row.

    Raises:
        ValueError: a row has more or fewer cells.
        csv.Error: as `csv.reader`.
    """
    letters = np.frombuffer(content, np.uint8)
    returns = np.flatnonzero(letters == _RETURN) + 1
    if b'"' in content or (letters[returns[returns < len(letters)]] != _END).any():
        return _read(content, width)
    return _cut(content, width)


class _ReadColumns:
    """Of rows that were read one by one."""

    def __init__(self, rows: list[list[str]]) -> None:
        self._rows = rows

    def cells(self, place: int) -> list[bytes]:
        return [row[place].encode("utf-8", SURROGATES) for row in self._rows]

    def letters(self, place: int) -> NDArray[np.uint8]:
        cells = self.cells(place)
        if any(len(cell) != 1 for cell in cells):
            raise ValueError("cells of more or less than a letter")
        return np.frombuffer(b"".join(cells), np.uint8)


class _CutColumns:
    """Of rows that lie in one piece of the file: (K, width) int64 where each cell begins and ends."""

    def __init__(self, piece: bytes, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> None:
        self._piece, self._starts, self._ends = piece, starts, ends

    def cells(self, place: int) -> list[bytes]:
        piece, starts, ends = self._piece, self._starts[:, place].tolist(), self._ends[:, place].tolist()
        return [piece[a:b] for a, b in zip(starts, ends, strict=True)]

    def letters(self, place: int) -> NDArray[np.uint8]:
        starts = self._starts[:, place]
        if (self._ends[:, place] - starts != 1).any():
            raise ValueError("cells of more or less than a letter")
        found: NDArray[np.uint8] = np.frombuffer(self._piece, np.uint8)[starts]
        return found


def _read(content: bytes, width: int) -> Iterator[Columns]:
    """Where cells may hold commas and ends of lines."""
    rows = csv_rows(content)
    next(rows, None)
    while some := list(islice(rows, _ROWS)):
        if any(len(row) != width for row in some):
            raise ValueError("rows of several lengths")
        yield _ReadColumns(some)


def _cut(content: bytes, width: int) -> Iterator[Columns]:
    """Where each comma and each end of a line is one between cells."""
    first = content.find(b"\n") + 1 or len(content)
    while first < len(content):
        last = content.find(b"\n", min(first + _BYTES, len(content) - 1)) + 1 or len(content)
        piece = content[first:last]
        first = last
        if not piece.endswith(b"\n"):
            piece += b"\n"
        letters = np.frombuffer(piece, np.uint8)
        found = np.flatnonzero((letters == _COMMA) | (letters == _END)).astype(np.int64, copy=False)
        if len(found) % width:
            raise ValueError("rows of several lengths")
        starts = np.concatenate([[0], found[:-1] + 1]).reshape(-1, width)
        ends = found.reshape(-1, width)
        if (letters[ends[:, :-1]] != _COMMA).any() or (letters[ends[:, -1]] != _END).any():
            raise ValueError("rows of several lengths")
        ends[:, -1] -= (ends[:, -1] > 0) & (letters[ends[:, -1] - 1] == _RETURN)
        yield _CutColumns(piece, starts, ends)
