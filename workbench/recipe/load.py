"""From a TOML file to a `Recipe`, or to one error that says all that is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from workbench.recipe.problems import recipe_error
from workbench.recipe.schema import Recipe
from workbench.recipe.source import Source, read_source
from workbench.recipe.toml_text import MAX_BYTES, too_large
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.nearest import nearest

RELATIVE_PATHS = ("corrections", "extra_labelled", "extra_unlabelled")
"""Keys of [data] whose paths count from the recipe's own directory."""


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, parse and validate a recipe file.

    Args:
        path: a TOML file of at most 64 KiB in UTF-8.
        overrides: `key=value` of `--set`, laid over the file in order.

    A relative path of `RELATIVE_PATHS` is taken from the recipe's own directory, one in `overrides` from the
    working directory, as the shell does.

    Raises:
        UserError: no such file, not readable, not TOML; `RecipeError` when it does not fit the schema.
    """
    return validated(read_source(read_recipe_text(path), clean(path), overrides), path.parent)


def parse_recipe(
    text: str, where: str = "recipe", overrides: Sequence[str] = (), *, folder: Path | None = None
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
    if "sweep" in source.values:
        raise SweepGiven(
            "[sweep] makes this many runs, not one",
            where=source.place(("sweep",)),
            hint=f"petbench sweep {source.name} runs them all",
        )
    try:
        recipe = Recipe.model_validate(source.values)
    except ValidationError as error:
        raise recipe_error(error, source) from error
    return recipe if folder is None else _with_absolute_paths(recipe, source, folder)


def _with_absolute_paths(recipe: Recipe, source: Source, folder: Path) -> Recipe:
    absolute = {}
    for key in RELATIVE_PATHS:
        written = getattr(recipe.data, key)
        if written and not written.startswith(("/", "~")):
            is_typed = source.line(("data", key)) is None
            absolute[key] = str((Path() if is_typed else folder).absolute() / written)
    if not absolute:
        return recipe
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=absolute)})


def read_recipe_text(path: Path) -> str:
    """The text of a recipe file, not parsed yet.

    Raises:
        UserError: no such file, not readable, over 64 KiB, not UTF-8.
    """
    where = clean(path)
    try:
        with path.open("rb") as stream:
            # One byte over the cap is enough to see it passed; a device or pipe may have no end.
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise UserError("no such recipe", where=where, hint=_advice(path)) from error
    except IsADirectoryError as error:
        raise UserError("a directory, not a recipe file", where=where, hint=_advice(path)) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror}", where=where) from error
    except ValueError as error:
        raise UserError("not a file name", where=where) from error
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
    shipped = _recipes_in(Path("recipes"))
    found = {file.stem: file for folder in (path.parent, path) for file in _recipes_in(folder)}
    found |= {file.stem: file for file in shipped}
    near = nearest(path.stem, found)
    if near is not None:
        return f"did you mean {clean(found[near])}?"
    if shipped:
        return f"there is {', '.join(map(clean, shipped[:12]))}"
    return "petbench recipe new NAME makes one"


def _recipes_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.toml"))[:200] if folder.is_dir() else []
    except (OSError, ValueError):
        return []
