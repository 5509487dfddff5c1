"""The app's screens: each owns its layout and keys, draws from values, and reads files only in workers."""

from __future__ import annotations

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


def screen_for(place: Place) -> PlaceScreen[Any]:
    """A new screen that shows `place`."""
    module, name = _SCREENS[place.kind]
    return cast("PlaceScreen[Any]", getattr(import_module(module), name)(place))
