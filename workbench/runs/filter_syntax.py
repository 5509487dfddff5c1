"""The filter language's grammar, from text to a tree: `pseudo.labelled_fraction=0.1 and test.accuracy>0.85`.

    filter     = either
    either     = all { "or" all }
    all        = one { ["and"] one }
    one        = "not" one | "(" either ")" | comparison | "has:" key | "tag:" word | word
    comparison = key ("=" | "!=" | "<" | "<=" | ">" | ">=" | "~") value

Conditions next to each other must all fit. What is between quotes is one word, whatever it holds; a backslash
takes the next character as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, cast

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
