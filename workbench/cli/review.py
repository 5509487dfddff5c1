"""`petbench review`: a person's verdicts on single images, for the next recipe to train with."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Json, RunId, RunsDir
from workbench.cli.console import cell, check_file, console, make_table, print_json
from workbench.dataset.review import Correction, Verdict
from workbench.dataset.verdict_file import LabelledFolder, ReviewFile, VerdictFile, verdict_file
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.paths import data_home, runs_home
from workbench.support.toml_text import toml_literal


def review(
    run: RunId,
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="ID", help="The run is right: train this image with what it said."),
    ] = None,
    relabel: Annotated[
        tuple[str, str] | None,
        typer.Option("--relabel", metavar="ID CLASS", help="Train this image with another class."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="ID", help="Do not train on this image."),
    ] = None,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take the newest verdict back; an earlier one counts again.")
    ] = False,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="The review file; else reviews/NAME.toml beside the runs."),
    ] = None,
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Judge what a run said of single images, and print the verdicts so far.

    --accept and --exclude may be given several times. A recipe trains with the verdicts through
    corrections in [data]. Only training images change: those on validation and test images do nothing.
    """
    directory = find_run(runs_home(runs_dir), run)
    recipe = load_recipe(directory.recipe)
    kept: VerdictFile
    if file:
        kept = ReviewFile(check_file(file, "--file").expanduser().absolute())
    else:
        home = runs_home(runs_dir).expanduser().absolute()
        kept = verdict_file(home, recipe, run=directory.id, slug=directory.slug, since=directory.created)
    verdicts = list(_verdicts(accept or (), relabel, exclude or ()))
    if undo and verdicts:
        raise UserError("--undo goes alone: it takes the newest verdict back", where="--undo")
    undone = None
    if undo:
        undone = kept.take_back()
        if undone is None:
            raise UserError("nothing to undo: the review is empty", where=clean(kept.path))
    elif verdicts:
        judged = _Judged.of(directory, data_home(data_dir), kept)
        # All are looked at before one is written: a mistyped one leaves the file as it was.
        kept.write([judged.correction(*verdict) for verdict in verdicts], {})
    _show(kept, directory, undone, as_json=as_json)


Asked = tuple[Verdict, str, str]
"""Verdict, image id, class ("" where the verdict has none of its own)."""


def _verdicts(
    accept: Sequence[str], relabel: tuple[str, str] | None, exclude: Sequence[str]
) -> Iterator[Asked]:
    yield from ((Verdict.ACCEPT, image, "") for image in accept)
    if relabel is not None:
        yield (Verdict.RELABEL, *relabel)
    yield from ((Verdict.EXCLUDE, image, "") for image in exclude)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What the run is about, to check a verdict against."""

    run: RunDirectory
    classes: tuple[str, ...]
    images: frozenset[str]
    said: dict[str, str]
    """Image id -> the run's last word on it: as a test, validation or labelled image, or in a round."""
    kept: VerdictFile

    @classmethod
    def of(cls, run: RunDirectory, data: Path, kept: VerdictFile) -> _Judged:
        from workbench.dataset import open_catalogue
        from workbench.runs.label_issues import issue_opinions
        from workbench.runs.opinions import round_opinions, split_opinions
        from workbench.runs.sources import IssueSource, sources_of

        recipe = load_recipe(run.recipe)
        catalogue = open_catalogue(recipe.data, data_home=data)
        said: dict[str, str] = {}
        for number, _ in run.ledgers():
            said |= {row.id: row.said for row in round_opinions(run, number).rows}
        if IssueSource() in sources_of(run):
            said |= {row.id: row.said for row in issue_opinions(run).rows}
        for split in ("val", "test") if run.results.exists() else ():
            if run.predictions(split).exists():
                said |= {row.id: row.said for row in split_opinions(run, split).rows}
        images = frozenset(record.id for record in catalogue.records)
        return cls(run, catalogue.classes(recipe.data.target), images, said, kept)

    def correction(self, verdict: Verdict, image: str, label: str) -> Correction:
        """The verdict, checked.

        Raises:
            UserError: no such image or class (names the nearest), or nothing to accept.
        """
        if image not in self.images:
            near = nearest(image, self.images)
            raise UserError(
                f"the run's data has no image {clean(image, 80)!r}",
                where=f"--{verdict}",
                hint=f"did you mean {clean(near, 80)}?" if near else "petbench inspect RUN lists images",
            )
        said = self.said.get(image, "")
        if verdict is Verdict.ACCEPT:
            if not said:
                raise UserError(
                    f"the run said nothing of {clean(image, 80)}, so there is nothing to accept",
                    where="--accept",
                    hint=f"--relabel {clean(image, 80)} CLASS says what it is",
                )
            label = said
        elif verdict is Verdict.RELABEL and isinstance(self.kept, LabelledFolder):
            label = self.kept.class_named(label, self.classes)
        elif verdict is Verdict.RELABEL and label not in self.classes:
            near = nearest(label, self.classes)
            raise UserError(
                f"no class {clean(label, 80)!r}",
                where="--relabel",
                allowed=[clean(name, 80) for name in self.classes],
                hint=f"did you mean {clean(near, 80)}?" if near else "",
            )
        return Correction(image, verdict, label, said=said, run=self.run.id)


def _show(kept: VerdictFile, run: RunDirectory, undone: Correction | None, *, as_json: bool) -> None:
    review, path = kept.read(), kept.path
    command = f"petbench run {shlex.quote(str(run.recipe))}"
    if isinstance(kept, LabelledFolder):
        line = f"root = {toml_literal(str(path))}"
    else:
        line = f"corrections = {toml_literal(str(path))}"
        command += f" --set {shlex.quote(f'data.corrections={path}')}"
    if as_json:
        print_json(
            "review",
            {
                "file": str(path),
                "counts": {verdict.value: review.count(verdict) for verdict in Verdict},
                "undone": None if undone is None else asdict(undone),
                "corrections": [asdict(correction) for correction in review.corrections],
                "recipe_line": line,
                "relaunch": command,
            },
        )
        return
    if undone is not None:
        words = f"taken back: {undone.verdict} {clean(undone.id)} {clean(undone.label)}"
        console.print(Text(words.rstrip()), soft_wrap=True)
    if not review.corrections:
        console.print(Text(f"no verdicts in {clean(path)}"), soft_wrap=True)
        return
    table = make_table(["image", "verdict", "class", "said", "run"])
    for correction in review.corrections:
        texts = (correction.id, correction.verdict.value, correction.label, correction.said, correction.run)
        table.add_row(*(cell(text) for text in texts))
    console.print(table)
    console.print(Text(f"in {clean(path)}; a recipe trains with them by"), soft_wrap=True)
    console.print(Text(f"  [data]\n  {clean(line)}"), soft_wrap=True)
    console.print(Text("or the run again, with them:"), soft_wrap=True)
    console.print(Text(f"  {clean(command)}"), soft_wrap=True)
