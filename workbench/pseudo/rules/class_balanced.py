"""Class-balanced: the surest images of each class, so that easy classes do not crowd out hard ones."""

from __future__ import annotations

import numpy as np

from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.registry import rule_for
from workbench.pseudo.targets import selection_of
from workbench.recipe.by_confidence import ClassBalanced

# Weight of a labelled image beside |S| pseudo-labelled ones: max(1, 0.25·|S|/|L|), see ALGORITHMS,
# class_balanced.
LABELLED_SHARE = 0.25


@rule_for(ClassBalanced)
def class_balanced(
    pool: Pool, knobs: ClassBalanced, round_number: int, _previous: Selection | None
) -> Selection:
    """Of every class c the ⌊r/R · U · prior_c⌋ most confident among the images predicted as c.

    After CBST (Zou et al. 2018). A class predicted less often gives what it has. Ties keep the lower row.
    """
    confidence, predicted = pool.confidence, pool.predicted
    share = round_number / knobs.rounds
    rows = []
    for label, prior in enumerate(pool.class_prior):
        quota = int(share * len(confidence) * prior + 1e-9)
        candidates = np.flatnonzero(predicted == label)
        rows.append(candidates[np.argsort(-confidence[candidates], kind="stable")[:quota]])
    chosen = np.concatenate(rows)
    labelled = int(pool.labelled_counts.sum())
    weight = max(1.0, LABELLED_SHARE * len(chosen) / max(1, labelled))
    return selection_of(pool, chosen, knobs, labelled_weight=weight)
