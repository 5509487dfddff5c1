"""The command lines that do what the Compose screen does."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from workbench.recipe.cookbook import own_path
from workbench.recipe.literals import toml_key, toml_literal
from workbench.support.errors import UserError
from workbench.support.slug import slug
from workbench.support.toml_text import parse_toml
from workbench.tui.screens.compose.draft import Draft


def launch_command(draft: Draft, grid: Mapping[str, str]) -> str:
    """`petbench launch` of the draft: its file with `--set` for what was changed since, or as saved.

    Args:
        grid: dotted key to the values of a sweep, as typed.
    """
    file, changes = _file_and_changes(draft)
    words = ["petbench", "launch", file, *(word for change in changes for word in ("--set", change))]
    for key, values in grid.items():
        words += ["--grid", f"{key}={values}"]
    return shlex.join(words)


def other_commands(draft: Draft) -> list[str]:
    """Checking it, seeing it in full, drawing its augmentation."""
    file, changes = _file_and_changes(draft)
    sets = [word for change in changes for word in ("--set", change)]
    return [
        shlex.join(["petbench", "recipe", "check", file, *sets]),
        shlex.join(["petbench", "recipe", "show", file, *sets]),
        shlex.join(["petbench", "preview", file, "--out", "preview", *sets]),
        shlex.join(["petbench", "model", "show", "--recipe", file]),
    ]


def needs_saving(draft: Draft) -> bool:
    """Whether no command line gives the draft until it is a file."""
    return draft.is_changed and _changes(draft) is None


def _file_and_changes(draft: Draft) -> tuple[str, list[str]]:
    changes = _changes(draft)
    if changes is not None and draft.read_from is not None:
        return str(draft.read_from), changes
    if draft.path is not None:
        return str(draft.path), []
    return str(own_path(slug(str(draft.look()["name"] or "new")))), []


def _changes(draft: Draft) -> list[str] | None:
    """`key=value` for every key that differs from the file; None where that cannot say it."""
    if draft.read_from is None or draft.broken is not None:
        return None
    try:
        before = parse_toml(draft.saved, "").values
    except UserError:
        return None
    old, new = _flat(before), _flat(draft.values)
    if old.keys() - new.keys():
        return None
    return [
        f"{key}={toml_literal(value)}" for key, value in new.items() if key not in old or old[key] != value
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values under dotted keys as `--set` reads them: a group or class may have dots in its name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{toml_key(str(name))}"
        found |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return found
