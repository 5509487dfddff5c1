"""Watch: one run, live or past."""

from workbench.tui.screens.watch.screen import WatchScreen

__all__ = ["WatchScreen"]
