"""What is known of a draft and what has to be asked, without a screen."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.tui.compose.conftest import RECIPE
from workbench.tui.screens.compose.draft import Draft, draft_of, edit, retext
from workbench.tui.screens.compose.fact_finder import Answer, FactFinder, Question

pytestmark = pytest.mark.usefixtures("desk")


def mine() -> Draft:
    return draft_of(RECIPE, "recipes/mine.toml", Path("recipes/mine.toml"))


def answered(finder: FactFinder, question: Question | None) -> Answer:
    assert question is not None
    answers: list[Answer] = []
    asyncio.run(finder.count(question, Path("data"), lambda: (), answers.append))
    return answers[0]


def test_a_backbone_is_asked_for_until_it_is_known() -> None:
    finder = FactFinder()
    assert finder.look_at_network(mine()) == "resnet18"
    assert finder.network is None
    assert asyncio.run(finder.ask_network("resnet18"))
    assert finder.network is not None
    assert finder.look_at_network(mine()) is None
    assert FactFinder().look_at_network(mine()) is None  # the cache knows it now


def test_who_goes_on_editing_while_petbench_is_asked_does_not_have_it_begin_anew() -> None:
    async def edited_meanwhile() -> None:
        asking = asyncio.ensure_future(finder.ask_network("resnet18"))
        await asyncio.sleep(0)
        assert finder.look_at_network(edit(mine(), "seed", "3")) is None
        asking.cancel()  # the screen was left, or another backbone came and went
        with pytest.raises(asyncio.CancelledError):
            await asking

    finder = FactFinder()
    assert finder.look_at_network(mine()) == "resnet18"
    asyncio.run(edited_meanwhile())
    assert finder.look_at_network(mine()) == "resnet18"


def test_a_backbone_that_was_refused_is_not_asked_for_again() -> None:
    finder, wrong = FactFinder(), edit(mine(), "model.backbone", '"resnet19"')
    assert finder.look_at_network(wrong) == "resnet19"
    assert asyncio.run(finder.ask_network("resnet19"))
    assert "no backbone is called 'resnet19'" in finder.network_problem
    finder.look_at_network(mine())
    assert finder.network_problem == ""
    assert finder.look_at_network(wrong) is None
    assert "no backbone is called 'resnet19'" in finder.network_problem


def test_an_answer_on_a_backbone_that_was_left_meanwhile_changes_nothing() -> None:
    finder = FactFinder()
    finder.look_at_network(mine())
    finder.look_at_network(edit(mine(), "model.backbone", '"resnet34"'))
    assert not asyncio.run(finder.ask_network("resnet18"))
    assert finder.network is None
    assert finder.network_problem == ""


def test_a_split_is_counted_once_for_drafts_that_divide_alike() -> None:
    finder = FactFinder()
    question = finder.look_at_split(mine())
    assert finder.look_at_split(mine()) is None
    assert finder.take(answered(finder, question))
    assert finder.summary is not None
    assert finder.summary.total.labelled == 8
    longer = finder.look_at_split(edit(mine(), "training.epochs", "4"))
    assert longer is not None  # past runs may tell another time
    assert finder.summary is not None  # and the split is the same
    assert finder.look_at_split(edit(mine(), "pseudo_label.labelled_fraction", "0.25")) is not None
    assert finder.summary is None


def test_an_answer_to_an_earlier_question_is_not_taken() -> None:
    finder = FactFinder()
    early = finder.look_at_split(mine())
    finder.look_at_split(edit(mine(), "pseudo_label.labelled_fraction", "0.25"))
    assert not finder.take(answered(finder, early))
    assert finder.summary is None


def test_a_draft_that_is_not_valid_asks_nothing_of_past_runs() -> None:
    finder = FactFinder()
    assert finder.look_at_split(retext(mine(), f"{RECIPE}rounds = 0\n")) is None
    assert finder.look_at_runs() is None
    question = finder.look_at_split(mine())
    assert finder.look_at_runs() == question
