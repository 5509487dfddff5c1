"""Teacher -> pseudo-labels -> student: pure rules over probabilities and features, no torch, no training."""

from workbench.pseudo.graph import beside_classes, hear_voters
from workbench.pseudo.pool import Passes, Pool, Selection, Voter, selection_of, soft_targets
from workbench.pseudo.prior import distance, estimate_prior, labelled_shares, logit_offsets, shrunk_shares
from workbench.pseudo.registry import (
    PassesAsked,
    caveat_of,
    choose,
    has_voters,
    judge,
    needs_features,
    passes_of,
    rule_for,
    select,
)
from workbench.pseudo.typical import most_typical

__all__ = [
    "Passes",
    "PassesAsked",
    "Pool",
    "Selection",
    "Voter",
    "beside_classes",
    "caveat_of",
    "choose",
    "distance",
    "estimate_prior",
    "has_voters",
    "hear_voters",
    "judge",
    "labelled_shares",
    "logit_offsets",
    "most_typical",
    "needs_features",
    "passes_of",
    "rule_for",
    "select",
    "selection_of",
    "shrunk_shares",
    "soft_targets",
]
