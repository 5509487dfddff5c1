"""An offline strategy: what a person may write, what it does, and what is said of it."""

from typing import ClassVar, Literal

import numpy as np

from workbench.pseudo import Pool, Selection, rule_for, selection_of
from workbench.recipe.fields import knob
from workbench.recipe.offline import FromProbabilities, InRounds


class Margin(FromProbabilities, InRounds):
    """Each round the teacher labels the images whose first choice is well ahead of the second."""

    source: ClassVar[str] = "Scheffer et al. 2001, margin sampling, turned round"

    strategy: Literal["margin"] = knob("margin", help="label where the first choice is well ahead")
    margin: float = knob(0.2, help="least difference of the two highest probabilities", ge=0, le=1)


@rule_for(Margin)
def margin(pool: Pool, knobs: Margin, round_number: int, previous: Selection | None) -> Selection:
    """All with p(first) − p(second) at or above the knob."""
    second, first = np.sort(pool.probabilities, axis=1)[:, -2:].T
    return selection_of(pool, np.flatnonzero(first - second >= knobs.margin), knobs)
