"""`petbench label FOLDER`: say what images show, in the app or by single commands."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Device, Json, RunsDir
from workbench.cli.console import cell, console, make_table, print_json
from workbench.dataset.table import label_paths
from workbench.jobs.device import wanted_devices
from workbench.labels.journal import CANNOT_TELL, NAME, NO_CLASSES, UNUSABLE, Journal, read
from workbench.labels.strokes import (
    Assign,
    CannotTell,
    Clear,
    Merge,
    Rename,
    Split,
    Stroke,
    Undo,
    Unusable,
    class_keys,
    make_stroke,
    person,
)
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError, nearest
from workbench.support.paths import data_home, runs_home


def label(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder of images, at any depth.")],
    images: Annotated[
        list[str] | None,
        typer.Argument(metavar="[IMAGE...]", help="For --assign and its like: paths from FOLDER or here."),
    ] = None,
    assign: Annotated[
        str | None,
        typer.Option("--assign", metavar="CLASS", help="What the images show; it may be new."),
    ] = None,
    unusable: Annotated[bool, typer.Option("--unusable", help="The images are to be left out.")] = False,
    cannot_tell: Annotated[
        bool,
        typer.Option("--cannot-tell", help="Nobody can say what they show; they stay in the pool."),
    ] = False,
    clear: Annotated[bool, typer.Option("--clear", help="The images have no label any more.")] = False,
    rename: Annotated[
        tuple[str, str] | None, typer.Option("--rename", metavar="OLD NEW", help="Call a class otherwise.")
    ] = None,
    merge: Annotated[
        tuple[str, str] | None, typer.Option("--merge", metavar="OLD INTO", help="Make two classes one.")
    ] = None,
    split: Annotated[
        tuple[str, str] | None,
        typer.Option("--split", metavar="CLASS NEW", help="Make the images, of CLASS, a class of their own."),
    ] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Take your last stroke back.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Print how far it is, without the app.")] = False,
    recipe: Annotated[
        bool, typer.Option("--recipe", help="Write the recipe for these labels, as petbench start does.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Of --recipe; else recipe.toml beside FOLDER."),
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", metavar="NAME", help="Who labels; else the login's name.")
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", metavar="NAME", help="The network that looks at the images in the app."),
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Label a folder of images: one or a group at a stroke, while a model learns along.

    Opens the app on the folder; without a terminal, or with --status, prints how far it is. What is said goes
    to labels.csv in the folder, which only grows, and which data.dataset = "table" reads, with all other
    images as the pool. Several people may label one folder at once.
    """
    home = folder.expanduser().absolute()
    if not home.is_dir():
        raise UserError("no such folder", where=clean(home))
    strokes = _strokes(home, images or (), assign, unusable, cannot_tell, clear, rename, merge, split, undo)
    asked = [name for name, _ in strokes] + ["--recipe"] * recipe + ["--status"] * status
    if len(asked) > 1:
        raise UserError("one thing at a time", where=", ".join(asked))
    opens_app = not asked and not as_json
    _refuse_unheard(
        asked,
        images or (),
        {
            "--out": (out is not None, recipe),
            "--by": (by is not None, opens_app or bool(strokes)),
            "--backbone": (backbone is not None, opens_app),
            "--device": (device != "auto", opens_app or recipe),
        },
    )
    if recipe:
        _write_recipe(home, out, device, data_dir, as_json=as_json)
        return
    if opens_app and sys.stdin.isatty() and console.is_screen:
        from workbench.tui.places import LabelPlace
        from workbench.tui.start import start

        wanted_devices(device)  # refused here rather than by the process that gets it
        options = ("--device", device, *(() if backbone is None else ("--backbone", backbone)))
        place = LabelPlace(str(home), by or "", options)
        raise typer.Exit(start(runs_home(runs_dir), data_home(data_dir), label=place))
    journal, changed = read(home / NAME), 0
    if strokes:
        before = len(journal.rows)
        try:
            journal = make_stroke(home / NAME, strokes[0][1], by or person())
        except OSError as error:
            raise UserError(
                f"the label cannot be written: {error.strerror or error}", where=clean(home / NAME)
            ) from None
        changed = len(journal.rows) - before
        if isinstance(strokes[0][1], Undo) and not changed:
            raise UserError("nothing to undo", where=clean(home / NAME), hint="--by NAME undoes another's")
    _show(home, journal, changed, as_json=as_json)


_OF_IMAGES = ("--assign", "--unusable", "--cannot-tell", "--clear", "--split")


def _refuse_unheard(
    asked: Sequence[str], images: Sequence[str], options: Mapping[str, tuple[bool, bool]]
) -> None:
    """Raises: UserError, of what was said and changes nothing.

    Args:
        asked: what is to be done; nothing opens the app.
        options: whether each was given, and whether it is heard.
    """
    doing = asked[0] if asked else "the app, or --json"
    for name, (is_given, is_heard) in options.items():
        if is_given and not is_heard:
            raise UserError(f"means nothing to {doing}", where=name, hint="leave it out")
    if images and doing not in _OF_IMAGES:
        raise UserError(
            "images are named, but not what they show",
            where=clean(images[0], 80),
            allowed="--assign CLASS, --unusable, --cannot-tell, --clear, --split CLASS NEW",
        )


def _strokes(
    home: Path,
    images: Sequence[str],
    assign: str | None,
    unusable: bool,
    cannot_tell: bool,
    clear: bool,
    rename: tuple[str, str] | None,
    merge: tuple[str, str] | None,
    split: tuple[str, str] | None,
    undo: bool,
) -> list[tuple[str, Stroke]]:
    """(option, stroke) of each that is asked for."""
    found: list[tuple[str, Stroke]] = []
    paths = _named(home, images)
    if assign is not None:
        found.append(("--assign", Assign(paths, assign)))
    if unusable:
        found.append(("--unusable", Unusable(paths)))
    if cannot_tell:
        found.append(("--cannot-tell", CannotTell(paths)))
    if clear:
        found.append(("--clear", Clear(paths)))
    if split is not None:
        found.append(("--split", Split(split[0], paths, split[1])))
    if found and not paths:
        raise UserError("no image is named", where=found[0][0], allowed="paths from FOLDER or from here")
    if rename is not None:
        found.append(("--rename", Rename(*rename)))
    if merge is not None:
        found.append(("--merge", Merge(*merge)))
    if undo:
        found.append(("--undo", Undo()))
    return found


def _named(home: Path, images: Sequence[str]) -> list[str]:
    """Paths as the journal has them. Raises: UserError, of one that is no image of the folder."""
    if not images:
        return []
    known = list(label_paths(home))
    there = set(known)
    found = []
    for image in images:
        here = os.path.relpath(Path(image).expanduser().absolute(), home).replace(os.sep, "/")
        name = next((path for path in (os.path.normpath(image), here) if path in there), None)
        if name is None:
            near = nearest(image, known)
            raise UserError(
                f"no image {clean(image, 80)!r} in this folder",
                where=clean(home),
                hint=f"did you mean {clean(near, 80)}?" if near else "petbench start tells what lies there",
            )
        found.append(name)
    return found


def _show(home: Path, journal: Journal, changed: int, *, as_json: bool) -> None:
    images = set(label_paths(home))
    said = {path: row.class_name for path, row in journal.current.items() if path in images}
    labelled = sum(name not in NO_CLASSES for name in said.values())
    aside = {word: sum(name == word for name in said.values()) for word in (UNUSABLE, CANNOT_TELL)}
    unlabelled = len(images) - labelled - sum(aside.values())
    keys = class_keys(journal)
    if as_json:
        record: dict[str, Any] = {
            "folder": str(home),
            "file": str(journal.path),
            "images": len(images),
            "labelled": labelled,
            "unlabelled": unlabelled,
            "not_usable": aside[UNUSABLE],
            "cannot_tell": aside[CANNOT_TELL],
            "classes": [
                {"name": name, "key": keys.get(name), "images": count}
                for name, count in journal.classes.items()
            ],
            "changed": changed,
            "remarks": list(journal.remarks),
        }
        print_json("label", record)
        return
    for remark in journal.remarks:
        console.print(Text(remark), style="yellow", soft_wrap=True)
    if changed:
        console.print(Text(f"{changed} image{'' if changed == 1 else 's'} changed"), soft_wrap=True)
    shown = as_word(os.path.relpath(home) if home.is_relative_to(Path.cwd()) else home)
    if not images:
        told = f"no image in {shown} yet, at any depth; petbench start {shown} tells what lies there"
        console.print(Text(told), soft_wrap=True)
        return
    parts = [f"{labelled:,} of {len(images):,} images labelled", f"{unlabelled:,} not yet"]
    parts += [f"{aside[UNUSABLE]:,} not usable"] if aside[UNUSABLE] else []
    parts += [f"{aside[CANNOT_TELL]:,} that nobody can tell"] if aside[CANNOT_TELL] else []
    console.print(Text(", ".join(parts)), soft_wrap=True)
    if journal.classes:
        table = make_table(["key", "class", "images"])
        for name, count in journal.classes.items():
            table.add_row(cell(keys.get(name, "")), cell(name), cell(f"{count:,}"))
        console.print(table)
    folders = sorted({path.partition("/")[0] for path in images})
    if not said and 1 < len(folders) < len(images) and all("/" in path for path in images):
        named = ", ".join(clean(name, 40) for name in folders[:3]) + (", …" if len(folders) > 3 else "")
        told = f"its folders may be classes ({named}): petbench start {shown} takes them as they are"
        console.print(Text(told), soft_wrap=True)
    console.print(
        Text(f"petbench label {shown} goes on; with --recipe it writes the recipe for these labels"),
        soft_wrap=True,
    )


def _write_recipe(home: Path, out: Path | None, device: str, data_dir: Path | None, *, as_json: bool) -> None:
    """The recipe that `petbench start` would write for these labels and the images that have none."""
    from workbench.cli.start import look_at, record, tell, write_recipe

    table = home / NAME
    if not read(table).labels:
        raise UserError(
            "nothing is labelled yet",
            where=clean(table),
            hint=f"petbench label {as_word(home)} labels them, a group at a stroke",
        )
    seen, proposal, path = look_at(home, out, device, data_dir, table=table)
    write_recipe(path, proposal.text)
    if as_json:
        print_json("start", record(seen, proposal, path))
        return
    tell(seen, proposal)
    console.print(Text(f"wrote {clean(path)}; petbench run {as_word(path)} trains it"), soft_wrap=True)
