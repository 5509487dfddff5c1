"""`petbench inspect`: the images that a run is least sure of, its mistakes, its pseudo-labels."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from workbench.cli.arguments import DataDir, Json, RunId, RunsDir
from workbench.cli.console import print_json
from workbench.cli.inspect_export import check_target, export_images
from workbench.cli.inspect_found import Found, found_record, print_found
from workbench.cli.inspect_tables import print_pairs
from workbench.cli.label_issues import search_issues
from workbench.runs.changes import with_changes
from workbench.runs.doubt import Choice, Doubt, choose, confused_pairs, known_orders, rank
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinions
from workbench.runs.sources import IssueSource, RoundSource, Source, SplitSource, opinions_of, sources_of
from workbench.support.errors import UserError
from workbench.support.paths import data_home, runs_home


class Split(StrEnum):
    """The splits whose predictions a finished run keeps."""

    TEST = "test"
    VAL = "val"


def inspect(
    run: RunId,
    split: Annotated[
        Split | None, typer.Option("--split", help="Images of this split. Default: val.", show_default=False)
    ] = None,
    round: Annotated[
        int | None,
        typer.Option("--round", metavar="N", min=1, help="The unlabelled pool as round N's teacher saw it."),
    ] = None,
    teacher: Annotated[
        bool, typer.Option("--teacher", help="What the teacher said of the split, not the final model.")
    ] = False,
    label_issues: Annotated[
        bool,
        typer.Option(
            "--label-issues",
            help="Labelled images whose label is likely wrong, or that are there twice; searched for by "
            "petbench label-issues, here too if nobody did.",
        ),
    ] = False,
    order: Annotated[
        Doubt | None,
        typer.Option(
            "--order",
            help="How doubt is measured: low confidence, a small margin to the second choice, high entropy; "
            "disagreement of teacher and student (in a round: of it and the last); flips over the rounds. "
            "With --label-issues: self-confidence or label-margin. Default: the first that fits.",
            show_default=False,
        ),
    ] = None,
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
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Show the images that a run was least sure of: what it said, how surely, and what is true.

    Looks at the validation images of a finished run; --round looks at the unlabelled pool of a round, also
    while the run is still going on. What one decides after looking at test images was not measured by them.
    """
    _refuse_contradictions(
        round, split, teacher, selected or flipped, confused, pair, export, label_issues, order
    )
    _check_pictures(export, saliency)
    directory = find_run(runs_home(runs_dir), run)
    of = _source(round, split, teacher, label_issues)
    if label_issues and of not in sources_of(directory):
        search_issues(directory, data=data_home(data_dir))
    opinions = opinions_of(directory, of)
    order = order or (known_orders(opinions) or [Doubt.CONFIDENCE])[0]
    if order.compares:
        opinions = _compared(directory, opinions, of, order)
    if confused:
        choose(opinions, Choice(class_name=class_name))  # refuses a class that is none
        base = choose(opinions, Choice(selected=selected, flipped=flipped))
        pairs = [p for p in confused_pairs(base) if class_name in (None, p.true, p.predicted)]
        print_pairs(directory, of.words, pairs[: limit or None], len(pairs), as_json=as_json)
        return
    fitting = choose(opinions, Choice(wrong, selected, flipped, class_name, pair, issues=label_issues))
    ranked = rank(fitting, order, surest_first=surest)
    found = Found(directory, of, order, surest, opinions, ranked, limit)
    written = [] if export is None else _export(found, export, data_home(data_dir), saliency=saliency)
    if as_json:
        print_json("inspect", found_record(found, written))
    else:
        print_found(found, written, with_maps=saliency)


def _refuse_contradictions(
    round: int | None,
    split: Split | None,
    teacher: bool,
    selected: bool,
    confused: bool,
    pair: tuple[str, str] | None,
    export: Path | None,
    label_issues: bool,
    order: Doubt | None,
) -> None:
    if label_issues and (round is not None or split is not None or teacher):
        raise UserError("--label-issues looks at the labelled images: give it without --round and --split")
    if order is not None and order.judges_labels != label_issues:
        fitting = [known.value for known in Doubt if known.judges_labels == label_issues]
        where = "with --label-issues" if label_issues else "without --label-issues"
        raise UserError(f"no {order.value} to order by {where}", where="--order", allowed=fitting)
    if round is not None and split is not None:
        raise UserError("--round looks at the unlabelled pool, --split at a split: give one of them")
    if round is not None and teacher:
        raise UserError("--teacher belongs to --split: what a round holds is always its teacher's word")
    if selected and round is None:
        raise UserError("--selected and --flipped need --round: only pool images have pseudo-labels")
    if confused and (pair or export):
        raise UserError("--confused lists pairs, not images", hint="give --pair TRUE SAID without --confused")


def _check_pictures(export: Path | None, saliency: bool) -> None:
    if export is not None:
        check_target(export, saliency=saliency)
    elif saliency:
        raise UserError("--saliency draws pictures: say where to", hint="add --export DIR")


def _source(round: int | None, split: Split | None, teacher: bool, label_issues: bool) -> Source:
    if label_issues:
        return IssueSource()
    return RoundSource(round) if round is not None else SplitSource((split or Split.VAL).value, teacher)


def _export(found: Found, target: Path, data: Path, *, saliency: bool) -> list[Path]:
    """Draw what was found; returns what was written."""
    title = f"{found.directory.id}: {found.of.words}, {found.words}"
    looked = found.of if saliency else None
    return export_images(found.directory, found.shown, target, title=title, data_home=data, saliency=looked)


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
