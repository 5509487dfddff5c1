"""`petbench preview`, `saliency` and `neighbours`: pictures and lists of a real run's real images."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.commands import run_command
from tests.cli.conftest import SUPERVISED, World
from workbench.cli.preview import preview
from workbench.cli.saliency import neighbours, saliency
from workbench.dataset.catalogue import Catalogue
from workbench.dataset.run_data import open_catalogue
from workbench.recipe import dump_recipe, load_recipe, parse_recipe
from workbench.runs.events import Silent
from workbench.runs.layout import RunDirectory, create_run
from workbench.runs.predictions import load_predictions
from workbench.support.errors import UserError
from workbench.train import Places, attempt


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def recipe(tmp_path: Path, world: World) -> Path:
    path = tmp_path / "pets.toml"
    path.write_text(SUPERVISED)
    return path


def _catalogue(world: World) -> Catalogue:
    return open_catalogue(load_recipe(world.supervised.recipe).data, data_home=world.data)


def _pixels(path: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_preview_writes_the_views_of_images_of_different_classes_and_lists_them(
    recipe: Path, world: World, tmp_path: Path
) -> None:
    out = tmp_path / "deep" / "out"
    result = run_command(preview, str(recipe), "--out", str(out), "--images", "3", "--views", "2", "--json")
    listed = json.loads(result.stdout)["images"]
    assert len({image["label"] for image in listed}) == 3
    for number, image in enumerate(listed):
        assert image["plain"] == str(out / f"plain-{number:02d}.png")
        assert image["views"] == [str(out / f"view-{number:02d}-{view:02d}.png") for view in range(2)]
        assert _pixels(image["plain"]).shape == (32, 32, 3)
        assert (_pixels(image["views"][0]) != _pixels(image["views"][1])).any()
    stores = list((tmp_path / "cache").rglob("pixels.npy"))
    assert not stores, "a few images need no store of the data set"


def test_preview_shows_the_images_that_are_named_and_the_recipe_as_it_is_edited(
    recipe: Path, world: World, tmp_path: Path
) -> None:
    first = _catalogue(world).records[0].id
    arguments = [str(recipe), "--out", str(tmp_path / "out"), "--image", first, "--views", "1", "--json"]

    def view(*more: str) -> bytes:
        (listed,) = json.loads(run_command(preview, *arguments, *more).stdout)["images"]
        assert listed["id"] == first
        return _pixels(listed["views"][0]).tobytes()

    assert view() == view()
    assert view("--seed", "9") != view()
    recipe.write_text(SUPERVISED + "\n[augmentation]\nrandom_crop = false\nflip = false\n")
    plain = view()
    assert plain == view("--seed", "9")
    erased = view("--set", "augmentation.erasing=1.0")
    assert erased != plain
    assert len(erased) == len(plain)


def test_preview_refuses_what_it_cannot_show(recipe: Path, world: World, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"))
    with pytest.raises(UserError, match="did you mean") as raised:
        run_command(preview, str(recipe), *out, "--image", _catalogue(world).records[0].id + "x")
    assert "no image" in str(raised.value)
    with pytest.raises(UserError, match="no students"):
        run_command(preview, str(recipe), *out, "--student")
    with pytest.raises(UserError, match="cannot be made"):
        run_command(preview, str(recipe), "--out", str(recipe))
    assert not (tmp_path / "out").exists()


def test_a_students_noise_is_shown_on_request(world: World, tmp_path: Path) -> None:
    recipe = world.pseudo_labelled.recipe
    arguments = [str(recipe), "--out", str(tmp_path), "--images", "2", "--json"]
    arguments += ["--set", 'pseudo_label.noise.policy="rand"']
    for more, differs in ((), False), (("--student",), True):
        for image in json.loads(run_command(preview, *arguments, *more).stdout)["images"]:
            views = [_pixels(view) for view in image["views"]]
            assert any((view != _pixels(image["plain"])).any() for view in views) is differs


def test_saliency_draws_each_image_and_says_what_the_run_said(world: World, tmp_path: Path) -> None:
    predictions = load_predictions(world.pseudo_labelled.predictions("test"))
    ids = list(predictions.ids[:3])
    result = run_command(saliency, world.pseudo_labelled.id, *ids, "--out", str(tmp_path / "out"), "--json")
    listed = json.loads(result.stdout)["images"]
    assert [image["id"] for image in listed] == ids
    for row, image in enumerate(listed):
        assert image["top"][0] == [image["said"], image["confidence"]]
        assert image["class"] == image["said"]
        assert len(image["top"]) == 5
        assert image["confidence"] == pytest.approx(predictions.probabilities[row].max(), abs=1e-4)
        overlay, plain, grey = (_pixels(image[name]) for name in ("overlay", "plain", "map"))
        assert overlay.shape == plain.shape == (64, 64, 3)
        assert grey.shape == (2, 2)
        assert (overlay != plain).any()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"{kind}-{number:02d}.png" for kind in ("overlay", "plain", "map") for number in range(3)
    )


def test_saliency_of_another_class_and_of_the_teacher(world: World, tmp_path: Path) -> None:
    predictions = load_predictions(world.pseudo_labelled.predictions("teacher-test"))
    image, classes = predictions.ids[0], _catalogue(world).breeds
    least = classes[int(predictions.probabilities[0].argmin())]
    result = run_command(
        saliency,
        world.pseudo_labelled.id,
        image,
        "--out",
        str(tmp_path),
        "--class",
        least,
        "--teacher",
        "--json",
    )
    (shown,) = json.loads(result.stdout)["images"]
    assert shown["class"] == least != shown["said"]
    assert shown["confidence"] == pytest.approx(predictions.probabilities[0].max(), abs=1e-4)
    text = run_command(
        saliency, world.pseudo_labelled.id, image, "--out", str(tmp_path), "--class", least
    ).stdout
    assert f"map of {least}" in text


def test_saliency_of_a_transformer_is_its_attention_and_asks_for_no_class(
    world: World, tmp_path: Path
) -> None:
    run = _transformer(world, tmp_path)
    image = _catalogue(world).records[0].id
    arguments = (saliency, str(run.path), image, "--out", str(tmp_path / "out"))
    (shown,) = json.loads(run_command(*arguments, "--json").stdout)["images"]
    assert shown["method"] == "attention-rollout"
    assert shown["class"] is None
    assert _pixels(shown["map"]).shape == (4, 4)
    assert (_pixels(shown["overlay"]) != _pixels(shown["plain"])).any()
    assert "%, attention roll-out  /" in run_command(*arguments).stdout
    with pytest.raises(UserError, match="the same for every class") as raised:
        run_command(*arguments, "--class", shown["said"])
    assert raised.value.where == "--class"


def _transformer(world: World, home: Path) -> RunDirectory:
    """A run of ViT-Tiny on images of 64 pixels, its head trained for an epoch."""
    recipe = parse_recipe(
        SUPERVISED.replace("mobilenet_v3_small", "timm:vit_tiny_patch16_224"),
        overrides=(
            "data.image_size=64",
            'finetune.layers="head"',
            "augmentation.random_crop=false",
            "augmentation.flip=false",
        ),
    )
    directory = create_run(home, recipe.name, dump_recipe(recipe), datetime.now())
    places = Places(data_home=world.data, cache=home / "cache", device=torch.device("cpu"))
    assert attempt(directory, recipe, places, Silent()).code == 0
    return directory


def test_saliency_and_neighbours_name_what_is_not_there(world: World, tmp_path: Path) -> None:
    known = _catalogue(world)
    image = known.records[0].id
    for command in (saliency, neighbours):
        out = ["--out", str(tmp_path)] if command is saliency else []
        with pytest.raises(UserError, match=f"did you mean {image}"):
            run_command(command, world.supervised.id, image + "x", *out)
    with pytest.raises(UserError, match=f"did you mean {known.breeds[0]}"):
        run_command(
            saliency, world.supervised.id, image, "--out", str(tmp_path), "--class", known.breeds[0] + "x"
        )


def test_neighbours_lists_labelled_images_of_several_images_at_once(world: World) -> None:
    ids = [record.id for record in _catalogue(world).records[:2]]
    arguments = (world.supervised.id, *ids, "--count", "3")
    listed = json.loads(run_command(neighbours, *arguments, "--json").stdout)["images"]
    assert [image["id"] for image in listed] == ids
    for image in listed:
        assert [set(near) for near in image["neighbours"]] == [{"id", "label", "similarity"}] * 3
    text = run_command(neighbours, *arguments).stdout
    assert listed[0]["neighbours"][0]["id"] in text
