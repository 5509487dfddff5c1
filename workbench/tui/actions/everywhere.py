"""What can be done on every screen."""

from __future__ import annotations

from workbench.tui.actions.action import Action

EVERYWHERE = (
    Action("everywhere.help", "question_mark", "help", "What the keys do here, and what is focused."),
    Action("everywhere.palette", "ctrl+p,colon", "palette", "Find any action, run or recipe by typing."),
    Action("everywhere.twin", "y", "command", "The command line that gives what is on the screen, to copy."),
    Action("everywhere.back", "escape", "back", "Leave this screen for the one before."),
    Action("everywhere.theme", "ctrl+t", "theme", "Choose the colours; the default suits colour-blind eyes."),
    Action(
        "everywhere.picture",
        "f12",
        "picture",
        "Save the screen as an SVG picture in the current directory.",
    ),
    Action("everywhere.quit", "q", "quit", "Close the app. Runs go on; everything here is kept."),
)
