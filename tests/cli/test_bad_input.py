"""Bad input: exit code 2, exactly one clear message, no traceback, nothing left behind."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.whole import Petbench, Said
from tests.runs.making import sleeping
from tests.train.making import HEAD, PSEUDO, recipe_text
from workbench.runs.layout import run_directories
from workbench.support.digests import SUMS


@pytest.fixture
def recipe(home: Path, sample: Path) -> Path:
    """A valid recipe, to be spoilt with --set."""
    return _write(home / "tiny.toml", recipe_text(HEAD, sample))


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _assert_refused(said: Said, home: Path, *parts: str) -> None:
    """One message on standard error that holds all `parts`; no run was left."""
    assert said.code == 2, said
    lines = said.err.splitlines()
    assert lines[0].startswith("petbench: "), said.err
    assert sum(line.startswith("petbench: ") for line in lines) == 1
    assert len(lines) <= 12, said.err
    assert "Traceback" not in said.err + said.out
    assert "\x1b" not in said.err + said.out
    for part in parts:
        assert part in said.err, said.err
    assert list((home / "runs").glob("*")) == []


def test_a_value_that_is_none_of_the_allowed_ones_is_told_in_plain_words(
    petbench: Petbench, home: Path
) -> None:
    for command, option in (("label-issues", "--rule"), ("inspect", "--order")):
        said = petbench(command, "x", option, "nonsense")
        assert said.code == 2
        assert f"Invalid value for '{option}': 'nonsense' is not one of " in said.err
        assert "Value error" not in said.err


# -- the recipe


def test_a_command_that_only_groups_have_is_told_with_them(petbench: Petbench) -> None:
    said = petbench("compare")
    assert said.code == 2
    assert said.err.splitlines()[-2:] == [
        "Error: No such command 'compare'.",
        "There is petbench runs compare",
    ]


def test_no_such_recipe(petbench: Petbench, home: Path, recipe: Path) -> None:
    _assert_refused(petbench("run", home / "tinny.toml"), home, "no such recipe", "did you mean", "tiny.toml")


def test_a_syntax_error_is_told_with_line_and_column(petbench: Petbench, home: Path) -> None:
    bad = _write(home / "bad.toml", 'schema = 1\nname = "x"\n[data]\nimage_size = = 3\n')
    _assert_refused(petbench("run", bad), home, "bad.toml:4:14: not valid TOML")


def test_an_unknown_key_is_told_with_the_nearest(petbench: Petbench, home: Path, recipe: Path) -> None:
    text = recipe.read_text().replace("learning_rate", "learning_rat")
    bad = _write(home / "bad.toml", text)
    _assert_refused(petbench("run", bad), home, "bad.toml:", "optimizer.learning_rat", "learning_rate")


def test_a_value_of_the_wrong_type_is_told_with_what_is_allowed(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    bad = _write(home / "bad.toml", recipe.read_text().replace("epochs = 3", 'epochs = "three"'))
    _assert_refused(petbench("run", bad), home, "training.epochs", "three", "whole number")


def test_a_bad_change_on_the_command_line_names_its_key(petbench: Petbench, home: Path, recipe: Path) -> None:
    said = petbench("run", recipe, "--set", "training.epoch=3")
    _assert_refused(said, home, "training.epoch", "epochs")
    _assert_refused(petbench("run", recipe, "--set", "nonsense"), home, "nonsense")


def test_a_directory_in_the_place_of_a_recipe(petbench: Petbench, home: Path) -> None:
    _assert_refused(petbench("run", home), home, "directory")


# -- the network


def test_an_unknown_backbone(petbench: Petbench, home: Path, recipe: Path) -> None:
    _assert_refused(
        petbench("run", recipe, "--set", "model.backbone='resnet19'"), home, "resnet19", "resnet18"
    )


def test_a_layer_group_that_the_backbone_lacks_is_told_with_the_real_ones(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    said = petbench(
        "run", recipe, "--set", "model.backbone='resnet18'", "--set", "finetune.layers=['layer9']"
    )
    _assert_refused(said, home, "layer9", "stem, layer1, layer2, layer3, layer4, head")
    said = petbench(
        "run", recipe, "--set", "model.backbone='resnet18'", "--set", "optimizer.layer_rates={layr1=0.1}"
    )
    _assert_refused(said, home, "layr1", "did you mean layer1?")


def test_weights_that_do_not_fit_are_refused_naming_tensors(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    state = {"conv1.0.weight": torch.zeros(24, 3, 5, 5), "stranger.weight": torch.zeros(2)}
    torch.save(state, home / "other.pth")
    said = petbench("run", recipe, "--set", f"model.weights='{home / 'other.pth'}'")
    _assert_refused(
        said,
        home,
        "other.pth",
        "do not fit shufflenet_v2_x0_5",
        "stranger.weight",
        "(24, 3, 5, 5)",
        "missing",
    )


@pytest.mark.parametrize("name", ["noise.pth", "noise.safetensors", "cut.pth", "flipped.pth", "missing.pth"])
def test_corrupt_weights_are_refused(name: str, petbench: Petbench, home: Path, recipe: Path) -> None:
    path = home / name
    noise = np.random.default_rng(0).bytes(5000)
    if name.startswith("noise"):
        path.write_bytes(noise)
    elif name != "missing.pth":
        torch.save({"conv1.0.weight": torch.arange(2000.0)}, path)
        content = bytearray(path.read_bytes())
        content[3000] ^= 1
        path.write_bytes(content[:-500] if name == "cut.pth" else content)
    _assert_refused(petbench("run", recipe, "--set", f"model.weights='{path}'"), home, name)


# -- the data


def test_data_that_are_not_there_are_told_with_how_to_get_them(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    oxford = _write(home / "oxford.toml", HEAD.replace('"sample"', '"oxford-iiit-pet"'))
    _assert_refused(petbench("run", oxford), home, "oxford-iiit-pet", "petbench data get", "--data-dir")
    said = petbench("run", recipe, "--set", f"data.root='{home / 'nothing'}'")
    _assert_refused(said, home, "nothing", "petbench data sample")


def _folder_recipe(home: Path, root: Path) -> Path:
    text = HEAD.replace('"sample"', '"folder"')
    return _write(home / "folder.toml", recipe_text(text, root))


def _class_folder(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        pixels = np.random.default_rng([number, len(folder.name)]).integers(
            0, 256, (40, 48, 3), dtype=np.uint8
        )
        Image.fromarray(pixels).save(folder / f"{number}.png")


def test_a_folder_that_is_not_there(petbench: Petbench, home: Path) -> None:
    said = petbench("run", _folder_recipe(home, home / "nowhere"))
    _assert_refused(said, home, "nowhere", "no such directory", "data.root")


def test_an_empty_folder(petbench: Petbench, home: Path) -> None:
    (home / "pets").mkdir()
    _assert_refused(petbench("run", _folder_recipe(home, home / "pets")), home, "pets", "no images")


def test_a_folder_with_one_class(petbench: Petbench, home: Path) -> None:
    _class_folder(home / "pets" / "cats", 12)
    _assert_refused(petbench("run", _folder_recipe(home, home / "pets")), home, "pets", "cats")


def test_a_folder_without_a_readable_image(petbench: Petbench, home: Path) -> None:
    for name in ("cats", "dogs"):
        (home / "pets" / name).mkdir(parents=True)
        (home / "pets" / name / "1.jpg").write_bytes(b"not a picture")
    said = petbench("run", _folder_recipe(home, home / "pets"))
    _assert_refused(said, home, "none of the 2 images can be read")


def test_fewer_images_than_a_batch(petbench: Petbench, home: Path, recipe: Path) -> None:
    said = petbench("run", recipe, "--set", "training.batch_size=41")
    assert said.code == 0
    assert "40 labelled images do not fill a batch of 41: a step takes all of them" in said.out


def test_a_share_of_labels_that_leaves_a_class_without_one(
    petbench: Petbench, home: Path, sample: Path
) -> None:
    few = _write(home / "few.toml", recipe_text(HEAD + PSEUDO, sample))
    said = petbench("run", few, "--set", "pseudo_label.labelled_fraction=0.01")
    _assert_refused(said, home, "labelled_fraction = 0.01", "classes without a label", "stratified = false")


def test_more_labels_a_class_than_there_are(petbench: Petbench, home: Path, sample: Path) -> None:
    text = recipe_text(HEAD, sample) + "[pseudo_label]\nlabels_per_class = 5\n"
    said = petbench("run", _write(home / "many.toml", text))
    _assert_refused(said, home, "labels_per_class = 5", "at most 4")


def test_head_crops_alone_where_there_are_none(petbench: Petbench, home: Path) -> None:
    for name in ("cats", "dogs"):
        _class_folder(home / "pets" / name, 10)
    said = petbench("run", _folder_recipe(home, home / "pets"), "--set", "data.head_crops='only'")
    _assert_refused(said, home, "data.head_crops")


# -- the machine


@pytest.mark.parametrize("device", ["cuda:63", "tpu", "", "meta"])
def test_a_device_that_is_not_there(device: str, petbench: Petbench, home: Path, recipe: Path) -> None:
    _assert_refused(petbench("run", recipe, "--device", device), home, "--device")


def test_a_runs_directory_that_is_a_file(petbench: Petbench, home: Path, recipe: Path) -> None:
    blocked = _write(home / "file", "")
    for path in (blocked, blocked / "below"):
        _assert_refused(petbench("run", recipe, "--runs-dir", path), home, str(path), "--runs-dir")


def test_a_runs_directory_that_cannot_be_written(petbench: Petbench, home: Path, recipe: Path) -> None:
    # Even root makes no directory there.
    said = petbench("run", recipe, "--runs-dir", "/proc/petbench-runs")
    _assert_refused(said, home, "/proc/petbench-runs", "cannot make a run there", "--runs-dir")


def test_a_cache_that_cannot_be_written(
    petbench: Petbench, home: Path, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETBENCH_CACHE", "/proc/petbench-cache")
    _assert_refused(petbench("run", recipe), home, "PETBENCH_CACHE")


# -- which run


def _make_runs(home: Path, *ids: str) -> None:
    for name in ids:
        (home / "runs" / name).mkdir(parents=True)
        (home / "runs" / name / "recipe.toml").write_text('schema = 1\nname = "x"\n')


RUNS = ("20260101-000000-tiny-aaaa", "20260101-000001-tiny-aabb")


@pytest.mark.parametrize(
    "word", ["zzzz", "../tiny", "/etc", "a\nb", "\x1b[31mred\x1b[0m", "[bold]x[/bold]", "[/]", ""]
)
def test_an_unknown_run(word: str, petbench: Petbench, home: Path) -> None:
    _make_runs(home, *RUNS)
    said = petbench("resume", word)
    assert said.code == 2
    assert said.err.startswith("petbench: ")
    assert "no run" in said.err
    assert "Traceback" not in said.err
    assert "\x1b" not in said.err
    if "[" in word and "\x1b" not in word:
        assert word in said.err


def test_an_ambiguous_run_is_told_with_the_ones_it_may_be(petbench: Petbench, home: Path) -> None:
    _make_runs(home, *RUNS)
    said = petbench("resume", "tiny")
    assert said.code == 2
    assert "names 2 runs" in said.err
    assert all(name in said.err for name in RUNS)


def test_a_run_that_cannot_be_resumed_for_now_stays(
    petbench: Petbench, home: Path, recipe: Path, sample: Path
) -> None:
    assert petbench("run", recipe).code == 0
    (run,) = run_directories(home / "runs")
    run.results.unlink()
    text = run.recipe.read_text()
    (run.path / SUMS).unlink()
    run.recipe.write_text(text.replace(str(sample), str(home / "unplugged")))
    said = petbench("resume", run.handle)
    assert said.code == 2
    assert "unplugged" in said.err
    assert f"everything so far is in {run.path}" in said.err
    run.recipe.write_text(text)
    assert petbench("resume", run.handle).code == 0


def test_a_run_that_is_going_on_is_not_resumed_beside_itself(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    from workbench.runs.process import write_process

    assert petbench("run", recipe).code == 0
    (run,) = run_directories(home / "runs")
    with subprocess.Popen(sleeping(run)) as other:
        write_process(run, "cpu", pid=other.pid)
        said = petbench("resume", run.handle)
        other.kill()
    assert said.code == 2
    assert "runs already" in said.err or "running" in said.err, said.err


# -- hostile names

HOSTILE = ["[red]a[/red]", "b\x1b]0;owned\x07", "c\nd", "e\u202ef", ":cat:", "g[/h]"]


@pytest.mark.parametrize("name", [*HOSTILE, "../../../etc/passwd", "x" * 80, "\x00", "/"])
def test_a_recipe_may_have_any_name_and_its_run_stays_in_its_place(
    name: str, petbench: Petbench, home: Path, recipe: Path
) -> None:
    import json

    text = recipe.read_text().replace('name = "tiny"', f"name = {json.dumps(name)}")
    said = petbench("run", _write(home / "odd.toml", text), "--set", "training.epochs=1")
    assert "\x1b" not in said.out + said.err
    assert "\u202e" not in said.out + said.err
    assert said.code == 0, said.err
    (run,) = run_directories(home / "runs")
    assert run.path.parent == home / "runs"
    assert run.id.isascii()
    assert petbench("resume", run.handle).code == 0
    assert petbench("runs", "ls").code == 0


def test_classes_may_have_any_name(petbench: Petbench, home: Path) -> None:
    for name in HOSTILE:
        folder = home / "pets" / name.replace("/", "∕")
        _class_folder(folder, 6)
    (home / "pets" / os.fsdecode(b"bad\xff\xfe")).mkdir()
    _class_folder(home / "pets" / os.fsdecode(b"bad\xff\xfe") / "deeper", 6)
    said = petbench("run", _folder_recipe(home, home / "pets"))
    assert said.code == 0, said.err
    for harmful in ("\x1b", "\x07", "\u202e", "c\nd"):
        assert harmful not in said.out + said.err
    assert "[red]a[∕red]" in said.out
    (run,) = run_directories(home / "runs")
    for command in (("runs", "show", run.handle), ("inspect", run.handle)):
        shown = petbench(*command)
        assert shown.code == 0, shown.err
        assert "\x1b" not in shown.out + shown.err
        assert "\u202e" not in shown.out + shown.err
