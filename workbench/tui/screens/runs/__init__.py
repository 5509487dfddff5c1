"""Runs, the home screen: every run in a table, what goes on on top, a preview of the one under the cursor."""

from workbench.tui.screens.runs.screen import RunsScreen

__all__ = ["RunsScreen"]
