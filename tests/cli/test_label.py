"""`petbench label` as a user types it, without the app."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import run_command
from tests.dataset.pictures import jpeg
from tests.tui.terminals import PETBENCH, Tmux, wait_until
from workbench.cli.label import label
from workbench.dataset.recognition import recognise
from workbench.labels.journal import NAME, read
from workbench.recipe import load_recipe
from workbench.support.errors import UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Sixteen images, two of them a folder deeper."""
    folder = tmp_path / "my photos"
    (folder / "more").mkdir(parents=True)
    for number in range(16):
        (folder / ("more" if number > 13 else ".") / f"{number:02d}.jpg").write_bytes(jpeg(number))
    return folder


def said(photos: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_command(label, str(photos), *arguments, "--json").stdout)
    return found


def test_images_are_named_from_the_folder_or_from_here(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photos / "more")
    record = said(photos, "00.jpg", "14.jpg", str(photos / "01.jpg"), "more/15.jpg", "--assign", "Cat")
    assert (record["labelled"], record["unlabelled"], record["changed"]) == (4, 12, 4)
    assert read(photos / NAME).labels == dict.fromkeys(
        ["00.jpg", "more/14.jpg", "01.jpg", "more/15.jpg"], "Cat"
    )


def test_every_stroke_of_the_screen_is_a_command(photos: Path) -> None:
    said(photos, "00.jpg", "01.jpg", "02.jpg", "--assign", "cat")
    said(photos, "03.jpg", "--assign", "dog")
    said(photos, "--split", "cat", "lynx", "02.jpg")
    said(photos, "--rename", "dog", "hound")
    said(photos, "04.jpg", "--unusable")
    said(photos, "05.jpg", "--cannot-tell")
    said(photos, "--clear", "01.jpg")
    record = said(photos)
    assert {row["name"]: row["images"] for row in record["classes"]} == {"cat": 1, "hound": 1, "lynx": 1}
    assert (record["labelled"], record["not_usable"], record["cannot_tell"]) == (3, 1, 1)
    merged = said(photos, "--merge", "lynx", "cat")
    assert {row["name"]: row["key"] for row in merged["classes"]} == {"cat": "1", "hound": "2"}
    for _ in range(8):
        record = said(photos, "--undo")
    assert (record["labelled"], record["not_usable"]) == (0, 0)
    with pytest.raises(UserError, match="nothing to undo"):
        said(photos, "--undo")


def test_each_person_undoes_their_own(photos: Path) -> None:
    said(photos, "00.jpg", "--assign", "cat", "--by", "ann")
    said(photos, "01.jpg", "--assign", "dog", "--by", "bob")
    said(photos, "--undo", "--by", "ann")
    assert read(photos / NAME).labels == {"01.jpg": "dog"}


def test_without_a_terminal_it_tells_how_far_it_is(photos: Path) -> None:
    text = run_command(label, str(photos)).stdout
    assert "0 of 16 images labelled" in text
    assert not (photos / NAME).exists()


def test_an_empty_folder_is_said_to_be_empty(tmp_path: Path) -> None:
    text = run_command(label, str(tmp_path), "--status").stdout
    assert "no image in" in text
    assert "petbench start" in text
    assert "0 of 0" not in text


def test_folders_that_may_be_classes_are_told_until_something_is_labelled(photos: Path) -> None:
    for number, image in enumerate(sorted(photos.glob("*.jpg"))):
        (folder := photos / ("cat", "dog")[number % 2]).mkdir(exist_ok=True)
        image.rename(folder / image.name)
    told = "its folders may be classes (cat, dog, more)"
    assert told in run_command(label, str(photos)).stdout
    said(photos, "cat/00.jpg", "--assign", "cat")
    assert told not in run_command(label, str(photos)).stdout


def test_labels_and_the_other_images_make_a_recipe(photos: Path) -> None:
    with pytest.raises(UserError, match="nothing is labelled yet"):
        said(photos, "--recipe")
    said(photos, *(f"{n:02d}.jpg" for n in range(5)), "--assign", "cat")
    said(photos, *(f"{n:02d}.jpg" for n in range(5, 10)), "--assign", "dog")
    record = said(photos, "--recipe")
    assert record["unlabelled"] == 6
    assert record["reasons"]
    assert record["file"] == str(photos.parent / "recipe.toml")
    recipe = load_recipe(Path(record["file"]))
    assert recipe.data.dataset == "table"
    assert recipe.pseudo_label is not None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["00.jpgg", "--assign", "cat"], "did you mean 00.jpg"),
        (["--assign", "cat"], "no image is named"),
        (["00.jpg"], "not what they show"),
        (["00.jpg", "--assign", "?"], "no class can be called"),
        (["00.jpg", "--assign", "cat", "--unusable"], "one thing at a time"),
        (["--undo", "--recipe"], "one thing at a time"),
        (["--rename", "cat", "dog"], "no image has the class"),
        (["--out", "x.toml"], "--out: means nothing to the app, or --json"),
        (["--status", "--backbone", "resnet18"], "--backbone: means nothing to --status"),
        (["--recipe", "--by", "ann"], "--by: means nothing to --recipe"),
        (["00.jpg", "--assign", "cat", "--device", "cpu"], "--device: means nothing to --assign"),
        (["00.jpg", "--assign", "cat", "--status"], "one thing at a time"),
        (["00.jpg", "--undo"], "not what they show"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(
    photos: Path, arguments: list[str], told: str
) -> None:
    with pytest.raises(UserError, match=told):
        said(photos, *arguments)
    assert not (photos / NAME).exists()


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        said(tmp_path / "nowhere")


@pytest.mark.skipif(os.getuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_told_so(photos: Path) -> None:
    photos.chmod(0o500)
    try:
        with pytest.raises(UserError, match="cannot be written"):
            said(photos, "00.jpg", "--assign", "cat")
    finally:
        photos.chmod(0o700)


def test_start_points_there_where_nothing_says_what_the_images_show(photos: Path) -> None:
    (photos / "more" / "14.jpg").rename(photos / "14.jpg")
    (photos / "more" / "15.jpg").rename(photos / "15.jpg")
    with pytest.raises(UserError, match=r"petbench label '.*my photos'"):
        recognise(photos)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_on_a_terminal_the_app_opens_on_the_folder_with_the_name_that_was_given(
    photos: Path, tmp_path: Path
) -> None:
    env = {f"PETBENCH_{name}": str(tmp_path / name.lower()) for name in ("RUNS", "DATA", "CACHE", "STATE")}
    tmux = Tmux(tmp_path / "socket", env | {"CUDA_VISIBLE_DEVICES": ""}, (80, 24), cwd=tmp_path)
    tmux.start([*PETBENCH, "label", str(photos), "--by", "ann"])
    try:
        tmux.wait_for("0 of 16 labelled", ".jpg")
        tmux.send("n")
        tmux.wait_for("its name")
        tmux.type("cat")
        tmux.send("Enter")
        wait_until(lambda: len(read(photos / NAME).labels) > 0, "a label")
        tmux.send("q")
        tmux.wait_until_ended()
    finally:
        tmux.kill_server()
    assert {row.by for row in read(photos / NAME).rows} == {"ann"}
