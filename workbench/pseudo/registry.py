"""Which function implements which strategy: one rule a knob model, a test keeps the sets equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, TypeVar

from workbench.pseudo.graph import with_votes
from workbench.pseudo.pool import Pool, Selection
from workbench.pseudo.prior import balanced
from workbench.recipe.offline import FromProbabilities, Offline, Taught
from workbench.support.errors import UserError
from workbench.support.plugins import import_all

# (pool, knobs, round from 1, the round before's selection, which is the state) -> this round's selection
Rule = Callable[[Pool, Any, int, Selection | None], Selection]
# (pool, knobs) -> the pool with other probabilities, for rules that do not go by the teacher's
Opinion = Callable[[Pool, Any], Pool]
RuleT = TypeVar("RuleT", bound=Rule)


# knobs -> the passes that the rule reads
AskPasses = Callable[[Any], "PassesAsked"]
# (pool, class names) -> what to know before the rule chooses; empty: nothing
Caveat = Callable[[Pool, Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class PassesAsked:
    """Noisy passes of the teacher over the pool (`Pool.passes`)."""

    count: int
    dropout: float
    """Before the head."""
    temperature: float
    """Of `tempered_mean` and `tempered_spread`."""


@dataclass(frozen=True, slots=True)
class _Entry:
    rule: Rule
    opinion: Opinion | None
    passes: AskPasses | None
    caveat: Caveat | None


_RULES: dict[type[Offline], _Entry] = {}


def rule_for(
    knobs: type[Offline],
    *,
    opinion: Opinion | None = None,
    passes: AskPasses | None = None,
    caveat: Caveat | None = None,
) -> Callable[[RuleT], RuleT]:
    """Register the decorated function as the selection rule of a strategy's knob model.

    Args:
        opinion: what says the probabilities instead of the teacher's head, from the pool's features.
        passes: the rule reads `Pool.passes`, so many of them.
        caveat: what to tell of the first round's pool.
    """

    def register(rule: RuleT) -> RuleT:
        if knobs in _RULES:
            raise ValueError(f"{knobs.__name__} has a rule already: {_RULES[knobs].rule.__name__}")
        _RULES[knobs] = _Entry(rule, opinion, passes, caveat)
        return rule

    return register


def _rule_of(knobs: Offline) -> _Entry:
    import_all(knobs.code or "workbench.pseudo.rules")
    entry = _RULES.get(type(knobs))
    if entry is None:
        raise UserError(
            f"the strategy {knobs.strategy} has no rule: nothing was registered for its knobs",
            where="pseudo_label.strategy",
            hint="workbench.pseudo.rule_for does, in the module of the knobs",
        )
    return entry


def implemented() -> frozenset[type[Offline]]:
    """The knob models that have a rule."""
    import_all("workbench.pseudo.rules")
    return frozenset(_RULES)


def needs_features(knobs: Offline) -> bool:
    """Whether the rule reads the features of the pool and of the labelled images."""
    return has_voters(knobs) or _rule_of(knobs).opinion is not None


def has_voters(knobs: Offline) -> TypeGuard[FromProbabilities]:
    """Whether somebody votes beside the teacher."""
    return isinstance(knobs, FromProbabilities) and knobs.propagation + knobs.prototypes > 0


def passes_of(knobs: Offline) -> PassesAsked | None:
    """The teacher's noisy passes that the rule reads; None where it reads none."""
    asked = _rule_of(knobs).passes
    return None if asked is None else asked(knobs)


def caveat_of(knobs: Offline, pool: Pool, classes: Sequence[str]) -> str:
    """What a person should know of the first round's pool before the rule chooses from it; empty: nothing.

    Args:
        classes: their names, harmless to show.
    """
    told = _rule_of(knobs).caveat
    return "" if told is None else told(pool, classes)


def judge(pool: Pool, knobs: Offline, previous: Selection | None) -> Pool:
    """The pool with what is believed of it: the teacher's word or the features', balanced as knobs say.

    Who was unheard in the round before stays so.
    """
    if previous is not None:
        pool = replace(pool, unheard=previous.unheard)
    opinion = _rule_of(knobs).opinion
    if opinion is not None:
        pool = opinion(pool, knobs)
    if has_voters(knobs):
        pool = with_votes(pool, knobs)
    if isinstance(knobs, Taught):
        pool = balanced(pool, knobs, None if previous is None else previous.marginal)
    return pool


def choose(pool: Pool, knobs: Offline, round_number: int, previous: Selection | None) -> Selection:
    """Apply the rule of `knobs` to a judged pool in round `round_number` (from 1)."""
    selection = _rule_of(knobs).rule(pool, knobs, round_number, previous)
    if knobs.labelled_weight is not None:
        selection = replace(selection, labelled_weight=knobs.labelled_weight)
    return replace(
        selection, marginal=pool.marginal, prior=pool.prior, unheard=pool.unheard, recall=pool.recall
    )


def select(pool: Pool, knobs: Offline, round_number: int, previous: Selection | None) -> Selection:
    """Judge the pool and choose from it: (probabilities, features, labels, state) to the next state."""
    return choose(judge(pool, knobs, previous), knobs, round_number, previous)
