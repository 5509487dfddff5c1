"""Teacher -> pseudo-labels -> student: pure rules over probabilities, no torch, no training."""

from workbench.pseudo import rules as rules
from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import select

__all__ = ["Pool", "Selection", "select"]
