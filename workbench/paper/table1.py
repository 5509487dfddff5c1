"""Table 1: the paper's nine cells beside ours, and what stands beyond them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.paper.numbers import CAVEATS, HEADINGS, TABLE1
from workbench.recipe import recipe_fingerprint
from workbench.recipe.sweep import Sweep
from workbench.runs.seeds import Spread, spread
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary


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


def table1_cells(sweep: Sweep, found: Mapping[str, RunSummary]) -> list[Cell]:
    """The cells, row by row; the teachers are the one-shot runs', which are every student's."""
    by_cell: dict[tuple[float, str], list[RunSummary | None]] = {}
    for run in sweep.runs:
        knobs = run.recipe.pseudo_label
        assert knobs is not None  # every recipe of the table has the section
        key = (float(knobs.labelled_fraction or 0), knobs.strategy)
        by_cell.setdefault(key, []).append(found.get(recipe_fingerprint(run.recipe)))
    fractions = list(dict.fromkeys(fraction for fraction, _ in by_cell))
    strategies = list(dict.fromkeys(strategy for _, strategy in by_cell))
    cells = []
    for fraction in fractions:
        cells.append(_teacher(fraction, by_cell[fraction, "one_shot"]))
        cells += [_student(fraction, strategy, by_cell[fraction, strategy]) for strategy in strategies]
    return cells


def markdown(cells: Sequence[Cell], backbone: str, labels: str) -> str:
    """The table as Markdown, with what a reader must know below it."""
    lines = [
        f"# Table 1 of the paper beside {backbone}, {labels} labels",
        "",
        "| labelled | model | paper | ours | difference | seeds |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {' | '.join(words(cell))} |" for cell in cells]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes(cells, backbone)), ""])


def words(cell: Cell) -> tuple[str, ...]:
    """A cell as text: labelled, model, paper, ours, difference in points, seeds."""
    done = 0 if cell.ours is None else cell.ours.count
    difference = "–" if cell.difference is None else f"{100 * cell.difference:+.2f}"
    return (
        f"{100 * cell.fraction:g} %",
        cell.heading,
        "–" if cell.paper is None else f"{100 * cell.paper:.2f}",
        _told(cell.ours),
        difference,
        f"{done}/{cell.wanted}" if done < cell.wanted else str(done),
    )


def notes(cells: Sequence[Cell], backbone: str) -> list[str]:
    """What the paper leaves out, what differs here, and students below their teachers, aloud."""
    told = list(CAVEATS)
    if not backbone.startswith("resnet"):
        told.append(f"Here the head of a frozen {backbone} learns; the paper fine-tuned a ResNet-152.")
    coverage = next((cell.covered for cell in cells if cell.covered is not None), None)
    if coverage is not None:
        told.append(
            f"Here {100 * cells[0].fraction:g} % of the labels cover {coverage.mean:.1f} breeds on average."
        )
    for cell in cells:
        if cell.below_teacher and cell.ours is not None:
            told.append(
                f"BELOW ITS TEACHER on validation: {cell.heading} at {100 * cell.fraction:g} % under "
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


def _told(over: Spread | None) -> str:
    if over is None:
        return "–"
    deviation = "" if over.deviation is None else f" ± {100 * over.deviation:.2f}"
    return f"{100 * over.mean:.2f}{deviation}"
