"""How a state and a difference look: a sign and a word, so that colour is never alone."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.runs.status import RunStatus


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign with the theme's colour that goes with it."""

    sign: str
    word: str
    colour: str
    """A name of `themes.Palette`'s fields."""


STATUS_MARKS: dict[RunStatus, Mark] = {
    RunStatus.LIVE: Mark("●", "live", "good"),
    RunStatus.STALLED: Mark("◐", "stalled", "warning"),
    RunStatus.STARTING: Mark("◔", "starting", "accent"),
    RunStatus.STOPPING: Mark("◑", "stopping", "warning"),
    RunStatus.QUEUED: Mark("◌", "queued", "accent"),
    RunStatus.FINISHED: Mark("✓", "done", "muted"),
    RunStatus.STOPPED: Mark("■", "stopped", "warning"),
    RunStatus.FAILED: Mark("✗", "failed", "bad"),
    RunStatus.SILENT: Mark("?", "silent", "warning"),
    RunStatus.LOST: Mark("?", "lost", "bad"),
}
