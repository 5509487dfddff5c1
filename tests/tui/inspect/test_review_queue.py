"""The queue of Inspect without a screen: what is in it, what a verdict does to it, what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tui.inspect.making import POOL, TEST
from workbench.dataset.review import Correction, Review, Verdict
from workbench.runs.doubt import Doubt
from workbench.runs.layout import RunDirectory
from workbench.tui.actions import SCOPES
from workbench.tui.screens.inspect.material import read_material
from workbench.tui.screens.inspect.review_queue import Query, Reviewed, ReviewQueue, pack_query, unpack_query

QUERIES = st.builds(
    Query,
    order=st.sampled_from(Doubt),
    surest_first=st.booleans(),
    class_name=st.text(),
    true=st.text(),
    said=st.text(),
    wrong=st.booleans(),
    taught=st.booleans(),
    flipped=st.booleans(),
    reviewed=st.sampled_from(Reviewed),
    slice=st.text(),
)


@pytest.fixture
def queue(run: RunDirectory) -> ReviewQueue:
    """Round 2 of the run, all of it, least sure first."""
    return queue_of(run, "round:2")


def queue_of(run: RunDirectory, source: str) -> ReviewQueue:
    queue = ReviewQueue()
    queue.take(read_material(run, source, run.path.parent))
    queue.arrange("", 0)
    return queue


def refusals(queue: ReviewQueue, cursor: int = 0) -> dict[str, str]:
    """What cannot be done, and why."""
    current = queue.at(cursor)
    reasons = {action.name: queue.refusal(action.name, current) for action in SCOPES["inspect"]}
    return {name: reason for name, reason in reasons.items() if reason is not None}


@given(QUERIES)
def test_a_query_comes_back_from_the_session_as_it_was(query: Query) -> None:
    assert unpack_query(pack_query(query)) == query


@given(st.dictionaries(st.sampled_from(Query.__slots__), st.one_of(st.none(), st.integers(), st.text())))
def test_a_query_of_another_version_falls_back_to_the_default_field_by_field(
    values: dict[str, object],
) -> None:
    query = unpack_query(values)
    for name in Query.__slots__:
        assert getattr(query, name) in (getattr(Query(), name), values.get(name))


def test_before_anything_is_read_only_leaving_is_possible() -> None:
    able = {action.name for action in SCOPES["inspect"]} - refusals(ReviewQueue()).keys()
    assert able == {"close", "watch"}


def test_arranging_keeps_an_image_under_the_cursor_or_the_cursor_where_it_was(queue: ReviewQueue) -> None:
    assert [opinion.id for opinion in queue.shown] == list(POOL)
    queue.query = replace(queue.query, taught=True)
    assert queue.arrange(POOL[4], 4) == 2  # the even ones are left
    assert queue.arrange(POOL[5], 3) == 3


def test_an_image_that_is_not_shown_any_more_is_marked_no_longer(queue: ReviewQueue) -> None:
    queue.marked = {POOL[0], POOL[1]}
    queue.query = replace(queue.query, taught=True)
    queue.arrange("", 0)
    assert queue.marked == {POOL[0]}


def test_a_verdict_is_about_the_marked_images_in_their_order_unless_one_is_looked_at_alone(
    queue: ReviewQueue,
) -> None:
    queue.marked = {POOL[7], POOL[2]}
    assert [opinion.id for opinion in queue.judged(5, alone=False)] == [POOL[2], POOL[7]]
    assert [opinion.id for opinion in queue.judged(5, alone=True)] == [POOL[5]]
    queue.marked = set()
    assert [opinion.id for opinion in queue.judged(5, alone=False)] == [POOL[5]]


def test_a_verdict_is_known_before_it_is_written_and_what_the_file_says_replaces_it(
    queue: ReviewQueue,
) -> None:
    queue.marked = {POOL[3]}
    judged = queue.judged(0, alone=False)
    (correction,) = queue.judge(Verdict.RELABEL, judged, ["beagle"])
    assert (correction.id, correction.label, correction.said) == (POOL[3], "beagle", judged[0].said)
    assert queue.corrections == {POOL[3]: correction}
    assert not queue.marked
    other = Correction(POOL[8], Verdict.EXCLUDE, "", said="beagle")
    queue.take_review(Review((other,)), "")
    assert queue.corrections == {POOL[8]: other}
    assert queue.loaded.review.corrections == (other,)


def test_after_a_verdict_the_cursor_goes_to_the_first_image_behind_it_without_one(queue: ReviewQueue) -> None:
    assert queue.following(3, queue.shown[3:6]) == POOL[6]
    assert queue.following(3, [queue.shown[0]]) == POOL[3]
    assert queue.following(23, [queue.shown[23]]) == ""  # it stays


def test_a_source_takes_away_the_filters_that_it_cannot_answer(run: RunDirectory, queue: ReviewQueue) -> None:
    queue.query = Query(order=Doubt.FLIPS, taught=True, flipped=True, wrong=True, class_name="dodo")
    queue.take(read_material(run, "test", run.path.parent))
    assert queue.query == Query(wrong=True)
    queue.arrange("", 0)
    assert {opinion.id for opinion in queue.shown} <= set(TEST)


def test_what_splits_refuse_pools_allow_and_the_other_way_round(
    run: RunDirectory, queue: ReviewQueue
) -> None:
    pool, split = refusals(queue), refusals(queue_of(run, "test"))
    only_pool = {"taught", "flipped", "accept", "relabel", "exclude"}
    assert only_pool <= split.keys()
    assert not only_pool & pool.keys()
    assert "never train" in split["accept"]


def test_where_no_image_fits_what_needs_one_is_refused(queue: ReviewQueue) -> None:
    needs_one = {"large", "saliency", "neighbours", "mark", "accept", "relabel", "exclude"}
    assert not needs_one & refusals(queue).keys()
    queue.query = replace(queue.query, reviewed=Reviewed.YES)
    queue.arrange("", 0)
    refused = refusals(queue)
    assert {refused[name] for name in needs_one} == {"no image fits the filters: 0 takes them off"}
    assert "clear" not in refused


def test_the_commands_give_the_list_and_the_verdict_that_was_given(
    run: RunDirectory, queue: ReviewQueue
) -> None:
    queue.query = replace(queue.query, wrong=True, class_name="Bengal")
    queue.judge(Verdict.EXCLUDE, queue.shown[:1], [""])
    lines = queue.commands(queue.shown[0])
    assert lines[0] == f"petbench inspect {run.handle} --round 2 --class Bengal --wrong"
    assert f"petbench review {run.handle} --exclude {POOL[0]}" in lines
    assert f"petbench review {run.handle} --accept {POOL[1]}" in queue.commands(queue.shown[1])
    assert len(queue.commands(None)) == 2
