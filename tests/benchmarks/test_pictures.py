"""The folders that all sides read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from benchmarks.pictures import draw_folder, make_tree
from tests.dataset.pictures import open_folder


def test_drawn_trees_hold_every_class_in_both_parts(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", images=10, validation=4, pets=None)
    catalogue = open_folder(tree.root)
    assert (tree.classes, len(catalogue.classes("breed"))) == (4, 4)
    by_part = Counter((record.part, record.breed) for record in catalogue.records)
    assert [by_part["train", label] for label in range(4)] == [3, 3, 2, 2]
    assert [by_part["test", label] for label in range(4)] == [1, 1, 1, 1]


def test_images_of_a_drawn_folder_have_the_size_asked_for(tmp_path: Path) -> None:
    draw_folder(tmp_path / "drawn", images=5, classes=2, size=(96, 72))
    files = sorted((tmp_path / "drawn").glob("*/*.jpg"))
    assert [file.parent.name for file in files] == ["class0000"] * 3 + ["class0001"] * 2
    assert {Image.open(file).size for file in files} == {(96, 72)}


def test_more_images_than_drawings_are_copies_of_their_own_class(tmp_path: Path) -> None:
    draw_folder(tmp_path / "drawn", images=600, classes=3, size=(8, 8))
    contents = [
        {file.read_bytes() for file in folder.iterdir()} for folder in sorted((tmp_path / "drawn").iterdir())
    ]
    assert len(contents) == 3
    assert not contents[0] & contents[1]
    assert sum(map(len, contents)) == 256
