"""What is wrong with a recipe, in words: each problem with its place, value and allowed values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from workbench.recipe.fields import Table
from workbench.recipe.knobs import (
    allowed_entries,
    allowed_values,
    field_of,
    key_of,
    known_keys,
    names_of,
    table_for,
    tables_of,
)
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.schema import RecipeFile
from workbench.recipe.source import Source, dotted
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.toml_text import KeyPath, toml_kind, toml_literal

MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a recipe; all text is harmless to show."""

    key: str
    """Dotted; empty for the recipe as a whole."""
    where: str
    line: int | None
    what: str
    allowed: str = ""
    hint: str = ""

    def __str__(self) -> str:
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self.where}: {self.what}{allowed}{hint}"


class RecipeError(UserError):
    """A recipe that does not fit the schema: every problem at once, or the first `MOST_SHOWN` of many."""

    def __init__(self, name: str, problems: Sequence[Problem], total: int) -> None:
        self.problems = tuple(problems)
        self.total = total
        if total == 1:
            (only,) = problems
            super().__init__(only.what, where=only.where, allowed=only.allowed, hint=only.hint)
            return
        lines = [f"{total} problems", *(f"  {problem}" for problem in problems)]
        if total > len(problems):
            lines.append(f"  and {total - len(problems)} more")
        super().__init__("\n".join(lines), where=name)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where pydantic found something: the dotted path, and what the schema has there."""

    path: KeyPath = ()
    holder: type[Table] = RecipeFile
    """The table whose key is the last of `path`."""
    field: FieldInfo | None = None
    """The field of that key; None where the schema has no such key."""
    inside: type[Table] | None = RecipeFile
    """The table at `path` itself, where it is one."""
    is_entry: bool = False
    """Whether the last key is an entry of `field`, a knob that is a dictionary."""


@dataclass(frozen=True, slots=True)
class _Finding:
    at: _Place
    kind: str
    context: dict[str, Any]

    @property
    def path(self) -> KeyPath:
        return self.at.path


def recipe_error(error: ValidationError, source: Source, around: KeyPath = ()) -> RecipeError:
    """All that pydantic found wrong with `source`'s values, in the order of the file's lines.

    Args:
        around: the table that was validated; the whole recipe unless given.
    """
    findings: dict[tuple[KeyPath, str], _Finding] = {}
    for details in error.errors(include_url=False, include_input=False):
        details["loc"] = (*around, *details["loc"])
        for finding in _findings(details, source):
            # The arms of a union complain one by one about the same value: the first speaks for all.
            said = finding.context["said"] if finding.kind == "disagreement" else ""
            findings.setdefault((finding.path, said), finding)
    ordered = sorted(findings.values(), key=lambda finding: source.line(finding.path) or 0)
    # Explaining costs a search for near names, so only what is shown is explained.
    shown = [_explain(finding, source) for finding in ordered[:MOST_SHOWN]]
    return RecipeError(source.name, shown, len(ordered))


def placed(error: UserError, source: Source) -> UserError:
    """An error that names a key or a [table], found out after parsing, with the place where the recipe writes
    it."""
    path = tuple(error.where.removeprefix("[").removesuffix("]").split("."))
    is_table = error.where == f"[{path[0]}]" and path[0] in {known[0] for known, _ in known_keys()}
    if isinstance(error, RecipeError) or not (is_table or path[:2] in {known for known, _ in known_keys()}):
        return error
    what = f"{error.where if is_table else dotted(path)}: {error.what}"
    hint = " ".join(error.hint.split())  # a list of runs, a line each, goes on one
    found = problem(path, source, what, allowed=error.allowed, hint=hint)
    return RecipeError(source.name, [found], 1)


def _findings(details: ErrorDetails, source: Source) -> Iterator[_Finding]:
    at = _locate(details["loc"], source)
    context: dict[str, Any] = details.get("ctx", {})
    if details["type"] == "ignored_knob":
        for key, because, belongs in context["ignored"]:
            inner = replace(at, path=(*at.path, key))
            yield _Finding(inner, "ignored_knob", {"because": because, "belongs": belongs})
    elif details["loc"][-1:] == ("[key]",):
        yield _Finding(at, "entry_name", context)
    else:
        yield _Finding(at, details["type"], context)


def _locate(location: tuple[int | str, ...], source: Source) -> _Place:
    """The place of a pydantic location, without union arms and positions in lists."""
    place = _Place()
    parts = iter(location)
    for part in parts:
        if place.inside is None:
            break
        key, holder = str(part), place.inside
        field = field_of(holder, key)
        place = _Place((*place.path, key), holder, field, None)
        table = None if field is None else table_for(field, _value_at(place.path, source))
        if table is not None:
            place = replace(place, inside=table)
        elif field is not None and get_origin(field.annotation) is dict:
            entry = next(parts, None)
            if entry is not None:
                place = replace(place, path=(*place.path, str(entry)), is_entry=True)
    return place


def _explain(finding: _Finding, source: Source) -> Problem:
    path, field = finding.path, finding.at.field
    match finding.kind:
        case "extra_forbidden":
            return _unknown_key(finding.at, source)
        case "unknown_strategy":
            strategy = (*path, "strategy")
            return _wrong_value(strategy, source, allowed=_listed(STRATEGIES), choices=STRATEGIES)
        case "ignored_knob":
            what = f"{dotted(path)} {finding.context['because']}"
            return problem(path, source, what, hint=f"it belongs to {finding.context['belongs']}")
        case "disagreement":
            return _disagreement(finding, source)
        case "entry_name":
            what = f"{dotted(path)} does not name a layer group"
            return problem(path, source, what, allowed="letters, digits and _ . : / -")
    if field is None:
        return problem(path, source, "not a recipe")
    allowed = allowed_values(field)
    if finding.at.is_entry:
        allowed = allowed_entries(field)
    elif tables_of(field):
        allowed = f"a table, [{dotted(path)}]"
    elif not _is_written(path, source):
        hint = f"{path[-1]}: {field.description}"
        return problem(path, source, f"{dotted(path)} is missing", allowed=allowed, hint=hint)
    return _wrong_value(path, source, allowed=allowed, choices=_choices(field), kind=finding.kind)


_ALIKE_ELSEWHERE = 0.85
"""A key of another table is suggested for a slip of the pen alone: `batchsize` is 0.95 of `batch_size`, but
`nonsense`, 0.77 of `noise`, has nothing to do with it."""


def _unknown_key(at: _Place, source: Source) -> Problem:
    *around, key = at.path
    here = [key_of(name, field) for name, field in at.holder.model_fields.items()]
    what = f"no such key: {dotted(at.path)}"
    elsewhere = [(path, place) for path, place in known_keys() if path[-1] == key]
    if elsewhere:
        return problem(at.path, source, what, hint=f"{key} belongs to {_places(elsewhere, around)}")
    near = nearest(key, here)
    if near is not None:
        return problem(at.path, source, what, hint=f"did you mean {dotted((*around, near))}?")
    further = {path[-1]: path for path, _ in reversed(list(known_keys()))}
    near = nearest(key, further, alike=_ALIKE_ELSEWHERE)
    if near is not None:
        return problem(at.path, source, what, hint=f"did you mean {dotted(further[near])}?")
    return problem(at.path, source, what, allowed=", ".join(here))


def _places(elsewhere: Sequence[tuple[KeyPath, str]], around: Sequence[str]) -> str:
    """Where a key belongs; a strategy's own table is named before any other."""
    same_table = [place for path, place in elsewhere if list(path[:-1]) == list(around)]
    return " or ".join(dict.fromkeys(same_table or [place for _, place in elsewhere]))


def _disagreement(finding: _Finding, source: Source) -> Problem:
    candidates = [(*finding.path, *key.split(".")) for key in finding.context["keys"]]
    written = [path for path in candidates if _is_written(path, source)]
    at = next((path for path in written if path in source.overrides), (*written, finding.path)[0])
    prefix = f"{dotted(finding.path)}: " if finding.path else ""
    return problem(at, source, f"{prefix}{finding.context['said']}")


def _is_written(path: KeyPath, source: Source) -> bool:
    return _value_at(path, source) is not None


def _value_at(path: KeyPath, source: Source) -> Any:
    """None where nothing is written, as TOML has no such value."""
    try:
        return source.value(path)
    except KeyError:
        return None


def _wrong_value(
    path: KeyPath, source: Source, *, allowed: str, choices: Iterable[str] = (), kind: str = ""
) -> Problem:
    value = source.value(path)
    shown = clean(toml_literal(value), 60)
    if kind.endswith("_type") and not isinstance(value, dict | list):
        shown += f" ({toml_kind(value)})"
    near = nearest(value, choices) if isinstance(value, str) and len(value) < 80 else None
    hint = f'did you mean "{near}"?' if near is not None else ""
    return problem(path, source, f"{dotted(path)} cannot be {shown}", allowed=allowed, hint=hint)


def problem(path: KeyPath, source: Source, what: str, *, allowed: str = "", hint: str = "") -> Problem:
    """One thing that is wrong at a key, with the place where it is written."""
    return Problem(
        key=dotted(path),
        where=source.place(path),
        line=source.line(path),
        what=clean(what),
        allowed=allowed,
        hint=clean(hint),
    )


def _choices(field: FieldInfo) -> list[str]:
    """The words that a field accepts: the text arms of its Literals."""

    def words(annotation: Any) -> Iterator[str]:
        if get_origin(annotation) is Literal:
            yield from (choice for choice in get_args(annotation) if isinstance(choice, str))
        else:
            for part in get_args(annotation):
                yield from words(part)

    return [*words(field.annotation), *names_of(field.metadata)]


def _listed(choices: Iterable[str]) -> str:
    return ", ".join(toml_literal(choice) for choice in choices)
