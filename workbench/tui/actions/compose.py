"""What can be done on the Compose screen."""

from __future__ import annotations

from workbench.tui.actions.action import Action

COMPOSE: tuple[Action, ...] = (
    Action(
        "compose.launch",
        "L,f5",
        "launch",
        "Start the recipe in the background, saved or not, and watch it; with a sweep marked, all its runs.",
        "petbench launch {recipe}",
        True,
    ),
    Action(
        "compose.sweep",
        "w,f6",
        "sweep",
        "Give the field under the cursor several values: a run for each, and for each combination.",
        "petbench launch {recipe} --grid key=v1,v2",
        True,
    ),
    Action(
        "compose.save",
        "S,ctrl+s",
        "save",
        "Write the TOML to a file; asks for its name, and before it overwrites another.",
        "petbench recipe check {recipe}",
        True,
    ),
    Action(
        "compose.preview",
        "v,f7",
        "preview",
        "Draw real images of the data set as the augmentation makes them.",
        "petbench preview {recipe} --out DIR",
        True,
    ),
    Action(
        "compose.toml",
        "tab,f4",
        "form/toml",
        "Go to the TOML text and back; both always say the same.",
        "petbench recipe show {recipe} --toml",
        True,
    ),
    Action(
        "compose.open",
        "o,ctrl+o",
        "open",
        "Start from a recipe file, a past run, a new recipe, or a draft that was set aside.",
        "petbench recipe new NAME",
    ),
    Action(
        "compose.pick",
        "b",
        "backbones",
        "Choose the backbone from a list with sizes and ImageNet accuracies.",
        "petbench backbones",
    ),
    Action(
        "compose.counts",
        "c",
        "split",
        "Count the images of each class that are labelled, unlabelled, for validation and for the test.",
    ),
    Action("compose.undo", "u,ctrl+z", "undo", "Take the last change of the form or the text back."),
    Action("compose.redo", "U,ctrl+y", "redo", "Make the change again that was taken back."),
    Action(
        "compose.reset", "delete,backspace", "default", "Leave the field under the cursor at its default."
    ),
    Action("compose.problem", "n", "problem", "Go to the next thing that is wrong with the recipe."),
    Action("compose.fold", "z", "fold", "Open all groups of the form, or close them all."),
)
