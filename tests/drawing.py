"""Values drawn by their types, field by field: of a class that gains a field, that field is drawn too."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from hypothesis import strategies as st

T = TypeVar("T")
_NUMBERS = st.floats(2**-10, 2**34, width=32)
_COUNTS = st.integers(2, 2**40)
_TEXTS = st.text(min_size=1, max_size=5)


def drawn(kind: type[T], *, whole: bool = False, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[T]:
    """Values of a dataclass.

    Args:
        whole: nothing in them is None, empty, or as it would be if it was forgotten.
        fields: how to draw those that a type does not tell enough of.
    """
    hints = typing.get_type_hints(kind)
    found = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        values = fields[field.name] if field.name in fields else of_type(hints[field.name], whole=whole)
        found[field.name] = values.filter(partial(_differs, field.default)) if whole else values
    return st.builds(kind, **found)


def _differs(default: object, value: object) -> bool:
    """Whether one would notice that the default stands in the value's place."""
    return not isinstance(value, bool | int | float | str | tuple) or value != default


def of_type(hint: Any, *, whole: bool = False) -> st.SearchStrategy[Any]:
    """Values of a type, as dataclasses of ours have them. Raises: TypeError, for any other."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        known = [of_type(one, whole=whole) for one in arguments if one is not type(None)]
        return st.one_of(known) if whole else st.none() | st.one_of(known)
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is not ...:
        return st.tuples(*(of_type(one, whole=whole) for one in arguments))
    if origin in (tuple, list):
        several = st.lists(of_type(arguments[0], whole=whole), min_size=int(whole), max_size=3)
        return several.map(tuple) if origin is tuple else several
    if origin in (dict, Mapping):
        names = st.text("abc/.", min_size=1, max_size=5)
        return st.dictionaries(names, of_type(arguments[1], whole=whole), min_size=int(whole), max_size=3)
    if origin is np.ndarray:
        (dtype,) = typing.get_args(arguments[1])
        return arrays(dtype)
    if hint is Any:
        return _NUMBERS | _COUNTS | _TEXTS
    if dataclasses.is_dataclass(hint):
        return drawn(hint, whole=whole)  # type: ignore[arg-type]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if isinstance(hint, type) and hint.__module__.startswith("torch"):
        return arrays(np.float32).map(_tensor)
    plain: dict[Any, st.SearchStrategy[Any]] = {
        bool: st.booleans(),
        int: _COUNTS,
        float: _NUMBERS,
        str: _TEXTS,
        datetime: st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),
        Path: _TEXTS.map(lambda text: Path("/runs", text.replace("/", "_").replace("\0", "_"))),
    }
    if hint not in plain:
        raise TypeError(f"tests/drawing.py draws no {hint}")
    return plain[hint]


def arrays(dtype: Any) -> st.SearchStrategy[Any]:
    """(1..3,) of numbers."""
    return st.lists(st.integers(1, 99), min_size=1, max_size=3).map(lambda x: np.array(x, dtype=dtype))


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)


def comparable(value: object) -> object:
    """Nested plain values that compare with ==, arrays and tensors with their types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return type(value), {f.name: comparable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: comparable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [comparable(inner) for inner in value]
    if hasattr(value, "tolist"):
        return type(value), str(value.dtype), value.tolist()  # type: ignore[attr-defined]
    return value


def leaves(values: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths to all that stands in nested dictionaries."""
    if not isinstance(values, dict):
        return []
    return [leaf for key, inner in values.items() for leaf in ((*path, key), *leaves(inner, (*path, key)))]


def without(values: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """A copy of nested dictionaries that lacks what stands at `path`."""
    first, *rest = path
    if not rest:
        return {key: inner for key, inner in values.items() if key != first}
    return {**values, first: without(values[first], tuple(rest))}
