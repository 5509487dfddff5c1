"""Writing a draft to its file: never over something that the user has not seen."""

from __future__ import annotations

from pathlib import Path

from workbench.recipe.cookbook import own_path
from workbench.recipe.load import read_recipe_text
from workbench.support.atomic import atomic_write
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.slug import slug
from workbench.tui.screens.compose.draft import Draft, saved_as


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
