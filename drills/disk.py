"""A disk that is full from some writing step on: the run ends in words, and goes on once there is room."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

from drills.ground import NAMES, Ground, Undisturbed, crashed, finish, judge
from drills.moments import AtStep
from drills.processes import Petbench, Place
from drills.table import Outcome, Skipped, Verdict, drill, in_turn
from workbench.runs.layout import run_directories

_DISK_BYTES = 64 * 2**20
_PAGE_BYTES = 4096
_WORDS = re.compile(
    r"disk is full|disk filled up|no space left|is free|file too large|cannot be written|cannot make", re.I
)
_WHOLE = "last checkpoint is whole"


@drill("full-disk", count=400, short=4)
def full(ground: Ground, dice: Random, number: int) -> Outcome:
    """A small disk is filled as a file is about to be written, each in its turn; room made, it goes on."""
    undisturbed = ground.undisturbed(NAMES[number % len(NAMES)])
    step, left = _step(undisturbed, number), dice.choice([0, 0, 1, 4, 40, 400]) * _PAGE_BYTES
    with ground.place() as place, _small_disk(place.home):
        filler = place.home / "filler"
        fault = AtStep(place, step, lambda: _fill(filler, left))
        what = f"{undisturbed.name}: disk full but {left} bytes before {_name(undisturbed, step)}"
        return _stopped_and_gone_on(place, undisturbed, fault, what, filler)


@drill("file-limit", count=400, short=4)
def limited(ground: Ground, dice: Random, number: int) -> Outcome:
    """From some writing step on no file may grow past a few bytes (RLIMIT_FSIZE); lifted, it goes on."""
    undisturbed = ground.undisturbed(NAMES[number % len(NAMES)])
    step, most = _step(undisturbed, number), dice.choice([0, 10, 1000, 20_000, 1_000_000])
    with ground.place() as place:
        fault = AtStep(place, step, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
        what = f"{undisturbed.name}: no file over {most} bytes from {_name(undisturbed, step)}"
        return _stopped_and_gone_on(place, undisturbed, fault, what, None)


def _step(undisturbed: Undisturbed, number: int) -> int:
    return in_turn(number // len(NAMES), len(undisturbed.steps))


def _name(undisturbed: Undisturbed, step: int) -> str:
    return f"step {step}, {undisturbed.steps[step].name}"


def _stopped_and_gone_on(
    place: Place, undisturbed: Undisturbed, fault: AtStep, what: str, filler: Path | None
) -> Outcome:
    ended = Petbench(place, "run", str(undisturbed.recipe), fault=fault).wait()
    bad = crashed(ended)
    if bad is not None:
        return Outcome(bad, what, ended.said)
    if ended.code and not _WORDS.search(ended.said):
        return Outcome(Verdict.TRACEBACK, what, f"does not say that the disk is full: {ended.said}")
    if _WHOLE in ended.said and not _has_checkpoint(place):
        return Outcome(Verdict.SILENT, what, f"there is no checkpoint: {ended.said}")
    if filler is not None:
        filler.unlink(missing_ok=True)
    return judge(place, undisturbed, finish(place, undisturbed) if ended.code else ended, what)


def _has_checkpoint(place: Place) -> bool:
    return any(any(run.checkpoint.glob("0*.safetensors")) for run in run_directories(place.runs))


def _fill(filler: Path, left: int) -> None:
    """Take all room but `left` bytes."""
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT, 0o600)
    room = shutil.disk_usage(filler.parent).free - left
    if room > 0:
        os.posix_fallocate(descriptor, 0, room)
    os.close(descriptor)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A disk of its own at a directory. Raises: Skipped, without the right to mount one."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Skipped(f"no right to mount a small disk here ({done.stderr.strip()})")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
