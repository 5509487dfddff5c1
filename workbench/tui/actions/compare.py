"""What can be done on the Compare screen."""

from __future__ import annotations

from workbench.tui.actions.action import Action

COMPARE: tuple[Action, ...] = (
    Action(
        "compare.baseline",
        "b",
        "baseline ★",
        "Measure all others against the chosen run: changes, paired tests and the confusion follow.",
        "petbench runs compare {runs} --baseline {run}",
        footer=True,
    ),
    Action(
        "compare.metric",
        "v",
        "values",
        "Choose which number the curves show: accuracy, loss, learning rate or speed.",
        "petbench runs compare {runs} --curve val.loss",
        footer=True,
    ),
    Action(
        "compare.seeds",
        "s",
        "over seeds",
        "Put runs together that differ only in their seeds: mean, spread, paired test; once more parts them.",
        "petbench runs compare {runs} --group",
        footer=True,
    ),
    Action(
        "compare.remove",
        "d,delete",
        "drop",
        "Take the chosen run out of the comparison; the run itself stays as it is.",
        footer=True,
    ),
    Action(
        "compare.export",
        "e",
        "export",
        "Write the comparison to a file: Markdown, CSV or JSON, by the name's ending.",
        "petbench runs compare {runs} --export FILE",
        footer=True,
    ),
    Action("compare.add", "a", "add", "Go to the runs to select others; c there comes back with them."),
    Action("compare.curves", "1", "curves", "The runs' curves over each other."),
    Action(
        "compare.recipe",
        "2",
        "recipe",
        "In what the recipes differ.",
        "petbench recipe diff FIRST SECOND",
    ),
    Action(
        "compare.results",
        "3",
        "results",
        "The numbers of the finished runs, each with its change from the baseline.",
        "petbench runs compare {runs}",
    ),
    Action(
        "compare.confusion",
        "4",
        "confusion Δ",
        "Which classes the chosen run confuses more and less often than the baseline.",
        "petbench runs compare {runs} --confusion",
    ),
    Action("compare.next", "right_square_bracket", "next run", "Choose the next run."),
    Action("compare.previous", "left_square_bracket", "previous run", "Choose the run before."),
    Action(
        "compare.axis",
        "x",
        "x axis",
        "Draw the curves over epochs, optimiser steps or time.",
        "petbench runs compare {runs} --curve val.accuracy --by step",
    ),
    Action("compare.smooth", "m", "smooth", "Smooth the curves less or more; the raw lines stay, fainter."),
    Action("compare.log", "g", "log axis", "Logarithmic values, or plain ones."),
    Action("compare.spotlight", "f", "spotlight", "Dim all curves but the chosen run's and the baseline's."),
    Action(
        "compare.keys",
        "c",
        "all keys",
        "Show every key of the recipes, or only those in which the runs differ.",
        "petbench recipe show RUN",
    ),
    Action(
        "compare.watch",
        "w,enter",
        "watch",
        "Look at the chosen run alone.",
        "petbench runs show {run}",
    ),
    Action(
        "compare.images",
        "i",
        "images",
        "Show the test images of the confusion's cell, or all that the chosen run is unsure of.",
        "petbench inspect {run}",
    ),
)
