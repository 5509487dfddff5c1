"""What the screen and the engine say to each other: JSON lines, one message each, told apart by `kind`.

The screen writes requests to the engine's stdin, the engine answers to its stdout. The end of stdin ends the
engine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from workbench.support.records import plain, record_from
from workbench.support.regular_file import parse_json

Order = Literal["auto", "typical", "doubtful", "short", "near_mistake", "random"]
"""Which images come next: `auto` goes from typical to doubtful as labels come, and mixes random ones in."""
Phase = Literal["listing", "decoding", "features", "clusters", "ready"]
MODULE = "workbench.active"
"""`python -m workbench.active FOLDER` is the engine."""


@dataclass(frozen=True, slots=True)
class Offer:
    """Asks for the next images; answered by `Offered` with the same serial, at once."""

    serial: int
    order: Order = "auto"
    most: int = 6
    """How many images the screen can show."""
    group: bool = True
    """Whether they may be several that look alike, to be labelled at a stroke."""
    skip: tuple[str, ...] = ()
    """Images not to offer: those on the screen, and those that somebody skipped."""


@dataclass(frozen=True, slots=True)
class Changed:
    """The journal has grown; the engine looks, and answers with `Learned` where it learns anew."""


@dataclass(frozen=True, slots=True)
class SecondLook:
    """Asks for labelled images whose label the model does not believe; answered by `Doubted`."""

    most: int = 24


@dataclass(frozen=True, slots=True)
class Quit:
    """Ends the engine."""


Request = Offer | Changed | SecondLook | Quit


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the engine has come with the images, before it can choose any but at random."""

    phase: Phase
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class OfferedImage:
    """An image to label, and what the model thinks that it shows."""

    path: str
    """Relative to the folder that is labelled."""
    guess: str | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class Offered:
    """Images to label next."""

    serial: int
    order: Order
    """Which it came to be: never `auto`."""
    why: str
    """A line on why these are here."""
    images: tuple[OfferedImage, ...]
    """Empty: every image is labelled, or skipped."""
    random: bool = False
    """Whether chance drew it: such images, one at a time, tell how right the model is."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What the model knows since it learned anew: the line that helps to decide when to stop."""

    labels: int
    classes: int
    text: str
    """`97 labelled · 12 classes · 91 % (86–95) by cross-validation on the random draws · 40 more ≈ +2`."""
    accuracy: float | None = None
    """On images drawn at random, each predicted by a model that has not seen its label; None: too few."""
    low: float | None = None
    high: float | None = None
    """95 % interval."""
    more: int | None = None
    """So many labels more…"""
    gain: float | None = None
    """…would bring so much accuracy, by the learning curve so far."""
    lacking: tuple[str, ...] = ()
    """Classes with so few labels that the model can hardly know them."""


@dataclass(frozen=True, slots=True)
class DoubtedImage:
    """A labelled image whose label the model does not believe."""

    path: str
    label: str
    guess: str
    probability: float


@dataclass(frozen=True, slots=True)
class Doubted:
    """Images for a second look, the most doubtful first."""

    images: tuple[DoubtedImage, ...]


@dataclass(frozen=True, slots=True)
class Failed:
    """Something went wrong; where the engine cannot go on, its end follows."""

    message: str


Answer = Progress | Offered | Learned | Doubted | Failed

_REQUESTS: dict[str, type[Request]] = {
    kind.__name__.casefold(): kind for kind in (Offer, Changed, SecondLook, Quit)
}
_ANSWERS: dict[str, type[Answer]] = {
    kind.__name__.casefold(): kind for kind in (Progress, Offered, Learned, Doubted, Failed)
}
_Message = TypeVar("_Message")


def line_of(message: Request | Answer) -> bytes:
    """A message as its line, line end included."""
    return json.dumps({"kind": type(message).__name__.casefold(), **plain(message)}).encode() + b"\n"


def request_of(line: bytes) -> Request:
    """The request of a line. Raises: ValueError, where it is none."""
    return _message(line, _REQUESTS)


def answer_of(line: bytes) -> Answer:
    """The answer of a line. Raises: ValueError, where it is none."""
    return _message(line, _ANSWERS)


def _message(line: bytes, kinds: dict[str, type[_Message]]) -> _Message:
    values: Any = parse_json(line)
    kind = kinds.get(str(values.pop("kind", ""))) if isinstance(values, dict) else None
    if kind is None:
        raise ValueError(f"no message: {line[:80]!r}")
    return record_from(values, kind)
