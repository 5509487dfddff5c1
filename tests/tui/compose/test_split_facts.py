"""What Compose says of a draft's images, extra ones apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.dataset.pictures import jpeg, make_folder
from workbench.recipe import Recipe
from workbench.recipe.data import Data
from workbench.recipe.strategies.by_confidence import OneShot
from workbench.tui.pictures.files import picture_files
from workbench.tui.screens.compose.fact_finder import SplitReader, split_key


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """A folder of two classes with extra images."""
    root = make_folder(tmp_path / "pets", {"cat": 6, "dog": 6})
    more, many = tmp_path / "more", tmp_path / "many"
    _put(more / "cat" / "new.jpg", 50)
    _put(many / "deep" / "one.jpg", 60)
    _put(many / "two.jpg", 61)
    return Data(dataset="folder", root=str(root), extra_labelled=str(more), extra_unlabelled=str(many))


def _put(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg(seed))


def test_labels_and_pool_are_counted_with_extra_images_apart(data: Data, tmp_path: Path) -> None:
    reader = SplitReader(tmp_path)
    recipe = Recipe(name="few", data=data, pseudo_label=OneShot(labels_per_class=1))

    def on(**changes: str) -> Recipe:
        return recipe.model_copy(update={"data": data.model_copy(update=changes)})

    plain = on(extra_labelled="", extra_unlabelled="")
    assert split_key(plain) != split_key(recipe)
    before, after = reader.read(plain).summary, reader.read(recipe).summary
    assert before is not None
    assert after is not None
    assert (before.labelled_words, before.unlabelled_words) == ("2", "6")
    assert (after.labelled_words, after.unlabelled_words) == ("2 + 1 extra", "6 + 2 extra")
    assert reader.read(on(extra_labelled="/gone")).problem


def test_extra_pictures_have_files_and_a_new_one_is_noticed(data: Data, tmp_path: Path) -> None:
    found = picture_files(data, tmp_path)
    assert found["extra_unlabelled/deep/one.jpg"] == Path(data.extra_unlabelled) / "deep" / "one.jpg"
    assert picture_files(data, tmp_path) == found
    _put(Path(data.extra_unlabelled) / "deep" / "new.jpg", 70)
    assert "extra_unlabelled/deep/new.jpg" in picture_files(data, tmp_path)
