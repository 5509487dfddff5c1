"""The Compose screen: `draft.py` is its core without a screen, `core.py` puts it on one."""

from workbench.tui.screens.compose.screen import ComposeScreen

__all__ = ["ComposeScreen"]
