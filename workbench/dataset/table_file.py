"""Rows of a table file, one after the other: CSV, TSV, JSON lines or Parquet, whatever wrote it."""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile, open_regular, parse_json

MOST_ROWS = 1_000_000
"""More are refused: every image's header is read before a run, some minutes for a million."""
MOST_BYTES = 2**29
"""500 bytes a row."""
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
_LINE = 2**20
"""Most characters of a line: longer ones hold something else than a path and a class."""
_DELIMITERS = ",;\t|"
OTHER_TABLES = {
    ".xlsx": "save it as CSV",
    ".xls": "save it as CSV",
    ".ods": "save it as CSV",
    ".json": "write one object a line: .jsonl",
    ".ndjson": "call it .jsonl",
    ".feather": "save it as Parquet or CSV",
    ".pq": "call it .parquet",
}
"""What to do with tables of other kinds."""
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}

Cell = str | None
"""A field as text; None where it is empty, absent or null."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    line: int
    """Where it begins in the file, from 1; of Parquet the row's number from 1."""
    cells: tuple[Cell, ...]
    """In the order of the columns asked for."""


@dataclass(frozen=True, slots=True)
class TableFile:
    """A table that can be read."""

    path: Path
    columns: tuple[str, ...]

    def rows(self, columns: Sequence[str]) -> Iterator[Row]:
        """The rows, of which these columns; blank lines are no rows.

        Raises:
            UserError: a row that is none, names its line.
        """
        return _READERS[self.path.suffix.lower()].rows(self, columns)


def open_table(path: Path) -> TableFile:
    """See what columns a table has.

    Raises:
        UserError: it is not there, is no table, is too large, or needs a package that is not installed.
    """
    ending = path.suffix.lower()
    if ending not in _READERS:
        raise UserError(
            f"no table by its name, which ends in {clean(ending or 'nothing', 20)}",
            where=clean(path),
            allowed=" ".join(ENDINGS),
            hint=OTHER_TABLES.get(ending, ""),
        )
    with _opened(path) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        lines = 0 if size > MOST_BYTES or ending == ".parquet" else _lines_in(stream)
    if lines > MOST_ROWS + 1:
        raise _too_many(path, lines)
    if size > MOST_BYTES and ending != ".parquet":
        raise UserError(
            f"a table of {size / 2**20:,.0f} MiB; at most {MOST_BYTES / 2**20:,.0f} are read, "
            f"and {MOST_ROWS:,} rows",
            where=clean(path),
            hint="leave its other columns out, or part of its rows",
        )
    return TableFile(path, _READERS[ending].columns(path))


class _Separated:
    """CSV and TSV: the delimiter is the one that the first line has most of; UTF-8 or UTF-16 with a mark."""

    def columns(self, path: Path) -> tuple[str, ...]:
        with self._lines(path) as lines:
            header = next(lines, None)
        if header is None:
            raise UserError("an empty table", where=clean(path), allowed="a first line of column names")
        return tuple(name.strip() for name in header[1])

    def rows(self, table: TableFile, columns: Sequence[str]) -> Iterator[Row]:
        places = [table.columns.index(name) for name in columns]
        with self._lines(table.path) as lines:
            next(lines)
            for line, fields in lines:
                if not any(field.strip() for field in fields):
                    continue
                if any(field.strip() for field in fields[len(table.columns) :]):
                    raise UserError(
                        f"{len(fields)} fields under {len(table.columns)} columns",
                        where=f"{clean(table.path)}, line {line}",
                        hint="put a field that has the separator in it between double quotes",
                    )
                yield Row(
                    line, tuple(_text(fields[place]) if place < len(fields) else None for place in places)
                )

    @contextmanager
    def _lines(self, path: Path) -> Iterator[Iterator[tuple[int, list[str]]]]:
        with _opened(path) as binary:
            start = binary.read(4)
            binary.seek(0)
            encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
            with io.TextIOWrapper(binary, encoding, newline="") as stream:
                yield self._parsed(path, stream)

    def _parsed(self, path: Path, stream: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        at = 1
        try:
            first = stream.readline(_LINE)
            if not first:
                return
            delimiter = "\t" if path.suffix.lower() == ".tsv" else max(_DELIMITERS, key=first.count)

            def texts() -> Iterator[str]:
                yield first
                yield from iter(lambda: stream.readline(_LINE), "")

            reader = csv.reader(texts(), delimiter=delimiter, strict=True)
            for fields in reader:
                yield at, fields
                at = reader.line_num + 1
        except UnicodeDecodeError as error:
            raise _not_text(path, at, error) from None
        except csv.Error as error:
            raise UserError(f"not CSV: {error}", where=f"{clean(path)}, line {at}") from None


class _Lines:
    """JSON lines: an object a line."""

    def columns(self, path: Path) -> tuple[str, ...]:
        names: dict[str, None] = {}
        for _, value in self._objects(path):
            names |= dict.fromkeys(value)
        if not names:
            raise UserError("an empty table", where=clean(path), allowed="one JSON object a line")
        return tuple(names)

    def rows(self, table: TableFile, columns: Sequence[str]) -> Iterator[Row]:
        for line, value in self._objects(table.path):
            where = f"{clean(table.path)}, line {line}"
            yield Row(line, tuple(_cell(value.get(name), name, where) for name in columns))

    def _objects(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        with _opened(path) as stream:
            for line, text in enumerate(iter(lambda: stream.readline(_LINE), b""), 1):
                bare = text.removeprefix(codecs.BOM_UTF8).strip()
                if not bare:
                    continue
                where = f"{clean(path)}, line {line}"
                try:
                    value = parse_json(bare)
                except ValueError as error:
                    raise UserError(str(error).removesuffix(" at line 1"), where=where) from None
                if not isinstance(value, dict):
                    raise UserError("not an object", where=where, allowed='{"path": "a.jpg", "label": "cat"}')
                yield line, value


class _Parquet:
    """Parquet, by pyarrow where it is installed."""

    def columns(self, path: Path) -> tuple[str, ...]:
        file = self._file(path)
        if file.metadata.num_rows > MOST_ROWS:
            raise _too_many(path, file.metadata.num_rows)
        return tuple(file.schema_arrow.names)

    def rows(self, table: TableFile, columns: Sequence[str]) -> Iterator[Row]:
        number = 0
        for batch in self._file(table.path).iter_batches(columns=list(dict.fromkeys(columns))):
            values = [batch.column(name).to_pylist() for name in columns]
            for cells in zip(*values, strict=True):
                number += 1
                where = f"{clean(table.path)}, row {number}"
                pairs = zip(cells, columns, strict=True)
                yield Row(number, tuple(_cell(value, name, where) for value, name in pairs))

    def _file(self, path: Path) -> Any:
        try:
            from pyarrow import ArrowException, parquet
        except ImportError:
            raise UserError(
                "Parquet is read by pyarrow, which is not installed",
                where=clean(path),
                hint='pip install "petbench[parquet]", or save the table as CSV',
            ) from None
        try:
            return parquet.ParquetFile(path)
        except (ArrowException, OSError) as error:
            raise UserError(
                f"not Parquet: {clean(str(error).partition(chr(10))[0], 200)}", where=clean(path)
            ) from None


_READERS: dict[str, _Separated | _Lines | _Parquet] = {
    ".csv": _Separated(),
    ".tsv": _Separated(),
    ".jsonl": _Lines(),
    ".parquet": _Parquet(),
}


def first_rows(table: TableFile, column: str, most: int = 20) -> list[str]:
    """What the first rows have in a column."""
    return [row.cells[0] for row in islice(table.rows([column]), most) if row.cells[0] is not None]


def _text(value: str) -> Cell:
    return value.strip() or None


def _cell(value: Any, column: str, where: str) -> Cell:
    """A value of JSON or Parquet as text. Raises: UserError, of a list or an object."""
    match value:
        case None:
            return None
        case bool():
            return str(value).lower()
        case float() if math.isnan(value):
            return None
        case float() if value.is_integer():
            return str(int(value))  # whole numbers beside empty fields become floats in pandas
        case str():
            return _text(value)
        case int() | float():
            return str(value)
        case {"bytes": _}:
            raise UserError(
                f"{clean(column)} holds the image itself, not where it lies",
                where=where,
                hint="write the images into files, and their paths into the table",
            )
    kind = "a list" if isinstance(value, list | tuple) else "an object"
    raise UserError(f"{clean(column)} is {kind}: one value an image is read", where=where)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        stream = open_regular(path)
    except FileNotFoundError:
        raise UserError("no such file", where=f"data.root: {clean(path)}") from None
    except UnreadableFile as error:
        raise UserError(f"the table cannot be read: {error.reason}", where=clean(path)) from None
    with stream:
        try:
            yield stream
        except OSError as error:
            raise UserError(
                f"the table cannot be read: {error.strerror or error}", where=clean(path)
            ) from None


def _not_text(path: Path, line: int, error: UnicodeDecodeError) -> UserError:
    return UserError(
        f"not {error.encoding.upper()} text, near line {line}",
        where=clean(path),
        hint="save it as UTF-8: in a spreadsheet, CSV UTF-8",
    )


def _lines_in(stream: BinaryIO) -> int:
    """How often a line ends."""
    return sum(block.count(b"\n") for block in iter(lambda: stream.read(_LINE), b""))


def _too_many(path: Path, rows: int) -> UserError:
    return UserError(
        f"{rows:,} rows",
        where=clean(path),
        allowed=f"at most {MOST_ROWS:,}",
        hint="a part of them, such as every tenth, shows what the rest would add",
    )
