"""A profile as it is kept: the table's file, and a trace that Perfetto can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs.making import make_run
from workbench.runs.profile import chrome_trace, read_profile, save_profile
from workbench.support.spans import Kept, Part, Recorder, recording, span


def _recorded() -> Recorder:
    recorder = Recorder()
    with recording(recorder), span(Part.OTHER, 'teacher "epoch" 1'), span(Part.FORWARD):
        pass
    return recorder


def test_a_profile_is_read_back_as_it_was_saved(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_profile(run) is None
    profile = save_profile(run, _recorded(), "cpu")
    assert read_profile(run) == profile
    assert [row.part for row in profile.parts] == [Part.FORWARD, Part.OTHER]
    assert sum(row.seconds for row in profile.parts) == pytest.approx(profile.wall_seconds)


@pytest.mark.parametrize(
    "damage",
    ["", "{", "[]", "null", "{}", '{"parts": 3, "beside": []}', '{"parts": [{"part": "x"}], "beside": []}'],
)
def test_a_damaged_profile_is_none(tmp_path: Path, damage: str) -> None:
    run = make_run(tmp_path)
    save_profile(run, _recorded(), "cpu")
    run.profile.write_text(damage)
    assert read_profile(run) is None


def test_a_profile_with_a_part_that_is_not_known_is_none(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    save_profile(run, _recorded(), "cpu")
    run.profile.write_text(run.profile.read_text().replace('"forward"', '"teleport"'))
    assert read_profile(run) is None


def test_the_trace_names_its_threads_and_holds_microseconds_outer_spans_first(tmp_path: Path) -> None:
    kept = [
        Kept(Part.FORWARD, "forward", 0, 0.5, 0.25),
        Kept(Part.OTHER, 'teacher "epoch" 1', 0, 0.5, 1.0),
        Kept(Part.AUGMENTATION, "augmentation", 1, 0.1, 0.125),
    ]
    trace = json.loads(json.dumps(chrome_trace(kept)))
    named = {
        event["tid"]: event["args"]["name"]
        for event in trace["traceEvents"]
        if "tid" in event and event["ph"] == "M"
    }
    assert named == {0: "training", 1: "beside 1"}
    spans = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    assert [(e["name"], e["cat"], e["tid"], e["ts"], e["dur"]) for e in spans] == [
        ("augmentation", "augmentation", 1, 100_000.0, 125_000.0),
        ('teacher "epoch" 1', "other", 0, 500_000.0, 1_000_000.0),
        ("forward", "forward", 0, 500_000.0, 250_000.0),
    ]


def test_the_trace_is_kept_beside_the_profile(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    save_profile(run, _recorded(), "cpu")
    events = json.loads(run.trace.read_text())["traceEvents"]
    assert {event["name"] for event in events if event["ph"] == "X"} == {'teacher "epoch" 1', "forward"}
