"""Launching a draft: the commands that do what Compose does, and the runs of a sweep before it starts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from workbench.recipe.cookbook import own_path
from workbench.recipe.load import parse_recipe
from workbench.recipe.source import Grid, split_values
from workbench.recipe.sweep import Sweep, SweepRun, parse_sweep
from workbench.runs.estimate import Estimate
from workbench.support.clean import clean, slug
from workbench.support.errors import UserError
from workbench.support.toml_text import parse_toml, toml_key, toml_literal
from workbench.support.units import human_seconds
from workbench.tui.screens.compose.draft import Draft
from workbench.tui.screens.place import GuardedLoop
from workbench.tui.text import plain

if TYPE_CHECKING:
    from workbench.jobs.submission import Submission

LOCAL, SLURM = "local", "slurm"


def draft_sweep(draft: Draft, grid: Mapping[str, str]) -> Sweep:
    """What a draft with a sweep stands for, as a [sweep] in it would have it.

    Args:
        grid: dotted key to values, as typed.

    Raises:
        UserError: values that do not fit, or too many runs.
    """
    grids = [Grid(key, split_values(typed)) for key, typed in grid.items()]
    return parse_sweep(draft.text, "the recipe", grids, folder=draft.folder)


def submission(slurm: str | None, command: str, data_home: Path) -> Submission | None:
    """How runs are given to Slurm; None where this machine's own queue has them.

    Args:
        slurm: options that a job is asked for over the user's file, as typed; None for this machine.
        command: the command line that does the same.

    Raises:
        UserError: the options or the user's file are wrong, or there is no Slurm on this machine.
    """
    if slurm is None:
        return None
    from workbench.jobs.cluster import typed_options
    from workbench.jobs.slurm import ensure_here
    from workbench.jobs.submission import submission_asked

    how = submission_asked(typed_options(slurm), data_home=data_home, command_line=shlex.split(command))
    ensure_here()
    return how


def launch_draft(draft: Draft, slurm: str | None, runs_home: Path, data_home: Path) -> str:
    """Start the draft's run in the background; its id.

    Args:
        slurm: as for `submission`.

    Raises:
        UserError: it cannot be launched.
    """
    from workbench.jobs import launch

    recipe = parse_recipe(draft.text, folder=draft.folder)
    command = launch_command(draft, {}, slurm)
    how = submission(slurm, command, data_home)
    words = shlex.split(command)
    return launch(recipe, runs_home, data_home=data_home, command_line=words, slurm=how).run.id


def launch_sweep(sweep: Sweep, command: str, slurm: str | None, runs_home: Path, data_home: Path) -> str:
    """Start a sweep's runs in the background, all or none but those that are there already; that, in words.

    Args:
        command: the command line that does the same.
        slurm: as for `submission`.

    Raises:
        UserError: one of them cannot be launched.
    """
    from workbench.dataset.run_data import DataNow
    from workbench.jobs import check_launch
    from workbench.jobs.sweep import queue_sweep

    how = submission(slurm, command, data_home)
    for run in sweep.runs:
        check_launch(run.recipe, runs_home, data_home=data_home)
    said: list[str] = []
    queued = queue_sweep(
        sweep,
        runs_home,
        DataNow(data_home, said.append),
        data_home=data_home,
        command_line=shlex.split(command),
        slurm=how,
    )
    count = f"{len(queued.launched)} runs"
    given = f"{count} launched: they go one after the other on each device." if how is None else ""
    said.insert(0, given or f"{count} given to Slurm.")
    if queued.left:
        said.append(f"{len(queued.left)} are there already: {queued.left_words}.")
    return " ".join(said)


def launch_command(draft: Draft, grid: Mapping[str, str], slurm: str | None = None) -> str:
    """`petbench launch` of the draft: its file with `--set` for what was changed since, or as saved.

    Args:
        grid: dotted key to the values of a sweep, as typed.
        slurm: as for `submission`.
    """
    file, changes = _file_and_changes(draft)
    words = ["petbench", "launch", file, *(word for change in changes for word in ("--set", change))]
    for key, values in grid.items():
        words += ["--grid", f"{key}={values}"]
    if slurm is not None:
        words += ["--engine", "slurm", *shlex.split(slurm)]
    return shlex.join(words)


def engine_choices() -> list[tuple[str, str]]:
    """Who may start the runs, each with what that means. Raises: UserError, for what the user's file says."""
    from workbench.jobs.cluster import read_cluster

    options = [option for option in read_cluster().options if not option.startswith("--signal=")]
    asked = f", asked for {' '.join(options)}" if options else " with the site's defaults"
    return [
        (LOCAL, "local: this machine's own queue, a run at a time on each device"),
        (SLURM, clean(f"slurm: a job a run{asked}")),
    ]


def other_commands(draft: Draft) -> list[str]:
    """Checking it, seeing it in full, drawing its augmentation."""
    file, changes = _file_and_changes(draft)
    sets = [word for change in changes for word in ("--set", change)]
    return [
        shlex.join(["petbench", "recipe", "check", file, *sets]),
        shlex.join(["petbench", "recipe", "show", file, *sets]),
        shlex.join(["petbench", "preview", file, "--out", "preview", *sets]),
        shlex.join(["petbench", "model", "show", "--recipe", file]),
    ]


def needs_saving(draft: Draft) -> bool:
    """Whether no command line gives the draft until it is a file."""
    return draft.is_changed and _changes(draft) is None


def _file_and_changes(draft: Draft) -> tuple[str, list[str]]:
    changes = _changes(draft)
    if changes is not None and draft.read_from is not None:
        return str(draft.read_from), changes
    if draft.path is not None:
        return str(draft.path), []
    return str(own_path(slug(str(draft.look()["name"] or "new")))), []


def _changes(draft: Draft) -> list[str] | None:
    """`key=value` for every key that differs from the file; None where that cannot say it."""
    if draft.read_from is None or draft.broken is not None:
        return None
    try:
        before = parse_toml(draft.saved, "").values
    except UserError:
        return None
    old, new = _flat(before), _flat(draft.values)
    if old.keys() - new.keys():
        return None
    return [
        f"{key}={toml_literal(value)}" for key, value in new.items() if key not in old or old[key] != value
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values under dotted keys as `--set` reads them: a group or class may have dots in its name."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{toml_key(str(name))}"
        found |= _flat(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return found


class SweepScreen(GuardedLoop, ModalScreen[bool]):
    """The list of a sweep's runs; closes with whether to launch them."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("L,y", "dismiss(True)", "launch"),
        Binding("escape,q,n", "dismiss(False)", "leave"),
    ]

    def __init__(self, runs: Sequence[SweepRun], estimate: Estimate | None, *, on_slurm: bool) -> None:
        super().__init__(classes="asking")
        self._runs, self._estimate, self._on_slurm = list(runs), estimate, on_slurm

    def compose(self) -> ComposeResult:
        """The number, the runs, the keys."""
        count = len(self._runs)
        with Vertical(classes="box tall"):
            yield Static(Text(f"A sweep of {count} run{'s' if count > 1 else ''}", "bold"), id="count")
            if self._estimate is not None and self._estimate.total_seconds is not None:
                total = human_seconds(count * self._estimate.total_seconds)
                yield Static(Text(f"about {total} one after the other"))
            yield OptionList(*(Option(plain(", ".join(run.labels))) for run in self._runs))
            where = " on Slurm" if self._on_slurm else ""
            yield Static(Text(f"L launches them all{where}   esc leaves"), classes="keys")

    def on_mount(self) -> None:
        """Arrows scroll the list."""
        self.query_one(OptionList).focus()
