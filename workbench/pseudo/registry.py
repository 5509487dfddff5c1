"""Which function implements which strategy: one rule a knob model, a test keeps the sets equal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from workbench.pseudo.pool import Pool, Selection
from workbench.recipe import PseudoLabel

# (pool, knobs, round from 1, the round before's selection) -> this round's selection
Rule = Callable[[Pool, Any, int, Selection | None], Selection]
_RULES: dict[type[PseudoLabel], Rule] = {}
RuleT = TypeVar("RuleT", bound=Rule)


def rule_for(knobs: type[PseudoLabel]) -> Callable[[RuleT], RuleT]:
    """Register the decorated function as the selection rule of a strategy's knob model."""

    def register(rule: RuleT) -> RuleT:
        if knobs in _RULES:
            raise ValueError(f"{knobs.__name__} has a rule already: {_RULES[knobs].__name__}")
        _RULES[knobs] = rule
        return rule

    return register


def implemented() -> frozenset[type[PseudoLabel]]:
    """The knob models that have a rule."""
    return frozenset(_RULES)


def select(pool: Pool, knobs: PseudoLabel, round_number: int, previous: Selection | None) -> Selection:
    """Apply the rule of `knobs` to the pool in round `round_number` (from 1)."""
    return _RULES[type(knobs)](pool, knobs, round_number, previous)
