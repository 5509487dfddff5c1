"""Table 1: the paper's nine cells beside ours, and what stands beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.paper.charts import Row, dot_chart
from workbench.paper.drawing import Drawing
from workbench.paper.numbers import CAVEATS, HEADINGS, TABLE1
from workbench.paper.recipes import cell_of, settings_slug
from workbench.recipe import recipe_fingerprint
from workbench.recipe.sweep import Sweep
from workbench.runs.seed_groups import Spread, spread
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.runs.values import delta_words, spread_words
from workbench.support.clean import slug
from workbench.support.units import NOTHING, given_percent, percent


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: a labelled share and a model."""

    fraction: float
    column: str
    """`teacher`, or the strategy of a student."""
    paper: float | None
    """None for what the paper did not try."""
    ours: Spread | None
    """Test accuracy over seeds; None where no run is finished."""
    wanted: int
    """Seeds that were asked for."""
    below_teacher: int = 0
    """Of a student: seeds under which it did not beat its own teacher on the validation images."""
    covered: Spread | None = None
    """Classes with a labelled image."""

    @property
    def heading(self) -> str:
        """The column's heading."""
        return HEADINGS.get(self.column, self.column.replace("_", " "))

    @property
    def difference(self) -> float | None:
        """Our mean less the paper's number."""
        return None if self.paper is None or self.ours is None else self.ours.mean - self.paper


@dataclass(frozen=True, slots=True)
class Table:
    """The table of one sweep."""

    backbone: str
    labels: str
    """Which images keep their label: `random`, `stratified`, …"""
    cells: tuple[Cell, ...]
    head_alone: bool
    """Whether the trunk is frozen, which the paper fine-tunes."""
    changes: tuple[str, ...] = ()
    """`--set` and `--unset` that make it differ from what is shipped."""

    @property
    def title(self) -> str:
        """What it is of."""
        return f"Table 1: the paper beside {self.backbone}, {self.labels} labels"

    @property
    def stem(self) -> str:
        """A name for its files, another one for other settings."""
        return f"table1-{slug(self.backbone)}-{self.labels}{settings_slug(self.changes)}"


def make_table1(sweep: Sweep, found: Mapping[str, RunSummary], changes: Sequence[str] = ()) -> Table:
    """The cells, row by row; the teachers are the one-shot runs', which are every student's."""
    by_cell: dict[tuple[float, str], list[RunSummary | None]] = {}
    for run in sweep.runs:
        by_cell.setdefault(cell_of(run.recipe), []).append(found.get(recipe_fingerprint(run.recipe)))
    fractions = list(dict.fromkeys(fraction for fraction, _ in by_cell))
    strategies = list(dict.fromkeys(strategy for _, strategy in by_cell))
    teaches = "one_shot" if "one_shot" in strategies else strategies[0]
    cells = []
    for fraction in fractions:
        cells.append(_teacher(fraction, by_cell[fraction, teaches]))
        cells += [_student(fraction, strategy, by_cell[fraction, strategy]) for strategy in strategies]
    recipe = sweep.runs[0].recipe
    assert recipe.pseudo_label is not None  # every run of the table has the section
    return Table(
        backbone=recipe.model.backbone_words,
        labels=recipe.pseudo_label.policy,
        cells=tuple(cells),
        head_alone=all(run.recipe.finetune.layers in ("head", ("head",)) for run in sweep.runs),
        changes=tuple(changes),
    )


def markdown(table: Table) -> str:
    """The table as Markdown, with what a reader must know below it."""
    lines = [
        f"# {table.title}",
        "",
        "| labelled | model | paper | ours | difference | seeds |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(words(cell))} |" for cell in table.cells]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(table)), ""])


def chart(table: Table) -> Drawing:
    """The table as dots with whiskers, its numbers beside them."""
    rows = []
    for cell in table.cells:
        _, name, paper, ours, *_ = words(cell)
        held = cell.ours
        rows.append(
            Row(
                group=f"{given_percent(cell.fraction)} % of the labels",
                name=name.removeprefix("student, "),
                reference=cell.paper,
                mean=held.mean if held else None,
                deviation=held.deviation if held else None,
                told=(paper, ours),
            )
        )
    most = max((cell.ours.count for cell in table.cells if cell.ours), default=0)
    spread_words = "; ± 1 standard deviation" if most > 1 else ""
    seeds = f"{most} seed{'s' if most > 1 else ''}{spread_words}" if most else "nothing trained yet"
    return dot_chart(
        rows,
        title="Table 1",
        subtitle=f"ours: {table.backbone}, {table.labels} labels, {seeds}",
        reference="paper",
        ours="ours",
    )


def words(cell: Cell) -> tuple[str, ...]:
    """A cell as text: labelled, model, paper, ours, difference in points, seeds."""
    done = 0 if cell.ours is None else cell.ours.count
    difference = delta_words("accuracy", cell.difference) or NOTHING
    return (
        f"{given_percent(cell.fraction)} %",
        cell.heading,
        percent(cell.paper),
        spread_words("accuracy", cell.ours),
        difference,
        f"{done}/{cell.wanted}" if done < cell.wanted else str(done),
    )


def notes(table: Table) -> list[str]:
    """What the paper leaves out, what differs here, and students below their teachers, aloud."""
    told = list(CAVEATS)
    if table.changes:
        told.append(f"Here the recipe is changed: {' '.join(table.changes)}.")
    if table.head_alone:
        told.append(f"Here the head of a frozen {table.backbone} learns; the paper fine-tuned a ResNet-152.")
    coverage = next((cell.covered for cell in table.cells if cell.covered is not None), None)
    if coverage is not None:
        told.append(
            f"Here {given_percent(table.cells[0].fraction)} % of the labels cover {coverage.mean:.1f} "
            "breeds on average."
        )
    for cell in table.cells:
        if cell.below_teacher and cell.ours is not None:
            told.append(
                f"BELOW ITS TEACHER on validation: {cell.heading} at {given_percent(cell.fraction)} % under "
                f"{cell.below_teacher} of {cell.ours.count} seeds."
            )
    return told


def _teacher(fraction: float, runs: Sequence[RunSummary | None]) -> Cell:
    finished = _finished(runs)
    return Cell(
        fraction=fraction,
        column="teacher",
        paper=_paper(fraction, "teacher"),
        ours=spread(run.teacher_test_accuracy for run in finished),
        wanted=len(runs),
        covered=spread(run.metrics.get("classes_covered") for run in finished),
    )


def _student(fraction: float, strategy: str, runs: Sequence[RunSummary | None]) -> Cell:
    finished = _finished(runs)
    return Cell(
        fraction=fraction,
        column=strategy,
        paper=_paper(fraction, strategy),
        ours=spread(run.student_test_accuracy for run in finished),
        wanted=len(runs),
        below_teacher=sum(run.keeps_teacher for run in finished),
    )


def _finished(runs: Sequence[RunSummary | None]) -> list[RunSummary]:
    return [run for run in runs if run is not None and run.status is RunStatus.FINISHED]


def _paper(fraction: float, column: str) -> float | None:
    return next((share for (f, c), share in TABLE1.items() if f == fraction and c == column), None)
