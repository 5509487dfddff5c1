"""One run from recipe to results: the loop, its objective, checkpoints and evaluation."""

from workbench.train.attempt import Outcome, attempt
from workbench.train.follower import follow
from workbench.train.setup import Places
from workbench.train.world import joined

__all__ = ["Outcome", "Places", "attempt", "follow", "joined"]
