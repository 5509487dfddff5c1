"""What Inspect says in words and bars: of an image, below and beside it; of the list, above and below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from workbench.dataset.review import Correction, Review, Verdict
from workbench.runs.doubt import Doubt
from workbench.runs.opinion_columns import Opinion
from workbench.runs.opinions import Likely
from workbench.runs.sources import IssueSource, RoundSource
from workbench.support.clean import clean
from workbench.support.units import fraction, signed
from workbench.tui.draw.bars import bar
from workbench.tui.screens.inspect.material import Material
from workbench.tui.screens.inspect.review_queue import Query, Reviewed
from workbench.tui.text import plain
from workbench.tui.themes import Palette
from workbench.tui.widgets.action_line import Word

EMPTY = (
    "Nothing to look at yet.\n\n"
    "A run writes down what it said of the unlabelled pool after every round of pseudo-labels, and of the "
    "validation and test images once, at its end. This one has done neither so far; its pictures appear here "
    "as soon as it has.\n\n"
    "W  shows its curves      esc  goes back to where you came from"
)
NOTHING_FITS = "No image fits these filters. 0 takes them off."
SIGNS = (
    "Below each image: what was said, its confidence, Δ margin (H entropy, ≠ disagreement, ↻ flips "
    "when ordered by them), ● taught to the student, ↻ label changed in this round, ✓ right, ✗ with "
    "the true class; of label issues ≟ the given label's probability, ⚑ likely wrong, ⚐ too few "
    "labels to tell, ⧉ there twice; "
    "✔ accepted, ✎ relabelled, ⊘ excluded, ◆ marked."
)
VERDICT_SIGNS = {Verdict.ACCEPT: "✔", Verdict.RELABEL: "✎", Verdict.EXCLUDE: "⊘"}
VERDICT_WORDS = {Verdict.ACCEPT: "accepted", Verdict.RELABEL: "relabelled", Verdict.EXCLUDE: "excluded"}
_NAME_LIMIT = 24


def share(value: float) -> str:
    """A number of 0 … 1 in three cells: `.21`; `1.0` when it rounds to one."""
    return fraction(value, 2)


def caption(
    opinion: Opinion, correction: Correction | None, order: Doubt, colours: Palette
) -> tuple[Text, ...]:
    """The three lines below a thumbnail: the label, how sure it is, whether it is right."""
    figures = Text(share(opinion.confidence))
    figures.append(f" {_figure(opinion, order)}", style=colours.muted)
    if opinion.selected:
        figures.append(" ●", style=colours.accent)
    if opinion.flipped:
        figures.append(" ↻", style=colours.warning)
    if opinion.issue:
        figures.append(" ⚑", style=colours.bad)
    if opinion.too_few:
        figures.append(" ⚐", style=colours.warning)
    if opinion.twin is not None:
        figures.append(" ⧉", style=colours.warning)
    return _label(opinion, correction, colours), figures, _truth(opinion, colours)


def facts(opinion: Opinion, correction: Correction | None, size: str, colours: Palette) -> Text:
    """What is known of an image, a few lines for the side of a large picture."""
    lines = [plain(opinion.id, "bold")]
    said = Text("said  ", style=colours.muted)
    said.append(clean(opinion.said), style="default")
    said.append(f"  {share(opinion.confidence)}", style="default")
    lines.append(said)
    true = Text("true  " if opinion.issue is None else "given ", style=colours.muted)
    if opinion.true is None:
        true.append("not known", style=colours.muted)
    else:
        sign, colour = ("✗", colours.bad) if opinion.wrong else ("✓", colours.good)
        true.append(f"{sign} {clean(opinion.true)}", style=colour)
    lines.append(true)
    doubt = f"margin {share(opinion.margin)}  entropy {opinion.entropy:.2f}"
    lines.append(Text(doubt, style=colours.muted))
    lines += [Text(history, style=colours.muted) for history in _history(opinion)]
    if correction is not None:
        lines.append(_verdict(correction, colours))
    if size:
        lines.append(plain(size, colours.muted))
    return Text("\n").join(lines)


def bars(
    likely: Sequence[Likely], opinion: Opinion, colours: Palette, width: int, *, name_limit: int = 24
) -> Text:
    """The most probable classes as bars in `width` cells, the true one in its colour and with its sign."""
    if not likely:
        return Text("the probabilities of this round are gone", style=colours.muted)
    names = [clean(item.name) for item in likely]
    name_width = min(max(len(name) for name in names), name_limit, max(8, width // 2))
    room = max(4, width - name_width - 7)
    lines = []
    for name, item in zip(names, likely, strict=True):
        is_true = item.name == opinion.true
        line = plain(name, "bold" if item.name == opinion.said else "")
        line.truncate(name_width, overflow="ellipsis")
        line.pad_right(name_width - line.cell_len)
        line.append(" ")
        line.append(bar(item.probability, room), style=colours.good if is_true else colours.accent)
        line.append(f" {share(item.probability)}")
        line.append(" ✓" if is_true else "", style=colours.good)
        lines.append(line)
    return Text("\n").join(lines)


def one_line(opinion: Opinion, correction: Correction | None, colours: Palette) -> Text:
    """The image under the cursor on one line, for a screen too small for more."""
    line = plain(opinion.id, "bold")
    line.append(f"  {clean(opinion.said)} {share(opinion.confidence)}", style="default not bold")
    if opinion.true is not None:
        sign, colour = ("✗", colours.bad) if opinion.wrong else ("✓", colours.good)
        line.append(f"  {sign} {clean(opinion.true)}", style=f"{colour} not bold")
    if correction is not None:
        line.append("  ").append_text(_verdict(correction, colours))
    if opinion.second is not None:
        line.append(f"  then {clean(opinion.second)}", style=f"{colours.muted} not bold")
    return line


def counts(review: Review, colours: Palette) -> Text:
    """`7 relabelled 3 excluded`, what there is of each; empty for an empty review."""
    line = Text()
    for verdict in (Verdict.RELABEL, Verdict.EXCLUDE, Verdict.ACCEPT):
        if number := review.count(verdict):
            line.append(f" {VERDICT_SIGNS[verdict]} ", style=colours.accent)
            line.append(f"{number} {VERDICT_WORDS[verdict]}")
    return line


def source_line(material: Material, query: Query, colours: Palette) -> list[Word]:
    """Source and order; empty where there is no source."""
    if material.source is None:
        return []
    named = material.source.words.removeprefix("the ")
    if material.round is not None:
        last = max(source.round for source in material.sources if isinstance(source, RoundSource))
        named = f"pool, round {material.round} of {last}"
    least = "likely wrong first" if isinstance(material.source, IssueSource) else "least sure first"
    direction = "surest first" if query.surest_first else least
    if isinstance(material.source, IssueSource):
        found = int(material.opinions.rows.flag("issue").sum())
        named = f"label issues ({found:,})"
    return [
        Word(Text("‹", colours.accent), "inspect.earlier"),
        Word(Text(named, "bold"), "inspect.source"),
        Word(Text("›", colours.accent), "inspect.later"),
        Word(Text(f"{direction} by {query.order.value}"), "inspect.order"),
    ]


def filter_line(material: Material, query: Query, colours: Palette) -> list[Word]:
    """Every filter that the source can have, those that are on in the accent's colour."""

    def word(text: str, is_on: bool, action: str) -> Word:
        return Word(Text(text, style=f"bold {colours.accent}" if is_on else colours.muted), action)

    words = [
        word(
            f"class {clean(query.class_name, _NAME_LIMIT) or 'any'}", bool(query.class_name), "inspect.class"
        )
    ]
    if material.opinions.rule:
        words.insert(0, word(f"flagged by {material.opinions.rule}", False, "inspect.source"))
    if query.true and query.said:
        cell = f"{clean(query.true, _NAME_LIMIT)} → {clean(query.said, _NAME_LIMIT)}"
        words.append(word(cell, True, "inspect.pair"))
    flags = [("wrong", query.wrong, "inspect.wrong")]
    if material.round is not None:
        flags += [("selected", query.taught, "inspect.taught"), ("flipped", query.flipped, "inspect.flipped")]
    words += [word(f"{'☑' if is_on else '☐'} {name}", is_on, action) for name, is_on, action in flags]
    is_sliced = material.sliced is not None and material.sliced.key == query.slice
    told = clean(material.sliced.words, 2 * _NAME_LIMIT) if is_sliced and material.sliced else "slices"
    words.append(word(told, is_sliced, "inspect.slices"))
    is_on = query.reviewed is not Reviewed.ANY
    words.append(word(query.reviewed.value if is_on else "review any", is_on, "inspect.reviewed"))
    return words


def review_line(material: Material, runs_home: Path, colours: Palette) -> list[Word]:
    """What was said so far and where it is kept; else how to begin, or why one cannot."""
    line = Text("review:", style=colours.muted)
    if material.review.corrections:
        line.append_text(counts(material.review, colours))
        line.append(f" → {_short(material.verdicts.path, runs_home)}", style=colours.muted)
    elif material.can_review:
        line.append(" nothing yet: a accepts, r relabels, x excludes the image", style=colours.muted)
    else:
        line.append(" of pool images only; these measure the run and never train it", style=colours.muted)
    return [Word(line, "inspect.relaunch")]


def _label(opinion: Opinion, correction: Correction | None, colours: Palette) -> Text:
    if correction is None:
        return plain(opinion.said, "bold")
    sign = VERDICT_SIGNS[correction.verdict]
    match correction.verdict:
        case Verdict.EXCLUDE:
            line = Text(f"{sign} ", style=colours.warning)
            line.append(clean(opinion.said), style=f"strike {colours.muted}")
            return line
        case Verdict.ACCEPT | Verdict.RELABEL:
            return plain(f"{sign} {correction.label}", f"bold {colours.accent}")


def _truth(opinion: Opinion, colours: Palette) -> Text:
    if opinion.true is None:
        return Text("?", style=colours.muted)
    return plain(f"✗ {opinion.true}", colours.bad) if opinion.wrong else Text("✓", style=colours.good)


def _figure(opinion: Opinion, order: Doubt) -> str:
    """What the images are ordered by, where that is not the confidence; else the margin."""
    if order is Doubt.ENTROPY:
        return f"H{opinion.entropy:.2f}"
    if order is Doubt.DISAGREEMENT and opinion.disagreement is not None:
        return f"≠{share(opinion.disagreement)}"
    if order is Doubt.FLIPS and opinion.flips is not None:
        return f"↻{opinion.flips}"
    if opinion.self_confidence is not None and opinion.label_margin is not None:
        if order is Doubt.LABEL_MARGIN:
            return f"Δ{signed(opinion.label_margin)}"
        return f"≟{share(opinion.self_confidence)}"
    return f"Δ{share(opinion.margin)}"


def _history(opinion: Opinion) -> list[str]:
    """What other models and rounds said of it, and what was made of it; three lines at most."""
    parts, marks = [], []
    if opinion.disagreement is not None:
        parts.append(f"disagreement {share(opinion.disagreement)}")
    if opinion.flips is not None:
        parts.append(f"flips {opinion.flips}")
    if opinion.selected:
        marks.append("● taught")
    if opinion.flipped:
        marks.append("↻ flipped")
    if opinion.self_confidence is not None:
        parts.append(f"given label {share(opinion.self_confidence)} out of fold")
    if opinion.issue:
        marks.append("⚑ likely wrong label")
    if opinion.too_few:
        marks.append(f"⚐ cannot tell by {opinion.too_few} labels")
    lines = ["  ".join(words) for words in (parts, marks) if words]
    return [*lines, f"⧉ like {clean(opinion.twin)}"] if opinion.twin is not None else lines


def _verdict(correction: Correction, colours: Palette) -> Text:
    text = f"{VERDICT_SIGNS[correction.verdict]} {VERDICT_WORDS[correction.verdict]}"
    if correction.verdict is Verdict.RELABEL:
        text += f": {clean(correction.label)}"
    return Text(text, style=f"bold {colours.accent}")


def _short(path: Path, runs_home: Path) -> str:
    """The review's path, from the runs directory on."""
    try:
        return clean(path.relative_to(runs_home))
    except ValueError:
        return clean(path)
