"""Every command of petbench, found in the command line itself, and one way to type each that ends well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from tests.dataset.pictures import jpeg
from workbench.cli.main import app, register
from workbench.runs.layout import RunDirectory


def all_commands() -> dict[str, Any]:
    """`runs ls` -> the command, of every command that is no group."""
    register()
    return dict(_below(typer.main.get_command(app), ()))


def _below(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, one in getattr(command, "commands", {}).items():
        yield from (
            _below(one, (*path, name)) if hasattr(one, "commands") else [(" ".join((*path, name)), one)]
        )


def typed(home: Path, pseudo: RunDirectory, supervised: RunDirectory, recipe: Path) -> dict[str, list[str]]:
    """Arguments that each command ends well with, in this order, on a home with two finished runs.

    Args:
        home: a directory for what they write.
        recipe: one that trains in a second.
    """
    p, s, r = pseudo.handle, supervised.handle, str(recipe)
    picture = str(home / "picture.png")
    image = next(iter(pseudo.split.read_text().split('"labelled": [')[1].split('"')[1:]))
    sweep = str(home / "sweep.toml")
    (home / "sweep.toml").write_text(recipe.read_text() + "[sweep]\nseeds = 2\n")
    out = str(home / "out")
    photos = home / "photos"
    for seed, name in enumerate([f"{folder}/{number}.png" for folder in ("a", "b") for number in range(4)]):
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        (photos / name).write_bytes(jpeg(seed))
    return {
        "start": [str(photos)],
        "label": [str(photos), "--assign", "a", "a/0.png"],
        "run": [r],
        "launch": [r],
        "queue ls": [],
        "queue move": ["tiny", "1"],
        "queue cancel": ["tiny"],
        "sweep": [sweep, "--collect"],
        "lr-find": [r, "--steps", "20"],
        "paper table1": ["--collect", "--seeds", "1"],
        "paper figures": ["--collect", "--only", "1"],
        "paper recipes": [],
        "runs ls": [],
        "runs show": [p],
        "runs compare": [p, s],
        "runs group": [],
        "runs log": [p],
        "runs export": [],
        "runs tag": [p, "good"],
        "runs note": [p, "a note"],
        "runs archive": [p],
        "runs unarchive": [p],
        "runs rm": [s],
        "runs trash": [],
        "runs tidy": ["--dry-run"],
        "runs restore": [s],
        "recipe check": [r],
        "recipe show": [r],
        "recipe diff": [r, sweep.replace("sweep", "tiny")],
        "recipe ls": [],
        "recipe copy": ["quickstart", str(home / "copied.toml"), "--force"],
        "recipe new": [str(home / "new.toml"), "--force"],
        "recipe reference": [],
        "data check": ["--dataset", "sample"],
        "data sample": [str(home / "drawn"), "--per-class", "2", "--size", "48"],
        "model show": ["resnet18"],
        "backbones": [],
        "strategies": [],
        "inspect": [p],
        "slices": [p, "--smallest", "4"],
        "review": [p],
        "generate": [r, "--model", "somebody/something", "--out", str(home / "more"), "--dry-run"],
        "preview": [r, "--out", out, "--images", "1", "--views", "1"],
        "saliency": [p, image, "--out", out],
        "neighbours": [p, image],
        "label-issues": [p, "--folds", "2"],
        "predict": [p, picture],
        "ensemble": [p, s, "--dry-run"],
        "export": [p, "--to", "safetensors", "--out", str(home / "model")],
        "doctor": [],
        "schema": ["runs"],
    }


NOT_TYPED = {"data get", "resume", "stop", "pause"}
"""What needs the network, or a run that goes on."""
