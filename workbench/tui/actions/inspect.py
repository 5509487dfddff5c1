"""What can be done on the Inspect screen."""

from __future__ import annotations

from workbench.tui.actions.action import Action

INSPECT: tuple[Action, ...] = (
    Action(
        "inspect.large",
        "enter",
        "large",
        "Show the image large, with its five most probable classes and its nearest labelled neighbours; "
        "once more goes back to the grid.",
        "petbench neighbours {run} {image}",
        footer=True,
    ),
    Action(
        "inspect.accept",
        "a",
        "accept",
        "What the model said of the image is right: the next recipe trains on it with that label.",
        "petbench review {run} --accept {image}",
        footer=True,
    ),
    Action(
        "inspect.relabel",
        "r",
        "relabel",
        "Choose the image's class yourself; the next recipe trains on it with that label.",
        "petbench review {run} --relabel {image} CLASS",
        footer=True,
    ),
    Action(
        "inspect.exclude",
        "x",
        "exclude",
        "The next recipe does not train on this image.",
        "petbench review {run} --exclude {image}",
        footer=True,
    ),
    Action(
        "inspect.undo",
        "u",
        "undo",
        "Take the last verdict of the review back, whoever gave it.",
        "petbench review {run} --undo",
    ),
    Action(
        "inspect.relaunch",
        "R",
        "relaunch",
        "Train the run's recipe anew with the corrections of this review; asks first.",
        "petbench launch RECIPE --set data.corrections={review}",
        footer=True,
    ),
    Action(
        "inspect.mark",
        "space",
        "mark",
        "Mark the image, so that a verdict is given to all marked ones at once; once more unmarks it.",
    ),
    Action("inspect.unmark", "U", "unmark all", "Forget which images are marked."),
    Action(
        "inspect.saliency",
        "g",
        "grad-cam",
        "Lay over the large image what the network looked at; computed by a process of its own and kept.",
        "petbench saliency {run} {image} --out DIR",
    ),
    Action(
        "inspect.neighbours",
        "n",
        "neighbours",
        "Show or hide the labelled training images that the network finds most alike.",
        "petbench neighbours {run} {image}",
    ),
    Action(
        "inspect.source",
        "s",
        "source",
        "Choose what to look at: the pool in a round, the test or validation images, by which model; or the "
        "labelled images whose label is likely wrong.",
        "petbench inspect {run} --round N",
    ),
    Action("inspect.earlier", "less_than_sign,comma", "earlier round", "Look at the source before this one."),
    Action(
        "inspect.later", "greater_than_sign,full_stop", "later round", "Look at the source after this one."
    ),
    Action(
        "inspect.order",
        "o",
        "order",
        "Choose how doubt is measured: confidence, margin, entropy, disagreement with the student, flips.",
        "petbench inspect {run} --order margin",
    ),
    Action(
        "inspect.turn",
        "O",
        "surest first",
        "The surest first instead of the least sure; with wrong ones only, that finds mislabelled images.",
        "petbench inspect {run} --surest",
    ),
    Action(
        "inspect.class",
        "c",
        "class",
        "Only images of a class, or taken for it.",
        "petbench inspect {run} --class NAME",
    ),
    Action(
        "inspect.pair",
        "p",
        "pair",
        "Only images of one class that were taken for another: a cell of the confusion matrix.",
        "petbench inspect {run} --pair TRUE SAID",
    ),
    Action(
        "inspect.wrong",
        "w",
        "wrong only",
        "Only images where the model was wrong, as far as that is known.",
        "petbench inspect {run} --wrong",
    ),
    Action(
        "inspect.taught",
        "t",
        "selected only",
        "Only pool images that the student was trained on.",
        "petbench inspect {run} --round N --selected",
    ),
    Action(
        "inspect.flipped",
        "f",
        "flipped only",
        "Only pool images whose pseudo-label changed in this round.",
        "petbench inspect {run} --round N --flipped",
    ),
    Action(
        "inspect.reviewed",
        "v",
        "reviewed",
        "All images, only those without a verdict, or only those with one.",
    ),
    Action("inspect.clear", "0", "all images", "Take every filter off."),
    Action("inspect.watch", "W", "watch", "Go to the run's curves.", "petbench runs show {run}"),
    Action(
        "inspect.close",
        "escape",
        "grid",
        "From the large image back to the grid; from there to the screen before.",
    ),
)
