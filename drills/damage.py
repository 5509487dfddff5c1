"""Ways in which a file can be wrong, from a flipped bit to a pipe in its place."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

_HOLE_BYTES = 40 * 2**30
_DEEP = 200_000
_PAGE_BYTES = 4096

Way = Callable[[Path, Random, Path], str]
"""(the file, dice, another file of its kind) -> what was done, in detail."""


def flip(path: Path, dice: Random, _other: Path) -> str:
    """One bit."""
    content = bytearray(path.read_bytes())
    if not content:
        return lengthen(path, dice, _other)
    place, bit = dice.randrange(len(content)), dice.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    return f"bit {bit} of byte {place}"


def digit(path: Path, dice: Random, other: Path) -> str:
    """Another digit in place of one: the text stays well formed."""
    content = bytearray(path.read_bytes())
    places = [place for place, byte in enumerate(content) if byte in b"0123456789"]
    if not places:
        return flip(path, dice, other)
    place = dice.choice(places)
    content[place] = dice.choice([digit for digit in b"0123456789" if digit != content[place]])
    path.write_bytes(content)
    return f"a digit at byte {place}"


def overwrite(path: Path, dice: Random, other: Path) -> str:
    """A stretch of noise."""
    content = bytearray(path.read_bytes())
    if not content:
        return lengthen(path, dice, other)
    start = dice.randrange(len(content))
    length = min(len(content) - start, dice.randint(1, 64))
    content[start : start + length] = dice.randbytes(length)
    path.write_bytes(content)
    return f"{length} bytes of noise at {start}"


def zero_page(path: Path, dice: Random, _other: Path) -> str:
    """A page of zeros, as a file system leaves it that lost its power."""
    content = bytearray(path.read_bytes())
    start = dice.randrange(max(1, len(content))) // _PAGE_BYTES * _PAGE_BYTES
    length = min(_PAGE_BYTES, len(content) - start)
    content[start : start + length] = bytes(length)
    path.write_bytes(content)
    return f"zeros at {start}"


def shorten(path: Path, dice: Random, _other: Path) -> str:
    """Cut somewhere."""
    length = dice.randrange(max(1, path.stat().st_size))
    os.truncate(path, length)
    return f"cut to {length} bytes"


def shorten_to_line(path: Path, dice: Random, other: Path) -> str:
    """Cut after a whole line: what is left is well formed."""
    content = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(content[:-1]) if byte == ord("\n")]
    if not ends:
        return shorten(path, dice, other)
    length = dice.choice(ends)
    os.truncate(path, length)
    return f"cut to {length} bytes, a line's end"


def lengthen(path: Path, dice: Random, _other: Path) -> str:
    """More at its end."""
    more = dice.choice([b"\0" * 100, b"\n", b"\n[[[\n", dice.randbytes(50)])
    with path.open("ab") as stream:
        stream.write(more)
    return f"{more[:8]!r}… added"


def empty(path: Path, _dice: Random, _other: Path) -> str:
    """Nothing left in it."""
    path.write_bytes(b"")
    return "emptied"


def remove(path: Path, _dice: Random, _other: Path) -> str:
    """Gone."""
    path.unlink()
    return "removed"


def exchange(path: Path, dice: Random, other: Path) -> str:
    """Another's, sound in itself."""
    if other == path or other.read_bytes() == path.read_bytes():
        return flip(path, dice, other)
    shutil.copyfile(other, path)
    return f"{other.parent.parent.name}/{other.parent.name}/{other.name} in its place"


def pipe(path: Path, _dice: Random, _other: Path) -> str:
    """A named pipe that nobody writes to."""
    path.unlink()
    os.mkfifo(path)
    return "a pipe in its place"


def directory(path: Path, _dice: Random, _other: Path) -> str:
    """A directory with something in it."""
    path.unlink()
    path.mkdir()
    (path / "inside").write_text("x")
    return "a directory in its place"


def endless(path: Path, _dice: Random, _other: Path) -> str:
    """A link to a file without an end."""
    path.unlink()
    path.symlink_to("/dev/zero")
    return "a link to /dev/zero in its place"


def hole(path: Path, _dice: Random, _other: Path) -> str:
    """Far longer than memory, without taking space."""
    os.truncate(path, _HOLE_BYTES)
    return f"{_HOLE_BYTES} bytes long by a hole"


def nest(path: Path, dice: Random, _other: Path) -> str:
    """Brackets within brackets, alone or as the value of a key."""
    opening = dice.choice(["[", '{"a":', "x = ["])
    path.write_text(opening[:-1] + opening[-1] * _DEEP if opening != '{"a":' else opening * _DEEP)
    return f"{_DEEP} times {opening!r}"


def huge_number(path: Path, dice: Random, other: Path) -> str:
    """A number of 400 or 5,000 digits in place of one."""
    content = path.read_bytes()
    numbers = list(re.finditer(rb"\d+", content))
    if not numbers:
        return flip(path, dice, other)
    found = dice.choice(numbers)
    digits = b"9" * dice.choice([400, 5000])
    path.write_bytes(content[: found.start()] + digits + content[found.end() :])
    return f"a number of {len(digits)} digits at byte {found.start()}"


WAYS: tuple[tuple[Way, int], ...] = (
    (flip, 4),
    (digit, 3),
    (overwrite, 2),
    (zero_page, 1),
    (shorten, 2),
    (shorten_to_line, 2),
    (lengthen, 1),
    (empty, 1),
    (remove, 1),
    (exchange, 2),
    (pipe, 1),
    (directory, 1),
    (endless, 1),
    (hole, 1),
    (nest, 1),
    (huge_number, 2),
)
"""Every way, and how often it is taken beside the others."""


def damage(path: Path, dice: Random, other: Path) -> str:
    """Damage a file in a way that the dice choose; returns what was done."""
    (way,) = dice.choices([way for way, _ in WAYS], [weight for _, weight in WAYS])
    return way(path, dice, other)
