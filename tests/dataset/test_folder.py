from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.dataset.pictures import jpeg, make_folder, open_folder
from workbench.dataset import open_catalogue
from workbench.dataset.catalogue import Catalogue
from workbench.dataset.folder import list_folder
from workbench.recipe import Data
from workbench.support.errors import UserError


def test_share_of_each_class_is_held_out_for_the_test(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cats": 10, "dogs": 21})
    catalogue = open_folder(tmp_path)
    test = catalogue.positions("test")
    assert catalogue.breeds == ("cats", "dogs")
    assert catalogue.labels("breed")[test].tolist() == [0] * 2 + [1] * 4
    assert [record.id for record in catalogue.records] == sorted(record.id for record in catalogue.records)
    assert catalogue.records[0].id == "cats/000.jpg"


def test_held_out_images_depend_on_the_split_seed_alone(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cats": 20, "dogs": 20})

    def tested(seed: int) -> list[int]:
        catalogue = open_folder(tmp_path, test_fraction=0.5, split_seed=seed)
        return [int(position) for position in catalogue.positions("test")]

    assert tested(0) == tested(0)
    assert tested(0) != tested(1)


def test_class_of_one_image_keeps_it_for_training(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cats": 1, "dogs": 2})
    catalogue = open_folder(tmp_path, test_fraction=0.9)
    assert [record.part for record in catalogue.records if record.breed == 0] == ["train"]
    assert sorted(record.part for record in catalogue.records if record.breed == 1) == ["test", "train"]


@pytest.mark.parametrize(
    ("folders", "train", "test"),
    [
        ({"train/a": 3, "train/b": 2, "test/a": 1, "test/b": 2}, 5, 3),
        ({"labelled/a": 3, "labelled/b": 2, "Testing/a": 1, "Testing/b": 2}, 5, 3),
        ({"Train/a": 3, "Train/b": 2, "Test/b": 2}, 5, 2),
    ],
)
def test_own_test_part_is_used(tmp_path: Path, folders: dict[str, int], train: int, test: int) -> None:
    catalogue = open_folder(make_folder(tmp_path, folders))
    assert (len(catalogue.positions("train")), len(catalogue.positions("test"))) == (train, test)
    assert catalogue.breeds == ("a", "b")
    assert len({record.id for record in catalogue.records}) == train + test


def test_test_fraction_beside_an_own_test_part_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path, {"train/a": 3, "train/b": 2, "test/a": 1})
    data = Data(dataset="folder", root=str(tmp_path), test_fraction=0.3)
    with pytest.raises(UserError, match="its own test part"):
        open_catalogue(data, data_home=tmp_path)


def test_same_name_in_two_classes_is_two_images(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "b": 1})
    assert [record.id for record in open_folder(tmp_path).records] == ["a/000.jpg", "b/000.jpg"]


def test_images_at_any_depth_count_and_other_files_are_listed(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 1, "a/deep/er": 1, "b": 1, ".git": 1, "a/.hidden": 1})
    (tmp_path / "a" / ".x.jpg").write_bytes(jpeg())
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "readme.md").touch()
    (tmp_path / "b" / "upper.JPEG").write_bytes(jpeg(5))
    (tmp_path / "b" / "loop").symlink_to(tmp_path, target_is_directory=True)
    listing = list_folder(tmp_path, Data(dataset="folder", root=str(tmp_path)))
    assert [image.id for image in listing.images] == [
        "a/000.jpg",
        "a/deep/er/000.jpg",
        "b/000.jpg",
        "b/upper.JPEG",
    ]
    assert [(file.id, file.place) for file in listing.stray] == [
        ("a/notes.txt", "a"),
        ("b/loop", "b"),
        ("readme.md", ""),
    ]
    assert listing.passed_over == (
        "1 .md: not an image by its name",
        "1 .txt in a: not an image by its name",
        "1 link to a folder in b: not followed",
    )


def test_broken_images_are_left_out_by_name(tmp_path: Path) -> None:
    make_folder(tmp_path, {"a": 2, "b": 2})
    (tmp_path / "b" / "bad.png").write_bytes(b"\x89PNG nothing")
    catalogue = open_folder(tmp_path)
    assert [image.id for image in catalogue.left_out] == ["b/bad.png"]
    assert len(catalogue) == 4


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        ({}, "no images"),
        ({"a": 0, "b": 0}, "no images"),
        ({"a": 3}, "only one class, a"),
        ({"a": 3, "b": 0}, "only one class, a"),
        ({"train/a": 3, "test/a": 1, "test/b": 1}, "classes without a training image: b"),
    ],
)
def test_folder_that_cannot_be_learned_from_is_refused(
    tmp_path: Path, folders: dict[str, int], message: str
) -> None:
    make_folder(tmp_path, folders)
    with pytest.raises(UserError) as caught:
        open_folder(tmp_path)
    assert message in caught.value.what


def test_a_class_only_tested_says_what_to_do_and_a_lone_class_lists_no_endings(
    tmp_path: Path,
) -> None:
    make_folder(tmp_path / "two", {"Training/a": 3, "Training/c": 1, "test/a": 1, "test/d": 1})
    with pytest.raises(UserError, match="without a training image: d") as caught:
        open_folder(tmp_path / "two")
    assert caught.value.hint == (
        "put images to learn from into Training/d/, or move test/d/ out of data.root"
    )
    make_folder(tmp_path / "one", {"a": 3})
    with pytest.raises(UserError, match="only one class, a") as caught:
        open_folder(tmp_path / "one")
    assert ".png" not in str(caught.value)


def test_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        open_catalogue(Data(dataset="folder", root=str(tmp_path / "gone")), data_home=tmp_path)


def test_strange_names_are_kept_apart_and_can_be_written_as_text(tmp_path: Path) -> None:
    names = [b"[red]x[b]", b"a\nb", b"\x1b[31mred", b"caf\xe9", b"caf\\xe9", b"a..b ", "ｅ‮evil".encode()]
    for name in names:
        directory = tmp_path / os.fsdecode(name)
        directory.mkdir()
        (directory / "1.jpg").write_bytes(jpeg())
        (directory / os.fsdecode(b"\xff.jpg")).write_bytes(jpeg())
    catalogue = open_folder(tmp_path)
    ids = [record.id for record in catalogue.records]
    assert len(set(ids)) == len(ids) == 2 * len(names)
    assert len(set(catalogue.breeds)) == len(names)
    for text in (*ids, *catalogue.breeds):
        text.encode("utf-8")
    assert r"caf\xe9" in catalogue.breeds
    assert all(record.path.exists() for record in catalogue.records)
    assert catalogue.fingerprint


def test_folder_catalogue_knows_no_species(tmp_path: Path) -> None:
    catalogue: Catalogue = open_folder(make_folder(tmp_path, {"a": 1, "b": 1}))
    assert catalogue.species == ()
    assert {record.species for record in catalogue.records} == {None}
