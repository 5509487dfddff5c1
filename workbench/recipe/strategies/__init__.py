"""The strategies of petbench itself, each a class of knobs; a file put here is read with the others.

They are told in this order, whichever of them is asked for first.
"""

from workbench.recipe.strategies import by_confidence as by_confidence
from workbench.recipe.strategies import by_features as by_features
from workbench.recipe.strategies import online as online
