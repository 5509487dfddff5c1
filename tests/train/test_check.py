"""What a check says of a recipe and its images is what its run finds: a table of both, all combinations."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.dataset.pictures import jpeg, make_folder, small_oxford
from tests.loader.conftest import Recorder
from tests.train.making import places, train
from workbench.cli.recipe import fit_here as checked_as_told
from workbench.dataset.check import check_data
from workbench.dataset.run_data import Catalogues, list_images
from workbench.recipe import Data, Recipe, parse_recipe
from workbench.runs.events import Message
from workbench.support.errors import UserError
from workbench.train.setup import check, prepare

BASE = """
schema = 1
name = "small"
[data]
dataset = "folder"
root = "{root}"
image_size = 32
[model]
backbone = "shufflenet_v2_x0_5"
weights = "none"
[training]
epochs = 1
batch_size = 4
precision = "fp32"
[finetune]
layers = "all"
batch_norm = "all"
"""
FEW = '\n[pseudo_label]\nstrategy = "one_shot"\nepochs_per_round = 1\n'


def _files(counts: dict[str, int]) -> Callable[[Path], object]:
    return lambda root: make_folder(root, counts)


def _plain_file(root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    root.write_text("id,class\n1,ash\n")


def _broken(root: Path) -> None:
    make_folder(root, {"ash": 6, "oak": 6, "elm": 0})
    for number in range(4):
        (root / "elm" / f"{number}.jpg").touch()


FOLDERS: dict[str, Callable[[Path], object]] = {
    "plain": _files({"ash": 12, "oak": 12}),
    "parts": _files({"train/ash": 8, "train/oak": 8, "test/ash": 2, "test/oak": 2}),
    "three a class": _files({"ash": 3, "oak": 3, "elm": 3}),
    "one a class": _files({"ash": 1, "oak": 1}),
    "no test image": _files({"train/ash": 4, "train/oak": 4, "test/ash": 0}),
    "own validation": _files({"train/ash": 4, "train/oak": 4, "val/ash": 2, "test/oak": 2}),
    "empty": _files({}),
    "broken class": _broken,
    "a file": _plain_file,
    "absent": lambda root: None,
}
RECIPES: dict[str, tuple[str, ...]] = {
    "all labels": (),
    "single images": ("training.batch_size=1",),
    "single images, frozen norms": ("training.batch_size=1", 'finetune.batch_norm="frozen"'),
    "single images, head alone": (
        "training.batch_size=1",
        'finetune.layers="head"',
        'finetune.batch_norm="tuned"',
    ),
    "single larger images": ("training.batch_size=1", "data.image_size=96"),
    "great batch": ("training.batch_size=4096",),
    "no image validates": ("data.validation_fraction=0.001", "data.stratified_validation=false"),
    "ten folds": ("data.folds=10",),
    "own validation": ('data.validation="own"',),
    "unknown group": ('finetune.layers=["layer9"]',),
    "weights of a file that is not there": ('model.weights="/nowhere/a.safetensors"',),
    "five labels a class": ("pseudo_label.labels_per_class=5",),
    "one label a class": ("pseudo_label.labels_per_class=1",),
    "a hundredth": ("pseudo_label.labelled_fraction=0.01",),
    "a hundredth, plain shuffle": ("pseudo_label.labelled_fraction=0.01", "pseudo_label.stratified=false"),
    **{
        f"folds of {many} labels a class": (
            f"pseudo_label.labels_per_class={many}",
            "data.label_folds=2",
            'finetune.layers="head"',
            'finetune.batch_norm="tuned"',
            "augmentation.random_crop=false",
            "augmentation.flip=false",
        )
        for many in (1, 2)
    },
    "nine tenths": ("pseudo_label.labelled_fraction=0.99",),
}


def _can_be_listed(root: Path) -> bool:
    """Whether there is a folder of classes at all: where none is, one recipe is like another."""
    try:
        return bool(list_images(Data(dataset="folder", root=str(root))).images)
    except UserError:
        return False


def _recipe(root: Path, changes: tuple[str, ...]) -> Recipe:
    text = BASE.format(root=root) + (FEW if any("pseudo_label" in change for change in changes) else "")
    return parse_recipe(text, overrides=changes)


def _refusal(ask: Callable[[], object]) -> str:
    try:
        ask()
    except UserError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_check_says_valid_if_and_only_if_the_run_gets_past_its_preparation(
    folder: str, tmp_path: Path
) -> None:
    root = tmp_path / "images"
    FOLDERS[folder](root)
    some = None if _can_be_listed(root) else 2
    for changes in list(RECIPES.values())[:some]:
        recipe = _recipe(root, changes)
        checked = _refusal(partial(check, recipe, places(tmp_path), Recorder()))
        told = _refusal(partial(checked_as_told, recipe, Catalogues(tmp_path), tmp_path))
        prepared = _refusal(partial(prepare, recipe, places(tmp_path), Recorder()))
        assert checked == told == prepared, changes


@pytest.mark.parametrize("folder", FOLDERS)
def test_data_are_fit_if_and_only_if_a_run_of_all_labels_gets_past_its_preparation(
    folder: str, tmp_path: Path
) -> None:
    root = tmp_path / "images"
    FOLDERS[folder](root)
    recipe = _recipe(root, ())
    prepared = _refusal(lambda: prepare(recipe, places(tmp_path), Recorder()))

    def fit() -> None:
        errors = check_data(recipe.data, data_home=tmp_path).errors
        if errors:
            raise UserError(errors[0].what)

    assert bool(_refusal(fit)) == bool(prepared)


def test_class_whose_images_break_only_as_they_are_decoded_is_refused_by_run_and_data_check(
    tmp_path: Path,
) -> None:
    root = make_folder(tmp_path / "images", {"ash": 6, "oak": 6})
    for path in (root / "oak").iterdir():
        content = jpeg(1, 256, 256)
        path.write_bytes(content[: content.index(b"\xff\xda") + 40])  # the header is whole
    recipe = _recipe(root, ())
    with pytest.raises(UserError, match="labelled images of oak can be decoded"):
        prepare(recipe, places(tmp_path), Recorder())
    assert check_data(recipe.data, data_home=tmp_path).errors


def test_batch_larger_than_the_labels_shrinks_to_them_and_says_so(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", {"ash": 12, "oak": 12})
    recorder = Recorder()
    done = train(_recipe(root, ("training.batch_size=4096",)), tmp_path, recorder=recorder)
    told = [event.text for event in recorder.events if isinstance(event, Message)]
    assert "16 labelled images do not fill a batch of 4096: a step takes all of them" in told
    exact = train(_recipe(root, ("training.batch_size=16",)), tmp_path)
    assert done.results.weights_sha256 == exact.results.weights_sha256


def test_batch_of_one_is_refused_only_where_a_norm_would_see_one_value(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", {"ash": 12, "oak": 12})
    with pytest.raises(UserError, match="single value a channel") as caught:
        check(_recipe(root, RECIPES["single images"]), places(tmp_path), Recorder())
    assert caught.value.where == "training.batch_size"
    for name in ("single images, frozen norms", "single images, head alone", "single larger images"):
        done = train(_recipe(root, RECIPES[name]), tmp_path)
        assert done.outcome.code == 0, done.outcome


@pytest.mark.parametrize("change", ['data.head_crops="only"', "training.saliency_weight=0.1"])
def test_heads_are_asked_for_before_the_run(tmp_path: Path, change: str) -> None:
    root = small_oxford(tmp_path / "oxford")
    text = BASE.format(root=root).replace('"folder"', '"oxford-iiit-pet"')
    changes = (change, "data.validation_fraction=0.5")
    recipe = parse_recipe(text, overrides=changes)
    assert len(check(recipe, places(tmp_path), Recorder()).split.labelled) == 2
    shutil.rmtree(root / "annotations" / "xmls")
    with pytest.raises(UserError, match="has a head box"):
        check(recipe, places(tmp_path), Recorder())
