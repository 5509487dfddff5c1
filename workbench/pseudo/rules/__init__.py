"""Selection rules, one file a strategy; importing this package registers them all."""

from workbench.pseudo.rules import class_balanced, iterative, one_shot

__all__ = ["class_balanced", "iterative", "one_shot"]
