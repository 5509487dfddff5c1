"""`petbench slices` as a user types it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len

from tests.cli.commands import on_screen, run_command
from tests.cli.conftest import World
from tests.runs.making import CLASSES, finish, make_results, make_run
from workbench.cli.inspect import inspect
from workbench.cli.slices import slices
from workbench.dataset.sample import SampleOptions, generate_sample
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import load_predictions, save_predictions
from workbench.support.errors import UserError

COUNT = 240


def shown(*arguments: str) -> str:
    """What the command prints, exit code 0."""
    result = run_command(slices, *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def found(*arguments: str) -> dict[str, Any]:
    """What it prints as JSON."""
    record: dict[str, Any] = json.loads(shown(*arguments, "--json"))
    return record


def a_run(folder: Path, home: Path, *, wrong: str) -> RunDirectory:
    """A run that says what its pictures show, of pictures with wrong labels: of `dark` ones, or at `random`.

    A quarter of the drawn pets is darkened; half of these, or an eighth of all, has another class's label.
    """
    sample = folder / "sample"
    generate_sample(sample, SampleOptions(seed=0, train_per_class=10, test_per_class=2, size=48))
    drawn = sorted((sample / "images").glob("*.jpg"))
    random = np.random.default_rng(5)
    dark = random.permutation(COUNT) < COUNT // 4
    label = np.arange(COUNT) % 3
    mistaken = dark & (random.random(COUNT) < 0.5) if wrong == "dark" else random.random(COUNT) < 0.125
    lines, ids = ["path,label,camera"], []
    for number in range(COUNT):
        with Image.open(drawn[number % len(drawn)]) as picture:
            pixels = np.asarray(picture.convert("RGB")) * (0.25 if dark[number] else 1.0)
        name = f"{number:03d}.bmp"  # of one length, dark or not
        Image.fromarray((pixels + number % 7).clip(0, 255).astype(np.uint8)).save(folder / name)
        given = (label[number] + 1) % 3 if mistaken[number] else label[number]
        lines.append(f"{name},{CLASSES[given]},{'nikon' if number % 2 else 'canon'}")
        ids.append(name)
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    run = make_run(home, data={"dataset": "table", "root": str(folder / "labels.csv")})
    probabilities = np.full((COUNT, 3), 0.05, dtype=np.float32)
    probabilities[np.arange(COUNT), label] = 0.9
    told = np.where(mistaken, (label + 1) % 3, label).astype(np.int64)
    for name in ("val", "test"):
        save_predictions(run.predictions(name), ids, probabilities, told)
    return finish(run, replace(make_results(), classes=CLASSES))


@pytest.fixture
def runs(home: Path) -> Path:
    """Where runs lie."""
    (home / "pictures").mkdir()
    (home / "runs").mkdir()
    return home / "runs"


def test_dark_images_with_wrong_labels_are_found(
    home: Path, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(home / "pictures", runs, wrong="dark")
    record = found(run.handle, "--images", "--limit", "0")
    worst = record["slices"][0]
    assert (worst["key"], worst["mark"]) == ("brightness:1", "worse")
    assert worst["images"] == len(worst["ids"]) == COUNT // 4
    assert {one["key"] for one in record["slices"] if one["mark"] == "worse"} == {"brightness:1"}
    assert {"camera:nikon", "class:Bengal", "said:beagle"} <= {one["key"] for one in record["slices"]}
    assert "cluster" not in record["by"]
    assert "ids" not in found(run.handle)["slices"][0]
    on_screen(monkeypatch, 80)
    text = shown(run.handle, "--limit", "3")
    assert "the validation images: 240 images" in text
    assert "1 worse (▼)" in text
    assert "Holm over" in text
    assert f"petbench inspect {run.handle} --split val --slice brightness:1" in text
    sentences = (run.id, "Holm over", "petbench inspect")
    table = [line for line in text.splitlines() if not any(words in line for words in sentences)]
    assert max(map(cell_len, table)) <= 80
    listed = json.loads(
        run_command(inspect, run.handle, "--slice", "brightness:1", "--limit", "0", "--json").stdout
    )
    assert {row["id"] for row in listed["rows"]} == set(worst["ids"])


def test_nothing_is_marked_where_labels_are_wrong_at_random(home: Path, runs: Path) -> None:
    run = a_run(home / "pictures", runs, wrong="random")
    record = found(run.handle, "--split", "test", "--limit", "0", "--pairs")
    assert record["marked"] == 0
    assert record["of"] == "the test images"
    assert "none differs from the rest beyond chance" in shown(run.handle)


def test_one_fact_alone_is_held_against_fewer(home: Path, runs: Path) -> None:
    run = a_run(home / "pictures", runs, wrong="dark")
    record = found(run.handle, "--by", "brightness,camera")
    assert record["by"] == ["brightness", "camera"]
    assert record["tried"] == 6
    with pytest.raises(UserError, match="nothing called 'brightnes'") as raised:
        found(run.handle, "--by", "brightnes")
    assert "did you mean brightness" in str(raised.value)
    assert "camera" in str(raised.value)
    few = shown(run.handle, "--smallest", "200")
    assert "no slice: none has 200 images" in few


def test_a_slice_is_of_a_split_and_its_key_is_checked(home: Path, runs: Path) -> None:
    run = a_run(home / "pictures", runs, wrong="dark")
    with pytest.raises(UserError, match="--slice is of validation or test images"):
        run_command(inspect, run.handle, "--slice", "brightness:1", "--round", "1")
    with pytest.raises(UserError, match="no slice 'brightness:9'"):
        run_command(inspect, run.handle, "--slice", "brightness:9")


def test_clusters_of_features_ask_the_network_and_are_the_same_each_time(world: World) -> None:
    handle = world.pseudo_labelled.handle
    arguments = (handle, "--split", "test", "--by", "cluster", "--smallest", "2", "--limit", "0", "--images")
    record = found(*arguments)
    assert record["by"] == ["cluster"]
    ids = [id_ for one in record["slices"] for id_ in one["ids"]]
    assert sorted(ids) == sorted(load_predictions(world.pseudo_labelled.predictions("test")).ids)
    assert all(one["words"].startswith("cluster ") for one in record["slices"])
    assert found(*arguments) == record
    key = record["slices"][0]["key"]
    listed = run_command(inspect, handle, "--split", "test", "--slice", key, "--json", "--limit", "0").stdout
    assert {row["id"] for row in json.loads(listed)["rows"]} == set(record["slices"][0]["ids"])


def test_the_teachers_word_has_slices_too(world: World) -> None:
    handle = world.pseudo_labelled.handle
    record = found(handle, "--teacher", "--smallest", "3")
    assert record["of"] == "the teacher's validation images"
    results = tomllib.loads(world.pseudo_labelled.results.read_text())
    assert record["accuracy"] == pytest.approx(results["teacher_val"]["accuracy"])


def test_an_image_that_is_gone_is_named(home: Path, runs: Path) -> None:
    run = a_run(home / "pictures", runs, wrong="dark")
    table = home / "pictures" / "labels.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if "007.bmp" not in line))
    with pytest.raises(UserError, match=r"no image .007\.bmp"):
        found(run.handle)
