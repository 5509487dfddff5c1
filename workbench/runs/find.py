"""Which run a user means: an id or a part of one, `latest`, `@2`, or a path; which runs a recipe names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.status import RunStatus, status_of
from workbench.support.clean import clean, slug
from workbench.support.errors import UserError, nearest

if TYPE_CHECKING:
    from workbench.recipe import Recipe

_LISTED = 8
_FORMS = (
    "an id or any unique part of one, its name, its last four digits, latest, @2 (second newest), or a path"
)


def find_run(runs_home: Path, query: str) -> RunDirectory:
    """The one run that `query` names.

    Tried in this order, the first kind with any match deciding: a path (anything with a slash, or `.`),
    `latest` and `@N`, the whole id, the four hex digits, the whole name, and then the start, the end and any
    part of the id, in either case.

    Raises:
        UserError: no run or more than one matches; near or matching ids are listed.
    """
    if is_path(query):
        return _at_path(query)
    return choose(run_directories(runs_home), query, where=str(runs_home))


def is_path(query: str) -> bool:
    """Whether it names a run by where it lies."""
    return os.sep in query or query in (".", "..")


def choose(runs: Sequence[RunDirectory], query: str, *, where: str) -> RunDirectory:
    """As `find_run`, among `runs` (newest first) and never by path.

    Raises:
        UserError: no run or more than one matches.
    """
    if not query.strip():
        raise UserError("no run named", allowed=_FORMS)
    if not runs:
        raise UserError(
            f"no run {_quoted(query)}: there are no runs here",
            where=where,
            hint="--runs-dir or PETBENCH_RUNS names another directory of runs",
        )
    by_age = _by_age(runs, query, where)
    if by_age is not None:
        return by_age
    word = query.casefold()
    for fits in _KINDS:
        matches = [run for run in runs if fits(run, word)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise _ambiguous(query, matches, where)
    raise _unknown(query, runs, where)


_KINDS: tuple[Callable[[RunDirectory, str], bool], ...] = (
    lambda run, word: run.id.casefold() == word,
    lambda run, word: run.handle.casefold() == word,
    lambda run, word: run.slug.casefold() in (word, slug(word).casefold()),
    lambda run, word: run.id.casefold().startswith(word),
    lambda run, word: run.id.casefold().endswith(word),
    lambda run, word: word in run.id.casefold(),
)


def _by_age(runs: Sequence[RunDirectory], query: str, where: str) -> RunDirectory | None:
    match = re.fullmatch(r"@([0-9]{1,9})", query)
    number = 1 if query == "latest" else int(match[1]) if match else None
    if number is None:
        return None
    if not 1 <= number <= len(runs):
        raise UserError(
            f"no run {query}", where=where, allowed=f"@1 (the newest) to @{len(runs)} (the oldest)"
        )
    return runs[number - 1]


def _at_path(query: str) -> RunDirectory:
    try:
        path = Path(query).expanduser().resolve()
        if (path / "recipe.toml").is_file():
            return RunDirectory(path)
    except (OSError, ValueError, RuntimeError):
        pass  # a NUL, a name too long, a link to itself or an unknown ~user names no run either
    raise UserError(f"no run at {_quoted(query)}", allowed="a directory that holds a recipe.toml")


def _ambiguous(query: str, matches: Sequence[RunDirectory], where: str) -> UserError:
    return UserError(
        f"{_quoted(query)} names {len(matches)} runs:\n{_listing(matches)}",
        where=where,
        hint="give more of the id; the last four digits usually suffice",
    )


def _unknown(query: str, runs: Sequence[RunDirectory], where: str) -> UserError:
    by_name = {name: run for run in reversed(runs) for name in (run.id, run.slug)}
    close = nearest(slug(query), by_name)
    hint = f"did you mean {clean(by_name[close].id)}?" if close else f"the newest runs are:\n{_listing(runs)}"
    return UserError(f"no run {_quoted(query)}", where=where, allowed=_FORMS, hint=hint)


def _listing(runs: Sequence[RunDirectory]) -> str:
    lines = [f"  {clean(run.id, 100)}" for run in runs[:_LISTED]]
    if len(runs) > _LISTED:
        lines.append(f"  … and {len(runs) - _LISTED} more")
    return "\n".join(lines)


def _quoted(query: str) -> str:
    return f"'{clean(query, 80)}'"


TEACHER_KEY = "pseudo_label.teacher"


def teacher_names(recipe: Recipe) -> tuple[str, ...] | None:
    """What `pseudo_label.teacher` names; None where a run trains a teacher of its own, or has none."""
    # Here, as the app's first paint finds runs without the recipe's schema.
    from workbench.recipe.offline import FromProbabilities

    knobs = recipe.pseudo_label
    return knobs.teacher if isinstance(knobs, FromProbabilities) else None


def named_teachers(recipe: Recipe, runs_home: Path, own: RunDirectory | None = None) -> list[RunDirectory]:
    """The runs that `pseudo_label.teacher` names, in its order; none where it names none.

    Args:
        own: the run that they are to teach, if it has begun: no name means it.

    Raises:
        UserError: there is no such run, it is not finished, or it is named twice.
    """
    found: list[RunDirectory] = []
    for name in teacher_names(recipe) or ():
        run = _find(runs_home, name, own)
        if run.path.resolve() in [one.path.resolve() for one in found]:
            raise UserError(
                f"{clean(run.id)} is named twice: it would count double",
                where=TEACHER_KEY,
                allowed="every finished run once",
                hint=f"leave '{clean(name, 80)}' out",
            )
        if own is not None and run.path.resolve() == own.path.resolve():
            raise UserError(
                f"'{clean(name, 80)}' is this run itself", where=TEACHER_KEY, allowed="finished runs"
            )
        status = status_of(run)
        if status is not RunStatus.FINISHED or not run.results.exists():
            raise UserError(
                f"{clean(run.id)} is not finished: it is {status.value}",
                where=TEACHER_KEY,
                allowed="finished runs",
                hint=f"petbench runs show {run.handle} tells how far it is"
                if status.is_active
                else f"petbench resume {run.handle} goes on with it",
            )
        found.append(run)
    return found


def _find(runs_home: Path, name: str, own: RunDirectory | None) -> RunDirectory:
    try:
        if is_path(name):
            return find_run(runs_home, name)
        mine = None if own is None else own.path.resolve()
        others = [run for run in run_directories(runs_home) if run.path.resolve() != mine]
        return choose(others, name, where=str(runs_home))
    except UserError as error:
        raise UserError(error.what, where=TEACHER_KEY, allowed=error.allowed, hint=error.hint) from error
