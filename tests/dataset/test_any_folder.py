"""Folders as people have them: each way to lay them out on real files, each wrong form refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.dataset.pictures import jpeg, make_folder, open_folder
from workbench.dataset import Catalogue, make_split
from workbench.dataset.check import check_data
from workbench.recipe import Data, parse_recipe
from workbench.support.errors import UserError


def parts(catalogue: Catalogue) -> dict[str, int]:
    return dict(Counter(record.part for record in catalogue.records))


def fits(root: Path, **knobs: object) -> Catalogue:
    """The catalogue, which a check finds fit to train on too."""
    data = Data.model_validate({"dataset": "folder", "root": str(root), **knobs})
    report = check_data(data, data_home=root)
    assert report.errors == ()
    catalogue = open_folder(root, **knobs)
    assert report.understood == catalogue.understood
    return catalogue


def refused(root: Path, **knobs: object) -> str:
    with pytest.raises(UserError) as caught:
        open_folder(root, **knobs)
    return str(caught.value)


@pytest.mark.parametrize(
    ("folders", "validation", "wanted"),
    [
        ({"a": 5, "b/deep/er": 5}, None, {"train": 8, "test": 2}),
        ({"Training/a": 5, "Training/b": 5, "TEST/a": 1, "TEST/b": 2}, None, {"train": 10, "test": 3}),
        ({"trn/a": 5, "trn/b": 5, "tst/a": 1}, None, {"train": 10, "test": 1}),
        (
            {"train_set/a": 5, "train_set/b": 5, "validation": 0, "validation/a": 2, "test_set/a": 1},
            "own",
            {"train": 10, "validation": 2, "test": 1},
        ),
        ({"train/a": 5, "train/b": 5, "val/a": 2, "val/b": 2}, "train", {"train": 12, "test": 2}),
    ],
)
def test_classes_lie_at_any_depth_and_parts_have_their_usual_names(
    tmp_path: Path, folders: dict[str, int], validation: str | None, wanted: dict[str, int]
) -> None:
    folders = {name: count for name, count in folders.items() if count}
    found = fits(make_folder(tmp_path, folders), **({"validation": validation} if validation else {}))
    assert found.breeds == ("a", "b")
    assert parts(found) == wanted


def test_own_validation_validates_and_nothing_is_held_out_for_it(tmp_path: Path) -> None:
    make_folder(tmp_path, {"train/a": 6, "train/b": 6, "val/a": 2, "val/b": 2, "test/a": 1, "test/b": 1})
    found = fits(tmp_path, validation="own")
    data = Data.model_validate({"dataset": "folder", "root": str(tmp_path), "validation": "own"})
    split = make_split(found, data, None)
    assert [len(p) for p in (split.labelled, split.validation, split.test)] == [12, 4, 2]
    assert found.understood == ("train/, val/, test/: 12 images train, 4 images validate, 2 images test",)


def test_parts_within_each_class_are_parts(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a/train": 4, "a/test": 2, "a/val": 1, "b/Train/deep": 4, "b/Test": 1})
    found = fits(tmp_path, validation="own")
    assert found.breeds == ("a", "b")
    assert parts(found) == {"train": 8, "test": 3, "validation": 1}
    assert found.understood == (
        "folders within the classes: 8 images train, 1 images validate, 3 images test",
    )
    make_folder(tmp_path / "two", {"cats/pug/train": 5, "cats/pug/test": 1, "dogs/pug/train": 5})
    found = fits(tmp_path / "two", class_from="folder:1-2")
    assert (found.breeds, parts(found)) == (("cats/pug", "dogs/pug"), {"train": 10, "test": 1})


@pytest.mark.parametrize("pool", ["unlabelled", "Unlabeled Images", "no_label", "un-annotated", "pool"])
@pytest.mark.parametrize("labelled", ["labelled", "labeled", "annotated", "train", "."])
def test_labelled_and_unlabelled_folders_are_labels_and_pool(
    tmp_path: Path, labelled: str, pool: str
) -> None:
    found = fits(make_folder(tmp_path, {f"{labelled}/a": 5, f"{labelled}/b": 5, f"{pool}/x/y": 7}))
    assert found.breeds == ("a", "b")
    assert parts(found) == {"train": 8, "test": 2, "unlabelled": 7}
    labels = parse_recipe('name = "x"\n[pseudo_label]\nstrategy = "one_shot"').pseudo_label
    split = make_split(found, Data(dataset="folder", root=str(tmp_path)), labels)
    assert (len(split.labelled), len(split.unlabelled)) == (6, 7)


def test_loose_images_beside_class_folders_are_the_pool(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 5, "b": 5})
    for number in range(3):
        (tmp_path / f"IMG_{number}.jpg").write_bytes(jpeg(100 + number))
    (tmp_path / "notes.txt").touch()
    found = fits(tmp_path)
    assert parts(found) == {"train": 8, "test": 2, "unlabelled": 3}
    assert found.understood == (
        "3 images have no class, such as IMG_0.jpg: they are the pool, which [pseudo_label] learns from",
    )
    make_folder(tmp_path / "sorted", {"train/a": 5, "train/b": 5, "test/a": 2, "test/b": 2})
    for part in ("train", "test"):
        (tmp_path / "sorted" / part / "loose.jpg").write_bytes(jpeg(200))
    found = fits(tmp_path / "sorted")
    assert parts(found) == {"train": 10, "test": 4, "unlabelled": 1}, "what would test is no pool"
    assert found.passed_over == ("1 .jpg: in no class sub-folder",)


@pytest.mark.parametrize("flat", ["test", "test/test", "test/images", "Test/unknown"])
def test_a_flat_test_folder_is_to_predict_and_not_to_test(tmp_path: Path, flat: str) -> None:
    found = fits(make_folder(tmp_path, {"train/a": 10, "train/b": 10, flat: 6}))
    assert parts(found) == {"train": 16, "test": 4}
    name = flat.partition("/")[0]
    assert found.understood[0] == (
        f"{name}/ has 6 images and no classes: they are to predict, not to test "
        f"(petbench predict RUN {tmp_path / name})"
    )


def test_two_levels_are_one_class_or_two_by_what_the_recipe_says(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cats/birman": 5, "cats/bengal": 5, "dogs/pug": 5, "dogs/boxer/more": 5})
    (tmp_path / "cats" / "loose.jpg").write_bytes(jpeg(99))
    assert fits(tmp_path).breeds == ("cats", "dogs")
    assert fits(tmp_path, class_from="folder:1").breeds == ("cats", "dogs")
    found = fits(tmp_path, class_from="folder:1-2")
    assert found.breeds == ("cats/bengal", "cats/birman", "dogs/boxer", "dogs/pug")
    assert parts(found)["unlabelled"] == 1
    assert found.understood[0] == "classes from folder:1-2: 20 of 21 images have one"
    assert "such as cats/loose.jpg: they are the pool" in found.understood[1]
    assert fits(tmp_path, class_from="folder:2").breeds == ("bengal", "birman", "boxer", "pug")


def test_classes_are_read_from_names_and_what_does_not_match_is_told(tmp_path: Path) -> None:
    names = [f"{breed}_{number}" for breed in ("great_pyrenees", "Bombay") for number in range(5)]
    for seed, name in enumerate([*names, "readme", "_7"]):
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(seed))
    found = fits(tmp_path, class_from=r"name:^(.+)_\d+$")
    assert found.breeds == ("Bombay", "great_pyrenees")
    assert parts(found) == {"train": 8, "test": 2, "unlabelled": 2}
    assert found.understood[0] == r"classes from name:^(.+)_\d+$: 10 of 12 images have one"
    assert "2 images have no class, such as _7.jpg" in found.understood[1]
    assert fits(tmp_path, class_from=r"name:^(.*)_\d+.jpg$").breeds == found.breeds, "fastai's own pattern"


def test_names_tell_classes_within_parts_too(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("test", 2)):
        (tmp_path / part).mkdir()
        for number in range(count):
            for breed in "ab":
                seed = 100 * count + 2 * number + (breed == "b")
                (tmp_path / part / f"{breed}_{number}.jpg").write_bytes(jpeg(seed))
    assert parts(fits(tmp_path, class_from=r"name:^(.)_")) == {"train": 10, "test": 4}


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 2, "b": 2})
    message = refused(tmp_path, class_from=r"name:^(\w+)-\d+$")
    assert r'class_from = "name:^(\\w+)-\\d+$" matches none of 4 images, such as a/000.jpg' in message
    assert "matches none of 4 images" in refused(tmp_path, class_from="folder:3")
    assert "only one class, 00" in refused(tmp_path, class_from=r"name:^(\d\d)")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("folder:0", "folders are counted from 1 to 9"),
        ("folder:2-1", "level 2 lies below level 1"),
        ("names:(.)", "it begins with folder: or name:"),
        ("name:(", "no regular expression: missing )"),
        ("name:abc", "a pattern with 0 groups in parentheses, not one that is the class"),
        ("name:(a)(b)", "a pattern with 2 groups"),
    ],
)
def test_a_class_source_that_is_none_says_why(text: str, why: str) -> None:
    with pytest.raises(UserError, match=r"data\.class_from") as caught:
        parse_recipe(f"name = 'x'\n[data]\ndataset = 'folder'\nroot = 'x'\nclass_from = '{text}'")
    assert why in str(caught.value)


def test_a_flat_folder_without_a_label_says_what_could_be_read(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    for number in range(4):
        (tmp_path / "all" / f"{number}.jpg").write_bytes(jpeg(number))
    message = refused(tmp_path / "all")
    assert "no images in any class sub-folder; 4 images in none" in message
    assert "data.class_from" in message
