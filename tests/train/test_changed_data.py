"""Data and caches that are other than they were: a run trains on what it began with, or says why not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.dataset.pictures import jpeg, make_folder
from tests.loader.conftest import Recorder
from tests.runs.making import any_data
from tests.train.making import CPU, HEAD, PSEUDO, TRUNK, Crash, Trained, differing, go_on, tiny, train
from workbench.dataset import open_catalogue
from workbench.dataset.depth import Scale
from workbench.recipe import Recipe, load_recipe, parse_recipe
from workbench.runs.export import read_page
from workbench.runs.index import list_runs
from workbench.runs.provenance import read_provenance
from workbench.runs.sweeps import find_trained
from workbench.support.digests import BY_CONTENT, SUMS
from workbench.support.errors import UserError
from workbench.train.predict import load_predictor


@pytest.fixture
def data(sample: Path, tmp_path: Path) -> Path:
    """A sample set of one's own."""
    shutil.copytree(sample, tmp_path / "set")
    return tmp_path / "set"


def _broken_off(recipe: Recipe, home: Path) -> Trained:
    """A run that has begun and has no results."""
    trained = train(recipe, home, recorder=Crash(1))
    assert trained.outcome.code == 1
    assert trained.directory.split.exists()
    return trained


def test_resume_refuses_other_pictures_before_it_decodes_one_and_goes_on_once_they_are_back(
    data: Path, tmp_path: Path
) -> None:
    recipe = tiny(HEAD, data)
    undisturbed = train(recipe, tmp_path / "other")
    begun = _broken_off(recipe, tmp_path)
    stores = list((tmp_path / "cache" / "stores").iterdir())
    path = sorted((data / "images").iterdir())[3]
    content = path.read_bytes()
    Image.new("RGB", (64, 64), "green").save(path)
    refused = go_on(begun.directory, recipe, tmp_path)
    assert refused.outcome.code == 2
    assert f"1 images are other pictures now ({path.stem})" in refused.outcome.reason
    assert "back as it was, or start a new run" in refused.outcome.reason
    assert list((tmp_path / "cache" / "stores").iterdir()) == stores
    path.write_bytes(content)
    resumed = go_on(begun.directory, recipe, tmp_path)
    assert differing(resumed.weights(), undisturbed.weights()) == set()


def test_a_run_from_before_contents_were_read_resumes_and_says_what_it_cannot_compare(
    data: Path, tmp_path: Path
) -> None:
    recipe = tiny(HEAD, data)
    begun = _broken_off(recipe, tmp_path)
    assert read_provenance(begun.directory)["data_fingerprint"].startswith(BY_CONTENT)
    saved = json.loads(begun.directory.split.read_text())
    del saved["contents"], saved["head_boxes"]
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    saved["data_fingerprint"] = catalogue.fingerprint_by_name
    begun.directory.split.write_text(json.dumps(saved))
    (begun.directory.path / SUMS).unlink()
    resumed = go_on(begun.directory, recipe, tmp_path)
    assert resumed.outcome.code == 0
    assert any("could not be compared" in text for text in resumed.recorder.messages("warning"))
    assert resumed.results


def test_a_run_from_when_loose_images_were_passed_over_goes_on_without_them(tmp_path: Path) -> None:
    """0.1.0 knew no pool of images beside the classes."""
    root = make_folder(tmp_path / "animals", {"cat": 12, "dog": 12})
    recipe = tiny(HEAD + PSEUDO, root, "data.dataset=folder", "data.test_fraction=0.2")
    undisturbed = train(recipe, tmp_path / "other")
    begun = _broken_off(recipe, tmp_path)
    for number in range(3):
        (root / f"loose_{number}.jpg").write_bytes(jpeg(100 + number))
    resumed = go_on(begun.directory, recipe, tmp_path)
    assert resumed.outcome.code == 0, resumed.outcome
    assert differing(resumed.weights(), undisturbed.weights()) == set()
    pools = [
        json.loads(one.directory.split.read_text())["unlabelled"]
        for one in (begun, train(recipe, tmp_path / "anew"))
    ]
    assert len(pools[1]) == len(pools[0]) + 3  # a new run learns from them


def test_a_run_that_knew_the_loose_images_is_refused_without_one_of_them(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "animals", {"cat": 12, "dog": 12})
    for number in range(3):
        (root / f"loose_{number}.jpg").write_bytes(jpeg(100 + number))
    recipe = tiny(HEAD, root, "data.dataset=folder", "data.test_fraction=0.2")
    begun = _broken_off(recipe, tmp_path)
    (root / "loose_1.jpg").unlink()
    refused = go_on(begun.directory, recipe, tmp_path)
    assert refused.outcome.code == 2
    assert "changed" in refused.outcome.reason


def test_resume_refuses_other_pretrained_weights(data: Path, tmp_path: Path) -> None:
    first, second = (
        train(tiny(TRUNK, data, "training.epochs=1", f"seed={seed}"), tmp_path / str(seed)) for seed in (0, 1)
    )
    path = tmp_path / "pretrained.safetensors"
    shutil.copy(first.directory.checkpoint / "final.safetensors", path)
    recipe = tiny(HEAD, data, f"model.weights={path}")
    begun = _broken_off(recipe, tmp_path)
    shutil.copy(second.directory.checkpoint / "final.safetensors", path)
    refused = go_on(begun.directory, recipe, tmp_path)
    assert refused.outcome.code == 2
    assert "the pretrained weights are others than when the run began" in refused.outcome.reason
    shutil.copy(first.directory.checkpoint / "final.safetensors", path)
    assert go_on(begun.directory, recipe, tmp_path).outcome.code == 0


def test_a_recipe_that_is_not_what_the_run_began_with_is_told_everywhere(data: Path, tmp_path: Path) -> None:
    recipe = tiny(HEAD, data)
    begun = _broken_off(recipe, tmp_path)
    file = begun.directory.recipe
    written = file.read_text()
    for changed in (
        written[: written.rindex("\n[") + 1],  # between two tables: valid, and smaller
        written.replace("epochs = 3", "epochs = 4"),
    ):
        file.write_text(changed)
        (row,) = list_runs(tmp_path / "runs")
        assert row.problem.startswith("recipe.toml: it is not the file that was written")
        assert row.problem in read_page(begun.directory).warnings
        assert find_trained(tmp_path / "runs", [recipe, parse_recipe(changed)], any_data) == {}
        with pytest.raises(UserError, match="it is not the file that was written"):
            load_recipe(file)  # as resume does
    file.write_text(written)
    assert list_runs(tmp_path / "runs")[0].problem == ""
    assert go_on(begun.directory, load_recipe(file), tmp_path).outcome.code == 0


@pytest.mark.parametrize(
    "name", ["metrics.jsonl", "predictions/val.npz", "predictions/test.npz", "split.json", "provenance.toml"]
)
def test_what_a_finished_run_has_lost_is_told_in_its_row_and_on_its_page(
    name: str, data: Path, tmp_path: Path
) -> None:
    run = train(tiny(HEAD, data, "training.epochs=1"), tmp_path).directory
    assert list_runs(tmp_path / "runs")[0].problem == ""
    (run.path / name).unlink()
    (row,) = list_runs(tmp_path / "runs")
    assert row.problem.startswith(f"{name}: it is gone")
    assert row.problem in read_page(run).warnings


@pytest.mark.parametrize("keep_features", [True, False])
def test_damaged_pixels_reach_neither_weights_nor_features(
    keep_features: bool, data: Path, tmp_path: Path
) -> None:
    recipe = tiny(HEAD, data)
    sound = train(recipe, tmp_path)
    (pixels,) = (tmp_path / "cache").rglob("pixels.npy")
    content = bytearray(pixels.read_bytes())
    content[200:] = bytes(255 - byte for byte in content[200:])
    pixels.write_bytes(content)
    if not keep_features:
        shutil.rmtree(tmp_path / "cache" / "features")
    recorder = Recorder()
    again = train(recipe, tmp_path, recorder=recorder)
    assert differing(again.weights(), sound.weights()) == set()
    warned = [text for text in recorder.messages("warning") if "decoded again" in text]
    assert bool(warned) is not keep_features


def test_deep_pictures_share_a_scale_that_the_run_records_and_predicts_with(tmp_path: Path) -> None:
    for number in range(40):
        folder = tmp_path / "set" / ("dim", "bright")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(number).integers(0, (700, 3000)[number % 2], (48, 48))
        Image.fromarray(values.astype(np.uint16)).save(folder / f"{number}.png")
    recipe = tiny(HEAD, tmp_path / "set", 'data.dataset="folder"')
    trained = train(recipe, tmp_path)
    assert trained.outcome.code == 0, trained.outcome.reason
    assert any("read as 12 bits" in text for text in trained.recorder.messages("info"))
    assert read_provenance(trained.directory)["bit_depth"] == "12"
    predictor = load_predictor(trained.directory, recipe, CPU)
    assert predictor.scale == Scale(12)
    square = predictor.decode(tmp_path / "set" / "dim" / "0.png")
    assert torch.from_numpy(square.pixels).max() <= 700 // 16  # type: ignore[union-attr]
