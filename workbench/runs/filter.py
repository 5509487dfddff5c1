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
from typing import Literal, NoReturn, assert_never, cast

from workbench.runs.keys import DATES, Value, has_table, is_table, keys_of, resolve_key, values_of
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.errors import UserError

LONGEST = 4096
DEEPEST = 32

Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
_TOKEN = re.compile(
    r"""\s*(?:(?P<bracket>[()])
        | (?P<operator>==|!=|<=|>=|[=<>~])
        | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
        | (?P<word>[^\s()=<>!~"']+)
        | (?P<end>\Z))""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Word:
    """A part of the name, id or a tag."""

    text: str


@dataclass(frozen=True, slots=True)
class Tagged:
    """A whole tag."""

    tag: str


@dataclass(frozen=True, slots=True)
class Has:
    """A key, or any key of a table, has a value."""

    key: str
    column: int


@dataclass(frozen=True, slots=True)
class Compare:
    """A key's value against one given."""

    key: str
    operator: Operator
    value: str
    column: int


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary."""

    part: Condition


@dataclass(frozen=True, slots=True)
class All:
    """Every part fits."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """At least one part fits."""

    parts: tuple[Condition, ...]


Condition = Word | Tagged | Has | Compare | Not | All | Either


def parse_filter(text: str) -> Condition:
    """The condition that `text` says, keys as written.

    Raises:
        UserError: with the column and what was expected there.
    """
    if len(text) > LONGEST:
        raise UserError(f"a filter of {len(text)} characters", where="filter", allowed=f"at most {LONGEST}")
    return _Parser(text).parse()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """bracket, operator, string, word or end."""
    text: str
    """A string's without its quotes."""
    start: int
    end: int

    @property
    def keyword(self) -> str:
        return self.text.casefold() if self.kind == "word" else ""


class _Parser:
    """Recursive descent, one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._split()
        self._next = 0
        self._depth = 0

    def parse(self) -> Condition:
        condition = self._either()
        if self._token.kind != "end":
            self._fail("and, or, or the end")
        return condition

    def _either(self) -> Condition:
        parts = [self._all()]
        while self._token.keyword == "or":
            self._take()
            parts.append(self._all())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _all(self) -> Condition:
        parts = [self._one()]
        while self._token.keyword == "and" or self._begins_one():
            if self._token.keyword == "and":
                self._take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _begins_one(self) -> bool:
        token = self._token
        return token.kind == "string" or token.text == "(" or (token.kind == "word" and token.keyword != "or")

    def _one(self) -> Condition:
        token = self._token
        if token.keyword == "not":
            self._take()
            return Not(self._deeper(self._one))
        if token.kind == "bracket" and token.text == "(":
            self._take()
            condition = self._deeper(self._either)
            if self._token.text != ")" or self._token.kind != "bracket":
                self._fail("a closing parenthesis")
            self._take()
            return condition
        if token.kind == "string":
            return Word(self._take().text)
        if token.kind != "word" or token.keyword in ("and", "or"):
            self._fail("a condition, such as test.accuracy>0.85")
        return self._condition_of_word()

    def _condition_of_word(self) -> Condition:
        token = self._take()
        if self._token.kind == "operator":
            sign = self._take().text
            operator = cast(Operator, "=" if sign == "==" else sign)
            return Compare(token.text, operator, self._value(f"a value after {sign}"), token.start + 1)
        prefix, colon, rest = token.text.partition(":")
        if colon and prefix.casefold() in ("has", "tag"):
            if not rest:
                expected = (
                    "a key right after has:" if prefix.casefold() == "has" else "a tag right after tag:"
                )
                if self._token.start != token.end:
                    self._fail(expected)
                rest = self._value(expected)
            return Has(rest, token.start + 1) if prefix.casefold() == "has" else Tagged(rest)
        return Word(token.text)

    def _value(self, expected: str) -> str:
        token = self._token
        if token.kind not in ("word", "string") or token.keyword in ("and", "or", "not"):
            self._fail(expected)
        return self._take().text

    def _deeper(self, rule: Callable[[], Condition]) -> Condition:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"at most {DEEPEST} levels of parentheses and not")
        condition = rule()
        self._depth -= 1
        return condition

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _split(self) -> list[_Token]:
        tokens: list[_Token] = []
        place = 0
        while not tokens or tokens[-1].kind != "end":
            match = _TOKEN.match(self._text, place)
            if match is None:
                rest = self._text[place:]
                start = place + len(rest) - len(rest.lstrip())
                quote = self._text[start] in "\"'"
                self._fail_at(start, "a closing quote" if quote else "a word, a quoted text or a sign")
            kind = cast(str, match.lastgroup)
            token_text = match[kind]
            if kind == "string":
                token_text = re.sub(r"\\(.)", r"\1", token_text[1:-1], flags=re.DOTALL)
            tokens.append(_Token(kind, token_text, match.start(kind), match.end()))
            place = match.end()
        return tokens

    def _fail(self, expected: str) -> NoReturn:
        self._fail_at(self._token.start, expected)

    def _fail_at(self, place: int, expected: str) -> NoReturn:
        found = clean(self._text[place : place + 20]) or "the end"
        before, after = clean(self._text[:place][-40:]), clean(self._text[place:][:40])
        raise UserError(
            f"expected {expected}, found {found}",
            where=f"filter, column {place + 1}",
            hint=f"  {before}{after}\n  {' ' * len(before)}^",
        )


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
