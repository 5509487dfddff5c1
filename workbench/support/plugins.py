"""Registries: what there is of a kind, by name; and what other packages add to them by entry points.

Both are imported when a registry is first read, never before. A plug-in that breaks is told of once, by
package and entry point, and what it had registered until then is taken back; petbench goes on without it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Literal, TypeVar, get_args

from workbench.support.clean import clean
from workbench.support.errors import nearest

Group = Literal["petbench.strategies", "petbench.backbones", "petbench.datasets"]
GROUPS: tuple[Group, ...] = get_args(Group)
T = TypeVar("T")

_LOCK = threading.RLock()


@dataclass(frozen=True, slots=True)
class Plugin:
    """An entry point of another package; all text is harmless to show."""

    group: Group
    name: str
    package: str
    version: str
    target: str
    """The module that it names, and maybe what in it."""
    problem: str = ""
    """Why it is not there; empty where it is."""

    def __str__(self) -> str:
        return f"{self.name} of {self.package} {self.version} ({self.group}: {self.target})"

    @property
    def warning(self) -> str:
        """What a person should hear of one that is broken."""
        return (
            f"plug-in {self}: {self.problem}; petbench goes on without it: mend it, or pip uninstall "
            f"{self.package}"
        )


def _to_stderr(plugin: Plugin) -> None:
    print(f"petbench: warning: {plugin.warning}", file=sys.stderr)


_listeners: list[Callable[[Plugin], None]] = [_to_stderr]
_loaded: dict[Group, tuple[Plugin, ...]] = {}
_registries: list[Registry[object]] = []


class Registry(Mapping[str, T]):
    """Things of a kind by name, in the order in which they registered themselves.

    Args:
        noun: what one of them is called.
        own: petbench's packages and modules that register some as they are imported; of a package, every
            module.
        group: the entry points by which other packages add more; None: nobody does.
    """

    def __init__(self, noun: str, own: Sequence[str], group: Group | None = None) -> None:
        self.noun = noun
        self._own, self._group = tuple(own), group
        self._things: dict[str, T] = {}
        self._is_read = self._is_being_read = False
        _registries.append(self)  # type: ignore[arg-type]

    def add(self, name: str, thing: T) -> None:
        """Register one.

        Raises:
            ValueError: another has that name.
        """
        if name in self._things:
            raise ValueError(f"there is another {self.noun} named {name!r}")
        self._things[name] = thing

    def near(self, name: str) -> str:
        """`did you mean fixmatch?`, or nothing."""
        found = nearest(name, self)
        return f"did you mean {found}?" if found else ""

    def __getitem__(self, name: str) -> T:
        self._read()
        return self._things[name]

    def __iter__(self) -> Iterator[str]:
        self._read()
        return iter(tuple(self._things))

    def __len__(self) -> int:
        self._read()
        return len(self._things)

    def _read(self) -> None:
        if self._is_read:
            return
        with _LOCK:
            if self._is_read or self._is_being_read:  # what is imported below may look who is there
                return
            self._is_being_read = True
            try:
                for name in self._own:
                    import_all(name)
                if self._group is not None:
                    load_plugins(self._group)
                self._is_read = True
            finally:
                self._is_being_read = False

    def _snapshot(self) -> Callable[[], None]:
        before = dict(self._things)

        def take_back() -> None:
            self._things = before

        return take_back


@functools.cache
def import_all(name: str) -> None:
    """Import a module; of a package every module, so that each registers what it has."""
    module = importlib.import_module(name)
    for found in pkgutil.iter_modules(getattr(module, "__path__", [])):
        importlib.import_module(f"{name}.{found.name}")


@contextlib.contextmanager
def broken_to(listener: Callable[[Plugin], None]) -> Iterator[None]:
    """Within, `listener` hears of a plug-in that is broken, on whatever thread reads first; else stderr does.

    Each is told of once a process.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def load_plugins(group: Group) -> tuple[Plugin, ...]:
    """Import what other packages name in a group, once a process; what breaks is told of and left out."""
    with _LOCK:
        if group not in _loaded:
            _loaded[group] = ()
            _loaded[group] = tuple(_loaded_one(group, point) for point in _points(group))
        return _loaded[group]


def installed_plugins(group: Group) -> tuple[Plugin, ...]:
    """What other packages name in a group; nothing is imported, so `problem` is not known."""
    return tuple(_plugin(group, point) for point in _points(group))


def _points(group: Group) -> list[EntryPoint]:
    # A package that lies on the path twice lists its own twice.
    found = {(point.name, point.value): point for point in entry_points(group=group)}
    return [found[key] for key in sorted(found)]


def _loaded_one(group: Group, point: EntryPoint) -> Plugin:
    undo = [registry._snapshot() for registry in _registries]
    try:
        point.load()
    except (Exception, SystemExit) as error:
        for take_back in undo:
            take_back()
        said = clean(error, 300)
        plugin = _plugin(group, point, f"{type(error).__name__}: {said}" if said else type(error).__name__)
        _listeners[-1](plugin)
        return plugin
    return _plugin(group, point)


def _plugin(group: Group, point: EntryPoint, problem: str = "") -> Plugin:
    home = point.dist
    package, version = ("a package without a name", "?") if home is None else (home.name, home.version)
    return Plugin(
        group=group,
        name=clean(point.name, 100),
        package=clean(package, 100),
        version=clean(version, 40),
        target=clean(point.value, 100),
        problem=problem,
    )
