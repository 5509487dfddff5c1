"""What a step minimises: supervised training, and each online strategy in a file of its name.

A file put here is read with the others.
"""

from workbench.train.objectives.objective import (
    Beginning,
    Clock,
    Labelled,
    Loss,
    Objective,
    Pseudo,
    implemented,
    make_objective,
    objective_for,
)
from workbench.train.objectives.supervised import SaliencyGuided, Supervised

__all__ = [
    "Beginning",
    "Clock",
    "Labelled",
    "Loss",
    "Objective",
    "Pseudo",
    "SaliencyGuided",
    "Supervised",
    "implemented",
    "make_objective",
    "objective_for",
]
