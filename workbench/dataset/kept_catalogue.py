"""A catalogue kept from one start to the next, and what proves that it still holds.

It holds while every folder that was listed has its times and inode, and every image, table and link looks as
it did: length, times, inode. Nothing is kept of what changed in the two seconds before it was looked at, or
since, or where a file system does not promise that a folder's times change with its names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.dataset.catalogue import Catalogue, LeftOut
from workbench.dataset.contents import ContentColumns, is_settled, stamps_of
from workbench.dataset.depth import Deep
from workbench.dataset.folder_layout import is_hidden, role_of
from workbench.dataset.image_columns import ImageColumns
from workbench.dataset.probe import UnreadableImage, read_header, tried_formats
from workbench.support.caches import Columns, DamagedCache, read_columns, write_columns
from workbench.support.paths import cache_home

_VERSION = 1
"""Raised when a reader lists or divides otherwise than before: what was kept is then looked at anew."""
_MOST = 8
"""Kept catalogues of one data set, which its recipes read in several ways; older ones go."""
_FAITHFUL = frozenset(
    {"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "bcachefs", "tmpfs", "ramfs", "overlay"}
    | {"squashfs", "erofs", "iso9660", "nfs", "nfs4", "lustre", "gpfs", "beegfs", "ceph"}
)
"""File systems that change a folder's times with its names. A store of objects behind FUSE may not."""
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a reader goes by besides the images that it lists."""

    folders: tuple[Path, ...] = ()
    """With all below them but hidden things."""
    files: tuple[Path, ...] = ()
    """Whose content is read, such as a table."""


def kept_or_read(
    sources: Sources | None, named: object, read: Callable[[], Catalogue], *, cache: Path | None = None
) -> Catalogue:
    """The catalogue that was kept if it still holds; else what `read` makes, kept as its contents are known.

    Args:
        sources: None: nothing is kept.
        named: what it is read from and how, as JSON; another value is another catalogue.
        read: looks at the data set.
        cache: default: the cache home.

    Raises: what `read` does.
    """
    began = time.time_ns()
    if sources is None or not all(map(_is_faithful, (*sources.folders, *sources.files))):
        return replace(read(), began=began)
    place = _place(sources, named, cache or cache_home())
    remark = ""
    try:
        kept = read_columns(place)
        found = None if kept is None else _opened(kept, place)
    except (DamagedCache, ValueError, KeyError, TypeError, IndexError) as error:
        reason = error.reason if isinstance(error, DamagedCache) else "not a kept catalogue"
        remark, found = f"the kept list of images was damaged ({reason}): they are looked at anew", None
    if found is not None:
        return found
    return replace(read(), began=began, remark=remark).kept_by(partial(_keep, place, sources))


def _place(sources: Sources, named: object, cache: Path) -> Path:
    """By all that decides what is read, but the files themselves."""
    from PIL import __version__ as pillow

    from workbench import __version__

    places = [*map(os.fspath, sources.folders), *map(os.fspath, sources.files)]
    home = hashlib.sha256(os.fsencode("\0".join(places))).hexdigest()[:24]
    told = [_VERSION, __version__, pillow, tried_formats(), os.path.expanduser("~"), named]  # noqa: PTH111
    name = hashlib.sha256(json.dumps(told).encode("utf-8", "surrogatepass")).hexdigest()[:24]
    return cache / "catalogues" / home / f"{name}.sealed"


def _opened(kept: Columns, place: Path) -> Catalogue | None:
    """The catalogue, or None where something changed. Raises: DamagedCache, it is another one's."""
    facts, arrays = kept.facts, kept.arrays
    if facts["name"] != place.name:
        raise DamagedCache("it is another data set's")
    images = _images(kept)
    for names, stamps in (
        (kept.texts("folders"), arrays["folder_stamps"]),
        (kept.texts("files"), arrays["file_stamps"]),
        (images.places, arrays["stamps"]),
    ):
        if not np.array_equal(stamps_of(names), stamps):
            return None
    links = zip(kept.texts("links"), arrays["link_kinds"].tolist(), strict=True)
    left_out = tuple(LeftOut(id_, reason, Path(path)) for id_, reason, path in facts["left_out"])
    if any(_kind(link) != kind for link, kind in links) or not all(map(_is_still_left_out, left_out)):
        return None
    breeds, species, passed_over, understood, cautions = (tuple(facts[name]) for name in _TOLD)
    catalogue = Catalogue(
        *(facts["dataset"], images.root, breeds, species, images, left_out),
        passed_over=passed_over,
        understood=understood,
        cautions=cautions,
    )
    deep = {int(row): Deep(*values) for row, values in facts["deep"].items()}
    catalogue.__dict__["contents"] = ContentColumns(arrays["digests"], arrays["stamps"], deep)
    catalogue.__dict__.update({name: facts[name] for name in _FINGERPRINTS})
    return catalogue


_TOLD = ("breeds", "species", "passed_over", "understood", "cautions")
_FINGERPRINTS = ("pixels", "fingerprint", "pictures", "boxes_fingerprint")


def _images(kept: Columns) -> ImageColumns:
    arrays, ids = kept.arrays, kept.texts("ids")
    return ImageColumns(
        Path(kept.facts["root"]),
        ids,
        kept.texts("paths") if "paths" in kept.blobs else ids,
        arrays["breed"],
        arrays["species"],
        arrays["part"],
        arrays["sizes"],
        arrays["bytes"],
        arrays.get("heads"),
        kept.texts("groups") if "groups" in kept.blobs else None,
    )


def _keep(place: Path, sources: Sources, catalogue: Catalogue) -> None:
    """Keep a catalogue whose contents are known, if nothing that it was made of has changed meanwhile."""
    images, contents = catalogue.columns, catalogue.contents
    lost = [image for image in catalogue.left_out if image.path is None]
    if lost or not np.array_equal(images.bytes, contents.stamps[:, 0]):
        return
    known = {*images.places, *(os.fspath(image.path) for image in catalogue.left_out if image.path)}
    try:
        found = _look(sources.folders)
    except OSError:
        return
    links = [link for link in found.links if link not in known]
    files = [os.fspath(file) for file in sources.files]
    folder_stamps, file_stamps = stamps_of(found.folders), stamps_of(files)
    everything = np.concatenate([contents.stamps, folder_stamps, file_stamps])
    if not is_settled(everything, catalogue.began).all():
        return
    columns: dict[str, NDArray[Any]] = {
        "breed": images.breed,
        "species": images.species,
        "part": images.part,
        "sizes": images.sizes,
        "bytes": images.bytes,
        "digests": contents.raw,
        "stamps": contents.stamps,
        "folder_stamps": folder_stamps,
        "file_stamps": file_stamps,
        "link_kinds": np.array([_kind(link) for link in links], dtype=np.int64),
    }
    texts = {"ids": images.ids, "folders": found.folders, "files": files, "links": links}
    if images.files != images.ids:
        texts["paths"] = images.files
    if images.groups is not None:
        texts["groups"] = images.groups
    facts: dict[str, Any] = {
        "name": place.name,
        "dataset": catalogue.dataset,
        "root": os.fspath(catalogue.root),
        "left_out": [[image.id, image.reason, os.fspath(image.path or "")] for image in catalogue.left_out],
        "deep": {str(row): deep.values for row, deep in contents.deep.items()},
        **{name: getattr(catalogue, name) for name in (*_TOLD, *_FINGERPRINTS)},
    }
    if images.heads is not None:
        columns["heads"] = images.heads
    with contextlib.suppress(OSError, ValueError):  # a cache that cannot be written costs time alone
        write_columns(place, facts, columns, texts)
        for old in sorted(place.parent.glob("*.sealed"), key=lambda path: -path.stat().st_mtime)[_MOST:]:
            old.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class _Look:
    folders: list[str]
    links: list[str]
    """Symbolic links, but to folders that readers go into."""


def _look(roots: Iterable[Path]) -> _Look:
    """Every folder that a reader may list, and every link in one. Raises: OSError."""
    found = _Look([], [])
    for root in roots:
        _look_into(os.fspath(root), 0, follows=True, found=found)
    return found


def _look_into(folder: str, depth: int, *, follows: bool, found: _Look) -> None:
    """A link to a folder is gone into where a class or a part may be one: below the root, or below a part."""
    found.folders.append(folder)
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_hidden(entry.name):
                continue
            is_link = entry.is_symlink()
            if not entry.is_dir():
                found.links.extend([entry.path] if is_link else [])
            elif is_link and not follows:
                found.links.append(entry.path)
            else:
                into = depth == 0 and role_of(entry.name) is not None
                _look_into(entry.path, depth + 1, follows=into, found=found)


def _kind(path: str) -> int:
    """What a link leads to; 0: to nothing."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)  # noqa: PTH116 (of many)
    except (OSError, ValueError):
        return 0


def _is_still_left_out(image: LeftOut) -> bool:
    """Whether a file that could not be read cannot be read now: it may have been the disk's fault."""
    try:
        read_header(image.path or Path())
    except UnreadableImage as error:
        return image.reason.startswith(error.reason)
    return False


def _is_faithful(path: Path) -> bool:
    """Whether a folder's times tell of its names here."""
    return file_system_of(path) in _FAITHFUL


def file_system_of(path: Path) -> str:
    """The kind of file system that a path lies on; "" where the kernel does not say."""
    try:
        device = os.stat(path).st_dev  # noqa: PTH116
        with open("/proc/self/mountinfo", "rb") as stream:  # noqa: PTH123
            mounts = [line.split() for line in stream]
    except OSError:
        return ""
    named = f"{os.major(device)}:{os.minor(device)}".encode()
    kinds = {fields[fields.index(b"-") + 1].decode() for fields in mounts if fields[2] == named}
    return kinds.pop() if len(kinds) == 1 else _by_mount_point(path, mounts)


def _by_mount_point(path: Path, mounts: list[list[bytes]]) -> str:
    """By the longest mount point above it: btrfs gives its subvolumes numbers that no mount has."""
    real = os.fsencode(os.path.realpath(path))
    best, kind = -1, ""
    for fields in mounts:
        point = _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), fields[4])
        inside = real == point or real.startswith(point.rstrip(b"/") + b"/")
        if inside and len(point) >= best:
            best, kind = len(point), fields[fields.index(b"-") + 1].decode()
    return kind
