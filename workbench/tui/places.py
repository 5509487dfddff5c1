"""Where in the app one can be: a screen and what it shows; small values that the session keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

from workbench.support.records import plain, record_from


@dataclass(frozen=True, slots=True)
class RunsPlace:
    """The table of all runs."""

    kind: ClassVar[str] = "runs"


@dataclass(frozen=True, slots=True)
class ComposePlace:
    """The form of a new recipe."""

    kind: ClassVar[str] = "compose"
    source: str = ""
    """A recipe file's path, or `run:ID` for a past run's recipe; empty: the draft kept, else a fresh one."""


@dataclass(frozen=True, slots=True)
class WatchPlace:
    """One run, live or past."""

    kind: ClassVar[str] = "watch"
    run: str = ""
    """The run's id."""


@dataclass(frozen=True, slots=True)
class ComparePlace:
    """Two to twenty runs beside each other."""

    kind: ClassVar[str] = "compare"
    runs: tuple[str, ...] = ()
    """Run ids; the first is the baseline unless the session kept another."""


@dataclass(frozen=True, slots=True)
class InspectPlace:
    """The images that a run was least sure of."""

    kind: ClassVar[str] = "inspect"
    run: str = ""
    """The run's id."""
    source: str = ""
    """`round:3`, `test`, `val`, `teacher-test` or `teacher-val`; empty: the last round, else `val`."""
    true: str = ""
    """With `said`: only images of this class …"""
    said: str = ""
    """… that were taken for this one."""


@dataclass(frozen=True, slots=True)
class LabelPlace:
    """The images of a folder, to be labelled."""

    kind: ClassVar[str] = "label"
    folder: str = ""
    """An absolute path; empty: asks for one."""
    by: str = ""
    """Who labels; empty: the login's name."""
    engine: tuple[str, ...] = ()
    """Options of the process that chooses what comes next, such as `--backbone NAME`."""


Place = RunsPlace | ComposePlace | WatchPlace | ComparePlace | InspectPlace | LabelPlace


def surviving(place: Place, runs_home: Path) -> Place | None:
    """The place as far as its runs are still there; None where nothing is left of it."""
    match place:
        case WatchPlace() | InspectPlace():
            return place if (runs_home / place.run).is_dir() else None
        case ComparePlace(runs):
            left = tuple(run for run in runs if (runs_home / run).is_dir())
            return ComparePlace(left) if len(left) > 1 else None
        case LabelPlace(folder):
            return place if Path(folder).is_dir() else None
        case _:
            return place


_KINDS: dict[str, type[Place]] = {place.kind: place for place in get_args(Place)}


def pack_place(place: Place) -> dict[str, Any]:
    """A place as JSON values."""
    return {"kind": place.kind, **plain(place)}


def unpack_place(values: object) -> Place | None:
    """The place that `pack_place` packed; None for anything else, such as another version's."""
    if not isinstance(values, Mapping):
        return None
    kind = _KINDS.get(str(values.get("kind")))
    if kind is None:
        return None
    try:
        return record_from(values, kind)
    except ValueError:
        return None
