"""What the paper reports. Accuracies are shares of its test images; every one is a single seed's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Column = Literal["teacher", "one_shot", "iterative"]
COLUMNS: tuple[Column, ...] = ("teacher", "one_shot", "iterative")
HEADINGS: dict[str, str] = {
    "teacher": "teacher",
    "one_shot": "student, one-shot",
    "iterative": "student, iterative",
}

FRACTIONS = (0.01, 0.1, 0.5)
"""Labelled shares of the training images."""

TABLE1: dict[tuple[float, Column], float] = {
    (0.01, "teacher"): 0.4156,
    (0.01, "one_shot"): 0.4691,
    (0.01, "iterative"): 0.4585,
    (0.1, "teacher"): 0.8193,
    (0.1, "one_shot"): 0.8526,
    (0.1, "iterative"): 0.8681,
    (0.5, "teacher"): 0.8932,
    (0.5, "one_shot"): 0.8860,
    (0.5, "iterative"): 0.89121,
}
"""Table 1: (labelled share, model) -> test accuracy of ResNet-152."""

CAVEATS = (
    "The paper's numbers are a single seed's; ours are the mean ± sample standard deviation over seeds.",
    "With 3,669 test images one seed has a standard error of 0.4 to 0.8 points from sampling alone: "
    "the paper's 0.8932 and 0.89121 cannot be told apart.",
    "1 % random labels cover about half of the breeds (18 to 24 of 37), so accuracy there is capped near "
    "55 %, and the draw of the labels moves it more than the method does.",
)
"""What the paper leaves out and a reader of its table should know."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the paper, and the recipe whose sweep draws it."""

    number: str
    title: str
    recipe: str
    """Its name in recipes/paper."""
    fraction: float | None = None
    """Of figures 5 to 7: the labelled share whose runs it shows."""


FIGURES = (
    Figure("1", "Validation accuracy by learning rate", "learning_rates"),
    Figure("2", "Validation accuracy by batch norms that learn", "batch_norm"),
    Figure("3", "Validation accuracy by layers that learn", "layers"),
    Figure("5", "Validation accuracy, 1 % labelled", "table1", 0.01),
    Figure("6", "Validation accuracy, 10 % labelled", "table1", 0.1),
    Figure("7", "Validation accuracy, 50 % labelled", "table1", 0.5),
)
