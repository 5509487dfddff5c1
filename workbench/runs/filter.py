"""Which runs a filter fits: `pseudo.labelled_fraction=0.1 and test.accuracy>0.85`.

A bare word finds a part of the name, id or a tag; `tag:x` a whole tag; `has:key` a run that has the key, or
anything of a table. `~` is "contains". Text is compared in either case. Numbers may end in `%`; dates are
`2026`, `2026-11`, `2026-11-01` or `2026-11-01T09:30` and mean the whole of that span, in local time. A list
fits when one of its items does. A comparison with a key that a run does not have is false, `!=` too: `not`
turns it round.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from workbench.runs.filter_syntax import (
    All,
    Compare,
    Condition,
    Either,
    Has,
    Not,
    Operator,
    Tagged,
    Word,
    parse_filter,
)
from workbench.runs.keys import DATES, Value, has_table, is_table, keys_of, resolve_key, values_of
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.errors import UserError

_NUMBER = re.compile(r"(?P<digits>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?)(?P<percent>%?)")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,100}")
_DATE = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    r"(?:[T ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}))?)?)?"
)
_ORDER: Mapping[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def filter_runs(text: str, summaries: Iterable[RunSummary]) -> list[RunSummary]:
    """Those of `summaries` that `text` fits, in their order; an empty text fits all.

    Raises:
        UserError: the text is no filter (with the column), or names a key that neither schema nor any run
        has.
    """
    runs = list(summaries)
    if not text.strip():
        return runs
    fits = compile_filter(text, keys_of(runs))
    return [run for run in runs if fits(run)]


def compile_filter(text: str, known: frozenset[str]) -> Callable[[RunSummary], bool]:
    """The test that `text` means, for whoever asks it of runs one by one; an empty text fits all.

    Args:
        known: the keys that may be asked for, `keys_of` the runs.

    Raises:
        UserError: as `filter_runs`.
    """
    if not text.strip():
        return lambda run: True
    fits = _test_of(parse_filter(text), known)
    return lambda run: fits(_Run(run, values_of(run)))


@dataclass(frozen=True, slots=True)
class _Run:
    summary: RunSummary
    values: Mapping[str, Value]


_Test = Callable[[_Run], bool]


def _test_of(condition: Condition, known: frozenset[str]) -> _Test:
    """The test that a condition means, its keys resolved and its values read once for all runs."""
    match condition:
        case Word(text):
            return _word_test(text.casefold())
        case Tagged(tag):
            return _tag_test(tag.casefold())
        case Has():
            return _has_test(condition, known)
        case Compare():
            return _comparison_test(condition, known)
        case Not(part):
            fits = _test_of(part, known)
            return lambda run: not fits(run)
        case All(parts):
            tests = [_test_of(part, known) for part in parts]
            return lambda run: all(test(run) for test in tests)
        case Either(parts):
            tests = [_test_of(part, known) for part in parts]
            return lambda run: any(test(run) for test in tests)
        case _:
            assert_never(condition)


def _word_test(word: str) -> _Test:
    def fits(run: _Run) -> bool:
        texts = (run.summary.name, run.summary.id, *run.summary.tags)
        return any(word in text.casefold() for text in texts)

    return fits


def _tag_test(tag: str) -> _Test:
    return lambda run: any(tag == own.casefold() for own in run.summary.tags)


def _has_test(has: Has, known: frozenset[str]) -> _Test:
    if is_table(has.key, known):
        return lambda run: has_table(has.key, run.values)
    key = resolve_key(has.key, known, where=_column(has.column))
    return lambda run: key in run.values


def _comparison_test(compare: Compare, known: frozenset[str]) -> _Test:
    key = resolve_key(compare.key, known, where=_column(compare.column))
    wanted = _read_value(compare, key)

    def fits(run: _Run) -> bool:
        value = run.values.get(key)
        return value is not None and _fits(value, compare.operator, wanted)

    return fits


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A value of a filter, read in every way that it can be."""

    text: str
    """In lower case."""
    number: float | None
    span: tuple[datetime, datetime] | None
    """From the start of a date to the start of the next."""


def _read_value(compare: Compare, key: str) -> _Wanted:
    """The value of a comparison.

    Raises:
        UserError: it is not of the kind that the key or the operator needs.
    """
    where = f"{_column(compare.column)}: {clean(compare.key)}"
    wanted = _Wanted(compare.value.casefold(), _number(compare.value), _span(compare.value))
    shown = f"'{clean(compare.value, 60)}'"
    if compare.operator == "~":
        return wanted
    if key in DATES and wanted.span is None:
        raise UserError(
            f"{shown} is no date", where=where, allowed="2026, 2026-11, 2026-11-01, 2026-11-01T09:30"
        )
    if key == "status" and wanted.text not in list(RunStatus):
        raise UserError(f"no status {shown}", where=where, allowed=list(RunStatus))
    if compare.operator not in ("=", "!=") and wanted.number is None and wanted.span is None:
        raise UserError(f"{shown} is no number or date to compare with {compare.operator}", where=where)
    return wanted


def _number(text: str) -> float | None:
    """A whole number exactly, any other as a float; `85%` is 0.85."""
    if _WHOLE_NUMBER.fullmatch(text):
        return int(text)
    match = _NUMBER.fullmatch(text)
    if match is None:
        return None
    # Dividing rounds to the float nearest to the share itself: 85 % is 0.85 and not 0.8500000000000001.
    return float(match["digits"]) / (100 if match["percent"] else 1)


def _span(text: str) -> tuple[datetime, datetime] | None:
    """The year, month, day or minute that a date names."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute = (None if part is None else int(part) for part in match.groups())
    try:
        start = datetime(year or 0, month or 1, day or 1, hour or 0, minute or 0)
        if month is None:
            return start, start.replace(year=start.year + 1)
        if day is None:
            return start, (start + timedelta(days=31)).replace(day=1)
        return start, start + (timedelta(days=1) if hour is None else timedelta(minutes=1))
    except (ValueError, OverflowError):
        return None


def _fits(value: Value, sign: Operator, wanted: _Wanted) -> bool:
    if isinstance(value, list):
        some = any(_fits(item, "~" if sign == "~" else "=", wanted) for item in value)
        return (some if sign in ("=", "~") else not some) and sign in ("=", "!=", "~")
    if sign == "~":
        return wanted.text in str(value).casefold()
    if isinstance(value, datetime):
        return wanted.span is not None and _date_fits(value, sign, wanted.span)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if wanted.number is None:
            return sign == "!="
        return _ORDER[sign](value, wanted.number)
    same = str(value).casefold() == wanted.text
    return same if sign == "=" else sign == "!=" and not same


def _date_fits(value: datetime, sign: Operator, span: tuple[datetime, datetime]) -> bool:
    start, end = span
    match sign:
        case "=":
            return start <= value < end
        case "!=":
            return not start <= value < end
        case "<":
            return value < start
        case "<=":
            return value < end
        case ">":
            return value >= end
        case _:
            return value >= start


def _column(column: int) -> str:
    return f"filter, column {column}"
