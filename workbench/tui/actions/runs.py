"""What can be done on the Runs screen."""

from __future__ import annotations

from workbench.tui.actions.action import Action

RUNS = (
    Action(
        "runs.watch",
        "enter",
        "watch",
        "Open the run under the cursor: curves, confusion, pseudo-labels, log.",
        "petbench runs show {run}",
        footer=True,
    ),
    Action("runs.new", "n", "new", "Compose a new recipe.", "petbench recipe new NAME", footer=True),
    Action(
        "runs.select",
        "space",
        "select",
        "Select the run under the cursor, or no longer; what follows is then done to all selected.",
        footer=True,
    ),
    Action(
        "runs.compare",
        "c",
        "compare",
        "Put the selected runs beside each other, 2 to 20 of them.",
        "petbench runs compare {runs}",
        footer=True,
    ),
    Action(
        "runs.filter",
        "slash",
        "filter",
        "Show only runs that fit, such as: pseudo.labelled_fraction=0.1 and test.accuracy>0.85.",
        "petbench runs ls --filter 'test.accuracy>0.85'",
        footer=True,
    ),
    Action(
        "runs.inspect",
        "i",
        "inspect",
        "See the images that the run was least sure of.",
        "petbench inspect {run}",
    ),
    Action(
        "runs.compose_from",
        "e",
        "compose from it",
        "Compose a new recipe that starts from this run's.",
        "petbench recipe show {run} --toml",
    ),
    Action(
        "runs.stop",
        "s",
        "stop",
        "Checkpoint at the end of the batch and end, to be resumed; a queued run leaves the queue.",
        "petbench stop {runs}",
    ),
    Action(
        "runs.pause",
        "p",
        "pause",
        "Park the run: checkpoint it and free its device until it is resumed.",
        "petbench pause {runs}",
    ),
    Action(
        "runs.resume",
        "r",
        "resume",
        "Go on in the background with a run that was stopped, paused, lost or failed.",
        "petbench resume {run} --background",
    ),
    Action(
        "runs.cancel", "x", "cancel", "Take a queued run out of the queue.", "petbench queue cancel {run}"
    ),
    Action(
        "runs.sooner",
        "left_square_bracket",
        "sooner",
        "Move a queued run one place forward.",
        "petbench queue move {run} POSITION",
    ),
    Action(
        "runs.later",
        "right_square_bracket",
        "later",
        "Move a queued run one place back.",
        "petbench queue move {run} POSITION",
    ),
    Action(
        "runs.tags", "t", "tags", "Edit tags; find them again with tag:NAME.", "petbench runs tag {run} TAG"
    ),
    Action("runs.note", "N", "note", "Write a note on the run.", "petbench runs note {run} TEXT"),
    Action(
        "runs.archive",
        "a",
        "archive",
        "Put runs away, or back when they are; their files stay where they are.",
        "petbench runs archive {runs}",
    ),
    Action(
        "runs.archived",
        "A",
        "show archived",
        "Show archived runs too, or no longer.",
        "petbench runs ls --archived",
    ),
    Action(
        "runs.delete",
        "d,delete",
        "delete",
        "Move runs to the trash, from where undo brings them back; more than one only after asking.",
        "petbench runs rm {runs}",
    ),
    Action(
        "runs.undo",
        "u",
        "undo",
        "Take back the last archiving, deleting, tag or note.",
        "petbench runs restore RUN",
    ),
    Action(
        "runs.sort",
        "o",
        "order by",
        "Choose the column to sort by; a click on a title does so too.",
        "petbench runs ls --sort test.accuracy",
    ),
    Action(
        "runs.reverse",
        "O",
        "reverse order",
        "Turn the order round.",
        "petbench runs ls --sort=-test.accuracy",
    ),
    Action(
        "runs.columns",
        "C",
        "columns",
        "Choose what the table shows: any key of the recipe or of the results.",
        "petbench runs ls --columns name,test.accuracy,lr",
    ),
    Action("runs.select_all", "asterisk", "select all", "Select every run that is shown, or none."),
    Action("runs.copy_id", "Y", "copy id", "Copy the run's id, which every command takes."),
    Action("runs.copy_path", "P", "copy path", "Copy the path of the run's directory."),
)
