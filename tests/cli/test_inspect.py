"""`petbench inspect` as a user types it, on runs that were really trained."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from tests.cli.commands import on_screen, run_command
from tests.cli.conftest import World
from workbench.cli.inspect import inspect
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, read_ledger, write_ledger
from workbench.runs.predictions import load_predictions, save_predictions
from workbench.runs.results import read_results
from workbench.support.errors import UserError


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    on_screen(monkeypatch, 80)


def shown(*arguments: str) -> str:
    """What the command prints, exit code 0."""
    result = run_command(inspect, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def rows(*arguments: str) -> list[dict[str, Any]]:
    """The rows that the command prints as JSON."""
    found: list[dict[str, Any]] = json.loads(shown(*arguments, "--json"))["rows"]
    return found


def copy_of(run: RunDirectory, home: Path) -> RunDirectory:
    """A copy of a run that a test may change."""
    return RunDirectory(Path(shutil.copytree(run.path, home / run.id)))


def test_the_validation_images_come_least_sure_first_and_test_images_when_asked_for(world: World) -> None:
    handle = world.pseudo_labelled.handle
    for split, arguments in (("val", ()), ("val", ("--split", "val")), ("test", ("--split", "test"))):
        predictions = load_predictions(world.pseudo_labelled.predictions(split))
        expected = sorted(predictions.probabilities.max(axis=1).tolist())
        found = rows(handle, *arguments, "--limit", "0")
        assert [row["confidence"] for row in found] == pytest.approx(expected)
    assert len(rows(handle, "--split", "test")) == 20
    text = shown(handle, "--split", "test", "--limit", "3")
    assert "the test images: 40 images" in text
    assert "3 of the 40 that fit" in text
    assert max(cell_len(line) for line in text.splitlines() if world.pseudo_labelled.id not in line) <= 80


@pytest.mark.parametrize(("order", "sign"), [("confidence", 1), ("margin", 1), ("entropy", -1)])
def test_doubt_can_be_measured_three_ways_and_turned_round(world: World, order: str, sign: int) -> None:
    handle = world.pseudo_labelled.handle
    values = [sign * row[order] for row in rows(handle, "--order", order, "--limit", "0")]
    assert values == sorted(values)
    surest = [sign * row[order] for row in rows(handle, "--order", order, "--limit", "0", "--surest")]
    assert surest == sorted(values, reverse=True)


def test_disagreement_and_flips_order_too(world: World) -> None:
    handle = world.pseudo_labelled.handle
    for arguments in (("--split", "test"), ("--split", "val", "--teacher"), ("--round", "1")):
        apart = [row["disagreement"] for row in rows(handle, *arguments, "--order", "disagreement")]
        assert apart == sorted(apart, reverse=True)
        assert 0 <= apart[-1] < apart[0] <= 1
    assert "apart" in shown(handle, "--order", "disagreement", "--limit", "3")
    flips = [row["flips"] for row in rows(handle, "--round", "2", "--order", "flips", "--limit", "0")]
    assert flips == sorted(flips, reverse=True)
    flipped = rows(handle, "--round", "2", "--flipped", "--limit", "0")
    assert len(flipped) == sum(flips)  # two rounds: an image flips at most once
    assert "flips" in shown(handle, "--round", "2", "--order", "flips", "--limit", "3")


def test_orders_that_a_run_cannot_tell_are_refused_with_the_reason(world: World) -> None:
    with pytest.raises(UserError, match="no disagreement to order by") as caught:
        shown(world.supervised.handle, "--order", "disagreement")
    assert "teacher and student" in caught.value.hint
    with pytest.raises(UserError, match="no flips to order by in the validation images") as caught:
        shown(world.pseudo_labelled.handle, "--order", "flips")
    assert caught.value.allowed == "confidence, margin, entropy, disagreement"


def test_wrong_ones_and_cells_agree_with_the_results(world: World) -> None:
    run = world.pseudo_labelled
    results = read_results(run.results)
    wrong = rows(run.handle, "--wrong", "--limit", "0")
    assert len(wrong) == round((1 - results.val.accuracy) * results.val.images)
    assert all(row["said"] != row["true"] and row["wrong"] for row in wrong)
    record = json.loads(shown(run.handle, "--confused", "--json", "--limit", "0"))
    assert sum(pair["count"] for pair in record["pairs"]) == len(wrong)
    first = record["pairs"][0]
    cell = rows(run.handle, "--pair", first["true"], first["predicted"])
    assert [row["id"] for row in cell] == [
        row["id"] for row in wrong if (row["true"], row["said"]) == (first["true"], first["predicted"])
    ]
    assert len(cell) == first["count"]
    assert first["true"] in shown(run.handle, "--confused", "--class", first["true"])
    of_class = rows(run.handle, "--class", first["true"], "--limit", "0")
    assert {row["true"] for row in of_class} > {first["true"]} or len(of_class) >= 4
    assert all(first["true"] in (row["true"], row["said"]) for row in of_class)


def test_every_split_and_the_teacher_have_their_own_predictions(world: World) -> None:
    run = world.pseudo_labelled
    results = read_results(run.results)
    assert results.teacher_test is not None
    for arguments, images, accuracy in (
        (("--split", "val"), results.val.images, results.val.accuracy),
        (("--split", "test", "--teacher"), results.teacher_test.images, results.teacher_test.accuracy),
    ):
        found = rows(run.handle, *arguments, "--limit", "0")
        assert len(found) == images
        assert sum(not row["wrong"] for row in found) / images == pytest.approx(accuracy)


def test_a_round_shows_the_ledger_of_its_pool(world: World) -> None:
    run = world.pseudo_labelled
    ledger = {row.id: row for row in read_ledger(run.ledger(2))}
    found = rows(run.handle, "--round", "2", "--limit", "0")
    assert {row["id"] for row in found} == ledger.keys()
    for row in found:
        assert row["confidence"] == ledger[row["id"]].confidence
        assert row["flipped"] == ledger[row["id"]].flipped
        assert row["second"] not in (None, row["said"])
    taught = rows(run.handle, "--round", "2", "--selected", "--limit", "0")
    assert {row["id"] for row in taught} == {id_ for id_, row in ledger.items() if row.selected}
    text = shown(run.handle, "--round", "2", "--selected", "--limit", "4")
    assert f"{len(taught)} selected" in text
    assert "● taught to the student" in text


def test_a_wide_terminal_shows_entropy_and_second_choice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "left out: second choice" in shown(world.supervised.handle)
    on_screen(monkeypatch, 160)
    assert "left out" not in shown(world.supervised.handle)


def test_what_a_run_lacks_is_told_with_what_it_has(world: World) -> None:
    with pytest.raises(UserError, match="no round 3: the run has rounds 1 to 2") as caught:
        shown(world.pseudo_labelled.handle, "--round", "3")
    assert "--split test --teacher" in caught.value.allowed
    with pytest.raises(UserError, match="no rounds of pseudo-labels"):
        shown(world.supervised.handle, "--round", "1")
    with pytest.raises(UserError, match="no predictions named teacher-val") as caught:
        shown(world.supervised.handle, "--teacher")
    assert caught.value.allowed == "--split test, --split val"
    with pytest.raises(UserError, match="no class 'Tabbyy"):
        shown(world.supervised.handle, "--class", "Tabbyy\x1b[2J")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--round", "1", "--split", "val"),
        ("--round", "1", "--teacher"),
        ("--selected",),
        ("--flipped",),
        ("--confused", "--export", "x.png"),
        ("--export", "sheet.jpg"),
        ("--saliency",),
        ("--saliency", "--export", "sheet.png"),
    ],
)
def test_options_that_contradict_each_other_are_refused(world: World, arguments: tuple[str, ...]) -> None:
    with pytest.raises(UserError):
        shown(world.pseudo_labelled.handle, *arguments)


def test_a_run_that_is_still_going_on_shows_its_rounds(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of(world.pseudo_labelled, tmp_path)
    run.results.unlink()
    run.predictions("test").unlink()
    monkeypatch.setenv("PETBENCH_RUNS", str(tmp_path))
    with pytest.raises(UserError, match="no predictions yet") as caught:
        shown("latest")
    assert f"petbench inspect {run.handle} --round 2" in caught.value.hint
    found = rows("latest", "--round", "1", "--limit", "5")
    assert len(found) == 5
    assert all(row["second"] for row in found)


def test_damaged_predictions_are_named(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = copy_of(world.supervised, tmp_path)
    monkeypatch.setenv("PETBENCH_RUNS", str(tmp_path))
    run.predictions("test").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UserError, match=r"test\.npz: damaged predictions"):
        shown("latest", "--split", "test")
    other = load_predictions(world.supervised.predictions("val"))
    four = np.full((len(other.ids), 4), 0.25, dtype=np.float32)
    save_predictions(run.predictions("test"), other.ids, four, other.labels % 4)
    with pytest.raises(UserError, match="4 probabilities an image for 10 classes"):
        shown("latest", "--split", "test")


def test_a_sheet_holds_a_tile_an_image(world: World, tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    text = shown(world.pseudo_labelled.handle, "--limit", "7", "--export", str(target))
    assert "written to" in text
    with Image.open(target) as sheet:
        assert sheet.format == "PNG"
        small = sheet.size
    shown(world.pseudo_labelled.handle, "--limit", "20", "--export", str(target))
    with Image.open(target) as sheet:
        assert sheet.size > small


def test_a_directory_gets_the_sheet_and_a_list(world: World, tmp_path: Path) -> None:
    arguments = (world.pseudo_labelled.handle, "--round", "1", "--limit", "6")
    shown(*arguments, "--export", str(tmp_path / "look"))
    with (tmp_path / "look" / "images.csv").open(newline="") as stream:
        listed = list(csv.DictReader(stream))
    assert [row["id"] for row in listed] == [row["id"] for row in rows(*arguments)]
    assert all(Path(row["path"]).is_file() for row in listed)
    assert {row["selected"] for row in listed} <= {"true", "false"}
    assert (tmp_path / "look" / "sheet.png").is_file()


def test_saliency_puts_what_the_network_saw_beside_the_sheet_and_into_it(
    world: World, tmp_path: Path
) -> None:
    arguments = (world.pseudo_labelled.handle, "--limit", "4")
    shown(*arguments, "--export", str(tmp_path / "plain"))
    text = shown(*arguments, "--saliency", "--export", str(tmp_path / "look"))
    assert "4 overlays in saliency/" in text
    assert {path.name for path in (tmp_path / "look" / "saliency").iterdir()} == {
        f"{kind}-0{number}.png" for kind in ("overlay", "plain", "map") for number in range(4)
    }
    with (
        Image.open(tmp_path / "look" / "sheet.png") as over,
        Image.open(tmp_path / "plain/sheet.png") as under,
    ):
        assert over.size == under.size
        assert over.tobytes() != under.tobytes()
    exported = json.loads(shown(*arguments, "--saliency", "--export", str(tmp_path / "look"), "--json"))
    assert [Path(path).name for path in exported["exported"]] == [
        "sheet.png",
        "images.csv",
        *(f"overlay-0{number}.png" for number in range(4)),
    ]


def test_the_maps_of_a_later_round_are_the_final_models_and_said_to_be(world: World, tmp_path: Path) -> None:
    target = ("--limit", "2", "--saliency", "--export", str(tmp_path / "look"))
    handle = world.pseudo_labelled.handle
    said = run_command(inspect, handle, "--round", "2", *target).stderr
    assert "round 2's teacher was not kept: the maps are the final model's" in said
    assert "not kept" not in run_command(inspect, handle, "--round", "1", *target).stderr
    assert "not kept" not in run_command(inspect, handle, "--teacher", *target).stderr


def test_images_that_are_gone_are_named_and_leave_a_tile(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(world.data, data)
    monkeypatch.setenv("PETBENCH_DATA", str(data))
    handle = world.pseudo_labelled.handle
    ids = [row["id"] for row in rows(handle, "--limit", "3")]
    (data / "petbench-sample" / "images" / f"{ids[1]}.jpg").unlink()
    result = run_command(inspect, handle, "--limit", "3", "--export", str(tmp_path / "sheet.png"))
    assert f"warning: {ids[1]}: the image is gone" in result.stderr
    assert (tmp_path / "sheet.png").is_file()
    for id_ in ids:
        (data / "petbench-sample" / "images" / f"{id_}.jpg").unlink(missing_ok=True)
    with pytest.raises(UserError, match=f"none of the 3 images can be shown; {ids[0]}"):
        shown(handle, "--limit", "3", "--export", str(tmp_path / "none.png"))
    assert not (tmp_path / "none.png").exists()


def test_nothing_to_export_and_too_much_are_refused(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = ("--export", str(tmp_path / "sheet.png"))
    names = read_results(world.supervised.results).classes
    empty = next((a, b) for a in names for b in names if not rows(world.supervised.handle, "--pair", a, b))
    assert "no image fits" in shown(world.supervised.handle, "--pair", *empty)
    with pytest.raises(UserError, match="nothing to export"):
        shown(world.supervised.handle, "--pair", *empty, *target)
    monkeypatch.setattr("workbench.cli.inspect_export.MAX_TILES", 5)
    with pytest.raises(UserError, match="16 images on one sheet"):
        shown(world.supervised.handle, *target)


def test_hostile_names_print_as_they_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of(world.pseudo_labelled, tmp_path)
    monkeypatch.setenv("PETBENCH_RUNS", str(tmp_path))
    names = ["[red]x[/]", "esc\x1b[2Jape", "a/../b", "line\nend", "\u202ekcab"]
    ledger = [
        PseudoLabel(name, "[bold]cat", 0.4, 0.1, 1.0, True, 1.0, True, "\x1b]0;dog\x07") for name in names
    ]
    write_ledger(run.ledger(1), ledger)
    text = shown("latest", "--round", "1")
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[red]x[/]" in text
    assert "[bold]cat" in text
    assert "\x1b" not in shown("latest", "--round", "1", "--confused")
    assert [row["id"] for row in rows("latest", "--round", "1")] == names
