"""Caches: files that can be made again. All are opened here, with distrust; what is wrong with one is said.

Four shapes: a *sealed* file, one line with the SHA-256 of the rest; JSON values, sealed; *columns*, arrays
and lists of texts, sealed; and a *table*, an .npy file whose header is known beforehand, so that nothing in
it is ever parsed.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.support.atomic import atomic_write
from workbench.support.locks import locked
from workbench.support.regular_file import UnreadableFile, parse_json, read_bytes, regular_descriptor

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

SEALED_LIMIT = 512 * 2**20
"""Most bytes of a sealed file that are read: many times what ten million images need."""

_SEAL = b"petbench-cache sha256="


class DamagedCache(Exception):
    """A cache file that is there and is not what was written; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


def read_sealed(path: Path, limit: int = SEALED_LIMIT) -> bytes | None:
    """What `write_sealed` wrote; None where there is nothing.

    Raises:
        DamagedCache: anything else, be it a directory, a pipe, a file cut short, or a flipped bit.
    """
    try:
        content = read_bytes(path, limit)
    except FileNotFoundError:
        return None
    except UnreadableFile as error:
        raise DamagedCache(str(error)) from error
    seal, found, rest = content.partition(b"\n")
    if not found or seal != _seal(rest):
        raise DamagedCache(f"{path.name}: not as it was written")
    return rest


def write_sealed(path: Path, content: bytes) -> None:
    """Replace `path`, whatever lies there, by sealed `content`; its directory is made.

    Raises:
        OSError: it cannot be written.
    """
    make_folder(path.parent)
    clear_way(path)
    atomic_write(path, sealed(content))


def sealed(content: bytes) -> bytes:
    """What a sealed file holds, for whoever writes it in a way of its own."""
    return _seal(content) + b"\n" + content


def read_json_cache(path: Path) -> Any:
    """The value that `write_json_cache` wrote; None where there is none, or it is damaged."""
    with contextlib.suppress(DamagedCache, ValueError):
        content = read_sealed(path)
        return None if content is None else parse_json(content)
    return None


def write_json_cache(path: Path, value: object) -> None:
    """Keep a JSON value; a cache that cannot be written is done without."""
    with contextlib.suppress(OSError):
        write_sealed(path, json.dumps(value).encode())


@dataclass(frozen=True)
class Columns:
    """What `write_columns` wrote: values of JSON, arrays (read-only), and lists of texts."""

    facts: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    blobs: dict[str, bytes]

    def texts(self, name: str) -> list[str]:
        """A list of texts. Raises: KeyError."""
        blob = self.blobs[name]
        return os.fsdecode(blob).split("\0")[:-1]


def read_columns(path: Path) -> Columns | None:
    """What `write_columns` wrote; None where there is nothing.

    Raises:
        DamagedCache: anything else.
    """
    import numpy as np

    content = read_sealed(path)
    if content is None:
        return None
    head, _, _ = content.partition(b"\n")
    at = len(head) + 1
    arrays, blobs = {}, {}
    try:
        told = parse_json(head)
        for name, dtype, shape in told["arrays"]:
            array = np.frombuffer(content, dtype, math.prod(shape), at).reshape(shape)
            arrays[name], at = array, at + array.nbytes
        for name, length in told["texts"]:
            blobs[name], at = content[at : at + length], at + length
        facts = told["facts"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedCache(f"{path.name}: not columns") from error
    if at != len(content) or not isinstance(facts, dict):
        raise DamagedCache(f"{path.name}: not columns")
    return Columns(facts, arrays, blobs)


def write_columns(
    path: Path,
    facts: Mapping[str, object],
    arrays: Mapping[str, NDArray[Any]],
    texts: Mapping[str, Sequence[str]],
) -> None:
    """Keep values of JSON, arrays of numbers, and texts without NUL such as file names, all sealed.

    Raises:
        OSError: it cannot be written.
    """
    blobs = {name: os.fsencode("".join(f"{text}\0" for text in values)) for name, values in texts.items()}
    told = {
        "facts": facts,
        "arrays": [[name, array.dtype.str, array.shape] for name, array in arrays.items()],
        "texts": [[name, len(blob)] for name, blob in blobs.items()],
    }
    head = json.dumps(told).encode() + b"\n"
    write_sealed(path, b"".join([head, *(array.tobytes() for array in arrays.values()), *blobs.values()]))


def map_table(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, *, writable: bool = False
) -> NDArray[Any] | None:
    """Map an .npy file of just this shape and type; None where there is nothing.

    Its header is compared with what numpy would write and never parsed; its length is right, since reading a
    map past a file's end ends the process. One to be written, whose rows have checksums, is given its length.

    Raises:
        DamagedCache: it is no such file.
    """
    import numpy as np

    header = table_header(shape, dtype)
    flags, mode = (os.O_RDWR, "r+b") if writable else (os.O_RDONLY, "rb")
    try:
        with os.fdopen(regular_descriptor(path, flags), mode) as stream:
            if stream.read(len(header)) != header:
                raise DamagedCache(f"{path.name}: its header is not that of {shape} {np.dtype(dtype)}")
            length = os.fstat(stream.fileno()).st_size
            wanted = len(header) + math.prod(shape) * np.dtype(dtype).itemsize
            if length != wanted and not writable:
                raise DamagedCache(f"{path.name}: {length} bytes instead of {wanted}")
            if length != wanted:
                os.ftruncate(stream.fileno(), wanted)
                os.posix_fallocate(stream.fileno(), 0, wanted)
            map_mode: Any = "r+" if writable else "r"
            return np.memmap(stream, dtype, map_mode, offset=len(header), shape=shape)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DamagedCache(error.strerror or str(error)) from error


def table_header(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    """What an .npy file of this shape and type begins with."""
    import numpy as np

    stream = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return stream.getvalue()


@contextlib.contextmanager
def locked_cache(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file of a cache; the kernel frees it when its holder dies.

    Args:
        waiting: called where another process holds it, before that is waited for.

    Raises:
        OSError: it cannot be made.
    """
    make_folder(path.parent)
    if not path.is_file() or path.is_symlink():
        discard(path)
    with locked(path, waiting=waiting):
        yield


def make_folder(folder: Path) -> None:
    """Make a directory of the cache; a file in its place goes. A link to nowhere stays: its disk may be away.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir() and not folder.is_symlink():
        folder.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)


def clear_way(path: Path) -> None:
    """Remove what lies where a cache's file belongs and cannot be replaced: a directory, of whatever content.

    Raises:
        OSError: it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)


def discard(path: Path) -> None:
    """Remove a cache's file, or whatever lies in its place; nothing there is fine. Raises: OSError."""
    clear_way(path)
    path.unlink(missing_ok=True)


def _seal(content: bytes) -> bytes:
    return _SEAL + hashlib.sha256(content).hexdigest().encode()
