"""`petbench label-issues` and `petbench inspect --label-issues` as a user types them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.commands import run_command
from tests.cli.conftest import World
from tests.cli.test_inspect import copy_of, shown
from workbench.cli.inspect import inspect
from workbench.cli.label_issues import label_issues
from workbench.cli.review import review
from workbench.runs.label_issues import LEAST_A_CLASS
from workbench.runs.layout import RunDirectory
from workbench.support.errors import UserError


@pytest.fixture
def judged(world: World, tmp_path: Path) -> RunDirectory:
    """A supervised run of its own, searched in two folds; nearly everything counts as alike."""
    run = copy_of(world.supervised, tmp_path)
    options = ("--folds", "2", "--similarity", "0.2", "--rule", "prune_by_class", "--json")
    result = run_command(label_issues, str(run.path), *options)
    assert result.exit_code == 0, result.output
    counts = json.loads(result.stdout)
    labelled = json.loads(run.split.read_text())["labelled"]
    assert (counts["folds"], counts["trunk"], counts["images"]) == (2, "run", len(labelled))
    assert counts["rule"] == "prune_by_class"
    # A handful of labels a class: nothing is called wrong.
    assert (counts["issues"], counts["judged_classes"]) == (0, 0)
    assert counts["cannot_tell"] > 0
    return run


def test_issues_are_listed_with_given_and_suggested_label_and_duplicates_after_them(
    judged: RunDirectory,
) -> None:
    found = json.loads(shown(str(judged.path), "--label-issues", "--limit", "0", "--json"))
    assert found["order"] == "self-confidence"
    assert found["images"] == found["search"]["images"]
    assert found["search"]["duplicates"] == len(found["duplicates"]) > 0
    assert all(row["too_few"] or row["twin"] for row in found["rows"])
    assert not any(row["issue"] for row in found["rows"])
    flags = [row["too_few"] is not None for row in found["rows"]]
    assert sum(flags) == found["search"]["cannot_tell"]
    assert flags == sorted(flags, reverse=True)
    text = shown(str(judged.path), "--label-issues", "--limit", "3")
    assert "cannot tell which of" in text
    assert f"labels a class, and {LEAST_A_CLASS} are needed" in text
    assert "listed as suspects (?)" in text
    assert "? may be, but too few labels tell" in text
    assert "given %" in text
    assert "near-duplicate pairs" in text


def test_inspect_searches_by_itself_where_nobody_did(world: World, tmp_path: Path) -> None:
    run = copy_of(world.supervised, tmp_path)
    assert "5 folds, seed 0" in shown(str(run.path), "--label-issues")
    assert run.label_issues.is_file()


def test_the_sheet_and_the_list_say_what_each_was_given_as(judged: RunDirectory, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown(str(judged.path), "--label-issues", "--limit", "4", "--export", str(out))
    with Image.open(out / "sheet.png") as sheet:
        assert sheet.width > 600
    listed = list(csv.DictReader((out / "images.csv").open()))
    assert len(listed) == 4
    assert {"self_confidence", "label_margin", "issue", "too_few", "twin"} <= listed[0].keys()


def test_what_an_image_seems_to_be_can_be_accepted(judged: RunDirectory, tmp_path: Path) -> None:
    row = json.loads(shown(str(judged.path), "--label-issues", "--json"))["rows"][0]
    file = tmp_path / "review.toml"
    result = run_command(review, str(judged.path), "--accept", row["id"], "--file", str(file), "--json")
    assert result.exit_code == 0, result.output
    (correction,) = json.loads(result.stdout)["corrections"]
    assert (correction["label"], correction["said"]) == (row["said"], row["said"])


def test_orders_and_sources_that_do_not_go_together_are_refused(judged: RunDirectory) -> None:
    for options, said in (
        (("--label-issues", "--order", "flips"), "no flips to order by with --label-issues"),
        (("--order", "label-margin"), "without --label-issues"),
        (("--label-issues", "--split", "val"), "without --round and --split"),
        (("--label-issues", "--teacher"), "without --round and --split"),
    ):
        with pytest.raises(UserError, match=said):
            run_command(inspect, str(judged.path), *options)
