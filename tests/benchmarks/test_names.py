"""What benchmarks call things is what petbench calls them."""

from __future__ import annotations

from benchmarks.online import ALONE, KNOBS
from benchmarks.strategies import STRATEGIES
from workbench.recipe.offline import Offline
from workbench.recipe.online import Online
from workbench.recipe.pseudo_label import strategies_of

OFFLINE = strategies_of(Offline)


def test_offline_rows_begin_with_the_registrys_name_and_name_their_modifiers_after_a_plus() -> None:
    for row, knobs in STRATEGIES.items():
        assert row.split(" + ")[0] == knobs["strategy"], row
        OFFLINE[knobs["strategy"]].model_validate({"labelled_fraction": 0.1, **knobs})
    assert set(OFFLINE) <= set(STRATEGIES)


def test_online_rows_are_the_registrys_names() -> None:
    assert set(KNOBS) - {ALONE} == set(strategies_of(Online))
