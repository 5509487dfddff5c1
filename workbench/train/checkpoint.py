"""Checkpoints: named tensors and a little JSON, hashed, the two newest kept.

A flipped bit in a weights file loads silently, so each file has its SHA-256 beside it, checked on load; a
checkpoint that does not match is passed over for the one before it.
"""

from __future__ import annotations

import contextlib
import copy
import errno
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from workbench.runs.events import Message, Reporter
from workbench.support.atomic import atomic_path, atomic_write, temporaries
from workbench.support.digests import file_sha256
from workbench.support.regular_file import open_regular, parse_json, read_text
from workbench.train.interrupt import Interrupted
from workbench.train.network import clone_weights
from workbench.train.state import Weights

KEPT = 2
_LONGEST_HASH = 4096
_LONGEST_HEADER = 100_000_000  # as safetensors has it
_OF_SAFETENSORS = ".tmp??????"
"""How it calls the file that it renames to the temporary one it was told to write."""


def save_checkpoint(
    folder: Path, tensors: dict[str, Tensor], plain: dict[str, Any], check: Callable[[], None] = lambda: None
) -> Path:
    """Write the next numbered checkpoint durably, then remove all but the two newest.

    Args:
        check: raises where nothing may be written any more.

    Raises:
        OSError: disk full or not writable; the older checkpoints are then untouched.
    """
    folder.mkdir(exist_ok=True)
    existing = _numbered(folder)
    number = int(existing[-1].stem) + 1 if existing else 1
    path = folder / f"{number:06d}.safetensors"
    check()
    save_tensors(path, tensors, plain, check)
    for old in existing[: len(existing) + 1 - KEPT]:
        remove_tensors(old)
    return path


Loaded = tuple[dict[str, Tensor], dict[str, Any]]


def load_newest(folder: Path, reporter: Reporter) -> Loaded | None:
    """The newest checkpoint whose hash matches, or None; damaged ones are reported and passed over."""
    existing = _numbered(folder)
    for path in reversed(existing):
        try:
            return load_tensors(path)
        except DamagedFile as error:
            then = "the run begins anew" if path == existing[0] else "using the checkpoint before it"
            reporter.event(Message("warning", f"checkpoint {error}; {then}"))
    return None


def sweep_checkpoints(folder: Path) -> None:
    """Remove what attempts before this one left in vain: temporary files, and checkpoints that are damaged.

    Kept, a damaged one would count among the two newest and push a sound one out.
    """
    for path, _, _ in temporaries(folder):
        path.unlink(missing_ok=True)
    for path in folder.glob(_OF_SAFETENSORS):
        path.unlink(missing_ok=True)
    for path in folder.glob("*.sha256"):  # written first, and the file it is about never came
        if not path.with_suffix(".safetensors").exists():
            path.unlink(missing_ok=True)
    for path in reversed(_numbered(folder)):
        if is_whole(path):
            return
        remove_tensors(path)


def has_checkpoint(folder: Path) -> bool:
    """Whether there is a numbered checkpoint that is what was written."""
    return any(is_whole(path) for path in reversed(_numbered(folder)))


def is_whole(path: Path) -> bool:
    """Whether a file that `save_tensors` wrote matches its hash."""
    try:
        return _hash(path) == _written_hash(path)
    except (OSError, ValueError, IndexError):
        return False


def discard_checkpoints(folder: Path) -> None:
    """Remove every numbered checkpoint: the run is over and its final weights are saved."""
    for path in _numbered(folder):
        remove_tensors(path)


class DamagedFile(Exception):
    """A weights file that is not what was written."""


def save_tensors(
    path: Path, tensors: dict[str, Tensor], plain: dict[str, Any], check: Callable[[], None] = lambda: None
) -> str:
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
        check()
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
        if _hash(path) != _written_hash(path):
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


def _hash(path: Path) -> str:
    """The file's SHA-256; "" of one that is not as long as it says, as a hole of 40 GB takes minutes.

    Raises: OSError.
    """
    with open_regular(path) as stream:
        told, there = _told_bytes(stream), os.fstat(stream.fileno()).st_size
    return file_sha256(path) if told == there else ""


def _told_bytes(stream: BinaryIO) -> int:
    """What a safetensors file says of its length: 8 bytes tell that of its JSON, and that of the tensors."""
    length = int.from_bytes(stream.read(8), "little")
    if length > _LONGEST_HEADER:
        return 0
    try:
        header = parse_json(stream.read(length))
        ends = [value["data_offsets"][1] for key, value in header.items() if key != "__metadata__"]
        return 8 + length + int(max(ends, default=0))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError):
        return 0


def _written_hash(path: Path) -> str:
    return read_text(_hash_path(path), _LONGEST_HASH).split()[0]


def _hash_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _numbered(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.safetensors") if path.stem.isdigit())


class CheckpointWriter:
    """Hashes and writes in a thread of its own, one checkpoint at a time and in their order.

    Leaving it as a context waits for the last one, so that a run that stops is safe on disk. What went wrong
    in writing is raised by the next `save` or `wait`, or on leaving.

    Args:
        folder: of the run's numbered checkpoints.
        check: raises if the run is another attempt's by now; asked before a file is put into its place.
        is_kept: whether this process writes any; False of one that another one writes for.
    """

    def __init__(
        self, folder: Path, check: Callable[[], None] = lambda: None, *, is_kept: bool = True
    ) -> None:
        self._is_kept = is_kept
        self._folder = folder
        self._check = check
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[Path] | None = None

    def save(self, tensors: Weights, plain: dict[str, Any]) -> None:
        """Copy both to the host's memory and begin to write them, once the checkpoint before is written.

        Raises:
            OSError: the checkpoint before could not be written.
        """
        if not self._is_kept:
            return
        self.wait()
        self._writing = self._thread.submit(
            save_checkpoint, self._folder, clone_weights(tensors), copy.deepcopy(plain), self._check
        )

    def wait(self) -> None:
        """Return when nothing is left to write.

        Raises:
            OSError: disk full or not writable.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            # A stopped run says that it is safe, so it must be; other trouble is told before the disk's.
            says_it_is_safe = error is None or isinstance(error, Interrupted)
            with contextlib.nullcontext() if says_it_is_safe else contextlib.suppress(OSError):
                self.wait()
        finally:
            self._thread.shutdown()
