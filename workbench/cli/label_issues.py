"""`petbench label-issues`: search a run's labelled images for likely wrong labels and near-duplicates."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from workbench.cli.arguments import DataDir, Device, Json, RunId, RunsDir
from workbench.cli.console import cell, console, error_console, make_table, print_json
from workbench.cli.display import Display
from workbench.dataset import open_catalogue
from workbench.dataset.contents import FEATURE_COSINE
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.runs.label_issues import (
    DEFAULT_RULE,
    LEAST_A_CLASS,
    LEAST_IN_ALL,
    Duplicate,
    IssueRule,
    Judged,
    judged,
)
from workbench.runs.layout import RunDirectory
from workbench.support.clean import as_word, clean
from workbench.support.errors import UserError
from workbench.support.paths import cache_home, data_home, runs_home

_NAMED_CLASSES = 5
"""Classes of too few labels that are named."""


def label_issues(
    run: RunId,
    folds: Annotated[
        int, typer.Option("--folds", metavar="K", min=2, max=100, help="Heads to train, each on the others.")
    ] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Another seed divides otherwise.")] = 0,
    rule: Annotated[
        IssueRule,
        typer.Option(
            "--rule", help="Which labels are flagged, by cleanlab's names: see docs/corrections.md."
        ),
    ] = DEFAULT_RULE,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="By the features of the pretrained trunk, for a run whose own trunk learned these labels.",
        ),
    ] = False,
    similarity: Annotated[
        float,
        typer.Option("--similarity", min=0.0, max=1.0, help="Cosine of the features of near-duplicates."),
    ] = FEATURE_COSINE,
    device: Device = "auto",
    as_json: Json = False,
    runs_dir: RunsDir = None,
    data_dir: DataDir = None,
) -> None:
    """Search a run's labelled images for likely wrong labels (confident learning) and near-duplicates.

    Trains K heads on the run's features, each without a K-th of the images, and keeps what they say of the
    rest with the run. petbench inspect RUN --label-issues lists and draws what was found.
    """
    directory = find_run(runs_home(runs_dir), run)
    search_issues(
        directory,
        folds=folds,
        seed=seed,
        rule=rule,
        pretrained=pretrained,
        similarity=similarity,
        device=device,
        data=data_home(data_dir),
    )
    counts = issue_counts(directory)
    if as_json:
        print_json("label-issues", {"run": directory.id, **counts})
        return
    print_issue_summary(directory)
    console.print(
        f"petbench inspect {as_word(directory.handle)} --label-issues lists them; --export sheet.png draws"
    )


def search_issues(
    directory: RunDirectory,
    *,
    folds: int = 5,
    seed: int = 0,
    rule: IssueRule = DEFAULT_RULE,
    pretrained: bool = False,
    similarity: float = FEATURE_COSINE,
    device: str = "auto",
    data: Path,
) -> None:
    """Search, and keep what was found with the run.

    Raises:
        UserError: the run has no model yet, its data is gone or has changed, or it cannot be written.
    """
    recipe = load_recipe(directory.recipe)
    with Display(error_console) as display:
        catalogue = open_catalogue(recipe.data, data_home=data, reporter=display)
        from workbench.cli.devices import foreground_device
        from workbench.train.predict import load_predictor
        from workbench.train.run_features import search_label_issues

        predictor = load_predictor(directory, recipe, foreground_device(device))
        try:
            search_label_issues(
                directory,
                recipe,
                catalogue,
                predictor,
                folds=folds,
                seed=seed,
                rule=rule,
                pretrained=pretrained,
                least_similarity=similarity,
                cache=cache_home(),
                reporter=display,
            )
        except OSError as error:
            raise UserError(
                f"cannot be written: {error.strerror or error}", where=clean(directory.path)
            ) from error


def issue_counts(directory: RunDirectory) -> dict[str, object]:
    """What was found, in numbers, and how."""
    found = judged(directory)
    how = {key: value for key, value in asdict(found.search).items() if key != "duplicates"}
    return {
        **how,
        "images": len(found.predictions.ids),
        "classes": len(found.labels_a_class),
        "judged_classes": len(found.labels_a_class) - len(found.too_few),
        "least_labels_a_class": LEAST_A_CLASS,
        "least_labels_in_all": LEAST_IN_ALL,
        "issues": int(found.issues.is_issue.sum()),
        "cannot_tell": int((found.issues.too_few > 0).sum()),
        "estimated": round(found.issues.estimated, 1),
        "duplicates": len(found.search.duplicates),
    }


def print_issue_summary(directory: RunDirectory) -> None:
    """How many labels are likely wrong, of how many one cannot tell, and by whose features."""
    found = judged(directory)
    search, issues = found.search, found.issues
    images, pairs = len(found.predictions.ids), len(search.duplicates)
    flagged = int(issues.is_issue.sum())
    if len(found.too_few) == len(found.labels_a_class):
        verdict = f"cannot tell which of {images} labels are wrong"
    else:
        total = f"by the calibrated joint about {issues.estimated:.0f}"
        verdict = f"{flagged} of {images} labels are likely wrong by {search.rule.value} ({total})"
    console.print(f"{clean(directory.id)}: {verdict}", soft_wrap=True)
    if found.too_few:
        _print_too_few(found)
    console.print(f"{pairs} near-duplicate pairs", soft_wrap=True)
    trunk = "the pretrained trunk's" if search.trunk == "pretrained" else "the run's own trunk's"
    console.print(f"{search.folds} folds, seed {search.seed}, on {trunk} features", soft_wrap=True)
    if search.trunk_learned:
        console.print(
            "warning: that trunk learned from the very labels, and may agree with wrong ones; "
            f"petbench label-issues {as_word(directory.handle)} --pretrained asks one that never saw them",
            style="yellow",
            soft_wrap=True,
        )


def _print_too_few(found: Judged) -> None:
    """Of which classes one cannot tell, why, and what to do."""
    counts = sorted(found.too_few.values())
    span = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    images = len(found.predictions.ids)
    if images < LEAST_IN_ALL:
        why = f"{images} labels in all ({span} a class), and {LEAST_IN_ALL} are needed"
    else:
        names = ", ".join(clean(name) for name in list(found.too_few)[:_NAMED_CLASSES])
        more = len(found.too_few) - _NAMED_CLASSES
        named = names + (f" and {more} more" if more > 0 else "")
        why = f"{span} labels a class, and {LEAST_A_CLASS} are needed: {named}"
    suspects = int((found.issues.too_few > 0).sum())
    console.print(f"cannot tell: {why}", style="yellow", soft_wrap=True)
    console.print(
        f"{suspects} of their labels are listed as suspects (?), most of which may be right: look at each, "
        "and petbench review --accept, --relabel or --exclude it; or label more images and search again",
        soft_wrap=True,
    )


def print_duplicates(directory: RunDirectory, limit: int) -> None:
    """The near-duplicate pairs, the most alike first."""
    pairs = judged(directory).search.duplicates
    if not pairs:
        return
    table = make_table(
        ("labelled image", "near-duplicate", "in", "cosine", "labels"),
        title=f"{len(pairs[: limit or None])} of {len(pairs)} near-duplicate pairs",
        right=("cosine",),
    )
    for pair in pairs[: limit or None]:
        table.add_row(
            cell(pair.id), cell(pair.other), cell(pair.other_part), f"{pair.similarity:.3f}", _labels(pair)
        )
    console.print(table)


def _labels(pair: Duplicate) -> Text:
    if pair.label == pair.other_label:
        return cell(pair.label)
    return cell(f"{pair.label} ≠ {pair.other_label}", "bold red")
