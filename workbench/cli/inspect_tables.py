"""What `petbench inspect` prints: the line above, a row an image, what the signs mean, confused classes."""

from __future__ import annotations

from dataclasses import asdict
from shlex import quote

from rich.table import Table
from rich.text import Text

from workbench.cli.console import cell, console, make_table, percent, print_json
from workbench.runs.doubt import Doubt
from workbench.runs.layout import RunDirectory
from workbench.runs.opinions import Opinion, Opinions
from workbench.runs.results import Confusion
from workbench.support.clean import clean

_WRONG, _TAUGHT, _FLIPPED = "✗", "●", "↻"
_COMPARED = {
    Doubt.DISAGREEMENT: "apart",
    Doubt.FLIPS: "flips",
    Doubt.SELF_CONFIDENCE: "given %",
    Doubt.LABEL_MARGIN: "ahead %",
}


def print_summary(directory: RunDirectory, source: str, opinions: Opinions) -> None:
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
            cell(f"{100 * row.confidence:.1f}"),
            cell(_compared_figure(row, order)),
        ]
        cells += [cell(f"{row.entropy:.2f}"), cell(row.second or "–")]
        cells += [Text(_WRONG if is_wrong else "", style="bold red"), cell(row.true or "–", style)]
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
    return "–" if value is None else f"{100 * value:.1f}"


def print_marks(shown: list[Opinion]) -> None:
    """Say what the signs in the table mean, of those that are there."""
    meanings = {
        f"{_TAUGHT} taught to the student": any(row.selected for row in shown),
        f"{_FLIPPED} another label than in the round before": any(row.flipped for row in shown),
        f"{_WRONG} wrong": any(row.wrong and row.issue is None for row in shown),
        f"{_WRONG} seems another class than the given one": any(row.issue for row in shown),
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
