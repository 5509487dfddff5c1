"""Starting a run in the background: its directory, its supervisor, its place in the queue."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import workbench
from workbench.jobs.device import DevicesAsked, demand_of
from workbench.jobs.queue import join_queue
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.process import Signs, ensure_unattended, write_process
from workbench.runs.status import RunStatus, status_of
from workbench.runs.ticket import read_ticket
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.regular_file import open_to_append
from workbench.support.toml_text import read_toml

if TYPE_CHECKING:
    from workbench.jobs.submission import Submission
    from workbench.recipe import Recipe

NOTIFY = "PETBENCH_NOTIFY"
Engine = Literal["local", "slurm"]
"""Who starts a run in the background: this machine's own queue, or a cluster's."""
_ASKING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)


@dataclass(frozen=True, slots=True)
class Launched:
    """A run that goes its own way from here."""

    run: RunDirectory
    position: int
    """0: a device is free for it; n: n-th in the queue."""
    job: str = ""
    """Slurm's number of it; empty in this machine's own queue."""

    @property
    def words(self) -> str:
        """Where it stands, for people: `starts now`, `waits, 2 in the queue`."""
        if self.job:
            return f"is with Slurm as job {clean(self.job)}"
        return f"waits, {self.position} in the queue" if self.position else "starts now"


def launch(
    recipe: Recipe,
    runs_home: Path,
    *,
    data_home: Path | None = None,
    device: str = "auto",
    command_line: Sequence[str] = (),
    notify: str | None = None,
    slurm: Submission | None = None,
) -> Launched:
    """Make a run's directory and start its supervisor, which outlives this process; returns at once.

    Args:
        data_home: `--data-dir`; else what the environment says.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        command_line: for the run's provenance.
        notify: a command to run when the run ends; else `$PETBENCH_NOTIFY`.
        slurm: give it to Slurm instead, as this says alone.

    Raises:
        UserError: no such device or data set, the directory or the queue cannot be written, Slurm refuses.
    """
    if slurm is not None:
        from workbench.jobs.submission import launch_on_slurm

        return launch_on_slurm(recipe, runs_home, slurm)
    check_launch(recipe, runs_home, data_home=data_home, device=device)
    run = new_run(recipe, runs_home)
    try:
        return _start(run, data_home, device, None, command_line, notify)
    except UserError:
        shutil.rmtree(run.path, ignore_errors=True)
        raise


def new_run(recipe: Recipe, runs_home: Path) -> RunDirectory:
    """The directory of a run that starts later. Raises: UserError, and leaves none."""
    from workbench.recipe.dump import dump_recipe

    run = create_run(runs_home, recipe.name, dump_recipe(recipe), datetime.now())
    try:
        if recipe.data.corrections:  # pinned now: the review may change while the run waits its turn
            from workbench.dataset.review import pin_review

            pin_review(recipe.data.corrections, run.corrections)
    except UserError:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return run


def check_launch(
    recipe: Recipe, runs_home: Path, *, data_home: Path | None = None, device: str | None = "auto"
) -> None:
    """See that there is what a launch needs, before there is anything to clean up.

    Args:
        device: None: those of another machine, or that have been seen to.

    Raises:
        UserError: no such device, or the data set, its extra images or the runs that are to teach are not
            there.
    """
    from workbench.runs.find import named_teachers

    check_place(recipe, data_home=data_home, device=device)
    named_teachers(recipe, runs_home)


def check_place(recipe: Recipe, *, data_home: Path | None = None, device: str | None = "auto") -> None:
    """See that devices and images are there.

    Args:
        device: as for `check_launch`.

    Raises:
        UserError: no such device or not so many, or the data set or its extra images are not there.
    """
    from workbench.dataset.extra import list_extra
    from workbench.dataset.run_data import locate
    from workbench.recipe.data import DATASETS
    from workbench.support import paths

    if device is not None:
        demand_of(device, recipe.training.devices)
    if not DATASETS[recipe.data.dataset].is_drawn or recipe.data.root:
        locate(recipe.data, data_home=paths.data_home(data_home))
    list_extra(recipe.data)


def check_divisions(recipes: Iterable[Recipe], *, data_home: Path | None = None) -> None:
    """See that the images of recipes can be divided as they say, as their runs will: it opens each data set
    once, which takes about a second for five thousand images. A sample set that has yet to be drawn waits.

    Raises:
        UserError: whatever in a recipe does not fit its data.
    """
    from workbench.dataset.run_data import Catalogues, any_images, divide, sample_home
    from workbench.dataset.sample import holds_sample
    from workbench.recipe.data import DATASETS
    from workbench.support import paths

    home = paths.data_home(data_home)
    catalogues = Catalogues(home)
    for recipe in recipes:
        data = recipe.data
        if not DATASETS[data.dataset].is_drawn or data.root or holds_sample(sample_home(home)):
            divide(recipe, catalogues.open(data), typical=any_images)


def resume_run(
    run: RunDirectory,
    *,
    data_home: Path | None = None,
    device: str = "auto",
    devices: DevicesAsked | None = None,
    command_line: Sequence[str] = (),
    notify: str | None = None,
    told: Callable[[str], None] = lambda _: None,
    engine: Engine | None = None,
) -> Launched:
    """A new attempt at a run that was stopped, lost or failed, by a new supervisor, queued like a launch.

    Args:
        devices: how many train it from here on; as its recipe says unless given.
        engine: who starts it; unless given whoever had it last, Slurm as it was asked then.
        told: hears what takes long: a run that another machine had is watched for a while.

    Raises:
        UserError: it is active or finished, there is no such device, or the queue cannot be written.
    """
    ticket = read_ticket(run)
    if engine == "slurm" or (engine is None and ticket is not None):
        from workbench.jobs.submission import resume_on_slurm

        if devices is not None:
            raise UserError(
                "Slurm gives the run as many as its job has asked for",
                where="--devices",
                hint="add --engine local to go on on this machine",
            )
        return resume_on_slurm(run, told=told)
    demand_of(device, devices or devices_asked(run))
    ensure_resumable(run)
    if ticket is not None and ticket.is_open:  # Slurm's job, which is parked, has nothing to do any more
        from workbench.jobs.slurm import withdraw

        withdraw(run, ticket)
    return _start(run, data_home, device, devices, command_line, notify, ensure_unattended([run], told))


def devices_asked(run: RunDirectory) -> DevicesAsked:
    """What a run's recipe says of `training.devices`, read without pydantic; 1 where it cannot be read."""
    try:
        table = read_toml(run.recipe).get("training")
    except (OSError, UserError):
        return 1
    asked = table.get("devices", 1) if isinstance(table, dict) else 1
    if asked == "all":
        return "all"
    return asked if isinstance(asked, int) and asked > 0 else 1


def ensure_resumable(run: RunDirectory) -> None:
    """See that there is something to go on with. Raises: UserError, if it is active or finished."""
    status = status_of(run)
    if status is RunStatus.FINISHED and _has_results(run):
        raise UserError("it is finished", where=run.id, hint=f"petbench runs show {run.handle}")
    if status.is_active:
        raise UserError(f"it is {status.value}", where=run.id, hint=f"petbench stop {run.handle} ends that")


def _has_results(run: RunDirectory) -> bool:
    """Whether a finished run's are whole, with their predictions; else it can be concluded again."""
    from workbench.runs.predictions import load_predictions
    from workbench.runs.results import read_results

    try:
        for name in read_results(run.results).predictions:
            load_predictions(run.predictions(name))
    except (FileNotFoundError, UserError):
        return False
    return True


def _start(
    run: RunDirectory,
    data_home: Path | None,
    device: str,
    devices: DevicesAsked | None,
    command_line: Sequence[str],
    notify: str | None,
    seen: Signs | None = None,
) -> Launched:
    try:
        child = _spawn(run, data_home, device, devices, command_line, notify)
    except OSError as error:
        raise UserError(f"no supervisor can be started: {error.strerror or error}", where=run.id) from error
    try:
        process = write_process(run, device, pid=child.pid, role="waiting", seen=seen)
        demand = demand_of(device, devices or devices_asked(run))
        position = join_queue(run, process, device, demand.devices, demand.count)
    except (OSError, UserError) as error:
        child.kill()
        child.wait()
        if isinstance(error, UserError):
            raise
        raise UserError(f"it cannot be queued: {error.strerror or error}", where=run.id) from error
    # Reaps it if it ends before this process does, which may be an app that stays open for days.
    threading.Thread(target=child.wait, name=f"reap-{run.handle}", daemon=True).start()
    return Launched(run, position)


def _spawn(
    run: RunDirectory,
    data_home: Path | None,
    device: str,
    devices: DevicesAsked | None,
    command_line: Sequence[str],
    notify: str | None,
) -> subprocess.Popen[bytes]:
    """Start the supervisor, tied to nothing of this process: no terminal, no session, no pipe."""
    hook = os.environ.get(NOTIFY, "") if notify is None else notify
    arguments = [
        str(run.path.absolute()),
        f"--device={device}",
        *([] if devices is None else [f"--devices={devices}"]),
        f"--data-dir={data_home.absolute() if data_home else ''}",
        f"--notify={hook}",
        f"--launched-by={shlex.join(command_line)}",
    ]
    with os.fdopen(open_to_append(run.log), "ab") as log, signals_held_back(_ASKING):
        return subprocess.Popen(
            [*python_module("workbench.jobs.supervisor"), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=child_environment(),
            start_new_session=True,
            close_fds=True,
        )


def python_module(name: str) -> list[str]:
    """The command that runs a module of this petbench; files in the working directory cannot shadow it."""
    return [sys.executable, "-P", "-m", name]


def child_environment(**changes: str) -> dict[str, str]:
    """This process's environment, in which a child finds this petbench even where it is not installed."""
    root = str(Path(workbench.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH", "")
    paths = [root, *(path for path in inherited.split(os.pathsep) if path and path != root)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **changes}


@contextmanager
def signals_held_back(numbers: Iterable[signal.Signals]) -> Iterator[None]:
    """A child started here keeps these signals waiting until it is ready for them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
