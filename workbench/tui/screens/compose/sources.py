"""What a draft can start from: drafts set aside, recipe files, past runs, new recipes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench.recipe.cookbook import find_recipe, own_files, shipped_beside, shipped_name
from workbench.recipe.load import read_recipe_text
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.scaffold import new_recipe_text
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.tui.screens.compose.draft import Draft, draft_of

_RUN = "run:"
_NEW = "new:"
_SHELF = "shelf:"
_MOST_RUNS = 300
FIRST_NAME = "my_recipe"


def choices(runs: Iterable[RunSummary], shelf: Sequence[Draft]) -> list[tuple[str, str]]:
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
