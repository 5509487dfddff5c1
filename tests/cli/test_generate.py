"""`petbench generate` as a user types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.whole import Petbench
from tests.generate.tiny_pipeline import write_pipeline
from tests.train.making import CLASSES, HEAD, TEST_IMAGES, recipe_text
from workbench.dataset.generated import SETTINGS


@pytest.fixture
def recipe(sample: Path, tmp_path: Path) -> Path:
    """On the sample set."""
    path = tmp_path / "tiny.toml"
    path.write_text(recipe_text(HEAD, sample))
    return path


def test_a_dry_run_says_what_would_be_made_and_writes_nothing(
    recipe: Path, petbench: Petbench, tmp_path: Path
) -> None:
    out = tmp_path / "more"
    asked = ("generate", recipe, "--model", "somebody/model", "--out", out, "--images", 7, "--dry-run")
    told = petbench(*asked, "--tune", 10)
    assert told.code == 0, told.err
    text = " ".join(told.out.split())
    assert f"{7 * CLASSES} images to make in {out}, by somebody/model from the hub" in text
    assert f"compared with {CLASSES} validation and {TEST_IMAGES} test images" in text
    assert "tuned for 10 steps on 40 labelled images" in text
    assert "a photo of a floppy digger, a breed of dog" in text
    report = json.loads(petbench(*asked, "--json").out)
    assert (report["dry_run"], report["left"], report["made"]) == (True, 7 * CLASSES, 0)
    assert not out.exists()


def test_without_the_extra_it_says_what_to_install(
    recipe: Path, petbench: Petbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    told = petbench("generate", recipe, "--model", "somebody/model", "--out", tmp_path / "more")
    assert told.code == 2
    assert "diffusers is not installed" in told.err
    assert "pip install 'petbench[generate]'" in told.err
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize("dry", [("--dry-run",), ()])
@pytest.mark.parametrize(("place", "said"), [("file", "is a file"), ("file/below", "is no directory")])
def test_a_file_where_the_folder_is_to_be_is_told_as_that_and_stays(
    recipe: Path, petbench: Petbench, tmp_path: Path, place: str, said: str, dry: tuple[str, ...]
) -> None:
    (tmp_path / "file").write_text("mine")
    told = petbench("generate", recipe, "--model", "somebody/model", "--out", tmp_path / place, *dry)
    assert told.code == 2
    assert f"--out {tmp_path / place}: " in told.err
    assert said in told.err
    assert "damaged" not in told.err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--precision", "fp8"), "no precision 'fp8'"),
        (("--class", "floppy_diger"), "did you mean floppy_digger?"),
        (("--prompt", "a cat"), "all classes would be asked for in the same words"),
        (("--model", "/gone"), "no such folder"),
    ],
)
def test_what_cannot_be_is_told_before_any_work(
    recipe: Path, petbench: Petbench, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    asked = ("generate", recipe, "--model", "somebody/model", "--out", tmp_path / "more", "--dry-run")
    told = petbench(*asked, *arguments)
    assert told.code == 2
    assert said in told.err


def test_images_are_made_and_the_next_command_is_told(
    recipe: Path, petbench: Petbench, tmp_path: Path
) -> None:
    for package in ("diffusers", "transformers"):
        pytest.importorskip(package, reason=f"the extra `generate` is not installed: no {package}")
    out = tmp_path / "more"
    model = write_pipeline(tmp_path / "pipeline")
    asked = ("generate", recipe, "--model", model, "--out", out, "--images", 1, "--batch", 1, "--steps", 1)
    told = petbench(*asked)
    assert told.code == 0, told.err
    assert f"10 images made; 10 of {CLASSES} classes in {out}" in told.out
    assert f"petbench run {recipe} --set data.extra_labelled={out}" in told.out
    assert (out / SETTINGS).exists()
    again = json.loads(petbench(*asked, "--json").out)
    assert (again["made"], again["pipeline"], again["lora"]) == (0, "StableDiffusionPipeline", "")
    assert {one["images"] for one in again["classes"]} == {1}
    refused = petbench(*asked, "--seed", 1)
    assert refused.code == 2
    assert "made with seed = 0, and now it is 1" in refused.err
    checked = petbench("recipe", "check", recipe, "--set", f"data.extra_labelled={out}")
    assert checked.code == 0, checked.err
