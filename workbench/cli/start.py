"""`petbench start FOLDER`: look at somebody's images, say what is there, propose a recipe, begin."""

from __future__ import annotations

import importlib.util
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from workbench.cli.arguments import DataDir, Device, Json, RunsDir
from workbench.cli.console import console, error_console, print_json, print_text, write_file
from workbench.cli.display import Display
from workbench.dataset.proposal import WANTED_PACKAGES, Machine, Proposal, free_path, propose, run_name
from workbench.dataset.recognition import recognise
from workbench.dataset.survey import Survey, survey
from workbench.jobs.device import wanted_devices
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError
from workbench.support.paths import data_home, runs_home

_RECIPE = "recipe.toml"
_Answer = Literal["run", "open", "stop"]
_ANSWERS: dict[str, _Answer] = {
    "r": "run", "run": "run",
    "o": "open", "open": "open",
    "s": "stop", "stop": "stop", "": "stop",
}  # fmt: skip


def start(
    place: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder of images, or a table of paths and classes.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Run the recipe without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the recipe; write nothing.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write the recipe there; else recipe.toml beside FOLDER."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Look at your images, say what is there and what petbench would do, write that as a recipe, and begin.

    Understands class folders with and without parts, pools of images without a label, names of files, tables
    (CSV, TSV, JSON lines, Parquet), what competitions and Hugging Face hand out. All headers are read, and
    some thousands of images compared by look. Nothing is overwritten: a second recipe has a number.
    """
    if yes and (dry_run or as_json):
        raise UserError(
            "--yes runs the recipe, and --dry-run and --json only tell of it",
            where="--yes",
            hint="petbench run RECIPE --json runs a recipe and prints JSON",
        )
    seen, proposal, path = look_at(place, out, device, data_dir)
    if not dry_run:
        write_recipe(path, proposal.text)
    if as_json:
        print_json("start", record(seen, proposal, None if dry_run else path))
        return
    tell(seen, proposal)
    if dry_run:
        print_text(proposal.text)
        return
    console.print(f"wrote {clean(_shown(path))}", soft_wrap=True)
    match "run" if yes else _ask(path):
        case "run":
            from workbench.cli.run import run

            run(recipe=path, device=device, runs_dir=runs_dir, data_dir=data_dir)
        case "open":
            from workbench.tui.start import start as open_app

            raise typer.Exit(open_app(runs_home(runs_dir), data_home(data_dir), recipe=path))
        case "stop":
            console.print(f"petbench run {as_word(_shown(path))} trains it", soft_wrap=True)


def look_at(
    place: Path, out: Path | None, device: str, data_dir: Path | None, *, table: Path | None = None
) -> tuple[Survey, Proposal, Path]:
    """What lies at a place, the recipe for it, and where that is to be written; nothing is yet.

    Args:
        table: the one to read, of a folder that has it.
    """
    with Display(error_console) as display:
        found = recognise(table or place)
        seen = survey(found, data_home=data_home(data_dir), reporter=display)
    path = _recipe_path(place.expanduser().absolute()) if out is None else out.expanduser().absolute()
    name = run_name(Path(seen.data.root) if table is None else place)
    proposal = propose(seen, _machine(device), folder=path.parent, name=name)
    return seen, proposal, free_path(path, proposal.text) if out is None else _unused(path, proposal.text)


def tell(seen: Survey, proposal: Proposal) -> None:
    """Print what is there, what petbench would do, and why."""
    for line in (*seen.lines(), *(f"proposal: {reason}" for reason in proposal.reasons)):
        console.print(line, soft_wrap=True)


def _ask(path: Path) -> _Answer:
    """What to do now; where there is nobody to ask, nothing."""
    if not sys.stdin.isatty():
        return "stop"
    while True:
        answer = typer.prompt("run, open in the app, or stop?", default="stop", err=True)
        if (known := _ANSWERS.get(answer.strip().lower())) is not None:
            return known
        error_console.print("r, o or s")


def _machine(device: str) -> Machine:
    best = wanted_devices(device)[0]
    packages = frozenset(name for name in WANTED_PACKAGES if importlib.util.find_spec(name) is not None)
    if best.name == "cpu":
        return Machine(packages=packages)
    return Machine(best.label, best.total_bytes, packages)


def _recipe_path(place: Path) -> Path:
    """Beside the folder or table; in the working directory where that cannot be written."""
    home = place.parent
    return home / _RECIPE if os.access(home, os.W_OK) else Path.cwd() / _RECIPE


def _unused(path: Path, text: str) -> Path:
    """A path that was asked for, if nothing else is there. Raises: UserError."""
    if path.is_dir():
        return free_path(path / _RECIPE, text)
    if free_path(path, text) != path:
        raise UserError("there is another file", where=clean(path), hint="name another one with --out")
    return path


def write_recipe(path: Path, text: str) -> None:
    """Write a proposed recipe. Raises: UserError."""
    try:
        write_file(path, text)
    except UserError as error:
        error.hint = "--out FILE writes it elsewhere; --dry-run prints it"
        raise


def _shown(path: Path) -> str:
    """As short as it can be typed here."""
    near = os.path.relpath(path)
    return near if not near.startswith("..") else str(path)


def record(seen: Survey, proposal: Proposal, path: Path | None) -> dict[str, Any]:
    """What --json prints."""
    least, median, greatest = seen.short_sides
    return {
        "dataset": seen.data.dataset,
        "root": seen.data.root,
        "classes": [asdict(row) for row in seen.classes],
        "unlabelled": seen.unlabelled,
        "has_test_part": seen.has_test_part,
        "short_sides": {"least": least, "median": median, "greatest": greatest},
        "long": seen.long,
        "left_out": [*seen.left_out, *seen.unreadable],
        "passed_over": list(seen.passed_over),
        "looked_at": seen.looked_at,
        "alike": [list(pair) for pair in seen.alike],
        "understood": [*seen.guessed, *seen.understood],
        "reasons": list(proposal.reasons),
        "images": {
            "labelled": proposal.labelled,
            "unlabelled": proposal.unlabelled,
            "validation": proposal.validation,
            "test": proposal.test,
        },
        "recipe": proposal.text,
        "file": None if path is None else str(path),
    }
