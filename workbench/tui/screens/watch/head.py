"""The two lines on top of Watch: how the run is, and what a person should know of it."""

from __future__ import annotations

from rich.text import Text

from workbench.runs.best_epoch import epoch_words
from workbench.runs.following import Following
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean
from workbench.support.paths import short_path
from workbench.support.units import human_bytes, human_seconds
from workbench.tui.draw.bars import bar
from workbench.tui.draw.ticks import value_label
from workbench.tui.marks import STATUS_MARKS
from workbench.tui.screens.watch.news import News
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
        rest.append(f" {int(100 * going.fraction)}%")
        if following.status.is_running and going.eta_seconds is not None:
            about = "~" if going.is_rough else ""
            rest.append(f"  eta {about}{human_seconds(going.eta_seconds)}")
    line = Text(no_wrap=True, end="")
    name = run_title(following)
    room = max(8, width - rest.cell_len - 1)
    line.append(name if len(name) <= room else name[: room - 1] + "…", style="bold")
    line.append_text(rest)
    if following.read_share < 1:
        line.append(f"  reading {100 * following.read_share:.0f}%", style=palette.muted)
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


def _outcome(following: Following, *, roomy: bool) -> str:
    parts = []
    if following.tests:
        parts.append(f"  test {value_label(following.tests[-1].accuracy, 'share')}")
    if following.best is not None:
        best = following.best
        parts.append(f"  val {value_label(best.accuracy, 'share')} @{epoch_words(best)}")
    if len(following.val.at.seconds):
        parts.append(f"  in {human_seconds(float(following.val.at.seconds[-1]))}")
    if roomy and following.latest_step is not None:
        parts.append(f"  {human_bytes(following.latest_step.memory_bytes)}")
    return "".join(parts)
