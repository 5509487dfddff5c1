"""Whose head boxes guide a stage's training, where the recipe asks for that."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.loader import Samples, head_boxes
from workbench.runs.events import Message, Reporter
from workbench.train.setup import Setup
from workbench.train.stage import Stage


def guiding_heads(setup: Setup, stage: Stage, samples: Samples, labelled: int) -> NDArray[np.float32] | None:
    """(K, 4) head boxes of a stage's samples as `Samples.boxes`, NaN without one; None: nothing is guided.

    Only labelled images lend theirs, the first `labelled` samples: of the pool nothing but the images is
    known.
    """
    if not stage.saliency_weight:
        return None
    heads = np.full((len(samples), 4), np.nan, dtype=np.float32)
    heads[:labelled] = head_boxes(setup.catalogue, samples.positions[:labelled])
    return heads


def say_guidance(stage: Stage, heads: NDArray[np.float32] | None, wanted: float, reporter: Reporter) -> None:
    """Tell how many images guide the stage; or that an online student is not guided though it is wanted."""
    if heads is not None:
        known = int((~np.isnan(heads[:, 0])).sum())
        text = f"{known} of {len(heads)} samples have a head box: gradients beside it weigh {wanted:g}"
    elif wanted and stage.online is not None:
        text = f"saliency_weight does not act here: {stage.online.strategy} has a loss of its own"
    else:
        return
    reporter.event(Message("info", f"{stage.label}: {text}"))
