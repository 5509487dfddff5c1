"""Compare: two to twenty runs beside each other, measured against a baseline."""

from __future__ import annotations

from workbench.tui.screens.compare.screen import CompareScreen

__all__ = ["CompareScreen"]
