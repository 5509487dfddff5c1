"""What can be done with the run that is watched: stop, park, go on, inspect, start anew from it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable

from workbench.runs.layout import RunDirectory
from workbench.runs.provenance import read_provenance
from workbench.runs.status import RunStatus
from workbench.support.clean import clean
from workbench.tui.places import ComposePlace, InspectPlace, WatchPlace
from workbench.tui.screens.asking import AskYesNo
from workbench.tui.screens.place import PlaceScreen
from workbench.tui.screens.watch.head import run_title
from workbench.tui.screens.watch.news import News

RESUMABLE = (RunStatus.STOPPED, RunStatus.SILENT, RunStatus.LOST, RunStatus.FAILED)


class RunControl(PlaceScreen[WatchPlace]):
    """The actions on the run itself; what ends work asks first."""

    news: News | None = None

    @property
    def run(self) -> RunDirectory:
        """The run that is watched."""
        return RunDirectory(self.bench.runs_home / self.place.run)

    @property
    def status(self) -> RunStatus | None:
        """Its state as last read; None before it was."""
        return self.news.following.status if self.news is not None else None

    async def do_stop(self) -> None:
        """Stop it, or take it out of the queue."""
        from workbench.jobs import cancel_run, stop_run

        if self.status is RunStatus.QUEUED:
            if await self._asked("Take {} out of the queue?", "It can be resumed later."):
                await self._done(cancel_run, "{} is out of the queue")
        elif await self._asked(
            "Stop {}?", "It ends its batch and writes a checkpoint; resuming goes on exactly from there."
        ):
            await self._done(stop_run, "{} is asked to stop")

    async def do_pause(self) -> None:
        """Park it, or go on with one that does not run."""
        from workbench.jobs import pause_run, resume_run

        if self.status in RESUMABLE:
            place = await asyncio.to_thread(resume_run, self.run, data_home=self.bench.data_home)
            where = f" as number {place.position} in the queue" if place.position else ""
            self.notify(f"{self._title()} goes on{where}")
        elif await self._asked(
            "Pause {}?", "It writes a checkpoint and frees its device; p goes on with it."
        ):
            await self._done(pause_run, "{} is asked to park")

    def do_inspect(self) -> None:
        """The images that it was least sure of."""
        self.bench.go(InspectPlace(run=self.place.run))

    def do_edit(self) -> None:
        """Its recipe in Compose."""
        self.bench.go(ComposePlace(source=f"run:{self.place.run}"))

    def refusal_of_control(self, name: str) -> str | None:
        """Why an action on the run cannot be done now; None when it can."""
        status = self.status
        if status is None:
            return "the run is being read"
        if self.news is not None and self.news.gone:
            return "the run is not there any more"
        match name:
            case "stop" if status is RunStatus.STOPPING:
                return "it is stopping already"
            case "stop" if not status.is_active:
                return "it is not running"
            case "pause" if status is RunStatus.QUEUED:
                return "it has not begun; s takes it out of the queue"
            case "pause" if status is RunStatus.STOPPING:
                return "it is stopping already"
            case "pause" if status is RunStatus.FINISHED:
                return "it has finished"
            case "inspect" if not self._has_images():
                return "it has no predictions yet: they come with the first round, or at the end"
            case _:
                return None

    def commands(self) -> list[str]:
        """Command lines for the run as a whole: as it was started, and to watch and to control it."""
        handle = shlex.quote(self.run.handle)
        lines = [f"petbench runs show {handle}"]
        status = self.status
        if status is not None and status.is_active:
            lines += [f"petbench stop {handle}", f"petbench pause {handle}"]
        elif status in RESUMABLE:
            lines.append(f"petbench resume {handle} --background")
        started = read_provenance(self.run).get("command_line")
        if isinstance(started, list) and started:
            lines.append(shlex.join(map(str, started)))
        return lines

    def _has_images(self) -> bool:
        return bool(self.news and self.news.following.rounds) or self.run.predictions("test").exists()

    def _title(self) -> str:
        return run_title(self.news.following) if self.news is not None else clean(self.place.run)

    async def _asked(self, question: str, detail: str) -> bool:
        screen = AskYesNo(question.format(self._title()), detail)
        answer: bool | None = await self.bench.push_screen_wait(screen)
        return bool(answer)

    async def _done(self, act: Callable[[RunDirectory], object], words: str) -> None:
        await asyncio.to_thread(act, self.run)
        self.notify(words.format(self._title()))
