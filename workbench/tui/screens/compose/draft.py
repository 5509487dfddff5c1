"""The recipe being written: what it starts from, its text, what follows from it, its file. No screen here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workbench.recipe.cookbook import find_recipe, own_files, own_path, shipped_beside, shipped_name
from workbench.recipe.explain import new_recipe_text, usual_values
from workbench.recipe.load import parse_recipe, paths_from, read_recipe_text
from workbench.recipe.problems import Problem, RecipeError
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.schema import Recipe
from workbench.recipe.source import remove_key, set_key
from workbench.runs.summary import RunSummary
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean, slug
from workbench.support.errors import UserError
from workbench.support.toml_text import parse_toml, toml_literal
from workbench.tui.screens.compose.knob_fields import (
    BACKBONE,
    INSTEAD_OF,
    STRATEGY,
    FormField,
    Values,
    field_by_key,
    form_fields,
    is_offered,
    is_refused,
)
from workbench.tui.screens.compose.networks import Network, network_name, network_problems

_RUN = "run:"
_NEW = "new:"
_SHELF = "shelf:"
_MOST_RUNS = 300
FIRST_NAME = "my_recipe"
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
        return Values(self.values, None if self.recipe is None else usual_values(self.recipe))

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


def checked_on(draft: Draft, network: Network | None) -> Draft:
    """The draft with a problem for each knob that names what its backbone lacks; it is then not valid.

    Args:
        network: the draft's backbone; None while it is not known.
    """
    values = draft.look()
    if network is None or network_name(values[BACKBONE]) != network.name:
        return draft
    found = network_problems(values, network)
    return replace(draft, recipe=None, problems=(*draft.problems, *found)) if found else draft


def taken_out(before: Draft, after: Draft) -> list[str]:
    """Keys that the text had before an edit and has no more."""
    old, new = before.look(), after.look()
    written = [one.key for one in old.fields() if old.written(one.key) is not None]
    return [key for key in written if new.written(key) is None]


def source_choices(runs: Iterable[RunSummary], shelf: Sequence[Draft]) -> list[tuple[str, str]]:
    """(source, how it reads) of everything at hand."""
    found = [(f"{_SHELF}{number}", f"set aside  {_named(draft)}") for number, draft in enumerate(shelf)]
    found += [(str(path), f"file       {path}") for path in recipe_files()]
    found += [(name, f"shipped    {name}") for name in shipped_beside()]
    found.append((_NEW, "new        supervised: every training image keeps its label"))
    found += [(f"{_NEW}{name}", f"new        {name} pseudo-labels") for name in STRATEGIES]
    for run, _ in zip(runs, range(_MOST_RUNS), strict=False):
        found.append((f"{_RUN}{run.id}", f"run        {clean(run.name, 40)}  {run.id}"))
    return found


def recipe_files() -> list[Path]:
    """Recipes here and in ./recipes, two levels deep, sorted."""
    here = [path for path in Path().glob("*.toml") if _looks_like_recipe(path)]
    return [*sorted(here), *own_files()]


def open_source(source: str, runs_home: Path, shelf: Sequence[Draft] = ()) -> Draft:
    """The draft that a source gives: a recipe's path or name, `run:ID`, `new:STRATEGY`, or `shelf:N`.

    A text that is no TOML makes a draft too, to be mended.

    Raises:
        UserError: it is not there, not readable, too large or not UTF-8.
    """
    if source.startswith(_SHELF):
        number = source.removeprefix(_SHELF)
        if number.isdecimal() and int(number) < len(shelf):
            return shelf[int(number)]
        raise UserError("no such draft was set aside")
    if source.startswith(_NEW):
        return fresh_draft(source.removeprefix(_NEW) or None)
    if source.startswith(_RUN):
        run_id = source.removeprefix(_RUN)
        path = runs_home / run_id / "recipe.toml"
        if Path(run_id).name != run_id:
            raise UserError("not the id of a run", where=clean(run_id, 80))
        return draft_of(read_recipe_text(path), f"run {run_id}", read_from=path)
    path = find_recipe(Path(source))
    if shipped_name(path) == source:  # saved, it becomes a file of the user's
        return draft_of(read_recipe_text(path), f"recipe {source}", read_from=Path(source))
    return draft_of(read_recipe_text(path), source, path)


def fresh_draft(strategy: str | None = None) -> Draft:
    """A new recipe with every knob explained in comments."""
    return draft_of(new_recipe_text(FIRST_NAME, strategy=strategy), "new recipe")


def proposed_path(draft: Draft) -> Path:
    """Where to save: its own file, else one named after it beside the other recipes."""
    if draft.path is not None:
        return draft.path
    return own_path(slug(str(draft.look()["name"] or "recipe")))


def check_path(written: str) -> Path:
    """The path that was typed.

    Raises:
        UserError: empty, not a .toml, in a directory that is not there, or a directory itself.
    """
    text = written.strip()
    if not text:
        raise UserError("a name is needed", allowed="a path that ends in .toml")
    path = Path(text).expanduser()
    if path.suffix != ".toml":
        raise UserError("not a recipe's name", allowed="a path that ends in .toml")
    try:
        if path.is_dir():
            raise UserError("a directory", where=clean(path))
        if not path.parent.is_dir():
            raise UserError("there is no such directory", where=clean(path.parent))
    except (OSError, ValueError) as error:
        raise UserError("not a file name", where=clean(path, 80)) from error
    return path


def overwrite_warning(draft: Draft, path: Path) -> str:
    """What saving there would destroy, as a question; empty where that is only the draft's earlier text."""
    if not path.exists() and not path.is_symlink():
        return ""
    try:
        there = read_recipe_text(path)
    except UserError:
        return f"{path} is there already, and is no recipe. Overwrite it?"
    if there == draft.text:
        return ""
    if draft.path is None or path.absolute() != draft.path.absolute():
        return f"{path} is there already. Overwrite it?"
    return "" if there == draft.saved else f"{path} was changed since it was opened here. Overwrite it?"


def save(draft: Draft, path: Path) -> Draft:
    """Write the draft's text, valid or not, to `path`.

    Raises:
        UserError: it cannot be written.
    """
    try:
        atomic_write(path, draft.text)
    except OSError as error:
        raise UserError(f"cannot be written: {error.strerror or error}", where=clean(path)) from error
    return saved_as(draft, path)


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


def _named(draft: Draft) -> str:
    return f"{clean(draft.look()['name'] or 'without a name', 40)}  from {clean(draft.origin, 60)}"


def _looks_like_recipe(path: Path) -> bool:
    """Whether a file of the working directory, where pyproject.toml and others lie, is a recipe."""
    try:
        with path.open("rb") as stream:
            start = stream.read(4096)
    except OSError:
        return False
    return any(line.lstrip().startswith((b"schema ", b"schema=")) for line in start.splitlines())
