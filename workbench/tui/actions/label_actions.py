"""What can be done with the images of a folder, on the screen Label."""

from __future__ import annotations

from workbench.tui.actions.action import Action

LABEL: tuple[Action, ...] = (
    Action(
        "label.accept",
        "enter",
        "accept guesses",
        "What the model guesses of each ticked image is right: it is labelled so.",
        "petbench label {folder} --assign CLASS IMAGE",
        footer=True,
    ),
    Action(
        "label.tick",
        "space",
        "tick",
        "Take the image under the cursor out of what the next key labels, or put it in again.",
        footer=True,
    ),
    Action(
        "label.name",
        "n",
        "new class",
        "Label what is ticked with a new class, or one that there is: type its name.",
        "petbench label {folder} --assign CLASS IMAGE",
        footer=True,
    ),
    Action(
        "label.find",
        "slash",
        "class by name",
        "Label what is ticked with a class: type the beginning of its name.",
        "petbench label {folder} --assign CLASS IMAGE",
    ),
    Action(
        "label.undo",
        "u,backspace",
        "undo",
        "Take your last stroke back, and the one before it, to the beginning; what others said stays.",
        "petbench label {folder} --undo",
        footer=True,
    ),
    Action(
        "label.launch",
        "L",
        "train",
        "Write the recipe that petbench start would for these labels and all other images, and launch it.",
        "petbench label {folder} --recipe",
        footer=True,
    ),
    Action(
        "label.cannot_tell",
        "question_mark",
        "cannot tell",
        "Nobody can say what the ticked images show; they are kept apart and not asked again.",
        "petbench label {folder} --cannot-tell IMAGE",
    ),
    Action(
        "label.unusable",
        "x",
        "not usable",
        "The ticked images are to be left out: blurred, twice there, of something else.",
        "petbench label {folder} --unusable IMAGE",
    ),
    Action("label.skip", "s", "skip", "Leave these images as they are, and go on to others."),
    Action("label.all", "asterisk", "tick all", "Tick every image that is shown, or none of them."),
    Action(
        "label.split",
        "p",
        "split off",
        "What is not ticked of a group gets a class of its own, the rest stays; of a class, what is ticked.",
        "petbench label {folder} --split CLASS NEW IMAGE",
    ),
    Action(
        "label.rename",
        "r",
        "rename class",
        "Call a class otherwise.",
        "petbench label {folder} --rename OLD NEW",
    ),
    Action(
        "label.merge",
        "m",
        "merge classes",
        "Put all images of a class into another one.",
        "petbench label {folder} --merge OLD INTO",
    ),
    Action(
        "label.order",
        "o",
        "next order",
        "What comes next: by itself, typical images, doubtful ones, short classes, near mistakes, at random.",
    ),
    Action(
        "label.second_look",
        "d",
        "second look",
        "Show labelled images whose label the model does not believe; once more goes back.",
    ),
    Action("label.larger", "z", "larger", "Fewer and larger pictures at a time, down to one."),
    Action(
        "label.engine",
        "ctrl+r",
        "restart chooser",
        "List the folder's images anew, and start the process anew that looks at them and chooses.",
    ),
    Action("label.folder", "ctrl+o", "other folder", "Label another folder.", "petbench label FOLDER"),
    Action("label.help", "f1", "help", "What the keys do here, and what is focused."),
    Action(
        "label.close",
        "escape",
        "back",
        "From a class or a second look back to the images to label; from there to the screen before.",
    ),
)
