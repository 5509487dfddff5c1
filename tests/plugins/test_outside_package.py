"""Another package's strategies: listed, offered, checked and trained like petbench's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.train.making import CLASSES, HEAD, make_sample, recipe_text
from workbench.runs.layout import RunDirectory
from workbench.runs.results import Results, read_results

HERE = Path(__file__).parent
OFFERED = """
from workbench.tui.screens.compose.knob_fields import STRATEGY, field_by_key, strategy_story
for name in ("margin", "entropy"):
    print(name, field_by_key(name)[STRATEGY].choices.index(f'"{name}"'), strategy_story(name))
    print(*(key for key in field_by_key(name) if key.endswith((".margin", ".entropy_weight"))))
"""


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory in which pip has installed petbench-tiny."""
    source = tmp_path_factory.mktemp("source") / "petbench-tiny"
    shutil.copytree(HERE / "petbench-tiny", source)
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-index"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    subprocess.run(command, check=True, timeout=300)
    return target


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sample set."""
    return make_sample(tmp_path_factory.mktemp("data") / "sample")


def python(*arguments: str, beside: Path) -> subprocess.CompletedProcess[str]:
    """Python with the packages that lie in `beside`, too."""
    paths = os.pathsep.join(path for path in (*sys.path, str(beside)) if path)
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


def petbench(*arguments: str, beside: Path) -> subprocess.CompletedProcess[str]:
    """The command, likewise."""
    return python("-m", "workbench", *arguments, beside=beside)


def test_its_strategies_are_listed_with_their_knobs(installed: Path) -> None:
    done = petbench("strategies", "--json", beside=installed)
    found = {entry["name"]: entry for entry in json.loads(done.stdout)["strategies"]}
    assert (found["margin"]["kind"], found["entropy"]["kind"]) == ("rule", "objective")
    assert found["margin"]["about"].startswith("Each round the teacher labels the images")
    assert "Grandvalet" in found["entropy"]["source"]
    knobs = {knob["key"]: knob for knob in found["margin"]["knobs"]}
    assert knobs["margin"]["allowed"] == "a number from 0 to 1"
    assert {"rounds", "teacher", "balance"} <= knobs.keys()  # those that it shares with its kind


def test_the_form_and_the_reference_have_them(installed: Path) -> None:
    done = python("-c", OFFERED, beside=installed)
    margin, its_knob, entropy, other = done.stdout.splitlines()
    assert margin.startswith("margin ")
    assert its_knob == "pseudo_label.margin"
    assert entropy.endswith("be sure of every image of the pool, whatever it takes it for")
    assert other == "pseudo_label.entropy_weight"
    told = petbench("recipe", "reference", beside=installed).stdout
    assert '[pseudo_label, strategy = "margin"]' in told
    assert "| `entropy_weight` | `0.1` | a number from 0 to 100 | weight of the pool's mean entropy |" in told


def test_a_wrong_value_of_its_knob_is_told_as_any_other(installed: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.toml"
    recipe.write_text(HEAD + '[pseudo_label]\nstrategy = "margin"\nlabels_per_class = 4\nmargin = 2.0\n')
    done = petbench("recipe", "check", str(recipe), beside=installed)
    assert done.returncode == 2
    assert "pseudo_label.margin cannot be 2.0" in done.stderr
    assert "allowed: a number from 0 to 1" in done.stderr


def trained(name: str, installed: Path, small: Path, home: Path, knobs: str = "") -> tuple[Results, str]:
    """The results and the log of a run with a strategy of the package, by the command."""
    recipe = home / f"{name}.toml"
    table = f'[pseudo_label]\nstrategy = "{name}"\nlabelled_fraction = 0.5\nepochs_per_round = 2\n{knobs}'
    recipe.write_text(recipe_text(HEAD, small) + table)
    done = petbench("--runs-dir", str(home), "run", str(recipe), "--device", "cpu", beside=installed)
    assert done.returncode == 0, done.stderr
    (run,) = home.glob("*-tiny-*")
    return read_results(RunDirectory(run).results), (run / "run.log").read_text()


def test_a_run_of_its_rule_ends_with_pseudo_labels_of_its_choice(
    installed: Path, small: Path, tmp_path: Path
) -> None:
    results, _ = trained("margin", installed, small, tmp_path, "rounds = 2\nmargin = 0.0\n")
    assert len(results.classes) == CLASSES
    assert [result.coverage for result in results.rounds] == [1.0, 1.0]  # every first choice is ahead by 0


def test_a_run_of_its_objective_trains_the_student_on_its_loss(
    installed: Path, small: Path, tmp_path: Path
) -> None:
    results, log = trained("entropy", installed, small, tmp_path)
    assert [result.round for result in results.rounds] == [1]
    assert "student r1: entropy, 1 steps an epoch" in log


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of pictures whose class is in their name."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, level in (("dark", 40), ("grey", 120), ("light", 200)):
        for number in range(12):
            pixels = random.integers(level - 30, level + 30, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{name}-{number}.png")
    return folder


def test_its_backbone_is_listed_and_its_data_set_checked(installed: Path, pictures: Path) -> None:
    listed = json.loads(petbench("backbones", "tiny_net", "--json", beside=installed).stdout)
    assert [(one["name"], one["source"]) for one in listed["backbones"]] == [("tiny_net", "petbench-tiny")]
    shown = json.loads(petbench("model", "show", "tiny_net", "--json", beside=installed).stdout)
    assert [group["group"] for group in shown["groups"]] == ["stem", "body", "head"]
    named = ["--dataset", "prefix", "--root", str(pictures)]
    checked = petbench("data", "check", *named, "--json", beside=installed)
    assert checked.returncode == 0, checked.stderr
    assert [row["name"] for row in json.loads(checked.stdout)["classes"]] == ["dark", "grey", "light"]


def test_a_run_trains_its_backbone_on_its_data_set(installed: Path, pictures: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "outside.toml"
    recipe.write_text(
        f"""
name = "outside"
data = {{ dataset = "prefix", root = "{pictures}", image_size = 32 }}
model = {{ backbone = "tiny_net", weights = "none" }}
finetune = {{ layers = ["body", "head"] }}
training = {{ epochs = 2, batch_size = 8, precision = "fp32" }}
"""
    )
    done = petbench("--runs-dir", str(tmp_path), "run", str(recipe), "--device", "cpu", beside=installed)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("*-outside-*")
    assert read_results(RunDirectory(run).results).classes == ("dark", "grey", "light")
    assert "stem never change" in (run / "run.log").read_text()  # it is cut below what learns


def test_without_the_package_its_recipes_are_refused_by_the_strategys_name(tmp_path: Path) -> None:
    recipe = tmp_path / "margin.toml"
    recipe.write_text(HEAD + '[pseudo_label]\nstrategy = "margin"\nlabels_per_class = 4\n')
    done = petbench("recipe", "check", str(recipe), beside=tmp_path)
    assert done.returncode == 2
    assert 'pseudo_label.strategy cannot be "margin"' in done.stdout + done.stderr


def test_petbench_starts_beside_a_package_that_is_broken(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(installed, tmp_path, dirs_exist_ok=True)
    (tmp_path / "petbench_tiny" / "margin.py").write_text("import wings_that_are_not_there\n")
    done = petbench("strategies", "--json", beside=tmp_path)
    assert done.returncode == 0
    names = {entry["name"] for entry in json.loads(done.stdout)["strategies"]}
    assert "entropy" in names
    assert "margin" not in names
    (line,) = done.stderr.splitlines()
    assert line.startswith("petbench: warning: plug-in margin of petbench-tiny 0.1.0 (petbench.strategies: ")
    assert "No module named 'wings_that_are_not_there'" in line
