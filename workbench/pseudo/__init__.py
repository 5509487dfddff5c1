"""Teacher -> pseudo-labels -> student: pure rules over probabilities and features, no torch, no training."""

from workbench.pseudo import rules as rules
from workbench.pseudo.balance import fit_temperature
from workbench.pseudo.pool import Passes, Pool, Selection
from workbench.pseudo.prior import (
    distance,
    estimate_prior,
    labelled_shares,
    logit_offsets,
    shrunk_shares,
)
from workbench.pseudo.registry import choose, expects_classes, judge, needs_features, needs_passes, select
from workbench.pseudo.similarity import beside_classes
from workbench.pseudo.targets import soft_targets
from workbench.pseudo.typical import most_typical

__all__ = [
    "Passes",
    "Pool",
    "Selection",
    "beside_classes",
    "choose",
    "distance",
    "estimate_prior",
    "expects_classes",
    "fit_temperature",
    "judge",
    "labelled_shares",
    "logit_offsets",
    "most_typical",
    "needs_features",
    "needs_passes",
    "select",
    "shrunk_shares",
    "soft_targets",
]
