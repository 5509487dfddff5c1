"""From a TOML file to a `Recipe`, or to one error that says all that is wrong with it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workbench.recipe.cookbook import OWN_FOLDER, find_recipe, recipes_in, shipped_recipes
from workbench.recipe.model import is_weights_file
from workbench.recipe.problems import RecipeError, placed, problem, recipe_error
from workbench.recipe.schema import Recipe
from workbench.recipe.source import Change, Source, dotted, read_source
from workbench.recipe.sweep_table import SWEEP
from workbench.support.clean import clean
from workbench.support.digests import require_sum
from workbench.support.errors import UserError, nearest
from workbench.support.regular_file import UnreadableFile, open_regular
from workbench.support.toml_text import MAX_BYTES, KeyPath, too_large

PATHS: tuple[KeyPath, ...] = (
    ("data", "root"),
    ("data", "corrections"),
    ("data", "extra_labelled"),
    ("data", "extra_unlabelled"),
    ("model", "weights"),
)
"""Keys that name a file or folder; a relative one counts from the recipe's own directory."""

_OWN_STREAM = re.compile(r"/dev/stdin|/dev/fd/\d+|/proc/self/fd/\d+")


def load_recipe(path: Path, overrides: Sequence[Change] = ()) -> Recipe:
    """Read, parse and validate a recipe.

    Args:
        path: a TOML file of at most 64 KiB in UTF-8, or a recipe's name, as `find_recipe` takes it.
        overrides: `--set` and `--unset`, laid over the file in order.

    A relative path of `PATHS`, or of a run in `pseudo_label.teacher`, is taken from the recipe's own
    directory, one in `overrides` from the working directory, as the shell does.

    Raises:
        UserError: no such file, not readable, not TOML; `RecipeError` when it does not fit the schema.
    """
    file = find_recipe(path)
    source = read_source(read_recipe_text(file), clean(file), overrides)
    if _is_of_run(file):
        _as_it_was(source.values)
    return validated(source, paths_from(file))


@contextmanager
def lines_named(path: Path, overrides: Sequence[Change] = ()) -> Iterator[None]:
    """Within, an error about a key of a valid recipe is raised with the line or `--set` that sets it."""
    try:
        yield
    except UserError as error:
        file = find_recipe(path)
        raise placed(error, read_source(read_recipe_text(file), clean(file), overrides)) from error


def paths_from(file: Path) -> Path:
    """The directory that a recipe file's relative paths count from: its own.

    The working directory for a recipe from a pipe, and for one that a run keeps: its paths are absolute, but
    for `data.root` of older runs, which counted from there.
    """
    if _OWN_STREAM.fullmatch(str(file)):
        return Path()
    return Path() if _is_of_run(file) else file.parent


def _is_of_run(file: Path) -> bool:
    return file.name == "recipe.toml" and (file.parent / "checkpoint").is_dir()


def _as_it_was(values: dict[str, Any]) -> None:
    """Add what runs did that are older than a knob: a run's recipe names every knob that there was."""
    data = values.setdefault("data", {})
    if isinstance(data, dict):
        data.setdefault("evaluation_views", ["centre"])


def parse_recipe(
    text: str, where: str = "recipe", overrides: Sequence[Change] = (), *, folder: Path | None = None
) -> Recipe:
    """Validate a recipe's text; `where` names it in messages, `overrides` are as for `load_recipe`.

    Args:
        folder: the recipe's own directory, from which its relative paths count; None leaves them relative.

    Raises:
        UserError: as `load_recipe`.
    """
    return validated(read_source(text, clean(where), overrides), folder)


class SweepGiven(UserError):
    """A recipe with a [sweep], where one run was expected."""


def validated(source: Source, folder: Path | None) -> Recipe:
    """The recipe that a source's values make.

    Raises:
        RecipeError: they do not fit the schema.
        SweepGiven: they hold a [sweep].
    """
    if SWEEP in source.values:
        raise SweepGiven(
            "[sweep] makes this many runs, not one",
            where=source.place((SWEEP,)),
            hint=f"petbench sweep {source.name} runs them all",
        )
    try:
        recipe = Recipe.model_validate(source.values)
    except ValidationError as error:
        raise recipe_error(error, source) from error
    return recipe if folder is None else _with_absolute_paths(recipe, source, folder)


def _with_absolute_paths(recipe: Recipe, source: Source, folder: Path) -> Recipe:
    tables = {"data": recipe.data, "model": recipe.model}
    for path in PATHS:
        table, key = path
        written = getattr(tables[table], key)
        if is_relative_path(path, written):
            home, other = (Path(), folder) if source.is_typed(path) else (folder, Path())
            meant = home.absolute() / written
            _refuse_other_place(path, source, meant, other.absolute() / written)
            tables[table] = tables[table].model_copy(update={key: str(meant)})
    return _with_teachers_found(recipe.model_copy(update=tables), source, folder)


def _with_teachers_found(recipe: Recipe, source: Source, folder: Path) -> Recipe:
    """With absolute paths for the teachers that are told by one: a name without a slash is no path."""
    knobs = recipe.pseudo_label
    named = getattr(knobs, "teacher", None)
    if knobs is None or named is None:
        return recipe
    home = Path() if source.is_typed(("pseudo_label", "teacher")) else folder
    meant = tuple(run_named_from(name, home) for name in named)
    return recipe.model_copy(update={"pseudo_label": knobs.model_copy(update={"teacher": meant})})


def run_named_from(name: str, home: Path) -> str:
    """A run's name as it is; its path, if that is what is given, as an absolute one counted from `home`."""
    is_relative = os.sep in name and not name.startswith(("/", "~"))
    return str(home.absolute() / name) if is_relative else name


def is_relative_path(path: KeyPath, written: object) -> bool:
    """Whether the value of one of `PATHS` counts from somewhere; `model.weights` may be a name instead."""
    if not isinstance(written, str) or not written or written.startswith(("/", "~")):
        return False
    return path != ("model", "weights") or is_weights_file(written)


def _refuse_other_place(path: KeyPath, source: Source, meant: Path, other: Path) -> None:
    """Say where a relative path counts from to a user who thought otherwise: it is there, and not here."""
    try:
        if meant.exists() or not other.exists():
            return
    except (OSError, ValueError):
        return
    counts = "the working directory" if source.is_typed(path) else "the recipe's own directory"
    found = problem(
        path,
        source,
        f"{dotted(path)} counts from {counts}: there is no {clean(meant)}, but {clean(other)} is there",
        hint=f"write {clean(other)} if that is meant",
    )
    raise RecipeError(source.name, [found], 1)


def read_recipe_text(path: Path) -> str:
    """The text of a recipe file, not parsed yet.

    Raises:
        UserError: no such file, not readable, over 64 KiB, not UTF-8.
    """
    where = clean(path)
    try:
        # The shell's own pipe (`<(make-recipe)`, `-` as /dev/stdin) is waited for; any other might never end.
        with path.open("rb") if _OWN_STREAM.fullmatch(where) else open_regular(path) as stream:
            data = stream.read(MAX_BYTES + 1)  # one byte over the cap is enough to see it passed
        if path.name == "recipe.toml":  # a run's own is what it began with
            require_sum(path, data)
    except FileNotFoundError as error:
        raise UserError("no such recipe", where=where, hint=_advice(path)) from error
    except UnreadableFile as error:
        if os.path.isdir(path):  # noqa: PTH112 (false, not an error, for a name that no file can have)
            raise UserError("a directory, not a recipe file", where=where, hint=_advice(path)) from error
        raise UserError(error.reason, where=where) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=where) from error
    if len(data) > MAX_BYTES:
        raise too_large(where)
    try:
        # Editors on Windows begin a file with a byte order mark.
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8 text: byte 0x{data[error.start]:02x}"
        raise UserError(what, where=f"{where}:{line}") from error


def _advice(path: Path) -> str:
    """The recipe that was probably meant, from beside `path`, inside it, and the shipped ones."""
    shipped = shipped_recipes()
    found = {name.rpartition("/")[2]: name for name in reversed(shipped)} | {name: name for name in shipped}
    for folder in (OWN_FOLDER, path, path.parent):
        found |= {file.stem: str(file) for file in recipes_in(folder)}
    near = nearest(path.stem, found)
    if near is not None:
        return f"did you mean {clean(found[near])}?"
    return "petbench recipe ls lists those that come with petbench; petbench recipe new NAME makes one"
