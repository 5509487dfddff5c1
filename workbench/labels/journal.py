"""The journal of labels, `labels.csv`: who said when what an image shows. It only grows, and forgets nothing.

Of several rows of one image the one with the newest time holds, of several with one time the last in the
file. An image whose class is empty is not labelled any more; `?` means that nobody can tell, `!` that the
image is not usable. Undoing, renaming, merging and splitting write new rows. A row counts once its line is
whole: a writer that was killed leaves at most a line that readers pass over and the next writer takes away.
"""

from __future__ import annotations

import csv
import io
import os
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from workbench.support.atomic import sync
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.locks import beside, locked
from workbench.support.regular_file import UnreadableFile, open_to_append, read_bytes

NAME = "labels.csv"
"""What it is called in the folder that is labelled."""
COLUMNS = ("path", "class", "by", "when", "confidence")
_NEEDED = COLUMNS[:4]
NO_CLASS = ""
"""The class of an image that is not labelled any more."""
CANNOT_TELL = "?"
UNUSABLE = "!"
NO_CLASSES = frozenset({NO_CLASS, CANNOT_TELL, UNUSABLE})
"""What stands in the column of classes and is none."""

MOST_BYTES = 2**29
"""As of any table: some million rows."""
_LONGEST_ROW = 2**15
"""Bytes of a row of ours: a path has at most 4,096, a class fewer, and quotes double."""
_DELIMITERS = ",;\t|"
_MARK = b"\xef\xbb\xbf"
_ROUNDABOUT = frozenset({"", ".", ".."})
"""Parts of a path that another way of writing it has not."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Row:
    """What somebody said of one image."""

    path: str
    """Relative to the journal, with forward slashes."""
    class_name: str
    """A class, or one of `NO_CLASSES`."""
    by: str
    """Who said so: a person; `model:PERSON` of a guess that was accepted as it was, `undo:PERSON` of what
    somebody took back."""
    when: datetime | None = None
    """In UTC; None: `append` puts in the present, one time for all rows of a stroke."""
    confidence: float | None = None
    """The model's probability of a guess that was accepted; None of a person's own word."""


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as it was read; `journal_of` makes one."""

    path: Path
    rows: tuple[Row, ...]
    """All of them, as they stand in the file."""
    remarks: tuple[str, ...] = ()
    """Lines for people: what was passed over."""
    current: Mapping[str, Row] = field(default_factory=dict, compare=False)
    """The row that holds by path, of every image that anything was ever said of."""

    @property
    def labels(self) -> dict[str, str]:
        """Class by path, of the images that have one."""
        return {
            path: row.class_name for path, row in self.current.items() if row.class_name not in NO_CLASSES
        }

    @property
    def unusable(self) -> list[str]:
        """Images that are left out."""
        return [path for path, row in self.current.items() if row.class_name == UNUSABLE]

    @property
    def cannot_tell(self) -> list[str]:
        """Images that somebody looked at in vain."""
        return [path for path, row in self.current.items() if row.class_name == CANNOT_TELL]

    @property
    def classes(self) -> dict[str, int]:
        """How many images each class has now, in the order in which the classes were first said."""
        counts: dict[str, int] = {}
        for name in self.labels.values():
            counts[name] = counts.get(name, 0) + 1
        return {
            name: counts[name]
            for name in dict.fromkeys(r.class_name for r in by_time(self.rows))
            if name in counts
        }

    @property
    def newest(self) -> datetime:
        """When something was said last."""
        return max((time_of(row) for row in self.rows), default=_LONG_AGO)

    def history(self, path: str) -> list[Row]:
        """All that was said of an image, the newest last."""
        return by_time(row for row in self.rows if row.path == path)


def journal_of(path: Path, rows: Iterable[Row], remarks: Iterable[str] = ()) -> Journal:
    """The journal that these rows are, in the order of the file."""
    kept = tuple(rows)
    return Journal(path, kept, tuple(remarks), {row.path: row for row in by_time(kept)})


def by_time(rows: Iterable[Row]) -> list[Row]:
    """Rows from the oldest to the one that holds: by time, then as they stand in the file."""
    return sorted(rows, key=time_of)


def time_of(row: Row) -> datetime:
    """When it was said; a row whose time cannot be read comes before all others."""
    return row.when or _LONG_AGO


def is_journal(columns: Sequence[str]) -> bool:
    """Whether a table with these columns is a journal of labels."""
    return set(_NEEDED) <= set(columns)


def read(path: Path) -> Journal:
    """The journal at `path`; an empty one where there is no file.

    Raises:
        UserError: it cannot be read, or is no journal.
    """
    return _read(path)[0]


def append(path: Path, rows: Sequence[Row] | Callable[[Journal], Sequence[Row]]) -> Journal:
    """Write rows to the journal, durably, and return it with them.

    Rows without a time get the present one, all of them the same; it is later than every time in the file, so
    that what is said last holds also where a clock was put back.

    Args:
        rows: or a function that makes them of the journal as it stands, while nobody else writes.

    Raises:
        UserError: as `read`; a path or class that a journal cannot hold.
        OSError: the disk is full or the folder cannot be written; the journal is then as it was.
    """
    with locked(beside(path), stays=False):
        journal, table = _read(path)
        asked = rows(journal) if callable(rows) else rows
        if not asked:
            return journal
        now = max(datetime.now(UTC), journal.newest + _TICK)
        said = [row if row.when is not None else replace(row, when=now) for row in asked]
        text = "".join(_line([_cells(row).get(name, "") for name in table.columns], table) for row in said)
        _write(path, table, text)
        return journal_of(path, (*journal.rows, *said), journal.remarks)


@dataclass(frozen=True, slots=True)
class _Table:
    """How the file is written."""

    columns: tuple[str, ...] = COLUMNS
    delimiter: str = ","
    whole: int = 0
    """Bytes that count; behind them lies what a writer that was killed left."""
    size: int = 0
    open_end: bool = False
    """Whether the last row that counts lacks its line end, as some editors leave it."""


def _read(path: Path) -> tuple[Journal, _Table]:
    try:
        content = read_bytes(path, MOST_BYTES)
    except FileNotFoundError:
        return journal_of(path, ()), _Table()
    except UnreadableFile as error:
        raise UserError(f"the labels cannot be read: {error.reason}", where=clean(path)) from None
    written = content.rstrip(b"\0")  # what a disk that lost its power may leave of a file that grew
    end = _last_row_end(written)
    if end == 0:
        if _line(COLUMNS, _Table()).encode().startswith(written):  # killed before its first row
            return journal_of(path, ()), _Table(size=len(content))
        table = _table(path, written, len(content))
        return journal_of(path, ()), replace(table, open_end=True)
    table = _table(path, content[:end], len(content))
    rows, remarks = _rows(path, content[:end], table)
    rest = written[end:]
    if rest and (last := _whole_row(rest, table)) is not None:
        rows.append(last)
        table = replace(table, whole=end + len(rest), open_end=True)
    elif len(content) > end:
        if len(rest) > _LONGEST_ROW:
            raise UserError(
                f"not CSV: what follows byte {end:,} ends within quotes",
                where=clean(path),
                hint="look there for a double quote too many, or one too few",
            )
        remarks.append(f"{clean(path.name, 80)}: passed over its last line, which is not whole")
    return journal_of(path, rows, remarks), table


def _last_row_end(content: bytes) -> int:
    """Where the last whole row ends: behind a line end that does not lie within quotes."""
    quotes = content.count(b'"')
    end = len(content)
    while end > 0:
        place = content.rfind(b"\n", 0, end) + 1
        quotes -= content.count(b'"', place, end)
        if quotes % 2 == 0:
            return place
        end = place - 1
    return 0


def _table(path: Path, content: bytes, size: int) -> _Table:
    """How a file with this content is written. Raises: UserError, of one that is no journal."""
    first = _text(path, content.partition(b"\n")[0]).strip()
    delimiter = max(_DELIMITERS, key=first.count)
    columns = tuple(name.strip() for name in next(csv.reader([first], delimiter=delimiter), ()))
    if not is_journal(columns):
        raise UserError(
            f"no journal of labels; it has the columns {clean(', '.join(columns), 120)}",
            where=clean(path),
            allowed=f"the columns {', '.join(_NEEDED)}, and others",
            hint="give the file another name: petbench label makes a new one; "
            'data.dataset = "table" reads this one as it is',
        )
    return _Table(columns, delimiter, whole=len(content), size=size)


def _rows(path: Path, content: bytes, table: _Table) -> tuple[list[Row], list[str]]:
    """The rows of whole lines, and what is to be said of them."""
    reader = csv.reader(io.StringIO(_text(path, content), newline=""), delimiter=table.delimiter)
    found: list[Row] = []
    strange: list[int] = []
    timeless = 0
    try:
        next(reader)
        for fields in reader:
            row = _row(fields, table)
            if row is not None:
                found.append(row)
                timeless += row.when is None
            elif any(field.strip() for field in fields):
                strange.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"not CSV: {error}", where=f"{clean(path)}, line {reader.line_num}") from None
    name = clean(path.name, 80)
    remarks = []
    if strange:
        remarks.append(
            f"{name}: passed over {len(strange):,} rows without a path, such as line {strange[0]:,}"
        )
    if timeless:
        remarks.append(f"{name}: {timeless:,} rows have no time that can be read, and count as the oldest")
    return found, remarks


def _row(fields: Sequence[str], table: _Table) -> Row | None:
    cells = dict(zip(table.columns, fields, strict=False))
    path = cells.get("path", "")
    if not path:
        return None
    return Row(
        posixpath.normpath(path) if _ROUNDABOUT & set(path.split("/")) else path,
        cells.get("class", "").strip(),
        cells.get("by", ""),
        _time(cells.get("when", "")),
        _number(cells.get("confidence", "")),
    )


def _whole_row(rest: bytes, table: _Table) -> Row | None:
    """A last row without a line end, if nothing is missing in it."""
    try:
        fields = next(csv.reader([rest.decode()], delimiter=table.delimiter, strict=True))
    except (UnicodeDecodeError, csv.Error):
        return None
    row = _row(fields, table) if len(fields) >= len(table.columns) else None
    return row if row is not None and row.when is not None else None


def _time(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    try:
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:
        return None


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def _text(path: Path, content: bytes) -> str:
    try:
        return content.removeprefix(_MARK).decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"not UTF-8 text, near line {line:,}",
            where=clean(path),
            hint="save it as UTF-8: in a spreadsheet, CSV UTF-8",
        ) from None


def _cells(row: Row) -> dict[str, str]:
    """Its fields by column. Raises: UserError, of text that the file cannot hold."""
    for text in (row.path, row.class_name, row.by):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{clean(text, 80)!r} is no text that a table can hold",
                hint="give the file a name in UTF-8",
            ) from None
        if "\0" in text:
            raise UserError(f"{clean(text, 80)!r} has a NUL in it")
    assert row.when is not None  # `append` has put it in
    when = row.when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    confidence = "" if row.confidence is None else f"{row.confidence:.4f}"
    return dict(zip(COLUMNS, (row.path, row.class_name, row.by, when, confidence), strict=True))


def _line(fields: Sequence[str], table: _Table) -> str:
    """A row of RFC 4180, with the line end of every other file here."""
    return table.delimiter.join(_quoted(field, table.delimiter) for field in fields) + "\n"


def _quoted(text: str, delimiter: str) -> str:
    if not any(letter in text for letter in (delimiter, '"', "\n", "\r")) and text == text.strip():
        return text
    return '"' + text.replace('"', '""') + '"'


def _write(path: Path, table: _Table, text: str) -> None:
    """Put whole lines at the end, behind what counts, and see them on the disk."""
    is_new = table.whole == 0
    if is_new:
        text = _line(table.columns, table) + text
    data = (b"\n" if table.open_end else b"") + text.encode()
    descriptor = open_to_append(path)
    try:
        if table.size > table.whole:
            os.ftruncate(descriptor, table.whole)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, table.whole)
            raise
    finally:
        os.close(descriptor)
    if is_new:
        sync(path.parent)
