"""What `petbench inspect --export` writes: a contact sheet, the list of its images as CSV, saliency maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from workbench.cli.console import check_file, error_console, make_folder, warn, write_file
from workbench.cli.display import Display
from workbench.cli.saliency import Drawing, draw_saliency
from workbench.dataset import open_catalogue
from workbench.dataset.sheet import MAX_TILES, Tile, Verdict, draw_sheet
from workbench.recipe import load_recipe
from workbench.runs.export import csv_text
from workbench.runs.layout import RunDirectory
from workbench.runs.opinion_columns import Opinion
from workbench.runs.sources import RoundSource, Source, asks_teacher
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.units import in_percent

SHEET, LIST, MAPS = "sheet.png", "images.csv", "saliency"
_COLUMNS = (
    "id", "said", "second", "confidence", "margin", "entropy", "true", "wrong", "selected", "flipped", "path",
)  # fmt: skip
_ISSUE_COLUMNS = ("self_confidence", "label_margin", "issue", "too_few", "twin")
"""Where labels are judged; `true` is the given one then."""
_SHOWN = 5
_VERDICTS: dict[bool | None, Verdict] = {True: "wrong", False: "right", None: "unknown"}


def check_target(target: Path, *, saliency: bool = False) -> None:
    """Refuse, before any work, what can be neither a sheet nor a directory.

    Args:
        saliency: a sheet alone has no room for the maps of its images.

    Raises:
        UserError: another kind of file.
    """
    if saliency and _is_sheet(target):
        raise UserError(
            "--saliency writes pictures of every image", where=clean(target), allowed="a directory"
        )
    if _is_sheet(target):
        check_file(target, "--export")
    elif not (target.is_dir() or not (target.exists() or target.suffix)):
        raise UserError("cannot export to that", where=clean(target), allowed="a .png file, or a directory")


def export_images(
    run: RunDirectory,
    shown: Sequence[Opinion],
    target: Path,
    *,
    title: str,
    data_home: Path,
    saliency: Source | None = None,
) -> list[Path]:
    """Write the sheet, or into a directory the sheet and the list; returns what was written.

    Images that are gone or unreadable are named on standard error, and leave a tile that says so.

    Args:
        saliency: whose opinions `shown` are, to draw what that network looked at: each image's pictures go
            into a directory below `target`, and the sheet shows them in place of the plain images.

    Raises:
        UserError: nothing or too much to draw, the data set is not there, not one of the images is left, the
            target cannot be written, or the network that saliency asks of cannot be looked into.
    """
    if not shown:
        raise UserError("no image fits: nothing to export")
    if len(shown) > MAX_TILES:
        raise UserError(f"{len(shown)} images on one sheet", where="--limit", allowed=f"1 to {MAX_TILES}")
    paths = _find_images(run, data_home)
    maps = [] if saliency is None else _draw_maps(run, shown, paths, target, saliency)
    overlays = {drawing.id: drawing.overlay for drawing in maps}
    pictures = paths if saliency is None else overlays
    tiles = [_tile(opinion, pictures.get(opinion.id)) for opinion in shown]
    sheet, missing = draw_sheet(tiles, title=title)
    if len(missing) == len(tiles):
        first = f"{clean(missing[0].id)}: {clean(missing[0].reason)}"
        raise UserError(
            f"none of the {len(tiles)} images can be shown; {first}",
            hint="petbench data check tells what is wrong with the data",
        )
    for image in missing[:_SHOWN]:
        warn(f"{image.id}: {image.reason}")
    if len(missing) > _SHOWN:
        warn(f"and {len(missing) - _SHOWN} more images cannot be shown")
    if _is_sheet(target):
        write_file(target, sheet)
        return [target]
    folder = make_folder(target, "--export")
    rows = [_row(opinion, paths.get(opinion.id)) for opinion in shown]
    columns: tuple[str, ...] = _COLUMNS
    if shown[0].issue is not None:
        columns += _ISSUE_COLUMNS
        rows = [
            [*row, *(getattr(opinion, column) for column in _ISSUE_COLUMNS)]
            for row, opinion in zip(rows, shown, strict=True)
        ]
    write_file(folder / SHEET, sheet)
    write_file(folder / LIST, csv_text(columns, rows))
    drawn = [drawing.overlay for drawing in maps if drawing.overlay is not None]
    return [target / SHEET, target / LIST, *drawn]


def _draw_maps(
    run: RunDirectory,
    shown: Sequence[Opinion],
    paths: Mapping[str, Path],
    target: Path,
    source: Source,
) -> list[Drawing]:
    """What the network whose opinions they are saw in the images, where it was kept, else the final one."""
    images = [(opinion.id, paths[opinion.id]) for opinion in shown if opinion.id in paths]
    folder = make_folder(target / MAPS, "--export")
    teacher = asks_teacher(source)
    drawings: list[Drawing] = []
    with Display(error_console) as display:
        for drawing in draw_saliency(run, load_recipe(run.recipe), images, folder, teacher=teacher):
            drawings.append(drawing)
            display.progress("saliency maps", len(drawings), len(images))
    if isinstance(source, RoundSource) and not teacher:
        note = f"round {source.round}'s teacher was not kept: the maps are the final model's"
        error_console.print(f"note: {note}", soft_wrap=True)
    return drawings


def _is_sheet(target: Path) -> bool:
    return target.suffix.lower() == ".png" and not target.is_dir()


def _find_images(run: RunDirectory, data_home: Path) -> dict[str, Path]:
    """Image id -> file, for every usable image of the run's data."""
    data = load_recipe(run.recipe).data
    with Display(error_console) as display:
        catalogue = open_catalogue(data, data_home=data_home, reporter=display)
    return {record.id: record.path for record in catalogue.records}


def _tile(opinion: Opinion, path: Path | None) -> Tile:
    if opinion.true is None:
        remark = "true class unknown"
    elif opinion.issue is not None:
        remark = f"given as {opinion.true}"
    else:
        remark = f"is {opinion.true}" if opinion.wrong else "right"
    notes = {
        "taught": opinion.selected,
        "flipped": opinion.flipped,
        f"cannot tell by {opinion.too_few} labels": opinion.too_few is not None,
        f"like {opinion.twin}": opinion.twin is not None,
    }
    return Tile(
        id=opinion.id,
        path=path,
        label=opinion.said,
        figure=in_percent(opinion.confidence, 0),
        remark=remark,
        verdict=_VERDICTS[opinion.wrong if opinion.issue is None else opinion.issue],
        note=", ".join(note for note, there in notes.items() if there),
    )


def _row(opinion: Opinion, path: Path | None) -> list[object]:
    return [
        opinion.id,
        opinion.said,
        opinion.second,
        opinion.confidence,
        opinion.margin,
        opinion.entropy,
        opinion.true,
        opinion.wrong,
        opinion.selected,
        opinion.flipped,
        None if path is None else str(path),
    ]
