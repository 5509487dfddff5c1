"""Values as TOML writes them, on one line: for messages, tables and scaffolds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime, time

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def toml_literal(value: object) -> str:
    """`value` as one line of TOML; exact, so parsing it gives an equal value (tuples come back as lists).

    Whole numbers over 64 bits, which TOML cannot hold, are written in hexadecimal: Python refuses to write
    very long ones in decimal.
    """
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if value.bit_length() <= 64 else f"{value:#x}"
        case str():
            return _quoted(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return "[" + ", ".join(map(toml_literal, value)) + "]"
        case Mapping():
            inside = ", ".join(f"{toml_key(str(k))} = {toml_literal(v)}" for k, v in value.items())
            return "{" + inside + "}"
        case _:
            return str(value)


def toml_key(key: str) -> str:
    """A key as TOML writes it: bare where it can be, else quoted."""
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def toml_kind(value: object) -> str:
    """What a parsed TOML value is, in words."""
    match value:
        case bool():
            return "true or false"
        case int():
            return "a whole number"
        case float():
            return "a number"
        case str():
            return "text"
        case datetime() | date() | time():
            return "a date or time"
        case list():
            return "a list"
        case _:
            return "a table"


def _quoted(text: str) -> str:
    # JSON's escapes are a subset of TOML's; JSON alone leaves DEL as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", r"\u007f")
