"""Values from a file as typed records, checked by pydantic, which is imported only once one is checked.

Importing pydantic takes a tenth of a second, and a screen that shows cached runs needs none of it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Kind = TypeVar("Kind")


def validated(kind: type[Kind], values: Any) -> Kind:
    """`values` as a `kind`.

    Raises:
        ValueError: they are not; it names the first key that is wrong, and how.
    """
    hashable: Any = kind
    try:
        checked: Kind = _adapter(hashable).validate_python(values)
    except ValueError as error:
        raise _told(error) from error
    return checked


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
