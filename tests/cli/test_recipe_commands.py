"""`petbench recipe`: what it prints, what it writes, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from workbench.cli.recipe import app
from workbench.recipe import dump_recipe, load_recipe, parse_recipe
from workbench.support.errors import UserError

SHIPPED = Path(__file__).parents[2] / "recipes"


def petbench_recipe(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


OF_PHOTOS = 'schema = 1\nname = "a"\n[data]\ndataset = "folder"\nroot = "photos"\nimage_size = 64\n'


def photos(folder: Path) -> None:
    """Two classes of images that a recipe in `folder` calls photos."""
    for number, name in enumerate("ab"):
        (folder / "photos" / name).mkdir(parents=True)
        for image in range(8):
            colour = (200 * number, 20 * image, 90)
            Image.new("RGB", (40, 40), colour).save(folder / "photos" / name / f"{image}.png")


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    path = tmp_path / "broken.toml"
    path.write_text('schema = 1\nname = "x"\n[optimizer]\nlearning_rat = 1\nschedule = "cosin"\n')
    return path


@pytest.fixture
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "runs" / "20260101-120000-quickstart-abcd"
    directory.mkdir(parents=True)
    (directory / "recipe.toml").write_text(dump_recipe(load_recipe(SHIPPED / "quickstart.toml")))
    monkeypatch.setenv("PETBENCH_RUNS", str(directory.parent))
    return directory


def test_check_summarises_every_valid_recipe() -> None:
    result = petbench_recipe(
        "check", "--no-data", SHIPPED / "paper_final.toml", SHIPPED / "lite_pseudo_iter.toml"
    )
    assert result.exit_code == 0
    first, second = result.stdout.splitlines()
    assert first.startswith("valid  ")
    assert "resnet152 on oxford-iiit-pet (breed, 224 px), layer4 + layer2 + layer1 + head" in first
    assert "0.1 of the labels, iterative pseudo-labels" in second


def test_check_tells_all_problems_of_one_file_and_still_checks_the_next(broken: Path) -> None:
    result = petbench_recipe("check", broken, SHIPPED / "quickstart.toml")
    assert result.exit_code == 2
    assert f"{broken}: 2 problems" in result.stderr
    assert f"{broken}:4: no such key: optimizer.learning_rat" in result.stderr
    assert 'did you mean "cosine"?' in result.stderr
    assert "valid  " in result.stdout


def test_check_as_json_gives_places_for_editors(broken: Path) -> None:
    result = petbench_recipe("check", broken, "no-such-file", SHIPPED / "quickstart.toml", "--json")
    assert result.exit_code == 2
    wrong, missing, right = json.loads(result.stdout)["recipes"]
    assert [(p["key"], p["line"]) for p in wrong["problems"]] == [
        ("optimizer.learning_rat", 4),
        ("optimizer.schedule", 5),
    ]
    assert missing["problems"][0]["what"] == "no such recipe"
    assert right["valid"]
    assert len(right["fingerprint"]) == 16


def test_check_with_set_checks_the_changed_recipe() -> None:
    path = SHIPPED / "quickstart.toml"
    assert petbench_recipe("check", path, "--set", "seed=3").exit_code == 0
    result = petbench_recipe("check", path, "--set", "training.epochs=0")
    assert result.exit_code == 2
    assert "--set training.epochs=0: training.epochs cannot be 0" in result.stderr


def test_show_needs_no_torch() -> None:
    code = (
        "import sys\nfrom workbench.cli.recipe import app\n"
        f"app(['show', {str(SHIPPED / 'quickstart.toml')!r}], standalone_mode=False)\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=SHIPPED.parent, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ('[model]\nbackbone = "resnt18"', 4),
        ('[model]\nbackbone = "resnet18"\n[finetune]\nlayers = ["layer9"]', 6),
        ('[model]\nbackbone = "resnet18"\n[finetune]\nlayer_norm = "all"', 6),
        ("[optimizer]\nlayer_rates = {layer9 = 1e-3}", 4),
        ('[model]\nbackbone = "alexnet"\nstochastic_depth = 0.1', 5),
        ('[model]\nbackbone = "vit_b_16"\n[data]\nimage_size = 100', 6),
        ('[model]\nbackbone = "resnet18"\nweights = "IMAGENET1K_V9"', 5),
        ('[model]\nbackbone = "efficientnet_lite0"\nweights = "IMAGENET1K_V1"', 5),
        ('[model]\nbackbone = "timm:resnet10t"\nweights = "c3_in1k"', 5),
        ('[model]\nbackbone = "timm:coatnet_0_224"\nweights = "default"', 5),
    ],
)
def test_check_names_the_line_of_what_the_backbone_lacks(tmp_path: Path, wrong: str, line: int) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f'schema = 1\nname = "a"\n{wrong}\n')
    for _ in ("asked of the network", "asked of the cache"):
        result = petbench_recipe("check", path, "--json")
        (problem,) = json.loads(result.stdout)["recipes"][0]["problems"]
        assert (problem["line"], problem["where"]) == (line, f"{path}:{line}"), problem
        assert problem["key"] in problem["what"]


@pytest.mark.parametrize("content", [None, b"", b"no weights"])
def test_check_names_the_line_of_a_weights_file_that_cannot_be_had(
    tmp_path: Path, content: bytes | None
) -> None:
    photos(tmp_path)
    if content is not None:
        (tmp_path / "nope.pth").write_bytes(content)
    path = tmp_path / "a.toml"
    path.write_text(f'{OF_PHOTOS}[model]\nbackbone = "resnet18"\nweights = "nope.pth"\n')
    (problem,) = json.loads(petbench_recipe("check", path, "--json").stdout)["recipes"][0]["problems"]
    assert (problem["key"], problem["where"]) == ("model.weights", f"{path}:9"), problem
    assert str(tmp_path / "nope.pth") in problem["what"]


@pytest.mark.parametrize("more", ["", "[sweep]\nseeds = 2\n"])
def test_check_warns_of_files_that_a_run_would_leave_out(tmp_path: Path, more: str) -> None:
    photos(tmp_path)
    (tmp_path / "photos" / "a" / "bad.png").write_bytes(b"\x89PNG nothing")
    (tmp_path / "photos" / "a" / "notes.txt").write_text("x")
    path = tmp_path / "a.toml"
    path.write_text(OF_PHOTOS + more)
    said = petbench_recipe("check", path)
    assert said.exit_code == 0, said.output
    assert "warning: left out a/bad.png: " in said.stderr
    assert "warning: passed over 1 .txt in a: " in said.stderr
    (report,) = json.loads(petbench_recipe("check", path, "--json").stdout)["recipes"]
    assert len(report["warnings"]) == 2
    assert "warning" not in petbench_recipe("check", path, "--no-data").stderr


def test_check_names_the_set_that_the_backbone_refuses() -> None:
    result = petbench_recipe("check", "lite_full", "--set", "optimizer.layer_rates.stage7=1e-3")
    assert "--set optimizer.layer_rates.stage7=1e-3: " in result.output


def test_check_loads_torch_once_a_network(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom workbench.cli.recipe import app\n"
        'app(["check", "--no-data", *sys.argv[1:]], standalone_mode=False)\nprint("torch" in sys.modules)'
    )
    environment = {**os.environ, "PETBENCH_CACHE": str(tmp_path)}

    def loads_torch(*arguments: str) -> bool:
        words = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        return done.stdout.splitlines()[-1] == "True"

    assert loads_torch("quickstart")
    assert not loads_torch("quickstart", "--set", "finetune.layers=stage7,head", "--set", "training.epochs=3")
    (kept,) = (tmp_path / "networks").iterdir()
    kept.write_text("[" * 5000)
    assert loads_torch("quickstart")


def test_check_refuses_layers_that_the_backbone_lacks() -> None:
    result = petbench_recipe("check", SHIPPED / "lite_full.toml", "--set", 'finetune.layers=["layer4"]')
    assert result.exit_code == 2
    assert "layer4" in result.output
    assert "stage7" in result.output, "the real groups are listed"


def test_show_explains_every_knob_and_says_what_has_no_effect() -> None:
    result = petbench_recipe("show", SHIPPED / "lite_full.toml", "--set", "optimizer.learning_rate=2e-4")
    assert result.exit_code == 0
    assert "[augmentation]" in result.stdout
    assert "0.0002" in result.stdout
    assert "default 5e-05" in result.stdout
    assert "unset: 0.2, or 1/folds" in result.stdout
    assert 'optimizer.momentum: belongs to name = "sgd"' in result.stdout


def test_show_toml_prints_a_recipe_that_can_be_run() -> None:
    result = petbench_recipe("show", SHIPPED / "pseudo_iter.toml", "--toml")
    assert parse_recipe(result.stdout) == load_recipe(SHIPPED / "pseudo_iter.toml")


def test_show_json_has_the_resolved_recipe_and_its_knobs() -> None:
    shown = json.loads(petbench_recipe("show", SHIPPED / "binary.toml", "--json").stdout)
    assert shown["recipe"]["data"]["target"] == "species"
    told = {knob["key"]: knob for knob in shown["knobs"]}
    assert told["training.batch_size"]["allowed"] == "a whole number from 1 to 65,536 (images)"


def test_show_prints_hostile_strings_harmless(tmp_path: Path) -> None:
    path = tmp_path / "hostile.toml"
    path.write_text('name = "a\\u001b[31m[bold]b\\u202e"\n')
    for arguments in (
        ["show", path],
        ["show", path, "--toml"],
        ["show", path, "--json"],
        ["check", path, "--no-data"],
    ):
        result = petbench_recipe(*arguments)
        assert result.exit_code == 0
        assert "\x1b[31m" not in result.output
        assert "\u202e" not in result.output
    assert "[bold]" in petbench_recipe("show", path).stdout


def test_diff_lists_what_differs_and_nothing_else() -> None:
    result = petbench_recipe("diff", SHIPPED / "pseudo_iter.toml", SHIPPED / "pseudo_oneshot.toml")
    assert result.exit_code == 0
    assert "pseudo_label.strategy" in result.stdout
    assert "optimizer.learning_rate" not in result.stdout
    rows = json.loads(
        petbench_recipe(
            "diff", SHIPPED / "pseudo_iter.toml", SHIPPED / "pseudo_oneshot.toml", "--json"
        ).stdout
    )["differences"]
    assert {"key": "pseudo_label.fraction", "left": 0.2, "right": None} in rows


def test_a_run_directory_or_its_id_stands_for_its_recipe(run_directory: Path) -> None:
    same = petbench_recipe("diff", run_directory, SHIPPED / "quickstart.toml")
    assert same.stdout == "The same recipe: no knob differs.\n"
    assert petbench_recipe("check", run_directory.name).exit_code == 0
    assert petbench_recipe("check", "abcd").exit_code == 0
    changed = run_directory / "recipe.toml"
    changed.write_text(changed.read_text().replace('name = "quickstart"', 'name = "again"', 1))
    assert (
        "Both give the same run" in petbench_recipe("diff", run_directory, SHIPPED / "quickstart.toml").stdout
    )


def test_a_directory_without_a_recipe_is_the_users_mistake(tmp_path: Path) -> None:
    result = petbench_recipe("show", tmp_path)
    assert isinstance(result.exception, UserError)
    assert "a directory, not a recipe file" in str(result.exception)


def test_new_writes_into_recipes_and_refuses_to_overwrite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipes").mkdir()
    written = tmp_path / "recipes" / "mine.toml"
    options = ["--backbone", "resnet18", "--dataset", "sample", "--strategy", "one_shot"]
    assert petbench_recipe("new", "mine", *options).exit_code == 0
    assert load_recipe(written).model.backbone == "resnet18"
    written.write_text("precious")
    refused = petbench_recipe("new", "mine")
    assert isinstance(refused.exception, UserError)
    assert refused.exception.what == "the file is already there"
    assert written.read_text() == "precious"
    assert petbench_recipe("new", "mine", "--force").exit_code == 0
    assert load_recipe(written).pseudo_label is None


def test_new_takes_a_path_and_tells_why_it_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "other.toml"
    assert petbench_recipe("new", path).exit_code == 0
    assert load_recipe(path).name == "other"
    failed = petbench_recipe("new", tmp_path / "nowhere" / "x.toml")
    assert isinstance(failed.exception, UserError)
    assert f"no directory {tmp_path / 'nowhere'}" in str(failed.exception)
    assert sorted(tmp_path.iterdir()) == [path]
