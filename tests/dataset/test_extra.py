"""Extra images join what trains, counted apart, and never what measures a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.pictures import jpeg, small_oxford
from workbench.dataset import load_split, make_split, open_catalogue, save_split, split_summary
from workbench.dataset.check import check_data
from workbench.dataset.extra import copied_images, list_extra
from workbench.recipe import Recipe, load_recipe, parse_recipe
from workbench.recipe.data import Data
from workbench.recipe.strategies.by_confidence import OneShot
from workbench.support.errors import UserError

LABELLED = ("Tom/a.jpg", "Tom/deep/b.jpg", "rex/a.jpg")
UNLABELLED = ("z.jpg", "any/where/y.jpg")


def put(folder: Path, names: tuple[str, ...], first_seed: int) -> Path:
    for seed, name in enumerate(names, first_seed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(seed))
    return folder


@pytest.fixture
def oxford(tmp_path: Path) -> Path:
    return small_oxford(tmp_path / "oxford-iiit-pet")


@pytest.fixture
def data(oxford: Path, tmp_path: Path) -> Data:
    return Data(
        root=str(oxford),
        extra_labelled=str(put(tmp_path / "more", LABELLED, 100)),
        extra_unlabelled=str(put(tmp_path / "many", UNLABELLED, 200)),
        validation_fraction=0.5,
    )


def plain(data: Data) -> Data:
    return data.model_copy(update={"extra_labelled": "", "extra_unlabelled": ""})


def test_extra_images_come_after_the_data_sets_own_with_their_class_or_none(
    data: Data, tmp_path: Path
) -> None:
    own, both = (open_catalogue(d, data_home=tmp_path) for d in (plain(data), data))
    assert both.records[: len(own)] == own.records
    extra = both.records[len(own) :]
    assert [record.id for record in extra] == [
        "extra_labelled/Tom/a.jpg",
        "extra_labelled/Tom/deep/b.jpg",
        "extra_labelled/rex/a.jpg",
        "extra_unlabelled/any/where/y.jpg",
        "extra_unlabelled/z.jpg",
    ]
    assert both.labels("breed")[len(own) :].tolist() == [0, 0, 1, -1, -1]
    assert both.labels("species")[len(own) :].tolist() == [0, 0, 1, -1, -1]
    assert both.is_extra.tolist() == [False] * len(own) + [True] * 5
    assert both.fingerprint != own.fingerprint


def test_the_division_of_the_own_images_is_as_without_extra_ones(data: Data, tmp_path: Path) -> None:
    own, both = (open_catalogue(d, data_home=tmp_path) for d in (plain(data), data))
    labels = OneShot(labelled_fraction=0.5)
    before, after = make_split(own, plain(data), labels), make_split(both, data, labels)
    count = len(own)
    assert after.validation.tolist() == before.validation.tolist()
    assert after.test.tolist() == before.test.tolist()
    assert after.labelled.tolist() == [*before.labelled.tolist(), count, count + 1, count + 2]
    assert after.unlabelled.tolist() == [*before.unlabelled.tolist(), count + 3, count + 4]
    summary = split_summary(both, after, "breed")
    assert summary.labelled_words == f"{len(before.labelled)} + 3 extra"
    assert summary.unlabelled_words == f"{len(before.unlabelled)} + 2 extra"
    assert summary.total.unlabelled == len(before.unlabelled) + 2
    assert sum(row.unlabelled for row in summary.classes) == len(before.unlabelled)
    assert [row.labelled for row in summary.classes] == [
        row.labelled + more
        for row, more in zip(split_summary(own, before, "breed").classes, (2, 1), strict=True)
    ]


def test_a_saved_split_lists_extra_images_apart_and_is_read_back_the_same(data: Data, tmp_path: Path) -> None:
    catalogue = open_catalogue(data, data_home=tmp_path)
    split = make_split(catalogue, data, OneShot(labels_per_class=1))
    save_split(tmp_path / "split.json", catalogue, split)
    saved = json.loads((tmp_path / "split.json").read_text())
    assert saved["extra_labelled"] == [f"extra_labelled/{name}" for name in LABELLED]
    assert not [name for name in saved["labelled"] + saved["unlabelled"] if "extra" in name]
    assert load_split(tmp_path / "split.json", catalogue, exact=True).fingerprint == split.fingerprint


def test_a_split_without_extra_images_is_written_as_before_there_were_any(data: Data, tmp_path: Path) -> None:
    catalogue = open_catalogue(plain(data), data_home=tmp_path)
    save_split(tmp_path / "split.json", catalogue, make_split(catalogue, plain(data), None))
    assert list(json.loads((tmp_path / "split.json").read_text())) == [
        *("schema", "dataset", "data_fingerprint", "split_fingerprint"),
        *("labelled", "unlabelled", "validation", "test", "contents", "head_boxes"),
    ]


def test_species_sub_folders_are_classes_where_the_species_is_predicted(data: Data, tmp_path: Path) -> None:
    folder = put(tmp_path / "kinds", ("cat/a.jpg", "rex/b.jpg"), 300)
    named = data.model_copy(update={"extra_labelled": str(folder), "target": "species"})
    catalogue = open_catalogue(named, data_home=tmp_path)
    assert catalogue.labels("species")[catalogue.positions("extra_labelled")].tolist() == [0, 1]
    with pytest.raises(UserError, match="no class 'cat'"):
        open_catalogue(named.model_copy(update={"target": "breed"}), data_home=tmp_path)


def test_an_unknown_class_is_named_with_the_closest(data: Data, tmp_path: Path) -> None:
    for wrong in ("tom", "Tomm"):
        folder = put(tmp_path / f"more-{wrong}", (f"{wrong}/a.jpg",), 300)
        with pytest.raises(UserError, match=rf"no class '{wrong}'\ndid you mean Tom\?"):
            open_catalogue(data.model_copy(update={"extra_labelled": str(folder)}), data_home=tmp_path)


def test_folders_that_cannot_serve_are_refused(data: Data, oxford: Path, tmp_path: Path) -> None:
    def refused(key: str, folder: Path) -> str:
        with pytest.raises(UserError) as caught:
            open_catalogue(data.model_copy(update={key: str(folder)}), data_home=tmp_path)
        return str(caught.value)

    for key in ("extra_labelled", "extra_unlabelled"):
        said = refused(key, tmp_path / "nowhere")
        assert "no such directory" in said
        assert f"data.{key}" in said
        assert "no such directory" in refused(key, tmp_path / "bad\0name")
        empty = tmp_path / f"empty-{key}"
        (empty / "Tom").mkdir(parents=True)
        (empty / "Tom" / "notes.txt").write_text("none")
        assert "no image in it" in refused(key, empty)
        broken = tmp_path / f"broken-{key}"
        (broken / "Tom").mkdir(parents=True)
        (broken / "Tom" / "a.jpg").write_bytes(b"not a picture")
        assert "none of its 1 images can be read" in refused(key, broken)
    loose = put(tmp_path / "loose", ("a.jpg",), 300)
    assert "a.jpg lies in no class sub-folder" in refused("extra_labelled", loose)
    assert "the data set's own image" in refused("extra_unlabelled", oxford / "images")


def test_one_picture_in_both_folders_is_refused_as_a_file_and_as_a_copy(data: Data, tmp_path: Path) -> None:
    more, many = Path(data.extra_labelled), Path(data.extra_unlabelled)
    with pytest.raises(UserError, match=r"same picture as extra_labelled/Tom/a\.jpg"):
        list_extra(data.model_copy(update={"extra_unlabelled": str(more)}))
    shutil.copy(more / "rex" / "a.jpg", many / "copy.jpg")
    with pytest.raises(UserError, match=r"extra_unlabelled/copy\.jpg is the same picture"):
        open_catalogue(data, data_home=tmp_path)


def test_an_unreadable_extra_image_is_left_out_by_name(data: Data, tmp_path: Path) -> None:
    (Path(data.extra_unlabelled) / "bad.png").write_bytes(b"no")
    catalogue = open_catalogue(data, data_home=tmp_path)
    assert [image.id for image in catalogue.left_out] == ["extra_unlabelled/bad.png"]
    assert len(catalogue.positions("extra_unlabelled")) == 2


def test_copies_of_what_measures_a_run_are_found(data: Data, oxford: Path, tmp_path: Path) -> None:
    shutil.copy(oxford / "images" / "rex_3.jpg", Path(data.extra_labelled) / "rex" / "leak.jpg")
    catalogue = open_catalogue(data, data_home=tmp_path)
    found = copied_images(catalogue, catalogue.positions("test").tolist())
    assert found == [("extra_labelled/rex/leak.jpg", "rex_3")]
    assert copied_images(catalogue, []) == []


def test_a_check_counts_extra_images_apart_and_warns_of_those_like_test_images(
    data: Data, oxford: Path, tmp_path: Path
) -> None:
    from PIL import Image

    many = Path(data.extra_unlabelled)
    shutil.copy(oxford / "images" / "rex_3.jpg", many / "leak.jpg")
    with Image.open(oxford / "images" / "Tom_3.jpg") as picture:
        picture.save(many / "as_png.png")
    shutil.copy(Path(data.extra_labelled) / "Tom" / "a.jpg", Path(data.extra_labelled) / "Tom" / "again.jpg")
    (many / "notes.txt").write_text("stray")
    report = check_data(data, data_home=tmp_path)
    assert [(row.name, row.train, row.test, row.extra) for row in report.classes] == [
        ("Tom", 2, 1, 3),
        ("rex", 2, 1, 1),
    ]
    assert report.extra_unlabelled == 4
    assert report.errors == ()
    found = {(problem.kind, problem.place) for problem in report.problems}
    assert found == {
        ("copy", "extra_labelled/Tom/a.jpg"),
        ("extra copy of a test image", "rex_3"),
        ("extra image alike a test image", "extra_unlabelled/as_png.png"),
        ("stray files", "extra_unlabelled"),
    }


def test_paths_count_from_the_recipes_own_directory_and_are_absolute_once_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "a.toml").write_text('name = "a"\n[data]\nextra_labelled = "../more"\n')
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe(Path("recipes/a.toml"))
    assert recipe.data.extra_labelled == str(folder / ".." / "more")
    typed = load_recipe(Path("recipes/a.toml"), ["data.extra_labelled=other"])
    assert typed.data.extra_labelled == str(tmp_path / "other")


def test_extra_images_that_nothing_would_train_on_are_refused() -> None:
    with pytest.raises(UserError, match=r"extra_unlabelled has no effect without \[pseudo_label\]"):
        parse_recipe('name = "a"\n[data]\nextra_unlabelled = "/many"\n')
    with pytest.raises(UserError, match="extra images have none"):
        parse_recipe('name = "a"\n[data]\nhead_crops = "only"\nextra_labelled = "/more"\n')


def test_the_fingerprint_of_data_without_extra_images_is_what_it_was(data: Data, tmp_path: Path) -> None:
    from workbench.support.digests import fingerprint

    catalogue = open_catalogue(plain(data), data_home=tmp_path)
    rows = [[r.id, r.breed, r.species, r.part, r.size, r.bytes] for r in catalogue.records]
    assert catalogue.fingerprint_by_name == fingerprint(rows)
    assert not catalogue.is_extra.any()
    assert np.array_equal(catalogue.positions("train"), np.arange(4))
    assert Recipe(name="a").data.extra_labelled == ""
