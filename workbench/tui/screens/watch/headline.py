"""The head of Watch: how the run stands, and what may be asked of it: stop, pause, resume."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

from workbench.runs.curves import Following
from workbench.runs.ensemble import members_words
from workbench.runs.events import EpochDone
from workbench.runs.intervals import of_share
from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance
from workbench.runs.run_history import epoch_words
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.paths import short_path
from workbench.support.units import (
    human_bytes,
    human_eta,
    human_seconds,
    interval_fractions,
    percent,
    progress_percent,
)
from workbench.tui.draw.bars import bar
from workbench.tui.draw.ticks import value_label
from workbench.tui.screens.watch.news import News
from workbench.tui.text import STATUS_MARKS
from workbench.tui.themes import Palette

_BAR_CELLS = 12
_ROOMY = 110
_LOG_LINE = 150  # characters


def run_title(following: Following) -> str:
    """The recipe's name and the run's handle."""
    name = following.recipe.get("name", following.run.slug)
    return clean(f"{name}-{following.run.handle}" if following.run.handle != following.run.id else name)


def head_line(following: Following, palette: Palette, width: int) -> Text:
    """Name, status, round, epoch, progress, time left; a finished run's accuracy in place of the last."""
    mark = STATUS_MARKS[following.status]
    rest = Text(end="")
    rest.append(f"  {mark.sign} {mark.word}", style=f"bold {getattr(palette, mark.colour)}")
    going = following.going
    if following.status is RunStatus.FINISHED:
        rest.append(_outcome(following, roomy=width >= _ROOMY))
    elif going is not None:
        if going.rounds:
            rest.append(f"  round {going.round}/{going.rounds}" if going.round else "  teacher")
        rest.append(f"  epoch {going.epoch}/{going.epochs}")
        rest.append(
            "  " + bar(going.fraction, _BAR_CELLS if width < _ROOMY else 3 * _BAR_CELLS), style=palette.accent
        )
        rest.append(f" {progress_percent(going.fraction)}%")
        if following.status.is_running and going.eta_seconds is not None:
            about = "~" if going.is_rough else ""
            rest.append(f"  eta {about}{human_eta(going.eta_seconds)}")
    line = Text(no_wrap=True, end="")
    name = run_title(following)
    room = max(8, width - rest.cell_len - 1)
    line.append(name if len(name) <= room else name[: room - 1] + "…", style="bold")
    line.append_text(rest)
    if following.read_share < 1:
        line.append(f"  reading {percent(following.read_share, 0)}%", style=palette.muted)
    line.truncate(max(0, width), overflow="ellipsis")
    return line


def notice_lines(news: News, summary: RunSummary | None, palette: Palette, now: float) -> Text | None:
    """What a person should know at once, in words; None when all is as it should be."""
    if news.gone:
        return Text(
            "its directory is gone: thrown away (petbench runs restore), or removed for good", palette.bad
        )
    said = _status_lines(news, summary, palette, now)
    problem = clean(summary.problem) if summary is not None else ""
    if not problem:
        return said
    damage = Text(problem, palette.bad)
    return damage if said is None else Text("\n").join((damage, said))


def _status_lines(news: News, summary: RunSummary | None, palette: Palette, now: float) -> Text | None:
    following = news.following
    status, reason = following.status, clean(following.reason)
    log = clean(short_path(following.run.log))
    bad, mild = palette.bad, palette.warning
    match status:
        case RunStatus.QUEUED if summary is not None and summary.waits_for_slurm:
            return Text(f"{clean(summary.slurm_words)}; it starts by itself; s cancels it", palette.accent)
        case RunStatus.QUEUED:
            place = summary.queue_position if summary is not None else None
            number = f", number {place} in the queue" if place else ""
            device = f" for {clean(following.process.device)}" if following.process else ""
            return Text(f"waits{device}{number}, and starts by itself; s takes it out", palette.accent)
        case RunStatus.STARTING:
            return Text("has a device and is loading; the first epoch comes soon", palette.accent)
        case RunStatus.STOPPING:
            if following.ended is not None and following.process is not None and reason:
                return Text(f"{reason}; gives its device back", mild)
            return Text("finishes its batch and writes a checkpoint", mild)
        case RunStatus.STALLED:
            silent = human_seconds(max(0.0, now - (news.last_sign or now)))
            return Text(f"alive, but without a sign for {silent}; log: {log}", mild)
        case RunStatus.LOST if summary is not None and summary.problem and following.process is None:
            return None  # whether it was ever started is in the file that cannot be read
        case RunStatus.LOST if following.process is None:
            return Text("was made and never started; p starts it", mild)
        case RunStatus.SILENT:
            return Text("no sign of life from its machine; in a minute it is known as live or lost", mild)
        case RunStatus.LOST:
            return Text(f"died without a word; p goes on from the last checkpoint. log: {log}", bad)
        case RunStatus.FAILED:
            return Text(f"{reason or 'failed'}\nlog: {log}", bad)
        case RunStatus.STOPPED:
            return Text(f"{reason or 'stopped'}; p goes on from the checkpoint", mild)
        case RunStatus.LIVE if not len(following.val.at.seconds) and news.log.lines:
            # What it says last is what takes so long: decoding, features.
            return Text(f"prepares: {clean(news.log.lines[-1], _LOG_LINE)}", palette.accent)
        case _:
            warnings = [said.message.text for said in following.messages if said.message.level == "warning"]
            if following.skipped:
                lines = "1 line" if following.skipped == 1 else f"{following.skipped:,} lines"
                warnings.append(f"{lines} of metrics.jsonl cannot be read: what they told is missing here")
            return Text(f"! {clean(warnings[-1])}", mild) if warnings else None


def share_label(epoch: EpochDone) -> str:
    """`.874 (.860–.888)`: an accuracy with its 95 % interval, where the record tells of how many images."""
    told = value_label(epoch.accuracy, "share")
    if not epoch.images:
        return told
    return f"{told} ({interval_fractions(of_share(epoch.accuracy, epoch.images))})"


def _outcome(following: Following, *, roomy: bool) -> str:
    parts, mean = [], members_words(following.recipe)
    if (tested := following.final_test) is not None:
        parts.append(f"  test {share_label(tested)}")
    if following.best is not None:
        best = following.best
        best_word = value_label(best.accuracy, "share")
        parts.append(f"  val {share_label(best) if roomy else best_word}")
        parts.append(f"  {mean}" if mean else f" @{epoch_words(best)}")
    if len(following.val.at.seconds) and not mean:
        parts.append(f"  in {human_seconds(float(following.val.at.seconds[-1]))}")
    if roomy and following.latest_step is not None:
        parts.append(f"  {human_bytes(following.latest_step.memory_bytes)}")
    return "".join(parts)


RESUMABLE = (RunStatus.STOPPED, RunStatus.SILENT, RunStatus.LOST, RunStatus.FAILED)


@dataclass(frozen=True, slots=True)
class RunControl:
    """A run and who is asked and told of what is done with it; what ends work asks first."""

    run: RunDirectory
    data_home: Path
    ask: Callable[[str, str], Awaitable[bool]]
    """(question, what it means) -> whether to do it."""
    tell: Callable[[str], None]

    async def stop(self, news: News) -> None:
        """Stop it, or take it out of the queue."""
        from workbench.jobs import cancel_run, stop_run

        title = run_title(news.following)
        if news.following.status is RunStatus.QUEUED:
            if await self.ask(f"Take {title} out of the queue?", "It can be resumed later."):
                await asyncio.to_thread(cancel_run, self.run)
                self.tell(f"{title} is out of the queue")
            return
        detail = "It ends its batch and writes a checkpoint; resuming goes on exactly from there."
        if await self.ask(f"Stop {title}?", detail):
            await asyncio.to_thread(stop_run, self.run)
            self.tell(f"{title} is asked to stop")

    async def pause(self, news: News) -> None:
        """Park it, or go on with one that does not run."""
        from workbench.jobs import pause_run, resume_run

        title = run_title(news.following)
        if news.following.status in RESUMABLE:
            place = await asyncio.to_thread(resume_run, self.run, data_home=self.data_home)
            where = f" as number {place.position} in the queue" if place.position else ""
            self.tell(f"{title} goes on{where}")
            return
        detail = "It writes a checkpoint and frees its device; p goes on with it."
        if await self.ask(f"Pause {title}?", detail):
            await asyncio.to_thread(pause_run, self.run)
            self.tell(f"{title} is asked to park")


def refusal(name: str, run: RunDirectory, news: News | None) -> str | None:
    """Why an action on the run (by its name) cannot be done now; None when it can."""
    if news is None:
        return "the run is being read"
    if news.gone:
        return "the run is not there any more"
    status = news.following.status
    match name:
        case "stop" if status is RunStatus.STOPPING:
            return "it is stopping already"
        case "stop" if not status.is_active:
            return "it is not running"
        case "pause" if status is RunStatus.QUEUED and run.ticket.exists():
            return None
        case "pause" if status is RunStatus.QUEUED:
            return "it has not begun; s takes it out of the queue"
        case "pause" if status is RunStatus.STOPPING:
            return "it is stopping already"
        case "pause" if status is RunStatus.FINISHED:
            return "it has finished"
        case "inspect" if not news.following.rounds and not run.predictions("test").exists():
            return "it has no predictions yet: they come with the first round, or at the end"
        case _:
            return None


def command_lines(run: RunDirectory, news: News | None) -> list[str]:
    """For the run as a whole: as it was started, and to watch and to control it."""
    handle = shlex.quote(run.handle)
    lines = [f"petbench runs show {handle}"]
    status = None if news is None else news.following.status
    if status is not None and status.is_active:
        lines += [f"petbench stop {handle}", f"petbench pause {handle}"]
    elif status in RESUMABLE:
        lines.append(f"petbench resume {handle} --background")
    started = read_provenance(run).get("command_line")
    if isinstance(started, list) and started:
        lines.append(shlex.join(map(str, started)))
    return lines
