"""`petbench inspect`: the images that a run is least sure of, its mistakes, its pseudo-labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from workbench.cli.arguments import DataDir, Json, RunId, RunsDir, Split
from workbench.cli.console import cell, console, make_table, print_json
from workbench.cli.inspect_export import MAPS, check_target, export_images
from workbench.cli.label_issues import issue_counts, print_duplicates, print_issue_summary, search_issues
from workbench.cli.slices import slice_ids
from workbench.runs.doubt import Choice, Doubt, choose, confused_pairs, known_orders, rank, with_changes
from workbench.runs.export import finite_json
from workbench.runs.find import find_run
from workbench.runs.label_issues import judged
from workbench.runs.layout import RunDirectory
from workbench.runs.opinion_columns import Opinion, OpinionRows
from workbench.runs.opinions import Opinions
from workbench.runs.results import Confusion
from workbench.runs.sources import IssueSource, RoundSource, Source, SplitSource, opinions_of, sources_of
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.paths import data_home, runs_home
from workbench.support.units import percent

_WRONG, _TAUGHT, _FLIPPED, _CANNOT_TELL = "✗", "●", "↻", "?"
_COMPARED = {
    Doubt.DISAGREEMENT: "apart",
    Doubt.FLIPS: "flips",
    Doubt.SELF_CONFIDENCE: "given %",
    Doubt.LABEL_MARGIN: "ahead %",
}


def print_summary(directory: RunDirectory, source: str, opinions: Opinions) -> None:
    rows = opinions.rows
    parts = [f"{len(rows)} images"]
    if known := int(rows.is_known.sum()):
        mistakes = int(rows.is_wrong.sum())
        parts.append(f"{mistakes} wrong ({percent(1 - mistakes / known)} % right)")
    chosen = rows.where(rows.flag("selected"))
    if len(chosen):
        told = int(chosen.is_known.sum())
        share = percent((told - int(chosen.is_wrong.sum())) / told) if told else None
        parts.append(f"{len(chosen)} selected" + (f" ({share} % right)" if share else ""))
    flipped = int(rows.flag("flipped").sum())
    if flipped:
        parts.append(f"{flipped} flipped")
    console.print(f"{clean(directory.id)}, {source}: {', '.join(parts)}", soft_wrap=True)


def opinions_table(shown: list[Opinion], order: Doubt, *, in_round: bool) -> Table:
    compared = _COMPARED.get(order, "margin")
    columns = ["image", *(["", ""] if in_round else []), "said", "%", compared]
    columns += ["entropy", "second choice"]
    true = "given" if order.judges_labels else "true"
    spare = ("second choice", "entropy")
    table = make_table([*columns, "", true], right=("%", compared, "entropy"), whole=("",), spare=spare)
    for row in shown:
        is_wrong = row.wrong if row.issue is None else row.issue
        style = "red" if is_wrong else ""
        cells = [cell(row.id)]
        if in_round:
            cells += [Text(_TAUGHT if row.selected else ""), Text(_FLIPPED if row.flipped else "")]
        cells += [
            cell(row.said, style),
            cell(percent(row.confidence, 1)),
            cell(_compared_figure(row, order)),
        ]
        cells += [cell(f"{row.entropy:.2f}"), cell(row.second or "–")]
        sign = _WRONG if is_wrong else "" if row.too_few is None else _CANNOT_TELL
        cells += [Text(sign, style="bold red" if is_wrong else "yellow"), cell(row.true or "–", style)]
        table.add_row(*cells)
    return table


def _compared_figure(row: Opinion, order: Doubt) -> str:
    """What the order looks at, where it is not one model's doubt; else the margin."""
    if order is Doubt.FLIPS:
        return "–" if row.flips is None else str(row.flips)
    values = {
        Doubt.DISAGREEMENT: row.disagreement,
        Doubt.SELF_CONFIDENCE: row.self_confidence,
        Doubt.LABEL_MARGIN: row.label_margin,
    }
    value = values.get(order, row.margin)
    return percent(value, 1)


def print_marks(shown: list[Opinion]) -> None:
    """Say what the signs in the table mean, of those that are there."""
    meanings = {
        f"{_TAUGHT} taught to the student": any(row.selected for row in shown),
        f"{_FLIPPED} another label than in the round before": any(row.flipped for row in shown),
        f"{_WRONG} wrong": any(row.wrong and row.issue is None for row in shown),
        f"{_WRONG} seems another class than the given one": any(row.issue for row in shown),
        f"{_CANNOT_TELL} may be, but too few labels tell": any(row.too_few for row in shown),
    }
    if told := [meaning for meaning, there in meanings.items() if there]:
        console.print("  ".join(told))


def print_pairs(
    directory: RunDirectory, source: str, pairs: list[Confusion], count: int, *, as_json: bool
) -> None:
    if as_json:
        record = {
            "run": directory.id,
            "of": source,
            "pairs": [asdict(pair) for pair in pairs],
            "count": count,
        }
        print_json("inspect-confused", record)
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


@dataclass(frozen=True, slots=True)
class Found:
    """The images of a source that fit, in order."""

    directory: RunDirectory
    of: Source
    order: Doubt
    surest_first: bool
    opinions: Opinions
    """All of the source."""
    fitting: OpinionRows
    limit: int
    """At most so many are shown; 0: all."""

    @property
    def shown(self) -> list[Opinion]:
        """Of those that fit, the first."""
        return list(self.fitting[: self.limit or None])

    @property
    def words(self) -> str:
        """How they are ordered."""
        least = "likely wrong" if isinstance(self.of, IssueSource) else "least sure"
        return f"the {'surest' if self.surest_first else least} by {self.order.value} first"


def found_record(found: Found, written: Sequence[Path]) -> dict[str, object]:
    """For JSON; `written` are the pictures of them."""
    record = {
        "run": found.directory.id,
        "of": found.of.words,
        "order": found.order.value,
        "surest_first": found.surest_first,
        "images": len(found.opinions.rows),
        "fitting": len(found.fitting),
        "rows": finite_json([{**asdict(row), "wrong": row.wrong} for row in found.shown]),
        "exported": [str(path) for path in written],
    }
    if not isinstance(found.of, IssueSource):
        return record
    pairs = judged(found.directory).search.duplicates
    return {
        **record,
        "search": issue_counts(found.directory),
        "duplicates": [asdict(pair) for pair in pairs[: found.limit or None]],
    }


def print_found(found: Found, written: Sequence[Path], *, with_maps: bool) -> None:
    """For a person: what there is in all, the images as a table, what its signs mean, the pictures' files.

    Args:
        with_maps: saliency maps are among what was written.
    """
    judges_labels = isinstance(found.of, IssueSource)
    if judges_labels:
        print_issue_summary(found.directory)
    else:
        print_summary(found.directory, found.of.words, found.opinions)
    if not found.fitting:
        console.print("no image fits")
        return
    console.print(f"{len(found.shown)} of the {len(found.fitting)} that fit, {found.words}")
    console.print(opinions_table(found.shown, found.order, in_round=isinstance(found.of, RoundSource)))
    print_marks(found.shown)
    if judges_labels:
        print_duplicates(found.directory, found.limit)
    _print_written(written, with_maps=with_maps)


def _print_written(written: Sequence[Path], *, with_maps: bool) -> None:
    if not written:
        console.print("the same command with --export sheet.png draws them")
        return
    maps = f" and {len(written) - 2} overlays in {MAPS}/" if with_maps else ""
    named = ", ".join(clean(path) for path in written[:2])
    console.print(f"written to {named}{maps}", soft_wrap=True)


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
    slice_key: Annotated[
        str | None,
        typer.Option(
            "--slice",
            metavar="KEY",
            help="Only images of a slice, by its key in petbench slices, such as brightness:1.",
        ),
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
    if slice_key is not None and (round is not None or label_issues):
        raise UserError("--slice is of validation or test images: give it without --round and --label-issues")
    _check_pictures(export, saliency)
    directory = find_run(runs_home(runs_dir), run)
    of = _source(round, split, teacher, label_issues)
    if label_issues and of not in sources_of(directory):
        search_issues(directory, data=data_home(data_dir))
    opinions = opinions_of(directory, of)
    order = order or (known_orders(opinions) or [Doubt.CONFIDENCE])[0]
    if order.compares:
        opinions = _compared(directory, opinions, of, order)
    if slice_key is not None and isinstance(of, SplitSource):
        inside = slice_ids(directory, of, slice_key, data=data_home(data_dir))
        opinions = replace(opinions, rows=opinions.rows.where(opinions.rows.among(inside)))
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
    if len(compared.rows) and order not in known_orders(compared):
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
