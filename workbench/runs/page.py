"""All that `runs show` tells of a run, gathered from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from workbench.runs.events import Message, RoundLabelled
from workbench.runs.export import finite_json, run_record
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import read_events
from workbench.runs.profile import Profile, read_profile
from workbench.runs.provenance import read_provenance
from workbench.runs.results import Confusion, Results, most_confused, read_results
from workbench.runs.summary import Reading, RunSummary, summarise
from workbench.runs.timeline import timeline

_MOST_CONFUSED = 5


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run in full; `results` is None until it has finished."""

    summary: RunSummary
    results: Results | None
    confused: tuple[Confusion, ...]
    """The most confused test pairs."""
    rounds: tuple[RoundLabelled, ...]
    """What the teachers labelled, also of a run that still goes."""
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    profile: Profile | None
    """Of the latest attempt that was profiled."""


def read_page(run: RunDirectory) -> RunPage:
    """Read everything that `runs show` tells; damaged files are told among the warnings, the rest is shown.

    Raises:
        FileNotFoundError: the run is gone.
    """
    summary = summarise(run)
    read = Reading()
    results = read(run.results, lambda: read_results(run.results), None)
    kinds = (RoundLabelled.kind, Message.kind)
    tail = read(run.metrics, lambda: read_events(run.metrics, kinds=kinds), None)
    events = timeline([record.event for record in tail.records]) if tail is not None else []
    said = [event.text for event in events if isinstance(event, Message) and event.level == "warning"]
    provenance = read(run.provenance, lambda: read_provenance(run), dict[str, Any]())
    problems = [summary.problem] if summary.problem else []
    # The summary looks at some of these files too, and each is told once.
    problems += [told for told in read.problems if told.partition(" ")[0] not in summary.problem]
    return RunPage(
        summary=summary,
        results=results,
        confused=tuple(most_confused(results.test.confusion, results.classes, _MOST_CONFUSED))
        if results
        else (),
        rounds=tuple(event for event in events if isinstance(event, RoundLabelled)),
        warnings=tuple(dict.fromkeys([*problems, *(results.warnings if results else ()), *said])),
        provenance=provenance,
        profile=read_profile(run),
    )


def page_record(page: RunPage) -> dict[str, Any]:
    """The page as a JSON object: the run's record with results, rounds, warnings and provenance."""
    return {
        **run_record(page.summary),
        "results": finite_json(asdict(page.results)) if page.results else None,
        "most_confused": [asdict(pair) for pair in page.confused],
        "rounds": [finite_json(asdict(event)) for event in page.rounds],
        "warnings": list(page.warnings),
        "provenance": finite_json(dict(page.provenance)),
        "profile": asdict(page.profile) if page.profile else None,
    }
