"""The Compose screen: a recipe as a form and as TOML.

`draft` is the recipe as written, `draft_model` its history, sweep and shelf, both without a screen; `fields`,
`form_lines`, `networks`, `facts` say what the panels draw; `screen` lays them out and does the actions.
"""

from workbench.tui.screens.compose.screen import ComposeScreen

__all__ = ["ComposeScreen"]
