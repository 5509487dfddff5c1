"""Short stable names for values: what makes two data sets, splits or recipes the same."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from workbench.support.regular_file import regular_descriptor

BY_CONTENT = "content-"
"""How a data fingerprint begins that tells pictures apart; those of older runs go by names and lengths."""

SETTLED_NS = 2_000_000_000
"""File times may be as coarse as this (ext3, some network file systems): what changed a moment ago may change
again and look the same."""


def fingerprint(value: object) -> str:
    """Sixteen hex digits of the SHA-256 of `value` as canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """The file's whole SHA-256 in hex.

    Raises:
        OSError: it cannot be read, or is no regular file: a pipe is waited for, a device never ends.
    """
    with os.fdopen(regular_descriptor(path, os.O_RDONLY), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
