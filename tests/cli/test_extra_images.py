"""Extra images as a user of the command line meets them: counted apart everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.commands import run_command
from tests.cli.whole import Petbench
from tests.dataset.pictures import jpeg
from tests.train.making import HEAD, PSEUDO, TRAIN_IMAGES, recipe_text
from workbench.cli.data import app as data_app
from workbench.cli.preview import preview
from workbench.cli.recipe import app as recipe_app
from workbench.dataset import open_catalogue
from workbench.recipe import parse_recipe


@pytest.fixture
def recipe(sample: Path, tmp_path: Path) -> Path:
    """A pseudo-label recipe whose extra folders lie beside it: one labelled picture, two of unknown class."""
    path = tmp_path / "recipes" / "extra.toml"
    breed = open_catalogue(parse_recipe(recipe_text(HEAD, sample)).data, data_home=tmp_path).breeds[2]
    names = (f"more/{breed}/a.jpg", "many/b.jpg", "many/deep/c.jpg")
    for seed, name in enumerate(names, 900):
        (path.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (path.parent / name).write_bytes(jpeg(seed, 64, 64))
    text = recipe_text(HEAD + PSEUDO, sample)
    path.write_text(text.replace("[data]\n", '[data]\nextra_labelled = "more"\nextra_unlabelled = "many"\n'))
    return path


def test_recipe_check_counts_them_and_refuses_a_folder_that_is_not_there(recipe: Path) -> None:
    checked = CliRunner().invoke(recipe_app, ["check", str(recipe), "--json"])
    (report,) = json.loads(checked.stdout)["recipes"]
    assert (report["extra_labelled"], report["extra_unlabelled"]) == (1, 2)
    told = CliRunner().invoke(recipe_app, ["check", str(recipe)])
    assert "(extra: 1 labelled, 2 unlabelled)" in told.stdout.replace("\n", " ")
    refused = CliRunner().invoke(
        recipe_app, ["check", str(recipe), "--set", "data.extra_labelled=/gone", "--json"]
    )
    assert refused.exit_code == 2
    assert "no such directory" in json.loads(refused.stdout)["recipes"][0]["message"]


def test_data_check_counts_them_in_a_column_of_their_own(recipe: Path, sample: Path) -> None:
    folders = ("--extra-labelled", recipe.parent / "more", "--extra-unlabelled", recipe.parent / "many")
    arguments = [str(part) for part in ("check", "--root", sample, *folders)]
    told = CliRunner().invoke(data_app, arguments)
    assert told.exit_code == 0, told.output
    assert "extra: 1 labelled and 2 unlabelled images" in told.stdout
    report = json.loads(CliRunner().invoke(data_app, [*arguments, "--json"]).stdout)
    assert sum(row["extra"] for row in report["classes"]) == 1
    assert sum(row["train"] for row in report["classes"]) == TRAIN_IMAGES
    assert report["extra_unlabelled"] == 2


def test_an_extra_image_of_unknown_class_can_be_previewed(recipe: Path, tmp_path: Path) -> None:
    named = ("--image", "extra_unlabelled/b.jpg", "--views", "1", "--json")
    result = run_command(preview, str(recipe), "--out", str(tmp_path / "out"), *named)
    assert result.exit_code == 0, result.output
    (drawn,) = json.loads(result.stdout)["images"]
    assert (drawn["id"], drawn["label"]) == ("extra_unlabelled/b.jpg", "not known")


def test_a_run_says_so_when_it_begins_and_runs_show_when_it_is_done(recipe: Path, petbench: Petbench) -> None:
    ran = petbench("run", str(recipe))
    assert ran.code == 0, ran.err
    begun = " ".join((ran.out + ran.err).split())
    assert "20 + 1 extra labelled, 20 + 2 extra unlabelled" in begun
    shown = " ".join(petbench("runs", "show", "tiny").out.split())
    assert "extra 1 labelled images from" in shown
    assert "2 unlabelled images from" in shown
    compared = json.loads(petbench("runs", "show", "tiny", "--json").out)
    assert str(recipe.parent / "more") in json.dumps(compared)
