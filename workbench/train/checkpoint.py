"""Checkpoints: named tensors and a little JSON, hashed, the two newest kept.

A flipped bit in a weights file loads silently, so each file has its SHA-256 beside it, checked on load; a
checkpoint that does not match is passed over for the one before it.
"""

from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from workbench.runs.events import Message, Reporter
from workbench.support.atomic import atomic_path, atomic_write
from workbench.support.fingerprint import file_sha256

KEPT = 2


def save_checkpoint(folder: Path, tensors: dict[str, Tensor], plain: dict[str, Any]) -> Path:
    """Write the next numbered checkpoint durably, then remove all but the two newest.

    Raises:
        OSError: disk full or not writable; the older checkpoints are then untouched.
    """
    folder.mkdir(exist_ok=True)
    existing = _numbered(folder)
    number = int(existing[-1].stem) + 1 if existing else 1
    path = folder / f"{number:06d}.safetensors"
    save_tensors(path, tensors, plain)
    for old in existing[: len(existing) + 1 - KEPT]:
        remove_tensors(old)
    return path


def load_newest(folder: Path, reporter: Reporter) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest checkpoint whose hash matches, or None; damaged ones are reported and passed over.

    Damaged ones are removed once an older one has taken their place: kept, they would count among the two
    newest and push it out.
    """
    damaged: list[Path] = []
    existing = _numbered(folder)
    for path in reversed(existing):
        try:
            loaded = load_tensors(path)
        except DamagedFile as error:
            damaged.append(path)
            then = "the run begins anew" if path == existing[0] else "using the checkpoint before it"
            reporter.event(Message("warning", f"checkpoint {error}; {then}"))
        else:
            for useless in damaged:
                remove_tensors(useless)
            return loaded
    return None


def discard_checkpoints(folder: Path) -> None:
    """Remove every numbered checkpoint: the run is over and its final weights are saved."""
    for path in _numbered(folder):
        remove_tensors(path)


class DamagedFile(Exception):
    """A weights file that is not what was written."""


def save_tensors(path: Path, tensors: dict[str, Tensor], plain: dict[str, Any]) -> str:
    """Write a safetensors file and its SHA-256 beside it, both durably; returns the hash in hex.

    The hash goes first: a crash between the two leaves a hash without a file, which nobody looks at.

    Raises:
        OSError: disk full or not writable.
    """
    own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(own, temporary, metadata={"petbench": json.dumps(plain)})
        except SafetensorError as error:
            raise _os_error(error, path) from error
        digest = file_sha256(temporary)
        atomic_write(_hash_path(path), f"{digest}  {path.name}\n")
    return digest


def _os_error(error: SafetensorError, path: Path) -> OSError:
    """What the system said, which safetensors only tells in words: `I/O error: … (os error 28)`."""
    found = re.search(r"os error (\d+)", str(error))
    number = int(found[1]) if found else errno.EIO
    return OSError(number, os.strerror(number), str(path))


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        DamagedFile: the file or its hash is missing, they disagree, or it is not a checkpoint of petbench.
    """
    try:
        written = _hash_path(path).read_text().split()[0]
        if file_sha256(path) != written:
            raise DamagedFile(f"{path.name} does not match its SHA-256")
        with safe_open(path, framework="pt") as stream:
            plain = json.loads((stream.metadata() or {})["petbench"])
            return {name: stream.get_tensor(name) for name in stream.keys()}, plain  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, ValueError, IndexError) as error:
        raise DamagedFile(f"{path.name} cannot be read ({error})") from error


def remove_tensors(path: Path) -> None:
    """Remove a file that `save_tensors` wrote, and its hash."""
    path.unlink(missing_ok=True)
    _hash_path(path).unlink(missing_ok=True)


def _hash_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if path.stem.isdigit())
