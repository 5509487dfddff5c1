"""Which rule implements which strategy."""

from __future__ import annotations

from dataclasses import fields

import pytest

from tests.pseudo.pools import knobs, seen, sure
from workbench.pseudo import Pool, Selection, select
from workbench.pseudo.registry import implemented, rule_for
from workbench.recipe.offline import Offline
from workbench.recipe.pseudo_label import strategies_of
from workbench.recipe.strategies.by_confidence import OneShot


def test_every_strategy_of_the_recipe_has_exactly_one_rule() -> None:
    assert implemented() == frozenset(strategies_of(Offline).values())
    assert len(set(strategies_of(Offline).values())) == len(strategies_of(Offline))


def test_a_second_rule_for_a_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"OneShot has a rule already: one_shot"):

        @rule_for(OneShot)
        def another(pool: Pool, knobs: OneShot, round_number: int, previous: Selection | None) -> Selection:
            raise AssertionError("never called")


@pytest.mark.parametrize("strategy", sorted(strategies_of(Offline)))
def test_every_strategy_selects_by_its_name(strategy: str) -> None:
    selection = select(seen(sure((0, 0.9), (1, 0.8), (2, 0.7))), knobs(strategy), 1, None)
    assert selection.targets.shape == (len(selection.rows), 3)
    assert selection.weights.shape == selection.rows.shape


def test_a_pool_holds_no_truth_of_its_images() -> None:
    assert {field.name for field in fields(Pool)} == {
        "probabilities",
        "labelled_counts",
        "features",
        "labelled_features",
        "labels",
        "passes",
        "reached",
        "marginal",
        "prior",
        "unheard",
        "search",
        "recall",
    }
