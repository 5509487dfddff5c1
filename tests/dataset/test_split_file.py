from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.dataset.pictures import open_folder, paper_catalogue
from workbench.dataset import SPLIT_FILE, load_split, make_split, save_split
from workbench.dataset.catalogue import Catalogue, HeadBox
from workbench.dataset.split_file import is_by_content
from workbench.recipe import Data
from workbench.recipe.strategies.by_confidence import Iterative
from workbench.support.digests import SUMS
from workbench.support.errors import UserError

CATALOGUE = paper_catalogue([(10, 3), (10, 4)])
SPLIT = make_split(CATALOGUE, Data(), Iterative(labelled_fraction=0.3))


def other(records: slice) -> Catalogue:
    kept = CATALOGUE.records[records]
    return Catalogue(CATALOGUE.dataset, CATALOGUE.root, CATALOGUE.breeds, CATALOGUE.species, kept)


def test_saved_split_comes_back_the_same(tmp_path: Path) -> None:
    save_split(tmp_path / SPLIT_FILE, CATALOGUE, SPLIT)
    loaded = load_split(tmp_path / SPLIT_FILE, CATALOGUE, exact=True)
    assert loaded.fingerprint == SPLIT.fingerprint
    assert loaded.labelled.dtype == SPLIT.labelled.dtype


def test_split_follows_the_images_when_their_order_changes(tmp_path: Path) -> None:
    save_split(tmp_path / SPLIT_FILE, CATALOGUE, SPLIT)
    turned = other(slice(None, None, -1))
    loaded = load_split(tmp_path / SPLIT_FILE, turned)
    assert {turned.records[i].id for i in loaded.labelled} == {
        CATALOGUE.records[i].id for i in SPLIT.labelled
    }


def test_lost_image_is_named(tmp_path: Path) -> None:
    save_split(tmp_path / SPLIT_FILE, CATALOGUE, SPLIT)
    with pytest.raises(UserError, match=r"no longer has 1 of this split's images: class0_0"):
        load_split(tmp_path / SPLIT_FILE, other(slice(1, None)))


def test_added_image_passes_unless_the_data_must_be_exact(tmp_path: Path) -> None:
    part = other(slice(0, 25))
    split = make_split(part, Data(), None)
    save_split(tmp_path / SPLIT_FILE, part, split)
    assert load_split(tmp_path / SPLIT_FILE, CATALOGUE).fingerprint == split.fingerprint
    with pytest.raises(UserError, match="has changed"):
        load_split(tmp_path / SPLIT_FILE, CATALOGUE, exact=True)


def test_image_in_two_parts_is_refused(tmp_path: Path) -> None:
    path = tmp_path / SPLIT_FILE
    save_split(path, CATALOGUE, SPLIT)
    content = json.loads(path.read_text())
    content["test"].append(content["labelled"][0])
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="twice"):
        load_split(path, CATALOGUE)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_split(tmp_path / SPLIT_FILE, CATALOGUE)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.integers() | st.text(),
            lambda v: st.lists(v) | st.dictionaries(st.sampled_from(["schema", "labelled", "test"]), v),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_other_content_is_refused_in_one_message(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / SPLIT_FILE
        path.write_bytes(content)
        with pytest.raises(UserError) as caught:
            load_split(path, CATALOGUE)
        assert SPLIT_FILE in str(caught.value)


def test_damaged_line_is_told_by_its_key(tmp_path: Path) -> None:
    path = tmp_path / SPLIT_FILE
    save_split(path, CATALOGUE, SPLIT)
    content: dict[str, Any] = json.loads(path.read_text())
    content["validation"] = "all"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="validation"):
        load_split(path, CATALOGUE)


def _bitmaps(folder: Path, colour: str) -> Catalogue:
    """Ten pictures of two classes and one length."""
    for number in range(10):
        path = folder / "ab"[number % 2] / f"{number}.bmp"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (number, 0, 0)).save(path)
    Image.new("RGB", (20, 20), colour).save(folder / "a" / "4.bmp")
    return open_folder(folder)


def test_a_picture_replaced_by_one_of_the_same_length_is_named(tmp_path: Path) -> None:
    catalogue = _bitmaps(tmp_path / "in", "red")
    save_split(tmp_path / SPLIT_FILE, catalogue, make_split(catalogue, Data(), None))
    load_split(tmp_path / SPLIT_FILE, _bitmaps(tmp_path / "in", "red"), exact=True)
    changed = _bitmaps(tmp_path / "in", "blue")
    assert load_split(tmp_path / SPLIT_FILE, changed).fingerprint
    with pytest.raises(UserError, match=r"1 images are other pictures now \(a/4\.bmp\)\n.*back as it was"):
        load_split(tmp_path / SPLIT_FILE, changed, exact=True)


def test_other_head_boxes_are_other_data(tmp_path: Path) -> None:
    catalogue = _bitmaps(tmp_path / "in", "red")
    save_split(tmp_path / SPLIT_FILE, catalogue, make_split(catalogue, Data(), None))
    boxed = replace(catalogue.records[0], head=HeadBox(0.1, 0.1, 0.5, 0.5))
    with pytest.raises(UserError, match="head boxes are others"):
        load_split(
            tmp_path / SPLIT_FILE, replace(catalogue, records=(boxed, *catalogue.records[1:])), exact=True
        )


def test_a_split_from_before_contents_were_read_goes_by_names_and_lengths(tmp_path: Path) -> None:
    catalogue = _bitmaps(tmp_path / "in", "red")
    path = tmp_path / SPLIT_FILE
    save_split(path, catalogue, make_split(catalogue, Data(), None))
    assert is_by_content(path)
    saved = json.loads(path.read_text())
    del saved["contents"], saved["head_boxes"]
    path.write_text(json.dumps(saved | {"data_fingerprint": catalogue.fingerprint_by_name}))
    (tmp_path / SUMS).unlink()
    assert not is_by_content(path)
    load_split(path, _bitmaps(tmp_path / "in", "blue"), exact=True)
    with pytest.raises(UserError, match="has changed"):
        load_split(path, replace(catalogue, records=catalogue.records[::-1]), exact=True)
