"""Damage to the content of a file, as a disk or a crash does it."""

from __future__ import annotations

import random


def damaged_copy(content: bytes, source: random.Random) -> bytes:
    """The content with a bit flipped, a run of bytes lost or written over, an end cut off or added."""
    place, changed = source.randrange(len(content)), bytearray(content)
    match source.randrange(5):
        case 0:
            changed[place] ^= 1 << source.randrange(8)
        case 1:
            changed[place : place + 64] = source.randbytes(64)[: len(changed) - place]
        case 2:
            del changed[place : place + 1 + source.randrange(99)]
        case 3:
            del changed[place:]
        case _:
            changed += source.randbytes(1 + source.randrange(99))
    return bytes(changed)
