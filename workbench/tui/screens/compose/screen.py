"""Compose: a recipe as a form, with its TOML beside it, and what it will do before it does it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.binding import BindingType

from workbench.tui.screens.compose.doing import ComposeDoing
from workbench.tui.screens.place import bindings_of


class ComposeScreen(ComposeDoing):
    """The form of a new recipe."""

    SCOPE = "compose"
    CSS_PATH = Path(__file__).with_name("compose.tcss")
    BINDINGS: ClassVar[list[BindingType]] = [*bindings_of("compose")]
