"""From an image's id to its file: the catalogue of a run's data set, remembered between sessions.

Reading the catalogue opens every image of the set (2 s for the pets); for a page of pictures only the files'
names matter, and those hold as long as no directory of the set changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.dataset import open_catalogue
from workbench.dataset.contents import stamp_of
from workbench.dataset.run_data import how_it_is_read, locate
from workbench.recipe.data import Data
from workbench.support.caches import read_json_cache, write_json_cache
from workbench.support.digests import fingerprint
from workbench.support.paths import cache_home

_VERSION = 1


def picture_files(data: Data, data_home: Path) -> dict[str, Path]:
    """Image id -> file, for every usable image of a recipe's data set. May take seconds: call it in a thread.

    Raises:
        UserError: the data set is not there, or cannot be used; says how to get it.
    """
    kept = _place(data, data_home)
    known = _remembered(kept)
    if known is not None:
        return known
    catalogue = open_catalogue(data, data_home=data_home)
    files = {record.id: record.path for record in catalogue.records}
    place = locate(data, data_home=data_home)  # a table's is its file
    _remember(kept, files, (*dict.fromkeys((catalogue.root, place)), *_extra_folders(data)))
    return files


def look_of(files: Mapping[str, Path]) -> str:
    """Changes when any of the files does: what was found out about the pictures holds no longer."""
    stamps: list[object] = []
    for id_, path in files.items():
        with contextlib.suppress(OSError, ValueError):
            stamps.append([id_, stamp_of(path)])
    return fingerprint(stamps)


def _place(data: Data, data_home: Path) -> Path:
    root = str(Path(data.root).expanduser().absolute()) if data.root else ""
    extra = [str(folder) for folder in _extra_folders(data)]
    told = json.dumps([_VERSION, data.dataset, root, str(data_home), *extra, *how_it_is_read(data)])
    return cache_home() / "pictures" / f"{hashlib.sha256(told.encode()).hexdigest()[:24]}.sealed"


def _remembered(kept: Path) -> dict[str, Path] | None:
    """What was remembered, unless a directory was changed since: a file was added, removed or renamed."""
    try:
        values: Any = read_json_cache(kept)
        for name, changed in values["directories"].items():
            if Path(name).stat().st_mtime_ns != changed:
                return None
        return {id_: Path(name) for id_, name in values["files"].items()}
    except (OSError, KeyError, TypeError, AttributeError):
        return None


def _extra_folders(data: Data) -> tuple[Path, ...]:
    named = (data.extra_labelled, data.extra_unlabelled)
    return tuple(Path(name).expanduser().absolute() for name in named if name)


def _remember(kept: Path, files: Mapping[str, Path], roots: Sequence[Path]) -> None:
    with contextlib.suppress(OSError):
        values = {
            "directories": {
                str(path): path.stat().st_mtime_ns for path in _directories(files.values(), roots)
            },
            "files": {id_: str(path) for id_, path in files.items()},
        }
        write_json_cache(kept, values)


def _directories(files: Iterable[Path], roots: Sequence[Path]) -> set[Path]:
    """Every directory that holds one of the files, and those between it and its root."""
    found = set(roots)
    for parent in {path.parent for path in files}:
        folder = parent
        while folder not in found and any(folder.is_relative_to(root) for root in roots):
            found.add(folder)
            folder = folder.parent
    return found
