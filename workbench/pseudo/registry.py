"""Which function implements which strategy: one rule a knob model, a test keeps the sets equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from workbench.pseudo.balance import balanced
from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.vote import with_votes
from workbench.recipe.by_confidence import ClassBalanced
from workbench.recipe.offline import FromProbabilities, Offline, Taught

# (pool, knobs, round from 1, the round before's selection, which is the state) -> this round's selection
Rule = Callable[[Pool, Any, int, Selection | None], Selection]
# (pool, knobs) -> the pool with other probabilities, for rules that do not go by the teacher's
Opinion = Callable[[Pool, Any], Pool]
RuleT = TypeVar("RuleT", bound=Rule)


@dataclass(frozen=True, slots=True)
class _Entry:
    rule: Rule
    opinion: Opinion | None
    needs_passes: bool


_RULES: dict[type[Offline], _Entry] = {}


def rule_for(
    knobs: type[Offline], *, opinion: Opinion | None = None, needs_passes: bool = False
) -> Callable[[RuleT], RuleT]:
    """Register the decorated function as the selection rule of a strategy's knob model.

    Args:
        opinion: what says the probabilities instead of the teacher's head, from the pool's features.
        needs_passes: the rule reads `Pool.passes`.
    """

    def register(rule: RuleT) -> RuleT:
        if knobs in _RULES:
            raise ValueError(f"{knobs.__name__} has a rule already: {_RULES[knobs].rule.__name__}")
        _RULES[knobs] = _Entry(rule, opinion, needs_passes)
        return rule

    return register


def implemented() -> frozenset[type[Offline]]:
    """The knob models that have a rule."""
    return frozenset(_RULES)


def needs_features(knobs: Offline) -> bool:
    """Whether the rule reads the features of the pool and of the labelled images."""
    votes = isinstance(knobs, FromProbabilities) and knobs.propagation + knobs.prototypes > 0
    return votes or _RULES[type(knobs)].opinion is not None


def expects_classes(knobs: Taught) -> bool:
    """Whether what is chosen, or what the student's loss is told, depends on the pool's class prior."""
    adjusts = knobs.target_prior not in ("off", "pool")
    return adjusts or knobs.balance != "none" or isinstance(knobs, ClassBalanced)


def needs_passes(knobs: Offline) -> bool:
    """Whether the rule reads the teacher's noisy passes."""
    return _RULES[type(knobs)].needs_passes


def judge(pool: Pool, knobs: Offline, previous: Selection | None) -> Pool:
    """The pool with what is believed of it: the teacher's word or the features', balanced as knobs say."""
    opinion = _RULES[type(knobs)].opinion
    if opinion is not None:
        pool = opinion(pool, knobs)
    if isinstance(knobs, FromProbabilities) and knobs.propagation + knobs.prototypes:
        pool = with_votes(pool, knobs)
    if isinstance(knobs, Taught):
        pool = balanced(pool, knobs, None if previous is None else previous.marginal)
    return pool


def choose(pool: Pool, knobs: Offline, round_number: int, previous: Selection | None) -> Selection:
    """Apply the rule of `knobs` to a judged pool in round `round_number` (from 1)."""
    selection = _RULES[type(knobs)].rule(pool, knobs, round_number, previous)
    if knobs.labelled_weight is not None:
        selection = replace(selection, labelled_weight=knobs.labelled_weight)
    return replace(selection, marginal=pool.marginal, prior=pool.prior)


def select(pool: Pool, knobs: Offline, round_number: int, previous: Selection | None) -> Selection:
    """Judge the pool and choose from it: (probabilities, features, labels, state) to the next state."""
    return choose(judge(pool, knobs, previous), knobs, round_number, previous)
