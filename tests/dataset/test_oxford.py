from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.pictures import box, box_file, jpeg, make_oxford, small_oxford
from workbench.dataset import open_catalogue
from workbench.dataset.catalogue import HeadBox
from workbench.dataset.oxford import read_lists, read_oxford
from workbench.recipe import Data
from workbench.support.errors import UserError


def test_breeds_species_parts_and_boxes_come_from_the_annotations(tmp_path: Path) -> None:
    catalogue = read_oxford(small_oxford(tmp_path), dataset="oxford-iiit-pet")
    assert catalogue.breeds == ("Tom", "rex")
    assert catalogue.species == ("cat", "dog")
    assert [record.id for record in catalogue.records] == [
        "Tom_1",
        "Tom_2",
        "rex_1",
        "rex_2",
        "Tom_3",
        "rex_3",
    ]
    assert catalogue.labels("breed").tolist() == [0, 0, 1, 1, 0, 1]
    assert catalogue.labels("species").tolist() == [0, 0, 1, 1, 0, 1]
    assert catalogue.positions("test").tolist() == [4, 5]
    first = catalogue.records[0]
    assert (first.size, first.bytes) == ((40, 30), first.path.stat().st_size)
    assert first.head == HeadBox(0.25, 5 / 30, 0.75, 25 / 30)
    assert catalogue.records[4].head is None


def test_comments_blank_lines_and_carriage_returns_in_lists_are_passed_over(tmp_path: Path) -> None:
    make_oxford(tmp_path, ["# NAME CLASS", "", "Tom_1 1 1 1\r", "rex_1 2 2 1"], ["Tom_2 1 1 1"])
    assert len(read_oxford(tmp_path, dataset="oxford-iiit-pet")) == 3


def test_class_numbers_with_gaps_keep_their_order(tmp_path: Path) -> None:
    make_oxford(tmp_path, ["zed_1 9 2 1", "Abe_1 30 1 1"], ["zed_2 9 2 1"])
    catalogue = read_oxford(tmp_path, dataset="oxford-iiit-pet")
    assert catalogue.breeds == ("zed", "Abe")
    assert catalogue.labels("breed").tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Tom_9 1 1", "expected 4 fields"),
        ("Tom_9 1 1 1 1", "expected 4 fields"),
        ("Tom_9 one 1 1", "must be numbers"),
        ("Tom_9 ² 1 1", "must be numbers"),
        ("Tom_9 1 3 1", "species must be 1"),
        ("Tom_9 0 1 1", "classes count from 1"),
        ("Tom 1 1 1", "not BREED_NUMBER"),
        ("../../Tom_9 1 1 1", "not BREED_NUMBER"),
        ("rex_9 1 2 1", "rex = class 1, dog here, rex = class 2, dog"),
        ("Max_9 1 1 1", "Max = class 1, cat here, Tom = class 1, cat"),
        ("Tom_9 1 2 1", "Tom = class 1, dog here"),
        ("Tom_1 1 1 1", "Tom_1 is at trainval.txt:1 too"),
        ("Tom_2 1 1 1", "Tom_2 is at trainval.txt:3 too"),
    ],
)
def test_wrong_line_is_named_with_file_and_line(tmp_path: Path, line: str, reason: str) -> None:
    make_oxford(tmp_path, ["Tom_1 1 1 1", "rex_1 2 2 1", "Tom_2 1 1 1"], ["rex_2 2 2 1", line])
    with pytest.raises(UserError) as caught:
        read_oxford(tmp_path, dataset="oxford-iiit-pet")
    assert reason in caught.value.what
    assert caught.value.where.endswith("annotations/test.txt:2")


def test_control_characters_in_a_bad_line_are_shown_not_sent(tmp_path: Path) -> None:
    make_oxford(tmp_path, ["Tom_1 1 1 1"], ["rex_\x1b]0;hi\x07 2"])
    with pytest.raises(UserError) as caught:
        read_oxford(tmp_path, dataset="oxford-iiit-pet")
    assert "\x1b" not in str(caught.value)
    assert r"\x1b" in str(caught.value)


def test_missing_and_broken_images_are_left_out_by_name(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    (root / "images" / "Tom_1.jpg").unlink()
    (root / "images" / "rex_3.jpg").write_text("no image")
    catalogue = read_oxford(root, dataset="oxford-iiit-pet")
    assert [image.id for image in catalogue.left_out] == ["Tom_1", "rex_3"]
    assert len(catalogue) == 4
    assert catalogue.breeds == ("Tom", "rex")


def test_impossible_box_is_not_used(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    box_file(root, "Tom_1").write_text(box(30, 5, 10, 25))
    assert read_oxford(root, dataset="oxford-iiit-pet").records[0].head is None


def test_fingerprint_changes_with_an_image_and_not_with_the_place(tmp_path: Path) -> None:
    one, two = small_oxford(tmp_path / "one"), small_oxford(tmp_path / "two")
    before = read_oxford(one, dataset="oxford-iiit-pet").fingerprint
    assert read_oxford(two, dataset="oxford-iiit-pet").fingerprint == before
    (two / "images" / "Tom_1.jpg").write_bytes(jpeg(99, width=60))
    assert read_oxford(two, dataset="oxford-iiit-pet").fingerprint != before


def test_root_may_be_the_set_or_its_parent_or_left_to_the_data_home(tmp_path: Path) -> None:
    root = small_oxford(tmp_path / "oxford-iiit-pet")
    for data, home in (
        (Data(), tmp_path),
        (Data(root=str(root)), Path("/nowhere")),
        (Data(root=str(tmp_path)), Path("/nowhere")),
    ):
        assert open_catalogue(data, data_home=home).root == root


def test_missing_set_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_catalogue(Data(), data_home=tmp_path)
    assert "petbench data get" in caught.value.hint
    assert "PETBENCH_DATA" in caught.value.hint


def test_set_without_its_lists_says_which_list(tmp_path: Path) -> None:
    root = small_oxford(tmp_path / "oxford-iiit-pet")
    (root / "annotations" / "test.txt").unlink()
    with pytest.raises(UserError, match=r"test\.txt"):
        open_catalogue(Data(), data_home=tmp_path)


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=30), max_size=8))
def test_any_list_is_entries_and_problems(lines: list[str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        for name in ("trainval.txt", "test.txt"):
            (Path(directory) / name).write_text("\n".join(lines), encoding="utf-8", errors="replace")
        lists = read_lists(Path(directory))
        assert len(lists.train) == len(lists.test)
        # Both lists are the same, so whatever is an entry in one must be reported in the other.
        assert len(lists.problems) >= len(lists.train)


def test_real_photographs_are_all_there(real_data: Path) -> None:
    catalogue = open_catalogue(Data(), data_home=real_data)
    assert len(catalogue.positions("train")) == 3680
    assert len(catalogue.positions("test")) == 1837
    assert len(catalogue.breeds) == 37
    assert (catalogue.breeds[0], catalogue.breeds[1]) == ("Abyssinian", "american_bulldog")
    assert catalogue.left_out == ()
    heads = [record.head for record in catalogue.records if record.head is not None]
    assert len(heads) == 3671
    assert all(0 <= h.left < h.right <= 1 and 0 <= h.top < h.bottom <= 1 for h in heads)
    cats = {record.breed for record in catalogue.records if record.species == 0}
    assert sorted(cats) == [i for i, breed in enumerate(catalogue.breeds) if breed[0].isupper()]
    assert len(cats) == 12
    assert np.bincount(catalogue.labels("breed")[catalogue.positions("train")]).min() >= 90


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
def test_lists_are_read_whatever_mark_an_editor_put_first(tmp_path: Path, encoding: str) -> None:
    root = small_oxford(tmp_path)
    before = read_lists(root / "annotations")
    for name in ("trainval.txt", "test.txt"):
        path = root / "annotations" / name
        path.write_bytes(path.read_text().replace("\n", "\r\n").encode(encoding))
    assert read_lists(root / "annotations") == before


def test_list_in_utf_16_without_a_mark_is_refused_in_words(tmp_path: Path) -> None:
    root = small_oxford(tmp_path)
    path = root / "annotations" / "trainval.txt"
    path.write_bytes(path.read_text().encode("utf-16-le"))
    with pytest.raises(UserError, match="null bytes"):
        read_lists(root / "annotations")
