"""Inspect: the images a run was least sure of, one of them large, and a person's word on them."""

from workbench.tui.screens.inspect.screen import InspectScreen

__all__ = ["InspectScreen"]
