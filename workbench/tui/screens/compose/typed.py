"""Values between TOML and a field: how one is shown to be edited, and what is written for what was typed."""

from __future__ import annotations

import tomllib

from workbench.recipe.editing import as_literal
from workbench.recipe.literals import toml_literal
from workbench.support.clean import clean
from workbench.tui.screens.compose.fields import LAYERS, FieldKind, FormField

_QUOTES = ('"', "'")


def literal_typed(field: FormField, typed: str) -> str | None:
    """The TOML that stands for what was typed; None where nothing was, which leaves the key out.

    Text needs no quotes, and names none and no brackets: `head, layer4`. What begins with one is TOML, so
    that every value can be typed, spaces at its ends and escaped characters included.
    """
    text = typed.strip()
    if not text:
        return None
    match field.kind:
        case FieldKind.TEXT:
            return text if text.startswith(_QUOTES) and _is_text(text) else toml_literal(typed.strip())
        case FieldKind.NAMES:
            return _names(field, text)
        case _:
            return as_literal(text)


def shown_value(field: FormField, value: object) -> str:
    """`value` as it stands in the field: harmless, and `literal_typed` gives back one that means the same.

    What is empty as the default is, is nothing: leaving the key out means the same. So are `"head"` and
    `["head"]`.
    """
    if value in ("", []) and toml_literal(value) == field.default:
        return ""
    if field.key == LAYERS and value == ["head"]:
        return "head"
    if isinstance(value, str):
        plain = _is_plain(value) and literal_typed(field, value) == toml_literal(value)
        return value if plain else escaped(value)
    if field.kind is FieldKind.NAMES and isinstance(value, list) and value:
        joined = ", ".join(str(item) for item in value)
        if _is_plain(joined) and literal_typed(field, joined) == toml_literal(value):
            return joined
    return escaped(value)


def escaped(value: object) -> str:
    """`value` as TOML on one line in which every harmful character is an escape."""
    text = toml_literal(value)
    return "".join(char if clean(char) == char else f"\\u{ord(char):04x}" for char in text)


def _names(field: FormField, text: str) -> str:
    if text.startswith(("[", *_QUOTES)):
        return as_literal(text)
    if toml_literal(text) in field.choices:
        return toml_literal(text)
    return toml_literal([name.strip() for name in text.split(",") if name.strip()])


def _is_text(literal: str) -> bool:
    try:
        return isinstance(tomllib.loads(f"value = {literal}")["value"], str) and "\n" not in literal
    except ValueError:
        return False


def _is_plain(text: str) -> bool:
    return bool(text) and clean(text) == text
