"""Small JSON files that hold one flat record: written whole, read strictly, damaged ones taken as absent."""

from __future__ import annotations

import json
import sys
import types
import typing
import zlib
from dataclasses import MISSING, asdict, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workbench.support.atomic import atomic_write
from workbench.support.regular_file import UnreadableFile, read_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Record = TypeVar("_Record", bound="DataclassInstance")
_LIMIT_BYTES = 64 * 1024
"""No record comes near this; a file that grew beyond it is damaged, and is not read into memory."""
_CHECK = "crc32"
_LARGEST = sys.float_info.max
"""A whole number of 400 digits is no float."""


def write_record(path: Path, record: DataclassInstance) -> None:
    """Replace `path` with `record`, atomically and durably. Raises: OSError."""
    values = asdict(record)
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


def record_from(values: object, kind: type[_Record]) -> _Record:
    """A record from parsed JSON. Keys that `kind` does not have are ignored: a newer petbench may add some.

    Raises:
        ValueError: a value is missing or of another type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"no {kind.__name__}: {type(values).__name__}")
    hints = _hints(kind)
    given: dict[str, Any] = {}
    for field in fields(kind):
        if field.name in values:
            given[field.name] = _checked(values[field.name], hints[field.name], field.name)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{kind.__name__} lacks {field.name}")
    return kind(**given)


def _check_of(values: dict[str, Any]) -> str:
    """CRC-32 of the values, in hex; a record of before there were any is believed."""
    return f"{zlib.crc32(json.dumps(values, sort_keys=True).encode()):08x}"


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _checked(value: Any, hint: Any, name: str) -> Any:
    """`value` as a `hint`: a scalar, a Literal, a StrEnum, a tuple of those, or one of those or None."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _checked(value, hint, name)
    if origin is typing.Literal:
        if isinstance(value, str) and value in arguments:
            return value
    elif origin is tuple and isinstance(value, list):
        return tuple(_checked(item, arguments[0], name) for item in value)
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if -_LARGEST <= value <= _LARGEST:
            return float(value)
    elif isinstance(hint, type) and issubclass(hint, StrEnum) and isinstance(value, str):
        return hint(value)
    elif hint in (int, str, bool) and type(value) is hint:
        return value
    raise ValueError(f"{name} is no {hint}: {str(value)[:40]!r}")
