"""Recipes by name: a user's own files first, then those that come with petbench."""

from __future__ import annotations

from pathlib import Path

import workbench
from workbench.support.errors import UserError

OWN_FOLDER = Path("recipes")
"""In the working directory: where a user's recipes are looked for, and written if it is there."""
_SUFFIX = ".toml"
_MOST = 500


def find_recipe(given: Path) -> Path:
    """The file that is meant by a path, or by a name such as `quickstart` or `paper/table1`.

    What is there under the very words given is that. Else they are a name, and the first of these is meant:
    NAME.toml in the working directory, NAME.toml in its recipes/, the recipe NAME that comes with petbench.

    Returns: `given` itself where nothing is found; reading it tells what is wrong.
    """
    try:
        if given.suffix == _SUFFIX or given.is_absolute() or ".." in given.parts or given.is_file():
            return given
        own = _own_file(given)
    except (OSError, ValueError):
        return given
    return own or shipped_recipes().get(given.as_posix(), given)


def shadowed(given: Path) -> Path | None:
    """The user's own file that a name means in place of a different recipe of petbench's, or None."""
    meant, shipped = find_recipe(given), shipped_recipes().get(given.as_posix())
    if shipped is None or meant == shipped:
        return None
    try:
        return None if meant.read_bytes() == shipped.read_bytes() else meant
    except OSError:
        return None


def own_path(name: str) -> Path:
    """Where a recipe of that name is written: recipes/NAME.toml where there is such a folder, else NAME.toml.

    `find_recipe` finds it there again by its name.
    """
    file = f"{name}{_SUFFIX}"
    return OWN_FOLDER / file if OWN_FOLDER.is_dir() else Path(file)


def shipped_folder() -> Path:
    """Where petbench's own recipes lie: in an installed package, in a checkout beside it.

    Raises:
        UserError: at neither place.
    """
    package = Path(workbench.__file__).parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if (folder / f"quickstart{_SUFFIX}").is_file():
            return folder
    raise UserError("the recipes of petbench are missing", where=str(package), hint="install petbench again")


def shipped_recipes() -> dict[str, Path]:
    """Name -> file of every recipe that comes with petbench, sorted, the paper's (`paper/table1`) last."""
    try:
        folder = shipped_folder()
    except UserError:
        return {}
    files = sorted(folder.rglob(f"*{_SUFFIX}"), key=lambda file: (len(file.parts), file))
    return {name_in(folder, file): file for file in files}


def shipped_name(path: Path) -> str | None:
    """The name of a file that comes with petbench; None for any other."""
    return next((name for name, file in shipped_recipes().items() if file == path), None)


def own_files() -> list[Path]:
    """The recipes in the working directory's recipes/, two levels deep, sorted."""
    return recipes_in(OWN_FOLDER) + recipes_in(OWN_FOLDER, "*/*.toml")


def shipped_beside() -> list[str]:
    """The names that still mean petbench's own recipes, where the user's files have not taken them over."""
    own = {file.with_suffix("").relative_to(OWN_FOLDER).as_posix() for file in own_files()}
    return [name for name in shipped_recipes() if name not in own and not Path(f"{name}{_SUFFIX}").exists()]


def recipes_in(folder: Path, pattern: str = "*.toml") -> list[Path]:
    """The TOML files of a folder, sorted, not without end; none where it cannot be read."""
    try:
        return sorted(folder.glob(pattern))[:_MOST] if folder.is_dir() else []
    except (OSError, ValueError):
        return []


def name_in(folder: Path, file: Path) -> str:
    """What a recipe file of `folder` is called: its path there without the suffix."""
    return file.relative_to(folder).with_suffix("").as_posix()


def _own_file(name: Path) -> Path | None:
    # Joined as text: with_suffix would take the .5 of `rate_0.5` for a suffix.
    candidates = (Path(f"{name}{_SUFFIX}"), OWN_FOLDER / f"{name}{_SUFFIX}")
    return next((file for file in candidates if file.is_file()), None)
