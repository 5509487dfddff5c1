"""Teacher -> pseudo-labels -> student: pure rules over probabilities and features, no torch, no training."""

from workbench.pseudo import rules as rules
from workbench.pseudo.balance import fit_temperature
from workbench.pseudo.pool import Passes, Pool, Selection
from workbench.pseudo.registry import choose, judge, needs_features, needs_passes, select
from workbench.pseudo.similarity import beside_classes
from workbench.pseudo.targets import soft_targets
from workbench.pseudo.typical import most_typical

__all__ = [
    "Passes",
    "Pool",
    "Selection",
    "beside_classes",
    "choose",
    "fit_temperature",
    "judge",
    "most_typical",
    "needs_features",
    "needs_passes",
    "select",
    "soft_targets",
]
