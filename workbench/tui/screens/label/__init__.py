"""Label: a folder that nobody labelled, and a person who says what its images show, a group at a stroke."""

from workbench.tui.screens.label.screen import LabelScreen

__all__ = ["LabelScreen"]
