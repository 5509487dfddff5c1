"""`petbench predict` as a user types it, with the weights of runs that were really trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.cli.commands import run_command
from tests.cli.conftest import World
from workbench.cli.console import console
from workbench.cli.predict import predict
from workbench.recipe import load_recipe
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import load_predictions
from workbench.support.errors import UserError
from workbench.train.checkpoint import save_tensors
from workbench.train.predict import Predicted, load_predictor


def shown(*arguments: str) -> str:
    """What the command prints, exit code 0."""
    result = run_command(predict, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def probabilities(run: RunDirectory, paths: list[Path], *, teacher: bool = False) -> np.ndarray:
    """(N, C) of pictures that can all be read."""
    predictor = load_predictor(run, load_recipe(run.recipe), torch.device("cpu"), teacher=teacher)
    outcomes = list(predictor.predict(paths))
    assert [outcome.path for outcome in outcomes] == paths
    return np.stack([outcome.probabilities for outcome in outcomes if isinstance(outcome, Predicted)])


@pytest.mark.parametrize(
    ("name", "split", "teacher"),
    [("pseudo_labelled", "test", False), ("pseudo_labelled", "test", True), ("supervised", "test", False)],
)
def test_a_data_set_image_is_predicted_as_the_run_itself_did(
    world: World, name: str, split: str, teacher: bool
) -> None:
    run: RunDirectory = getattr(world, name)
    recorded = load_predictions(run.predictions(f"teacher-{split}" if teacher else split))
    found = probabilities(run, [world.images / f"{id_}.jpg" for id_ in recorded.ids], teacher=teacher)
    np.testing.assert_allclose(found, recorded.probabilities, atol=1e-3)


def test_teacher_and_student_differ(world: World) -> None:
    paths = sorted(world.images.iterdir())[:4]
    student = probabilities(world.pseudo_labelled, paths)
    assert not np.allclose(student, probabilities(world.pseudo_labelled, paths, teacher=True), atol=1e-3)


def test_the_most_probable_classes_of_each_picture_are_printed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_width", 80)
    paths = [str(path) for path in sorted(world.images.iterdir())[:2]]
    text = shown(world.pseudo_labelled.handle, *paths, "--top", "3")
    records = json.loads(shown(world.pseudo_labelled.handle, *paths, "--top", "3", "--json"))["images"]
    assert [record["image"] for record in records] == paths
    lines = text.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == paths
    for record in records:
        shares = [best["probability"] for best in record["top"]]
        assert len(shares) == 3
        assert shares == sorted(shares, reverse=True)
        first = record["top"][0]
        assert any(first["class"] in line and f"{100 * first['probability']:.2f} %" in line for line in lines)
    assert "█" in text
    assert all(len(line) <= 80 for line in lines if line.startswith(" "))


def test_more_classes_than_there_are_shows_all(world: World) -> None:
    picture = str(next(world.images.iterdir()))
    records = json.loads(shown(world.supervised.handle, picture, "--top", "99", "--json"))["images"]
    assert len(records[0]["top"]) == 10
    assert sum(best["probability"] for best in records[0]["top"]) == pytest.approx(1, abs=1e-5)


def test_odd_pictures_of_any_kind_are_read(world: World, tmp_path: Path) -> None:
    with Image.open(next(world.images.iterdir())) as source:
        picture = source.convert("RGB")
    picture.convert("RGBA").save(tmp_path / "clear.png")
    picture.quantize(32).save(tmp_path / "palette.gif")
    picture.convert("L").resize((500, 31)).save(tmp_path / "grey_and_wide.bmp")
    (tmp_path / "gif_called.jpg").write_bytes((tmp_path / "palette.gif").read_bytes())
    found = json.loads(shown(world.supervised.handle, str(tmp_path), "--json"))["images"]
    assert [Path(record["image"]).name for record in found] == [
        "clear.png",
        "gif_called.jpg",
        "grey_and_wide.bmp",
        "palette.gif",
    ]
    assert all(record["top"] for record in found)


def test_directories_stand_for_the_pictures_below_them(world: World, tmp_path: Path) -> None:
    picture = next(world.images.iterdir()).read_bytes()
    for name in ("b.jpg", "a.JPG", "deep/er/c.png", ".hidden.jpg", ".git/d.jpg", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(picture)
    found = json.loads(shown(world.supervised.handle, str(tmp_path), "--json"))["images"]
    names = [str(Path(record["image"]).relative_to(tmp_path)) for record in found]
    assert names == ["a.JPG", "b.jpg", "deep/er/c.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no pictures there"):
        shown(world.supervised.handle, str(tmp_path / "empty"))


def test_unreadable_pictures_are_named_and_passed_over(world: World, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    good = str(next(world.images.iterdir()))
    bad = [str(tmp_path / "text.jpg"), str(tmp_path / "gone.jpg"), str(tmp_path / "x\x1b[2J[red].jpg")]
    result = run_command(predict, world.supervised.handle, *bad, good)
    assert result.exit_code == 0
    warnings = result.stderr.replace("\n", "")
    assert "text.jpg: not an image" in warnings
    assert "gone.jpg: No such file" in warnings
    assert "\x1b[2J" not in result.output
    assert r"x\x1b[2J[red].jpg" in warnings
    records = json.loads(run_command(predict, world.supervised.handle, *bad, good, "--json").stdout)["images"]
    assert ["error" in record for record in records] == [True, True, True, False]
    with pytest.raises(UserError, match="cannot read any of the 3 pictures"):
        run_command(predict, world.supervised.handle, *bad)


def test_a_hostile_name_of_a_good_picture_prints_harmlessly(world: World, tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m[bold]\u202e\n.jpg"
    shutil.copy(next(world.images.iterdir()), path)
    text = shown(world.supervised.handle, str(path))
    assert not {"\x1b", "\u202e"} & set(text)
    assert r"a\x1b[31m[bold]\u202e\n.jpg" in text.replace("\n", "")


@pytest.fixture
def copied(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A copy of the supervised run that a test may damage."""
    monkeypatch.setenv("PETBENCH_RUNS", str(tmp_path / "runs"))
    return RunDirectory(Path(shutil.copytree(world.supervised.path, tmp_path / "runs" / world.supervised.id)))


def test_damaged_weights_are_named(world: World, copied: RunDirectory) -> None:
    picture = str(next(world.images.iterdir()))
    weights = copied.checkpoint / "final.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match=r"final\.safetensors: the weights are damaged.*SHA-256"):
        shown("latest", picture)
    weights.unlink()
    with pytest.raises(UserError, match=r"final\.safetensors: the weights are gone"):
        shown("latest", picture)


def test_weights_of_another_network_are_refused_by_tensor(world: World, copied: RunDirectory) -> None:
    weights = copied.checkpoint / "final.safetensors"
    tensors = load_file(weights)
    del tensors["head.linear.bias"]
    save_tensors(weights, tensors, {})
    with pytest.raises(UserError, match=r"do not fit the run's recipe.*head\.linear\.bias"):
        shown("latest", str(next(world.images.iterdir())))


def test_a_run_without_results_or_without_a_teacher_says_so(world: World, copied: RunDirectory) -> None:
    picture = str(next(world.images.iterdir()))
    with pytest.raises(UserError, match="had no teacher"):
        shown("latest", picture, "--teacher")
    copied.results.unlink()
    with pytest.raises(UserError, match="no trained model") as caught:
        shown("latest", picture)
    assert f"petbench resume {copied.handle}" in caught.value.hint
