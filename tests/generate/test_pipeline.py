"""A real pipeline of diffusers, tiny and of random weights: painting, going on, tuning."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.generate.conftest import CPU
from tests.generate.test_generate import files
from tests.generate.tiny_pipeline import SIDE
from tests.loader.conftest import Recorder
from tests.train.making import CLASSES, HEAD, PSEUDO, TRAIN_IMAGES, places, recipe_text, tiny, train
from workbench.dataset import decode_image, make_split, open_catalogue
from workbench.dataset.generated import ASIDE, RECORDS, read_records, read_settings
from workbench.generate import tuning
from workbench.generate.image_plan import Wish
from workbench.generate.make import Outcome, generate
from workbench.generate.pipeline import load_painter
from workbench.generate.tuning import LORA_FILE
from workbench.recipe import Recipe
from workbench.support.errors import UserError


@pytest.fixture
def wish(pipeline: Path) -> Wish:
    """Two images a class in two steps."""
    return Wish(model=str(pipeline), images=2, steps=2, batch=2)


def run(recipe: Recipe, wish: Wish, home: Path) -> Outcome:
    """Generate into `home/out`."""
    return generate(recipe, wish, home / "out", places(home), Recorder())


def test_a_pipeline_paints_what_its_seed_says_whatever_is_painted_beside(wish: Wish) -> None:
    painter = load_painter(wish, CPU)
    assert (painter.facts.pipeline, painter.facts.size) == ("StableDiffusionPipeline", SIDE)
    assert (painter.facts.guidance, painter.facts.steps) == (7.5, 2)
    assert painter.facts.precision == "fp32"
    one, two = painter.paint(["a cat", "a cat"], [1, 2])
    again, third = painter.paint(["a cat", "a dog"], [1, 3])
    assert one.pixels.shape == (SIDE, SIDE, 3)
    assert (one.pixels == again.pixels).all()
    assert (one.pixels != two.pixels).any()
    assert (two.pixels != third.pixels).any()
    assert not one.flagged


def test_a_pipeline_is_known_by_its_weights_and_its_scheduler(
    wish: Wish, pipeline: Path, tmp_path: Path
) -> None:
    weights = load_painter(wish, CPU).facts.weights
    copy = tmp_path / "copy"
    shutil.copytree(pipeline, copy)
    assert load_painter(replace(wish, model=str(copy)), CPU).facts.weights == weights
    scheduler = copy / "scheduler" / "scheduler_config.json"
    values = json.loads(scheduler.read_text())
    scheduler.write_text(json.dumps(values | {"beta_end": 0.02}))
    assert load_painter(replace(wish, model=str(copy)), CPU).facts.weights != weights


def test_images_are_made_and_a_run_trains_on_them(
    recipe: Recipe, sample: Path, wish: Wish, tmp_path: Path
) -> None:
    outcome = run(recipe, wish, tmp_path)
    assert outcome.made == 2 * CLASSES
    assert len(files(outcome.folder)) == 2 * CLASSES
    assert len(set(files(outcome.folder).values())) == 2 * CLASSES
    trained = train(tiny(HEAD, sample, f"data.extra_labelled={outcome.folder}"), tmp_path)
    assert trained.results.extra_labelled == 2 * CLASSES


def test_killed_and_run_again_it_goes_on_to_the_same_images(
    recipe: Recipe, sample: Path, wish: Wish, tmp_path: Path
) -> None:
    whole = run(recipe, wish, tmp_path / "whole").folder
    text = tmp_path / "tiny.toml"
    text.write_text(recipe_text(HEAD, sample))
    out = tmp_path / "cut" / "out"
    asked = ["generate", str(text), "--model", wish.model, "--out", str(out), "--images", "2"]
    asked += ["--steps", "2", "--batch", "2", "--similarity", "0", "--device", "cpu"]
    environment = os.environ | {"PETBENCH_CACHE": str(tmp_path / "cut" / "cache"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "workbench", *asked], env=environment)
    while process.poll() is None and not (out / RECORDS).exists():
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = files(out)
    assert there.items() <= files(whole).items()
    outcome = run(recipe, wish, tmp_path / "cut")
    assert files(out) == files(whole)
    assert outcome.made >= 2 * CLASSES - len(there)
    assert {record.path for record in read_records(out)} == set(files(whole))


@pytest.fixture
def taught(sample: Path) -> Recipe:
    """Half of the training images have labels, the others hide theirs."""
    return tiny(HEAD + PSEUDO, sample)


def test_tuning_learns_from_labelled_images_alone(
    taught: Recipe, wish: Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[Path] = set()

    def watched(path: Path, scale: Any = None) -> Any:
        seen.add(path)
        return decode_image(path, scale)

    monkeypatch.setattr("workbench.generate.tuning.decode_image", watched)
    outcome = run(taught, replace(wish, tune_steps=15, tune_rate=1e-2), tmp_path)
    catalogue = open_catalogue(taught.data, data_home=tmp_path)
    split = make_split(catalogue, taught.data, taught.pseudo_label)
    labelled = [catalogue.records[position] for position in split.labelled.tolist()]
    assert seen == {record.path for record in labelled}  # two a step: each was seen once at least
    assert outcome.settings.tuned_on == tuple(record.id for record in labelled)
    assert len(labelled) < TRAIN_IMAGES // 2
    assert outcome.settings.lora
    assert {record.lora for record in read_records(outcome.folder)} == {outcome.settings.lora}
    plain = run(taught, wish, tmp_path / "plain").folder
    assert files(plain).keys() == files(outcome.folder).keys()
    assert not set(files(plain).values()) & set(files(outcome.folder).values())


def test_what_was_tuned_is_read_by_diffusers_itself(taught: Recipe, wish: Wish, tmp_path: Path) -> None:
    out = run(taught, replace(wish, tune_steps=3, tune_rate=1e-2), tmp_path).folder
    record = read_records(out)[0]
    diffusers: Any = importlib.import_module("diffusers")
    pipe = diffusers.AutoPipelineForText2Image.from_pretrained(wish.model, local_files_only=True)
    pipe.load_lora_weights(str(out / ASIDE / LORA_FILE))
    pipe.set_progress_bar_config(disable=True)
    painted = pipe(
        [record.prompt] * 2,
        num_inference_steps=2,
        generator=[torch.Generator().manual_seed(r.seed) for r in read_records(out)[:2]],
        output_type="np",
    ).images[0]
    kept = np.asarray(Image.open(out / record.path), dtype=np.int64)
    assert np.abs(np.rint(painted * 255) - kept).max() <= 1


def test_tuning_that_was_interrupted_ends_as_if_it_had_not_been(
    taught: Recipe, wish: Wish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = replace(wish, tune_steps=5, tune_rate=1e-2, images=1, batch=2)
    whole = run(taught, asked, tmp_path / "whole")
    monkeypatch.setattr(tuning, "KEPT_EVERY", 2)
    learn = tuning._Adapter.learn

    def broken(adapter: Any, *arguments: Any) -> None:
        if adapter.step == 3:
            raise KeyboardInterrupt
        learn(adapter, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(tuning._Adapter, "learn", broken)
        with pytest.raises(KeyboardInterrupt):
            run(taught, asked, tmp_path / "cut")
    settings = read_settings(tmp_path / "cut" / "out")
    assert settings is not None
    assert settings.lora == ""
    steps: list[int] = []

    def counted(adapter: Any, *arguments: Any) -> None:
        steps.append(adapter.step)
        learn(adapter, *arguments)

    monkeypatch.setattr(tuning._Adapter, "learn", counted)
    cut = run(taught, asked, tmp_path / "cut")
    assert steps == [2, 3, 4]
    assert cut.settings == whole.settings
    assert files(cut.folder) == files(whole.folder)
    steps.clear()
    assert run(taught, replace(asked, images=2), tmp_path / "cut").made == CLASSES
    assert not steps


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 33}, "multiples of 2 pixels"),
        ({"revision": "main"}, "a folder has no revisions"),
    ],
)
def test_what_a_pipeline_does_not_take_is_refused(wish: Wish, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_painter(replace(wish, **changes), CPU)


def test_a_damaged_pipeline_is_told_in_words(wish: Wish, pipeline: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(pipeline, copy)
    (copy / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(UserError, match="cannot be loaded as a text-to-image pipeline"):
        load_painter(replace(wish, model=str(copy)), CPU)


def test_offline_a_hubs_name_says_what_may_be_wrong(wish: Wish, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=r"the hub gives no such pipeline[\s\S]*HF_HOME"):
        load_painter(replace(wish, model="petbench/there-is-no-such-pipeline"), CPU)
