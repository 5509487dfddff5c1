"""From ids to files, remembered as long as the data set's directories stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from workbench.recipe.data import Data
from workbench.support.errors import UserError
from workbench.tui.pictures import files
from workbench.tui.pictures.files import picture_files


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """A folder data set of two classes."""
    for name in ("cat/tom.png", "dog/rex.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(path)
        Image.new("RGB", (8, 8)).save(path.with_name("more.png"))
    return Data(dataset="folder", root=str(tmp_path / "pets"))


def test_ids_lead_to_files_and_are_remembered(
    data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = picture_files(data, tmp_path)
    assert found["cat/tom.png"] == tmp_path / "pets" / "cat" / "tom.png"
    assert len(found) == 4
    monkeypatch.setattr(files, "open_catalogue", None)  # a second look would fail
    assert picture_files(data, tmp_path) == found


def test_a_new_image_is_noticed(data: Data, tmp_path: Path) -> None:
    picture_files(data, tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "pets" / "dog" / "new.png")
    assert "dog/new.png" in picture_files(data, tmp_path)


def test_what_was_remembered_badly_is_read_again(data: Data, tmp_path: Path) -> None:
    found = picture_files(data, tmp_path)
    (kept,) = (tmp_path / "cache" / "pictures").iterdir()
    for text in (
        "",
        "[]",
        '{"directories": {"/nowhere": 1}, "files": {}}',
        '{"files": 3, "directories": {}}',
    ):
        kept.write_text(text)
        assert picture_files(data, tmp_path) == found


def test_a_missing_data_set_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such directory"):
        picture_files(Data(dataset="folder", root=str(tmp_path / "gone")), tmp_path)
    with pytest.raises(UserError, match="is not there") as caught:
        picture_files(Data(), tmp_path)
    assert "petbench data get" in caught.value.hint
