"""Where an attempt's time went: `profile.json` for the table, `trace.json` for Perfetto."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from workbench.runs.layout import RunDirectory
from workbench.support.atomic import atomic_write
from workbench.support.records import plain, record_from
from workbench.support.regular_file import read_json
from workbench.support.spans import Kept, Part, Recorder, Sums

_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class PartTime:
    """A part of a run and the time that it took."""

    part: Part
    seconds: float
    waited_seconds: float
    """Of it, those in which the host waited for the device to finish."""
    times: int
    """How many spans of time those were."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Where an attempt's wall time went."""

    wall_seconds: float
    parts: tuple[PartTime, ...]
    """Of the thread that trains; they add up to `wall_seconds`."""
    beside: tuple[PartTime, ...]
    """Of all other threads together, while that one went on."""
    device: str
    waits_for_device: bool
    """Whether the host waited for the device at the end of each span, so that it is the device's time too."""
    trace_shortest_seconds: float
    """Spans of up to so long are not in the trace, because there were too many; 0: all are there."""


def save_profile(run: RunDirectory, recorder: Recorder, device: str) -> Profile:
    """End a recording and keep it with the run, in place of an earlier attempt's. Raises: OSError."""
    wall, own, beside = recorder.finish()
    profile = Profile(
        wall_seconds=wall,
        parts=_rows(own),
        beside=_rows(beside),
        device=device,
        waits_for_device=recorder.settle is not None,
        trace_shortest_seconds=recorder.shortest_kept,
    )
    atomic_write(run.profile, json.dumps(plain(profile), indent=2) + "\n")
    atomic_write(run.trace, json.dumps(chrome_trace(recorder.kept), separators=(",", ":")) + "\n")
    return profile


def _rows(sums: Sums) -> tuple[PartTime, ...]:
    return tuple(
        PartTime(part, sums.seconds[part], sums.waited[part], sums.times[part])
        for part in Part
        if part in sums.seconds
    )


def read_profile(run: RunDirectory) -> Profile | None:
    """The run's profile; None where it has none or it is damaged."""
    try:
        return record_from(read_json(run.profile, _LIMIT_BYTES), Profile)
    except (OSError, ValueError):
        return None


def chrome_trace(kept: list[Kept]) -> dict[str, Any]:
    """Spans in Google's Trace Event Format, as a JSON object; Perfetto and chrome://tracing open it."""
    return {"displayTimeUnit": "ms", "traceEvents": list(_events(kept))}


def _events(kept: list[Kept]) -> Iterator[dict[str, Any]]:
    threads = sorted({0, *(span.thread for span in kept)})
    yield {"ph": "M", "pid": 1, "name": "process_name", "args": {"name": "petbench"}}
    for thread in threads:
        name = f"beside {thread}" if thread else "training"
        yield {"ph": "M", "pid": 1, "tid": thread, "name": "thread_name", "args": {"name": name}}
    for span in sorted(kept, key=lambda span: (span.start, -span.seconds)):
        yield {
            "ph": "X",
            "pid": 1,
            "tid": span.thread,
            "name": span.label,
            "cat": span.part.value,
            "ts": round(1e6 * span.start, 1),
            "dur": round(1e6 * span.seconds, 1),
        }
