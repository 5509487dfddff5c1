"""`petbench inspect`: the images that a run is least sure of, its mistakes, its pseudo-labels."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.console import cell, console, make_table, percent, print_json
from workbench.cli.inspect_export import MAPS, check_target, export_images
from workbench.runs.changes import with_changes
from workbench.runs.doubt import Choice, Doubt, choose, confused_pairs, known_orders, rank
from workbench.runs.export import finite_json
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinion, Opinions
from workbench.runs.results import Confusion
from workbench.runs.sources import RoundSource, Source, SplitSource, opinions_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import data_home, runs_home

_WIDE = 110
"""Columns of a terminal from which on entropy and second choice are shown too."""

_WRONG, _TAUGHT, _FLIPPED = "✗", "●", "↻"


class Split(StrEnum):
    """The splits whose predictions a finished run keeps."""

    TEST = "test"
    VAL = "val"


def inspect(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id of the run, a unique part of it, or a path.")],
    split: Annotated[
        Split | None, typer.Option("--split", help="Images of this split. Default: test.", show_default=False)
    ] = None,
    round: Annotated[
        int | None,
        typer.Option("--round", metavar="N", min=1, help="The unlabelled pool as round N's teacher saw it."),
    ] = None,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="What the teacher said of the split, not the final model.")
    ] = False,
    order: Annotated[
        Doubt,
        typer.Option(
            "--order",
            help="How doubt is measured: low confidence, a small margin to the second choice, high entropy; "
            "disagreement of teacher and student (in a round: of it and the last); flips over the rounds.",
        ),
    ] = Doubt.CONFIDENCE,
    surest: Annotated[
        bool,
        typer.Option("--surest", help="The surest first; with --wrong that finds mislabelled images."),
    ] = False,
    wrong: Annotated[bool, typer.Option("--wrong", help="Only where it was wrong.")] = False,
    class_name: Annotated[
        str | None,
        typer.Option("--class", metavar="NAME", help="Only images of this class, or taken for it."),
    ] = None,
    pair: Annotated[
        tuple[str, str] | None,
        typer.Option("--pair", metavar="TRUE SAID", help="Only images of TRUE that it took for SAID."),
    ] = None,
    selected: Annotated[
        bool, typer.Option("--selected", help="Only pool images that the student trained on (with --round).")
    ] = False,
    flipped: Annotated[
        bool, typer.Option("--flipped", help="Only pool images whose label changed in this round.")
    ] = False,
    confused: Annotated[
        bool, typer.Option("--confused", help="List the most confused pairs of classes instead of images.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="At most so many rows; 0: all.")
    ] = 20,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="PATH",
            help="Draw the images: a .png file gets a contact sheet, a directory sheet.png and images.csv.",
        ),
    ] = None,
    saliency: Annotated[
        bool,
        typer.Option(
            "--saliency",
            help="With --export DIR: draw over each image where the network looked (Grad-CAM, or attention "
            "roll-out of a transformer).",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
    runs_dir: Annotated[
        Path | None, typer.Option("--runs-dir", help="Where runs lie; else $PETBENCH_RUNS, else ./runs.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", help="Where the run's images lie (for --export); else $PETBENCH_DATA."),
    ] = None,
) -> None:
    """Show the images that a run was least sure of: what it said, how surely, and what is true.

    Looks at the test images of a finished run; --round looks at the unlabelled pool of a round, also while
    the run is still going on.
    """
    _refuse_contradictions(round, split, teacher, selected or flipped, confused, pair, export)
    if saliency and export is None:
        raise UserError("--saliency draws pictures: say where to", hint="add --export DIR")
    if export is not None:
        check_target(export, saliency=saliency)
    directory = find_run(runs_home(runs_dir), run)
    of = RoundSource(round) if round is not None else SplitSource((split or Split.TEST).value, teacher)
    opinions, source = opinions_of(directory, of), of.words
    if order.compares:
        opinions = _compared(directory, opinions, of, order)
    if confused:
        base = choose(opinions, Choice(selected=selected, flipped=flipped))
        choose(opinions, Choice(class_name=class_name))  # refuses a class that is none
        pairs = [p for p in confused_pairs(base) if class_name in (None, p.true, p.predicted)]
        _show_pairs(directory, source, pairs[: limit or None], len(pairs), as_json=as_json)
        return
    choice = Choice(wrong, selected, flipped, class_name, pair)
    fitting = choose(opinions, choice)
    shown = rank(fitting, order, surest_first=surest)[: limit or None]
    words = f"the {'surest' if surest else 'least sure'} by {order.value} first"
    written: list[Path] = []
    if export is not None:
        title = f"{directory.id}: {source}, {words}"
        looked = of if saliency else None
        written = export_images(
            directory, shown, export, title=title, data_home=data_home(data_dir), saliency=looked
        )
    if as_json:
        print_json(
            {
                "run": directory.id,
                "of": source,
                "order": order.value,
                "surest_first": surest,
                "images": len(opinions.rows),
                "fitting": len(fitting),
                "rows": finite_json([{**asdict(row), "wrong": row.wrong} for row in shown]),
                "exported": [str(path) for path in written],
            }
        )
        return
    _show_summary(directory, source, opinions)
    if not fitting:
        console.print("no image fits")
        return
    console.print(f"{len(shown)} of the {len(fitting)} that fit, {words}")
    console.print(_table(shown, order, in_round=round is not None))
    _show_marks(shown)
    if written:
        maps = f" and {len(written) - 2} overlays in {MAPS}/" if saliency else ""
        named = ", ".join(clean(path) for path in written[:2])
        console.print(f"written to {named}{maps}", soft_wrap=True)
    else:
        console.print("the same command with --export sheet.png draws them")


def _refuse_contradictions(
    round: int | None,
    split: Split | None,
    teacher: bool,
    selected: bool,
    confused: bool,
    pair: tuple[str, str] | None,
    export: Path | None,
) -> None:
    if round is not None and split is not None:
        raise UserError("--round looks at the unlabelled pool, --split at a split: give one of them")
    if round is not None and teacher:
        raise UserError("--teacher belongs to --split: what a round holds is always its teacher's word")
    if selected and round is None:
        raise UserError("--selected and --flipped need --round: only pool images have pseudo-labels")
    if confused and (pair or export):
        raise UserError("--confused lists pairs, not images", hint="give --pair TRUE SAID without --confused")


def _compared(directory: RunDirectory, opinions: Opinions, source: Source, order: Doubt) -> Opinions:
    """The opinions with what `order` needs."""
    compared = with_changes(directory, opinions, source)
    if compared.rows and order not in known_orders(compared):
        if order is Doubt.FLIPS:
            hint = "flips are counted over the rounds of a pool: add --round N"
        elif isinstance(source, RoundSource):
            hint = "it compares rounds, and needs the predictions of two"
        else:
            hint = "it compares teacher and student, and needs the predictions of both"
        raise UserError(
            f"no {order.value} to order by in {source.words}",
            where="--order",
            allowed=[known.value for known in known_orders(compared)],
            hint=hint,
        )
    return compared


def _show_summary(directory: RunDirectory, source: str, opinions: Opinions) -> None:
    rows = opinions.rows
    known = [row for row in rows if row.wrong is not None]
    parts = [f"{len(rows)} images"]
    if known:
        mistakes = sum(row.wrong is True for row in known)
        parts.append(f"{mistakes} wrong ({percent(1 - mistakes / len(known))} % right)")
    chosen = [row for row in rows if row.selected]
    if chosen:
        right = [row for row in chosen if row.wrong is not None]
        share = percent(sum(row.wrong is False for row in right) / len(right)) if right else None
        parts.append(f"{len(chosen)} selected" + (f" ({share} % right)" if share else ""))
    flipped = sum(row.flipped is True for row in rows)
    if flipped:
        parts.append(f"{flipped} flipped")
    console.print(f"{clean(directory.id)}, {source}: {', '.join(parts)}", soft_wrap=True)


def _table(shown: list[Opinion], order: Doubt, *, in_round: bool) -> Table:
    wide = console.width >= _WIDE
    compared = {Doubt.DISAGREEMENT: "apart", Doubt.FLIPS: "flips"}.get(order, "margin")
    columns = ["image", *(["", ""] if in_round else []), "said", "%", compared]
    columns += ["entropy", "second choice"] if wide else []
    table = make_table([*columns, "", "true"], right=("%", compared, "entropy"))
    # Three names a row: at 80 columns they need every cell.
    table.padding, table.pad_edge = (0, 1, 0, 0), False
    for row in shown:
        style = "red" if row.wrong else ""
        cells = [cell(row.id)]
        if in_round:
            cells += [Text(_TAUGHT if row.selected else ""), Text(_FLIPPED if row.flipped else "")]
        cells += [
            cell(row.said, style),
            cell(f"{100 * row.confidence:.1f}"),
            cell(_compared_figure(row, order)),
        ]
        if wide:
            cells += [cell(f"{row.entropy:.2f}"), cell(row.second or "–")]
        cells += [Text(_WRONG if row.wrong else "", style="bold red"), cell(row.true or "–", style)]
        table.add_row(*cells)
    return table


def _compared_figure(row: Opinion, order: Doubt) -> str:
    """What the order looks at, where it looks at several models; else the margin."""
    if order is Doubt.FLIPS:
        return "–" if row.flips is None else str(row.flips)
    value = row.disagreement if order is Doubt.DISAGREEMENT else row.margin
    return "–" if value is None else f"{100 * value:.1f}"


def _show_marks(shown: list[Opinion]) -> None:
    """Say what the signs in the table mean, of those that are there."""
    meanings = {
        f"{_TAUGHT} taught to the student": any(row.selected for row in shown),
        f"{_FLIPPED} another label than in the round before": any(row.flipped for row in shown),
        f"{_WRONG} wrong": any(row.wrong for row in shown),
    }
    if told := [meaning for meaning, there in meanings.items() if there]:
        console.print("  ".join(told))


def _show_pairs(
    directory: RunDirectory, source: str, pairs: list[Confusion], count: int, *, as_json: bool
) -> None:
    if as_json:
        record = {
            "run": directory.id,
            "of": source,
            "pairs": [asdict(pair) for pair in pairs],
            "count": count,
        }
        print_json(finite_json(record))
        return
    if not pairs:
        console.print(f"{clean(directory.id)}, {source}: no class was taken for another", soft_wrap=True)
        return
    console.print(f"{clean(directory.id)}, {source}: {count} pairs of classes confused", soft_wrap=True)
    table = make_table(("true", "said", "images", "% of true"), right=("images", "% of true"))
    for pair in pairs:
        table.add_row(cell(pair.true), cell(pair.predicted), cell(pair.count), cell(percent(pair.share)))
    console.print(table)
    first = f"{quote(pairs[0].true)} {quote(pairs[0].predicted)}"
    console.print(f"--pair {clean(first)} shows the images of the first", soft_wrap=True)
