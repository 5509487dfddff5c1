"""The recipe being written: one TOML text, and everything that follows from it. No screen here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.recipe.editing import remove_key, set_key
from workbench.recipe.literals import toml_literal
from workbench.recipe.load import parse_recipe, paths_from
from workbench.recipe.problems import Problem, RecipeError
from workbench.recipe.schema import Recipe
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import parse_toml
from workbench.tui.screens.compose.fields import STRATEGY, FormField, field_by_key, form_fields
from workbench.tui.screens.compose.offered import INSTEAD_OF, Values, is_offered, is_refused

_FIRST_LABELS = ("pseudo_label.labelled_fraction", "0.1")
"""What a new [pseudo_label] table begins with: it needs one amount of labels."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A text and what it means; made by `draft_of`, changed by `edit` and `retext` into another one."""

    text: str
    origin: str
    """Where it came from, in words: a file's path, `run NAME`, `new recipe`."""
    path: Path | None = None
    """The file that saving writes; None for one that has no file of its own, such as a run's recipe."""
    read_from: Path | None = None
    """The file it was read from or written to last; a run's own recipe is one that is never written."""
    saved: str = ""
    """The text that lies in that file."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Of the latest text that is TOML."""
    recipe: Recipe | None = None
    """None where something is wrong."""
    problems: tuple[Problem, ...] = ()
    """What the schema refuses in `values`, the first eight."""
    broken: Problem | None = None
    """Why `text` is no TOML; `values` and `problems` are then those of an earlier text."""
    parked: Mapping[str, str] = field(default_factory=dict)
    """Dotted key to TOML: values that a choice took out, brought back when another one makes them count."""

    @property
    def folder(self) -> Path:
        """The directory that its relative paths count from; the working directory until it is saved."""
        return Path() if self.path is None else paths_from(self.path)

    @property
    def is_changed(self) -> bool:
        """Whether the file, if there is one, holds something else."""
        return self.path is None or self.text != self.saved

    @property
    def is_valid(self) -> bool:
        """Whether it could be launched, as far as the schema knows."""
        return self.recipe is not None and self.broken is None

    @property
    def all_problems(self) -> tuple[Problem, ...]:
        """What is wrong, the text itself first."""
        return self.problems if self.broken is None else (self.broken, *self.problems)

    def look(self) -> Values:
        """Its values, with defaults for what is not written."""
        return Values(self.values)

    def offered(self) -> list[FormField]:
        """The fields to show: every knob that would count."""
        values = self.look()
        return [one for one in values.fields() if is_offered(one, values)]

    def problems_at(self, key: str) -> list[Problem]:
        """What is wrong with the value of a field."""
        return [one for one in self.problems if one.key == key or one.key.startswith(f"{key}.")]

    def line_of(self, key: str) -> int | None:
        """The line, from 1, on which a dotted key or the nearest table around it is written."""
        if self.broken is not None or not key:
            return None
        path = tuple(key.split("."))
        lines = parse_toml(self.text, "the recipe").lines
        return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), None)

    def stray_problems(self, group: str) -> list[Problem]:
        """What is wrong in a group and belongs to no field: unknown keys, missing ones."""
        shown = {one.key for one in self.offered()}
        strays = [
            one
            for one in self.problems
            if one.key not in shown and not any(one.key.startswith(f"{key}.") for key in shown)
        ]
        tables = {one.group for one in form_fields(None)} - {""}
        return [one for one in strays if _group_of(one.key, tables) == group]


def draft_of(text: str, origin: str, path: Path | None = None, *, read_from: Path | None = None) -> Draft:
    """A draft of a text as it was read; `read_from` is the file where that is not `path`."""
    file = read_from or path
    return _understood(Draft(text, origin, path, file, "" if file is None else text), text)


def saved_as(draft: Draft, path: Path) -> Draft:
    """The draft after its text was written to `path`."""
    return _understood(
        replace(draft, origin=str(path), path=path, read_from=path, saved=draft.text), draft.text
    )


def retext(draft: Draft, text: str) -> Draft:
    """The draft with another text; one that is no TOML leaves values and problems as they were."""
    return draft if text == draft.text else _understood(draft, text)


def edit(draft: Draft, key: str, literal: str | None) -> Draft:
    """The draft with a field set to a TOML value, or left out.

    Knobs that would contradict it are taken out of the text. So are those that would now be ignored; they are
    parked, and come back when they count again.

    Raises:
        UserError: the text is no TOML now, or resists a change of this key.
    """
    if draft.broken is not None:
        raise UserError("the TOML has to be mended first", where=draft.broken.where, hint=draft.broken.what)
    parked = dict(draft.parked)
    before = draft.look()
    if key == STRATEGY and literal is None:
        parked |= _written_in(before, "pseudo_label")
        return replace(_understood(draft, remove_key(draft.text, ("pseudo_label",))), parked=parked)
    path = tuple(key.split("."))
    text = remove_key(draft.text, path) if literal is None else set_key(draft.text, path, literal)
    changed = _understood(draft, text)
    if literal is not None:
        changed = _park(changed, INSTEAD_OF.get(key, ()), {})
        parked.pop(key, None)
    if key == STRATEGY and before.strategy is None:
        changed = _first_labels(changed, parked)
    changed = _park(changed, _refused(before, changed.look()), parked)
    return replace(_unpark(changed, parked), parked=parked)


def taken_out(before: Draft, after: Draft) -> list[str]:
    """Keys that the text had before an edit and has no more."""
    old, new = before.look(), after.look()
    written = [one.key for one in old.fields() if old.written(one.key) is not None]
    return [key for key in written if new.written(key) is None]


def _understood(draft: Draft, text: str) -> Draft:
    where = "the recipe" if draft.path is None else clean(draft.path.name)
    try:
        values = parse_toml(text, where).values
    except UserError as error:
        line = error.where.rsplit(":", 2)[1:] if ":" in error.where else []
        number = int(line[0]) if line and line[0].isdecimal() else None
        return replace(draft, text=text, broken=Problem("", error.where, number, error.what, error.allowed))
    recipe: Recipe | None = None
    problems: tuple[Problem, ...] = ()
    try:
        recipe = parse_recipe(text, where, folder=draft.folder)
    except RecipeError as error:
        problems = error.problems
    return replace(draft, text=text, values=values, recipe=recipe, problems=problems, broken=None)


def _refused(before: Values, after: Values) -> list[str]:
    """Written keys that the schema now refuses as ignored; a strategy's own go when another one has none."""
    stale = [one.key for one in after.fields() if is_refused(one, after)]
    known = field_by_key(after.strategy)
    others = [one.key for one in before.fields() if one.key not in known]
    return [*stale, *(key for key in others if after.written(key) is not None)]


def _park(draft: Draft, keys: list[str] | tuple[str, ...], parked: dict[str, str]) -> Draft:
    text = draft.text
    values = draft.look()
    for key in keys:
        value = values.written(key)
        if value is not None:
            parked[key] = toml_literal(value)
            text = remove_key(text, tuple(key.split(".")))
    return draft if text == draft.text else _understood(draft, text)


def _unpark(draft: Draft, parked: dict[str, str]) -> Draft:
    for key, literal in list(parked.items()):
        values = draft.look()
        known = field_by_key(values.strategy).get(key)
        if known is None or not is_offered(known, values) or values.written(key) is not None:
            continue
        draft = _understood(draft, set_key(draft.text, tuple(key.split(".")), literal))
        del parked[key]
    return draft


def _first_labels(draft: Draft, parked: dict[str, str]) -> Draft:
    amounts = ("pseudo_label.labelled_fraction", "pseudo_label.labels_per_class")
    if any(key in parked or draft.look().written(key) is not None for key in amounts):
        return draft
    key, literal = _FIRST_LABELS
    return _understood(draft, set_key(draft.text, tuple(key.split(".")), literal))


def _written_in(values: Values, group: str) -> dict[str, str]:
    """The table's fields that are written, but for the strategy itself."""
    fields = [one for one in values.fields() if one.group == group and one.key != STRATEGY]
    written = {one.key: values.written(one.key) for one in fields}
    return {key: toml_literal(value) for key, value in written.items() if value is not None}


def _group_of(key: str, tables: set[str]) -> str:
    first = key.partition(".")[0]
    return first if first in tables else ""
