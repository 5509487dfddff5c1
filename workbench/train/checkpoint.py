"""Checkpoints: named tensors and a little JSON, hashed, the two newest kept.

A flipped bit in a weights file loads silently, so each file has its SHA-256 beside it, checked on load; a
checkpoint that does not match is passed over for the one before it.
"""

from __future__ import annotations

import json
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
    """The newest checkpoint whose hash matches, or None; damaged ones are reported and passed over."""
    for path in reversed(_numbered(folder)):
        try:
            return load_tensors(path)
        except DamagedFile as error:
            reporter.event(Message("warning", f"{error}; using the checkpoint before it"))
    return None


def discard_checkpoints(folder: Path) -> None:
    """Remove every numbered checkpoint: the run is over and its final weights are saved."""
    for path in _numbered(folder):
        remove_tensors(path)


class DamagedFile(Exception):
    """A weights file that is not what was written."""


def save_tensors(path: Path, tensors: dict[str, Tensor], plain: dict[str, Any]) -> str:
    """Write a safetensors file and its SHA-256 beside it, both durably; returns the hash in hex."""
    with atomic_path(path) as temporary:
        own = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(own, temporary, metadata={"petbench": json.dumps(plain)})
        digest = file_sha256(temporary)
    atomic_write(_hash_path(path), f"{digest}  {path.name}\n")
    return digest


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
