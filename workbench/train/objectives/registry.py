"""Which objective implements which online strategy: one class a knob model, a test keeps the sets equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from workbench.recipe.online import Online
from workbench.train.objectives.objective import Beginning, Objective

# (knobs, what it begins with) -> objective
Maker = Callable[[Any, Beginning], Objective]
_MAKERS: dict[type[Online], Maker] = {}
MakerT = TypeVar("MakerT", bound=Maker)


def objective_for(knobs: type[Online]) -> Callable[[MakerT], MakerT]:
    """Register the decorated class as the objective of a strategy's knob model."""

    def register(maker: MakerT) -> MakerT:
        if knobs in _MAKERS:
            raise ValueError(f"{knobs.__name__} has an objective already: {_MAKERS[knobs]}")
        _MAKERS[knobs] = maker
        return maker

    return register


def implemented() -> frozenset[type[Online]]:
    """The knob models that have an objective."""
    return frozenset(_MAKERS)


def make_objective(knobs: Online, beginning: Beginning) -> Objective:
    """The objective of an online strategy."""
    return _MAKERS[type(knobs)](knobs, beginning)
