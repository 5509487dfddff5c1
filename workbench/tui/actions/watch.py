"""What can be done on the Watch screen."""

from __future__ import annotations

from workbench.tui.actions.action import Action

WATCH: tuple[Action, ...] = (
    Action(
        "watch.stop", "s", "stop", "Stop the run after a checkpoint; asks first.", "petbench stop {run}", True
    ),
    Action(
        "watch.pause",
        "p",
        "pause/resume",
        "Park the run after a checkpoint and free its device; a run that is stopped, lost or failed goes on.",
        "petbench pause {run}",
        True,
    ),
    Action("watch.inspect", "i", "inspect", "See the images that the run was least sure of.", "", True),
    Action(
        "watch.smooth",
        "m",
        "smooth",
        "Smooth the curves: off, light, strong; the raw line stays, faint.",
        "",
        True,
    ),
    Action(
        "watch.log_axis",
        "g",
        "log axis",
        "Switch the axis of loss and learning rate to powers of ten.",
        "",
        True,
    ),
    Action("watch.curves", "1", "curves", "Loss, accuracy, learning rate, speed and memory."),
    Action("watch.confusion", "2", "confusion", "The validation confusion after any epoch, as a heat map."),
    Action("watch.pseudo", "3", "pseudo-labels", "What the teacher labelled, round by round."),
    Action("watch.log", "4", "log", "What the run has said.", "petbench runs log {run} --follow"),
    Action(
        "watch.recipe",
        "5",
        "recipe",
        "Every knob that this run was made with.",
        "petbench recipe show {run}",
    ),
    Action("watch.x_axis", "x", "x axis", "Count by epochs, by steps or by time."),
    Action(
        "watch.quantity",
        "v",
        "second curve",
        "Loss, learning rate, images a second or memory beside accuracy.",
    ),
    Action("watch.zoom_in", "plus,equals_sign", "zoom in", "Show half of what is shown, around the cursor."),
    Action("watch.zoom_out", "minus", "zoom out", "Show twice as much."),
    Action("watch.pan_left", "H,shift+left", "earlier part", "Move a zoomed curve towards its beginning."),
    Action("watch.pan_right", "L,shift+right", "later part", "Move a zoomed curve towards its end."),
    Action("watch.whole", "0", "whole curve", "Undo the zoom and put the cursor away."),
    Action("watch.order", "o", "class order", "Order the classes by name, by recall or by likeness."),
    Action(
        "watch.earlier",
        "left_square_bracket",
        "earlier",
        "The confusion an epoch, or the round, before this one.",
    ),
    Action(
        "watch.later",
        "right_square_bracket",
        "later",
        "The next epoch or round; the last one follows the run.",
    ),
    Action("watch.next", "n", "next", "The next match in the log; in the confusion the next worst pair."),
    Action("watch.previous", "N", "previous", "The match, or the pair, before it."),
    Action(
        "watch.search",
        "slash",
        "search log",
        "Find words in the log; n and N go on.",
        "petbench runs log {run} --search WORDS",
    ),
    Action("watch.follow", "f", "follow log", "Stay at the end of the log while it grows, or stay here."),
    Action("watch.edit", "e", "new from this", "Open the run's recipe in Compose, to change and launch it."),
)
