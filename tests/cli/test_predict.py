"""`petbench predict` as a user types it, with the weights of runs that were really trained."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.cli.commands import run_command
from tests.cli.conftest import World
from workbench.cli.console import console
from workbench.cli.label import label
from workbench.cli.predict import predict
from workbench.recipe import load_recipe
from workbench.runs.abstaining import Judgement
from workbench.runs.calibration import tempered
from workbench.runs.layout import RunDirectory
from workbench.runs.prediction_file import made_by
from workbench.runs.predictions import load_predictions
from workbench.runs.results import read_results, write_results
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


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def promised(run: RunDirectory) -> float:
    """A share of right answers that the run's validation images promise above some of them, and not all."""
    said = load_predictions(run.predictions("val"))
    for percent in range(95, 5, -1):
        try:
            judgement = Judgement.from_validation(said, sure=percent / 100)
        except UserError:
            continue
        assert judgement.sets is not None
        return percent / 100
    raise AssertionError("it promises nothing")


def test_confidences_are_at_the_temperature_that_fits_validation(world: World) -> None:
    run, picture = world.pseudo_labelled, next(world.images.iterdir())
    calibration = read_results(run.results).calibration
    assert calibration is not None
    result = run_command(predict, run.handle, str(picture), "--top", "99", "--json")
    assert f"confidences at temperature {calibration.temperature:.3f}" in result.stderr
    told = json.loads(result.stdout)
    assert told["judgement"] == {
        "temperature": calibration.temperature,
        "sure": None,
        "threshold": None,
        "sets": None,
    }
    raw = probabilities(run, [picture])
    expected = tempered(raw, calibration.temperature)[0]
    top = told["images"][0]["top"]
    assert [one["probability"] for one in top] == pytest.approx(sorted(expected, reverse=True), abs=1e-5)
    assert top[0]["class"] == read_results(run.results).classes[raw[0].argmax()]


def test_a_run_of_before_has_its_temperature_from_its_predictions(world: World, copied: RunDirectory) -> None:
    picture = str(next(world.images.iterdir()))
    results = read_results(copied.results)
    noted = json.loads(shown("latest", picture, "--json"))["judgement"]["temperature"]
    write_results(copied.results, dataclasses.replace(results, calibration=None))
    assert json.loads(shown("latest", picture, "--json"))["judgement"]["temperature"] == noted
    copied.predictions("val").unlink()
    result = run_command(predict, "latest", picture, "--json")
    assert "at no temperature: its predictions are gone" in result.stderr
    assert json.loads(result.stdout)["judgement"]["temperature"] == 1
    with pytest.raises(UserError, match="its predictions are gone"):
        run_command(predict, "latest", picture, "--sure", "0.5")


def test_rows_below_the_threshold_are_unsure_and_name_what_they_may_be(world: World, tmp_path: Path) -> None:
    run, out = world.pseudo_labelled, tmp_path / "out.csv"
    sure = promised(run)
    bad = tmp_path / "text.jpg"
    bad.write_text("no picture")
    result = run_command(
        predict, run.handle, str(world.images), str(bad), "--sure", str(sure), "--csv", str(out)
    )
    judgement = Judgement.from_validation(load_predictions(run.predictions("val")), sure=sure)
    assert judgement.threshold is not None
    assert judgement.threshold.words("validation images") in result.stderr
    rows = rows_of(out)
    pictures = sorted(world.images.iterdir())
    assert [row["path"] for row in rows] == [*map(str, pictures), str(bad)]
    assert rows[-1].pop("error").startswith("not an image")
    assert rows[-1] == {"path": str(bad), **dict.fromkeys(("class", "confidence", "guess", "set"), "")}
    classes = read_results(run.results).classes
    unsure = 0
    for row, said in zip(rows, judgement.of(probabilities(run, pictures)), strict=False):
        assert row["guess"] == classes[said.best]
        assert float(row["confidence"]) == pytest.approx(said.confidence, abs=1e-5)
        if abs(said.confidence - judgement.threshold.confidence) < 1e-4:
            continue
        unsure += not said.is_sure
        assert row["class"] == (row["guess"] if said.is_sure else "unsure")
        assert row["set"].split("|")[0] == ("" if said.is_sure else row["guess"])
    assert unsure
    assert f"{len(pictures) + 1} pictures: " in result.stdout
    assert f"1 unreadable; written to {out}" in result.stdout
    told = json.loads(shown(run.handle, str(world.images), "--sure", str(sure), "--json"))
    assert told["counts"]["unsure"] == sum(row["class"] == "unsure" for row in rows)
    assert {tuple(one["set"]) for one in told["images"] if one["class"] != "unsure"} == {()}
    text = shown(run.handle, *map(str, pictures), "--sure", str(sure))
    assert text.count("  unsure: ") == told["counts"]["unsure"]


def test_what_cannot_be_promised_is_refused_before_any_picture_is_looked_at(
    world: World, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    arguments = [str(world.images), "--csv", str(out)]
    with pytest.raises(UserError, match=r"validation images cannot promise 99\.9 %: the best is") as caught:
        run_command(predict, world.pseudo_labelled.handle, *arguments, "--sure", "0.999")
    assert not out.exists()
    offered = caught.value.hint.split()[1]
    assert run_command(predict, world.pseudo_labelled.handle, *arguments, "--sure", offered).exit_code == 0
    with pytest.raises(UserError, match="no share of right answers") as caught:
        run_command(predict, world.pseudo_labelled.handle, *arguments, "--sure", "99")
    assert "did you mean --sure 0.99?" in caught.value.hint


def test_the_teachers_threshold_is_the_teachers(world: World, tmp_path: Path) -> None:
    run = world.pseudo_labelled
    judgement = Judgement.from_validation(load_predictions(run.predictions("teacher-val")), sure=0.02)
    picture = str(next(world.images.iterdir()))
    told = json.loads(shown(run.handle, picture, "--teacher", "--sure", "0.02", "--json"))["judgement"]
    assert judgement.threshold is not None
    assert told["threshold"]["wrong"] == judgement.threshold.wrong
    assert told["temperature"] == pytest.approx(judgement.temperature)


def test_options_that_do_not_go_together_are_refused(world: World, tmp_path: Path) -> None:
    run, picture = world.pseudo_labelled.handle, str(next(world.images.iterdir()))
    for options, message in (
        (["--copy"], "copies go into the folders"),
        (["--json", "--watch"], "--json prints once"),
        (["--json", "--csv", "-"], "one of --csv -"),
        (["--csv", str(tmp_path / "gone" / "out.csv")], "no directory"),
        (["--watch"], "is no folder"),
    ):
        with pytest.raises(UserError, match=message):
            run_command(predict, run, picture, *options)


def test_pictures_are_sorted_into_a_folder_a_class_and_the_unsure_apart(world: World, tmp_path: Path) -> None:
    run, root = world.pseudo_labelled, tmp_path / "sorted"
    arguments = [run.handle, str(world.images), "--sure", str(promised(run)), "--sort-into", str(root)]
    result = run_command(predict, *arguments)
    assert f"petbench label {root}/unsure  the unsure ones" in result.stdout
    rows = rows_of(root / "predictions.csv")
    pictures = sorted(world.images.iterdir())
    assert len(rows) == len(pictures)
    for row in rows:
        target = root / row["class"] / Path(row["path"]).name
        assert target.readlink() == Path(row["path"])
    unsure = [row for row in rows if row["class"] == "unsure"]
    told = json.loads(run_command(label, str(root / "unsure"), "--json").stdout)
    assert told["images"] == told["unlabelled"] == len(unsure) > 0
    assert len(list(root.rglob("*.jpg"))) == len(pictures)
    before = (root / "predictions.csv").read_bytes()
    again = run_command(predict, *arguments)
    assert f"{len(pictures)} more were there before" in again.stdout
    assert (root / "predictions.csv").read_bytes() == before
    with pytest.raises(UserError, match="copies False, now True"):
        run_command(predict, *arguments, "--copy")


def test_a_folder_within_the_pictures_own_is_not_sorted_again(world: World, tmp_path: Path) -> None:
    own = Path(shutil.copytree(world.images, tmp_path / "pictures"))
    arguments = [world.supervised.handle, str(own), "--sort-into", str(own / "sorted"), "--copy"]
    for _ in range(2):
        assert run_command(predict, *arguments).exit_code == 0
    assert len(rows_of(own / "sorted" / "predictions.csv")) == len(list(world.images.iterdir()))


def test_a_folder_is_not_sorted_into_itself(world: World, tmp_path: Path) -> None:
    own = Path(shutil.copytree(world.images, tmp_path / "pictures"))
    with pytest.raises(UserError, match="is the very folder whose pictures are to be sorted"):
        run_command(predict, world.supervised.handle, str(own), "--sort-into", f"{own}/../pictures")
    with pytest.raises(UserError, match="cannot promise"):
        run_command(predict, world.supervised.handle, str(own), "--sort-into", f"{own}/in", "--sure", "0.99")
    assert not (own / "in").exists()


def test_rows_go_to_a_pipe_and_paths_come_from_one(world: World, tmp_path: Path) -> None:
    pictures = sorted(world.images.iterdir())[:3]
    listed = "".join(f"{path}\n" for path in [*pictures, tmp_path / "gone.jpg"])
    said = petbench_process(world, world.supervised.handle, "-", "--jsonl", "-").communicate(listed.encode())
    told = [json.loads(line) for line in said[0].decode().splitlines()]
    assert [one["path"] for one in told] == [*map(str, pictures), str(tmp_path / "gone.jpg")]
    assert told[3]["error"] == "No such file or directory"
    assert b"4 pictures: 1 unreadable" in said[1]


def petbench_process(world: World, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "from workbench.cli.entry import main; main()", "predict", *arguments],
        env={**os.environ, "PETBENCH_RUNS": str(world.runs), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # jobs of a shell ignore it
    )


def once(there: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until something is so; a process that ends before is an error."""
    while not there():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_a_killed_command_goes_on_where_it_was(world: World, tmp_path: Path) -> None:
    many, out = tmp_path / "many", tmp_path / "out.csv"
    many.mkdir()
    for number in range(30):
        for path in sorted(world.images.iterdir())[:20]:
            (many / f"{number:02d}-{path.name}").symlink_to(path)
    arguments = [
        world.pseudo_labelled.handle,
        str(many),
        "--csv",
        str(out),
        "--sort-into",
        str(tmp_path / "in"),
    ]
    process = petbench_process(world, *arguments)
    once(lambda: out.exists() and out.stat().st_size > 10_000, process)
    process.kill()
    process.communicate()
    found = len(rows_of(out))
    assert run_command(predict, *arguments).exit_code == 0
    rows = rows_of(out)
    assert 0 < found < len(rows) == 600
    assert [row["path"] for row in rows] == sorted(map(str, many.iterdir()))
    assert len({row["confidence"] for row in rows[:20]}) > 1
    for row, first in zip(rows[20:], rows, strict=False):  # the same twenty pictures again and again
        assert float(row["confidence"]) == pytest.approx(float(first["confidence"]), abs=1e-4)
    assert sum(path.is_symlink() for path in (tmp_path / "in").rglob("*.jpg")) == 600


def test_a_watched_folder_is_predicted_as_it_fills_until_somebody_interrupts(
    world: World, tmp_path: Path
) -> None:
    folder, out = tmp_path / "camera", tmp_path / "out.csv"
    folder.mkdir()
    pictures = sorted(world.images.iterdir())[:3]
    shutil.copy(pictures[0], folder)
    process = petbench_process(world, world.supervised.handle, str(folder), "--watch", "--csv", str(out))
    once(lambda: out.exists() and len(rows_of(out)) == 1, process)
    for path in pictures[1:]:
        shutil.copy(path, folder)
    once(lambda: len(rows_of(out)) == 3, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert b"3 pictures" in errors
    assert b"Traceback" not in errors
    assert [Path(row["path"]).name for row in rows_of(out)] == [path.name for path in pictures]
    assert made_by(out).exists()
