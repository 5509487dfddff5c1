"""The paper's figures from our runs: validation accuracy over epochs, with its spread over seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.paper.charts import At, Curve, Level, LineChart, Span
from workbench.paper.recipes import Plan, cell_of
from workbench.recipe import recipe_fingerprint
from workbench.recipe.sweep import SweepRun
from workbench.runs.events import StageName
from workbench.runs.run_history import STAGE_ORDER, read_history
from workbench.runs.seed_groups import spread
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.regular_file import UnreadableFile

Stage = tuple[int, StageName]
"""(round, stage): 0 until students learn."""


@dataclass(frozen=True, slots=True)
class _Story:
    """What a run's validation accuracy went through."""

    stages: Mapping[Stage, Mapping[int, float]]
    """Stage -> epoch -> accuracy, in the order of training."""
    teacher: float | None
    """The accuracy of the teacher that was kept."""


def figure_chart(plan: Plan, runs: Sequence[SweepRun], found: Mapping[str, RunSummary]) -> LineChart | None:
    """The chart of what is trained so far; None where nothing is.

    Args:
        runs: of the plan's sweep, with those of its finer search.
    """
    stories: dict[str, list[_Story]] = {}
    wanted: dict[str, int] = {}
    by_point: dict[str, list[SweepRun]] = {}
    for run in runs:
        by_point.setdefault(run.point, []).append(run)
    for point, repeats in by_point.items():
        there = [found.get(recipe_fingerprint(run.recipe)) for run in repeats]
        finished = [one for one in there if one is not None and one.status is RunStatus.FINISHED]
        told = [_story(one) for one in finished or there if one is not None]
        if any(story.stages for story in told):
            stories[point] = [story for story in told if story.stages]
            wanted[point] = len(repeats)
    if not stories:
        return None
    title = f"Figure {plan.figure.number}: {plan.title}"
    subtitle = f"{plan.backbone}; {_repeats(stories, wanted)}"
    if plan.figure.fraction is None:
        curves = [
            Curve(plan.label(by_point[point][0]), _points(told, _offsets(told)))
            for point, told in _ordered(stories, by_point, plan)
        ]
        return LineChart(title, subtitle, "epoch", curves)
    return _students_chart(
        title, subtitle, {cell_of(by_point[point][0].recipe)[1]: told for point, told in stories.items()}
    )


def _students_chart(title: str, subtitle: str, strategies: Mapping[str, Sequence[_Story]]) -> LineChart:
    """Teacher, then students side by side: both begin where the teacher ended."""
    every = [story for told in strategies.values() for story in told]
    before = _offsets(every, students=False)
    begin = max(
        (
            at + max(max(story.stages[stage], default=0) for story in every if stage in story.stages)
            for stage, at in before.items()
        ),
        default=0,
    )
    first = strategies.get("one_shot") or next(iter(strategies.values()))
    curves = [Curve("teacher", _points(first, before), is_reference=True)] if before else []
    rounds: list[Span] = []
    end = begin
    for strategy, told in strategies.items():
        offsets = {stage: begin + at for stage, at in _offsets(told, students=True).items()}
        points = _points(told, offsets)
        if not points:
            continue
        curves.append(Curve(strategy.replace("one_shot", "one-shot").replace("_", " "), points))
        last = int(max(at.x for at in points))
        end = max(end, last)
        starts = {round: at for (round, _), at in sorted(offsets.items(), reverse=True)}
        if len(starts) > 1 and not rounds:
            ends = [*sorted(starts.values())[1:], last]
            rounds = [
                Span(str(round), at, after)
                for (round, at), after in zip(sorted(starts.items()), ends, strict=True)
            ]
    held = spread(story.teacher for story in first)
    level = None if held is None or not before else Level("teacher", held.mean, begin)
    stages = [Span("teacher", 0, begin)] if before else []
    stages += [Span("students", begin, end)] if end > begin else []
    return LineChart(title, subtitle, "epoch", curves, level if end > begin else None, stages, rounds)


def _story(run: RunSummary) -> _Story:
    try:
        history = read_history(run.run.metrics)
    except UnreadableFile:
        return _Story({}, None)
    stages: dict[Stage, dict[int, float]] = {}
    for epoch in history.epochs("val"):
        if epoch.epoch:
            stages.setdefault((epoch.round, epoch.stage), {})[epoch.epoch] = epoch.accuracy
    teacher = history.bests.teacher
    return _Story(stages, None if teacher is None else teacher.accuracy)


def _offsets(told: Iterable[_Story], *, students: bool | None = None) -> dict[Stage, int]:
    """After how many epochs each stage begins, where every stage is as long as in the run that was longest.

    Args:
        students: their rounds alone, or what comes before alone.
    """
    lengths: dict[Stage, int] = {}
    for story in told:
        for stage, epochs in story.stages.items():
            if students is None or students == (stage[0] > 0):
                lengths[stage] = max(lengths.get(stage, 0), *epochs)
    begun, at = {}, 0
    for stage in sorted(lengths, key=lambda stage: (stage[0], STAGE_ORDER[stage[1]])):
        begun[stage] = at
        at += lengths[stage]
    return begun


def _points(told: Sequence[_Story], offsets: Mapping[Stage, int]) -> list[At]:
    """Mean and spread at the epochs that every repeat has: no line jumps because a repeat ended."""
    points = []
    for stage, offset in offsets.items():
        repeats = [story.stages.get(stage, {}) for story in told]
        for epoch in sorted(set.intersection(*(set(repeat) for repeat in repeats))):
            over = spread(repeat[epoch] for repeat in repeats)
            assert over is not None
            points.append(At(offset + epoch, over.mean, over.deviation))
    return points


def _ordered(
    stories: Mapping[str, list[_Story]], by_point: Mapping[str, Sequence[SweepRun]], plan: Plan
) -> list[tuple[str, list[_Story]]]:
    """By the value that is varied where it is a number: a finer search comes after the coarse one."""

    def place(point: str) -> float:
        value = dict(by_point[point][0].settings).get(plan.varied)
        return value if isinstance(value, float) else 0.0

    return sorted(stories.items(), key=lambda item: place(item[0]))


def _repeats(stories: Mapping[str, Sequence[_Story]], wanted: Mapping[str, int]) -> str:
    counts = sorted({len(told) for told in stories.values()})
    least, most = counts[0], counts[-1]
    if most == 1:
        return "one seed" if max(wanted.values()) == 1 else f"one of {max(wanted.values())} seeds"
    several = f"{most}" if least == most else f"{least} to {most}"
    of = f" of {max(wanted.values())}" if max(wanted.values()) > most else ""
    return f"mean of {several}{of} seeds, band: ± 1 standard deviation"
