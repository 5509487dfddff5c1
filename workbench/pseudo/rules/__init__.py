"""Selection rules, one file a strategy; importing this package registers them all."""

from workbench.pseudo.rules import (
    class_balanced,
    curriculum,
    iterative,
    label_propagation,
    noisy_student,
    one_shot,
    prototype,
    ups,
)

__all__ = [
    "class_balanced",
    "curriculum",
    "iterative",
    "label_propagation",
    "noisy_student",
    "one_shot",
    "prototype",
    "ups",
]
