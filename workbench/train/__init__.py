"""One run from recipe to results: the loop, its objective, checkpoints and evaluation."""

from workbench.train.attempt import Outcome, attempt
from workbench.train.setup import Places

__all__ = ["Outcome", "Places", "attempt"]
