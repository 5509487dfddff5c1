"""Whatever petbench keeps comes back as it was, field by field.

Each value is drawn by the types of its class, and none of its fields as it would be if it was forgotten: a
field that a class gains is drawn, written and asked for without a word here.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.drawing import comparable, drawn
from workbench.dataset.generated import Painted, Settings
from workbench.jobs.lease import Holder
from workbench.runs.attempt_control import Control
from workbench.runs.ensemble import Ensemble, read_ensemble, write_ensemble
from workbench.runs.events import Event
from workbench.runs.index import entry_of, recall, stamp_of
from workbench.runs.label_issues import IssueSearch, read_search, write_search
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, read_ledger, write_ledger
from workbench.runs.metrics import MetricsWriter, read_events
from workbench.runs.notes import Notes
from workbench.runs.process import ExitRecord, ProcessRecord
from workbench.runs.profile import Profile
from workbench.runs.results import Evaluation, Results, read_results, write_results
from workbench.runs.status import derive_status
from workbench.runs.summary import RunSummary, queue_position
from workbench.runs.ticket import Ticket
from workbench.runs.waiting import Waiting
from workbench.support.records import (
    plain,
    read_record,
    record_from,
    record_or_defaults,
    validated,
    write_record,
)
from workbench.train.taught import Heard
from workbench.tui.places import (
    ComparePlace,
    ComposePlace,
    InspectPlace,
    WatchPlace,
    pack_place,
    unpack_place,
)
from workbench.tui.screens.compare.look import SMOOTHINGS, Look
from workbench.tui.screens.inspect.review_queue import Query

Back = Callable[[Any, RunDirectory], Any]

SHARES = st.floats(2**-10, 0.75, width=32)
FEW = st.integers(2, 99)
POSSIBLE = {
    **dict.fromkeys(("epoch", "epochs", "round"), FEW),
    **dict.fromkeys(("accuracy", "pool_accuracy"), SHARES),
}
"""Of events, which a reader takes for damaged beyond."""


def by_a_record(value: Any, run: RunDirectory) -> Any:
    write_record(run.process, value)
    return read_record(run.process, type(value))


def by_json(value: Any, _: RunDirectory) -> Any:
    return record_from(json.loads(json.dumps(plain(value))), type(value))


def by_json_with_defaults(value: Any, _: RunDirectory) -> Any:
    return record_or_defaults(json.loads(json.dumps(plain(value))), type(value))


def by_pydantic(value: Any, _: RunDirectory) -> Any:
    return validated(type(value), plain(value))


def by_a_line(value: Event, run: RunDirectory) -> Event:
    with MetricsWriter(run.metrics) as writer:
        writer.event(value)
    return read_events(run.metrics).records[-1].event


def by_the_ledger(value: PseudoLabel, run: RunDirectory) -> PseudoLabel:
    write_ledger(run.ledger(1), [value])
    return read_ledger(run.ledger(1))[0]


def by_the_results(value: Results, run: RunDirectory) -> Results:
    write_results(run.results, value)
    return read_results(run.results)


def by_the_ensemble(value: Ensemble, run: RunDirectory) -> Ensemble:
    write_ensemble(run, value)
    return read_ensemble(run)


def by_the_search(value: IssueSearch, run: RunDirectory) -> IssueSearch:
    write_search(run, value)
    return read_search(run)


def by_the_cache(value: RunSummary, run: RunDirectory) -> RunSummary:
    """All but what is of the moment."""
    stamp = stamp_of(run)
    found = recall(run, entry_of(value, stamp), stamp)
    assert found is not None
    status = derive_status(run, value.process, value.ended, value.ticket)
    assert (found.path, found.status, found.queue_position) == (run.path, status, queue_position(run, status))
    return dataclasses.replace(
        found,
        path=value.path,
        status=value.status,
        queue_position=value.queue_position,
        awaited=value.awaited,
    )


def by_the_session(value: Any, _: RunDirectory) -> Any:
    return unpack_place(json.loads(json.dumps(pack_place(value))))


def evaluations() -> st.SearchStrategy[Evaluation]:
    return drawn(
        Evaluation,
        whole=True,
        recall=st.tuples(SHARES, SHARES),
        confusion=st.just(((1, 2), (3, 4))),
    )


KEPT: list[tuple[st.SearchStrategy[Any], Back]] = [
    (
        drawn(
            ProcessRecord,
            whole=True,
            **dict.fromkeys(
                ("pid", "supervisor_pid", "sweep_pid", "start_ticks", "supervisor_ticks", "attempt"), FEW
            ),
        ),
        by_a_record,
    ),
    (drawn(ExitRecord, whole=True), by_a_record),
    (drawn(Control, whole=True), by_a_record),
    (drawn(Ticket, whole=True), by_a_record),
    (drawn(Holder, whole=True), by_a_record),
    (drawn(Waiting, whole=True), by_json),
    (drawn(Profile, whole=True), by_json),
    (drawn(Settings, whole=True), by_json),
    (drawn(Painted, whole=True), by_json),
    (drawn(Notes, whole=True), by_pydantic),
    (drawn(Heard, whole=True), by_pydantic),
    (drawn(Ensemble, whole=True, differs=st.just({"seed": (1, 2)})), by_the_ensemble),
    (drawn(IssueSearch, whole=True), by_the_search),
    (
        drawn(PseudoLabel, whole=True, confidence=SHARES, margin=SHARES),
        by_the_ledger,
    ),
    (
        drawn(
            Results,
            whole=True,
            classes=st.just(("a", "b")),
            **dict.fromkeys(("val", "test", "teacher_val", "teacher_test", "student_val"), evaluations()),
            student_test=evaluations(),
        ),
        by_the_results,
    ),
    (
        drawn(
            RunSummary,
            whole=True,
            process=drawn(ProcessRecord, pid=FEW, supervisor_pid=FEW, sweep_pid=FEW, attempt=FEW),
            queue_position=st.none(),
        ),
        by_the_cache,
    ),
    *((drawn(kind, whole=True), by_the_session) for kind in (ComposePlace, WatchPlace, ComparePlace)),
    (drawn(InspectPlace, whole=True), by_the_session),
    (drawn(Query, whole=True), by_json_with_defaults),
    (drawn(Look, whole=True, smoothing=st.sampled_from(SMOOTHINGS)), by_json_with_defaults),
    *(
        (
            drawn(kind, whole=True, **{name: POSSIBLE[name] for name in POSSIBLE if hasattr(kind, name)}),
            by_a_line,
        )
        for kind in get_args(Event)
    ),
]


@pytest.mark.parametrize(("values", "back"), KEPT, ids=lambda one: getattr(one, "__name__", "of"))
def test_every_field_of_what_is_kept_comes_back(
    values: st.SearchStrategy[Any], back: Back, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path)

    @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
    @given(values)
    def check(value: Any) -> None:
        assert comparable(back(value, run)) == comparable(value)

    check()


def test_what_is_not_as_it_should_be_is_left_at_its_default(tmp_path: Path) -> None:
    values = {"tab": "elsewhere", "smoothing": "much", "log": 1, "chosen": "a-run", "colour": "red"}
    assert record_or_defaults(values, Look) == Look(chosen="a-run")
    assert record_or_defaults([], Look) == Look()
