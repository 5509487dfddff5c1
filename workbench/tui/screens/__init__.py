"""The app's screens: each owns its layout and keys, draws from values, and reads files only in workers."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from workbench.tui.places import Place

if TYPE_CHECKING:
    from workbench.tui.screens.place import PlaceScreen

# Imported when first opened: the app's first paint waits for the runs table alone.
_SCREENS = {
    "runs": ("workbench.tui.screens.runs", "RunsScreen"),
    "compose": ("workbench.tui.screens.compose", "ComposeScreen"),
    "watch": ("workbench.tui.screens.watch", "WatchScreen"),
    "compare": ("workbench.tui.screens.compare", "CompareScreen"),
    "inspect": ("workbench.tui.screens.inspect", "InspectScreen"),
    "label": ("workbench.tui.screens.label", "LabelScreen"),
}


_SHARED = ("workbench.recipe", "workbench.dataset", "workbench.jobs")
"""Packages that import their own modules: of two threads that begin with different ones, one gets Python's
DeadlockError."""
_LOADING = threading.Lock()


def load_screens() -> None:
    """Load every screen's modules, in the first thread that asks; the others wait. Nothing the second time.

    The app does so behind its first paint. Whatever imports later than that calls this before.
    """
    with _LOADING:
        for module in (*_SHARED, *(module for module, _ in _SCREENS.values())):
            import_module(module)


def screen_for(place: Place) -> PlaceScreen[Any]:
    """A new screen that shows `place`."""
    module, name = _SCREENS[place.kind]
    return cast("PlaceScreen[Any]", getattr(import_module(module), name)(place))
