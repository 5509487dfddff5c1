"""An online strategy's knobs. Its loss needs torch, so it lies in the module that `code` names."""

from typing import ClassVar, Literal

from workbench.recipe.fields import knob
from workbench.recipe.online import Online


class Entropy(Online):
    """The student is asked to be sure of every image of the pool, whatever it takes it for."""

    source: ClassVar[str] = "Grandvalet and Bengio 2004, Entropy Minimization"
    code: ClassVar[str] = "petbench_tiny.entropy_loss"

    strategy: Literal["entropy"] = knob("entropy", help="be sure of the pool")
    entropy_weight: float = knob(0.1, help="weight of the pool's mean entropy", ge=0, le=100)
