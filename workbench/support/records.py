"""Values of ours as JSON and back, by the fields that their classes have: no field is named a second time.

`plain` writes. `record_from` reads what the app's first paint waits for; `validated` reads the rest by
pydantic, whose import takes a twentieth of a second. Either is strict about what a class says, and passes
over keys that it does not have: a newer petbench may write some. docs/decisions/serialisers.md says why.

Small JSON files that hold one record are written whole, read strictly, and damaged ones are taken as absent.
"""

from __future__ import annotations

import json
import sys
import types
import typing
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.support.atomic import atomic_write
from workbench.support.regular_file import UnreadableFile, read_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from pydantic import TypeAdapter

Kind = TypeVar("Kind")
_Record = TypeVar("_Record", bound="DataclassInstance")
_LIMIT_BYTES = 64 * 1024
"""No record comes near this; a file that grew beyond it is damaged, and is not read into memory."""
_CHECK = "crc32"
_LARGEST = sys.float_info.max
"""A whole number of 400 digits is no float."""


def plain(value: Any) -> Any:
    """A value as what JSON can hold: records and mappings as objects, all else that is several as lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def record_from(values: object, kind: type[Kind]) -> Kind:
    """A record from what `plain` made of one.

    Raises:
        ValueError: a value is missing or of another type.
    """
    found: Kind = _read_record(kind, values)
    return found


def record_or_defaults(values: object, kind: type[Kind]) -> Kind:
    """As `record_from`; whatever is not as it should be is left at its default, which every field has."""
    given: dict[str, Any] = {}
    known = values if isinstance(values, Mapping) else {}
    hashable: Any = kind
    for name, read, _ in _readers(hashable):
        try:
            given[name] = read(known[name])
        except (KeyError, ValueError):
            continue
    return kind(**given)


def validated(kind: type[Kind], values: Any) -> Kind:
    """`values` as a `kind`, by pydantic: numbers as text are numbers, as "nan" in a line of metrics.

    Raises:
        ValueError: they are not; it names the first key that is wrong, and how.
    """
    hashable: Any = kind
    try:
        checked: Kind = _adapter(hashable).validate_python(values)
    except ValueError as error:
        raise _told(error) from error
    return checked


def write_record(path: Path, record: DataclassInstance) -> None:
    """Replace `path` with `record`, atomically and durably. Raises: OSError."""
    values = plain(record)
    atomic_write(path, json.dumps({**values, _CHECK: _check_of(values)}, indent=2) + "\n")


def read_record(path: Path, kind: type[_Record]) -> _Record | None:
    """The record in `path`; None where there is none or it is damaged."""
    try:
        return load_record(path, kind)
    except OSError:
        return None


def load_record(path: Path, kind: type[_Record]) -> _Record:
    """The record in `path`.

    Raises:
        FileNotFoundError: there is none.
        UnreadableFile: it is damaged.
    """
    values = read_json(path, _LIMIT_BYTES)
    if isinstance(values, dict) and _CHECK in values and values.pop(_CHECK) != _check_of(values):
        raise UnreadableFile(path, "its values do not match its checksum: it was changed or damaged")
    try:
        return record_from(values, kind)
    except ValueError as error:
        raise UnreadableFile(path, str(error)) from error


def _check_of(values: dict[str, Any]) -> str:
    """CRC-32 of the values, in hex; a record of before there were any is believed."""
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"


_Reader = Callable[[Any], Any]
"""Makes a value of what JSON holds. Raises: ValueError, where it is none."""


@cache
def _readers(kind: type) -> tuple[tuple[str, _Reader, bool], ...]:
    """(name, reader, whether it may be missing) of each field of a record."""
    hints = typing.get_type_hints(kind)
    record: Any = kind
    return tuple(
        (field.name, _reader(hints[field.name]), (field.default, field.default_factory) != (MISSING, MISSING))
        for field in fields(record)
    )


def _read_record(kind: type, values: object) -> Any:
    if not isinstance(values, Mapping):
        raise ValueError(f"no {kind.__name__}: {type(values).__name__}")
    given: dict[str, Any] = {}
    for name, read, may_lack in _readers(kind):
        if name in values:
            try:
                given[name] = read(values[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        elif not may_lack:
            raise ValueError(f"{kind.__name__} lacks {name}")
    return kind(**given)


def _reader(hint: Any) -> _Reader:
    """How a value of a type is read. Raises: TypeError, for a type that no record of ours has."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        others = [_reader(one) for one in arguments if one is not types.NoneType]
        return _one_of(others, maybe=types.NoneType in arguments)
    if origin is typing.Literal:
        return lambda value: value if isinstance(value, str) and value in arguments else _refuse(value, hint)
    if origin is tuple and arguments[-1] is not ...:
        each = [_reader(one) for one in arguments]
        return lambda value: (
            tuple(read(one) for read, one in zip(each, value, strict=True))
            if isinstance(value, list)
            else _refuse(value, hint)
        )
    if origin in (tuple, list):
        make, inner = (tuple if origin is tuple else list), _reader(arguments[0])
        return lambda value: make(map(inner, value)) if isinstance(value, list) else _refuse(value, hint)
    if origin is not None and issubclass(origin, Mapping):
        inner = _reader(arguments[1])
        return lambda value: (
            {key: inner(one) for key, one in value.items()}
            if isinstance(value, dict)
            else _refuse(value, hint)
        )
    if is_dataclass(hint):
        return lambda value: _read_record(typing.cast("type", hint), value)
    return _scalar_reader(hint)


def _scalar_reader(hint: Any) -> _Reader:
    if hint is Any:
        return lambda value: value
    if hint is float:
        return _number
    if hint in (int, str, bool):
        return lambda value: value if type(value) is hint else _refuse(value, hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return lambda value: hint(value) if isinstance(value, str) else _refuse(value, hint)
    if hint is datetime:
        return lambda value: datetime.fromisoformat(value) if isinstance(value, str) else _refuse(value, hint)
    if hint is Path:
        return lambda value: Path(value) if isinstance(value, str) else _refuse(value, hint)
    raise TypeError(f"records have no fields of {hint}")


def _one_of(readers: list[_Reader], *, maybe: bool) -> _Reader:
    def read(value: Any) -> Any:
        if value is None and maybe:
            return None
        for reader in readers[:-1]:
            try:
                return reader(value)
            except ValueError:
                continue
        return readers[-1](value)

    return read


def _number(value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST:
        return float(value)
    return _refuse(value, float)


def _refuse(value: object, hint: Any) -> typing.NoReturn:
    raise ValueError(f"no {getattr(hint, '__name__', hint)}: {str(value)[:40]!r}")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _told(error: ValueError) -> ValueError:
    """What pydantic says, in one line."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError):
        return error
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return ValueError(f"{key}: {first['msg']}" if key else first["msg"])
