"""Files of predictions, a row a picture: CSV and JSON lines that grow, and go on where they were killed.

Beside `out.csv` lies `out.csv.made-by.json`: which run wrote it and how. By it a file is known for one that
the same command may go on with; a row counts once its line is whole.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Literal, assert_never

from workbench.runs.export import csv_cell, csv_text, finite_json
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.locks import try_lock
from workbench.support.regular_file import UnreadableFile, read_json
from workbench.support.seen_names import SeenNames

Form = Literal["csv", "jsonl"]
COLUMNS = ("path", "class", "confidence", "guess", "set", "error")
SET_SEPARATOR = "|"
"""Between the classes of a set in CSV; JSON has them as a list."""
_LIMIT_BYTES = 2**20
_OF_A_ROW = 2**20
"""Bytes: a set of a thousand classes of long names."""


@dataclass(frozen=True, slots=True)
class PredictionRow:
    """What is written of a picture."""

    path: str
    class_name: str | None
    """The class, or `unsure`; None of a picture that cannot be read."""
    confidence: float | None = None
    """Of the guess, at the run's temperature."""
    guess: str | None = None
    """The most probable class, whether sure or not."""
    among: tuple[str, ...] = ()
    """Of an unsure one: the classes that it may be, the most probable first."""
    top: tuple[tuple[str, float], ...] = ()
    """The most probable classes with their probabilities; in JSON alone."""
    error: str | None = None
    """Why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What decides what stands in a file: files of equal origin may be gone on with."""

    run: str
    model: str
    weights_sha256: str
    temperature: float
    sure: float | None
    threshold: float | None
    sets_promise: float | None
    top: int
    sorted_into: str | None
    copies: bool
    columns: tuple[str, ...] = COLUMNS

    def differs(self, other: Mapping[str, Any]) -> list[str]:
        """The words for what is otherwise there."""
        mine = json.loads(json.dumps(asdict(self)))
        return [
            f"{key} {_told(other.get(key))}, now {_told(value)}"
            for key, value in mine.items()
            if other.get(key) != value
        ]


def _told(value: object) -> str:
    return "none" if value is None else repr(value)


def made_by(path: Path) -> Path:
    """Where the origin of a file stands."""
    return path.with_name(f"{path.name}.made-by.json")


@dataclass
class PredictionFile:
    """A file that grows by rows; `open_prediction_file` makes one."""

    form: Form
    stream: BinaryIO
    names: SeenNames
    """Of the pictures that have a row, as the file names them."""
    rows_before: int = 0
    """Those that it had when it was opened."""
    _locked: int | None = field(default=None, repr=False)

    def lacks(self, path: Path) -> bool:
        """Whether the picture has no row yet."""
        return _name(self.form, str(path)) not in self.names

    def write(self, rows: Iterable[PredictionRow]) -> None:
        """Append rows, those of pictures that it lacks. Raises: UserError, of a full disk and the like."""
        text = "".join(_line(self.form, row) for row in rows if self.names.add(_name(self.form, row.path)))
        try:
            self.stream.write(text.encode("utf-8", "backslashreplace"))
            self.stream.flush()
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror or error}",
                where=clean(getattr(self.stream, "name", "the predictions")),
                hint="make room and type the command again: it goes on",
            ) from error

    def close(self) -> None:
        """Leave it on the disk, for others to write."""
        if self._locked is not None:
            os.fsync(self.stream.fileno())
            self.stream.close()


def open_prediction_file(path: Path, form: Form, origin: Origin, option: str) -> PredictionFile:
    """A new file, or one that the same command left unfinished; a pipe or a device is written as it is.

    Raises:
        UserError: it is there and was made otherwise, is damaged, is being written, or cannot be.
    """
    where = f"{option} {clean(path)}"
    try:
        if path.exists() and not path.is_file():
            stream: BinaryIO = path.open("wb", buffering=0)
            return _begun(PredictionFile(form, stream, SeenNames()))
        path = path.resolve()
        descriptor = try_lock(path)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=where) from error
    if descriptor is None:
        raise UserError("another command is writing it", where=where, hint="wait, or name another file")
    stream = os.fdopen(descriptor, "r+b")
    try:
        file = PredictionFile(form, stream, SeenNames(), _locked=descriptor)
        if os.fstat(descriptor).st_size:
            _require_origin(path, origin, where)
            _read_names(file, where)
        else:
            atomic_write(made_by(path), json.dumps(finite_json(asdict(origin)), indent=2) + "\n")
        file.rows_before = len(file.names)
        return _begun(file) if stream.tell() == 0 else file
    except OSError as error:
        stream.close()
        raise UserError(f"cannot be written: {error.strerror or error}", where=where) from error
    except BaseException:
        stream.close()
        raise


def on_stream(form: Form, stream: BinaryIO) -> PredictionFile:
    """Rows for another program, as they come."""
    return _begun(PredictionFile(form, stream, SeenNames()))


def _begun(file: PredictionFile) -> PredictionFile:
    match file.form:
        case "csv":
            file.stream.write(csv_text(COLUMNS, ()).encode())
            file.stream.flush()
        case "jsonl":
            pass
        case _:
            assert_never(file.form)
    return file


def _require_origin(path: Path, origin: Origin, where: str) -> None:
    other = made_by(path)
    try:
        told = read_json(other, _LIMIT_BYTES)
        if not isinstance(told, dict):
            raise UnreadableFile(other, "no object")
    except FileNotFoundError:
        raise UserError(
            "is there already, and nothing tells that petbench predict made it",
            where=where,
            hint="name another file, or remove this one",
        ) from None
    except UnreadableFile as error:
        raise UserError(str(error), where=clean(other), hint="name another file, or remove both") from error
    differs = origin.differs(told)
    if differs:
        raise UserError(
            f"was made otherwise: {clean('; '.join(differs), 400)}",
            where=where,
            hint=f"name another file, or remove it and {clean(other.name)}",
        )


def _read_names(file: PredictionFile, where: str) -> None:
    """Note whose rows are whole, and cut off a line that is not; the stream stands at its end then."""
    end = 0
    for number, line in enumerate(_whole_lines(file.stream), 1):
        end += len(line)
        try:
            name = _named(file.form, line.decode(), number)
        except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise UserError(
                f"line {number} is no prediction: {clean(error, 100)}",
                where=where,
                hint=f"name another file, or remove it and {clean(made_by(Path(where)).name)}",
            ) from error
        if name is not None:
            file.names.add(name)
    file.stream.truncate(end)
    file.stream.seek(end)


def _whole_lines(stream: BinaryIO) -> Iterator[bytes]:
    while (line := stream.readline(_OF_A_ROW)).endswith(b"\n"):
        yield line


def _named(form: Form, line: str, number: int) -> str | None:
    """The name in a line; None of a header."""
    match form:
        case "csv":
            cells: Sequence[str] = next(csv.reader([line]))
            if len(cells) != len(COLUMNS):
                raise ValueError(f"{len(cells)} columns instead of {len(COLUMNS)}")
            if number == 1:
                if tuple(cells) != COLUMNS:
                    raise ValueError("another header")
                return None
            return cells[0]
        case "jsonl":
            return str(json.loads(line)["path"])
        case _:
            assert_never(form)


def _name(form: Form, path: str) -> str:
    match form:
        case "csv":
            return str(csv_cell(path))
        case "jsonl":
            return path
        case _:
            assert_never(form)


def _line(form: Form, row: PredictionRow) -> str:
    match form:
        case "csv":
            text = io.StringIO(newline="")
            confidence = None if row.confidence is None else round(row.confidence, 6)
            among = SET_SEPARATOR.join(row.among)
            cells = (row.path, row.class_name, confidence, row.guess, among, row.error)
            csv.writer(text).writerow([csv_cell(cell) for cell in cells])
            return text.getvalue()
        case "jsonl":
            return json.dumps(row_record(row), ensure_ascii=True, allow_nan=False) + "\n"
        case _:
            assert_never(form)


def top_record(row: PredictionRow) -> list[dict[str, Any]]:
    """The most probable classes as JSON objects, the most probable first."""
    return [{"class": name, "probability": share} for name, share in row.top]


def row_record(row: PredictionRow) -> dict[str, Any]:
    """A row as a JSON object; every key is there, null or empty where it says nothing."""
    return {
        "path": row.path,
        "class": row.class_name,
        "confidence": row.confidence,
        "guess": row.guess,
        "set": list(row.among),
        "top": top_record(row),
        "error": row.error,
    }
