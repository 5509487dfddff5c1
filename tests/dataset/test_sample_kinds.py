"""Drawn sets that are no pets: their classes, the same pictures for a seed, and that twins differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.test_sample import content
from workbench.dataset import make_split, open_catalogue
from workbench.dataset.check import check_data
from workbench.dataset.folder_layout import OwnValidation
from workbench.dataset.run_data import sample_home
from workbench.dataset.sample import SampleKind, SampleOptions, generate_sample, holds_sample, sample_set
from workbench.dataset.sample.things import BEETLES, DRAWN, beetle, cloth
from workbench.recipe import Data, Recipe
from workbench.support.errors import UserError

FOLDERS = [kind for kind in SampleKind if kind.is_folder]


def small(kind: SampleKind, seed: int = 3) -> SampleOptions:
    return SampleOptions(seed, 4, 2, 48, kind)


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_kind_is_a_folder_set_without_an_error_or_a_warning(kind: SampleKind, tmp_path: Path) -> None:
    options = small(kind)
    generate_sample(tmp_path / "set", options)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]  # nothing beside it
    images = options.images()
    validation: OwnValidation | None = "own" if "val" in images else None
    data = Data(dataset="folder", root=str(tmp_path / "set"), validation=validation)
    report = check_data(data, data_home=tmp_path)
    assert report.problems == ()
    rows = {row.name: {"train": row.train, "val": row.validation, "test": row.test} for row in report.classes}
    assert {name: row["train"] for name, row in rows.items()} == images["train"]
    assert {name: row["test"] for name, row in rows.items()} == images["test"]
    assert {name: row["val"] for name, row in rows.items() if row["val"]} == images.get("val", {})
    catalogue = open_catalogue(data, data_home=tmp_path)
    assert {record.size for record in catalogue.records} == {(48, 48)}


def test_every_class_has_a_share_and_a_way_to_be_drawn() -> None:
    for kind in FOLDERS:
        assert set(DRAWN[kind]) == set(SampleOptions(kind=kind).images()["train"])


def test_the_tail_is_long_where_it_trains_and_even_where_it_is_measured() -> None:
    images = SampleOptions(train_per_class=200, test_per_class=50, kind=SampleKind.SKEWED).images()
    train = list(images["train"].values())
    assert max(train) == 200
    assert min(train) == 20
    assert set(images["test"].values()) == {50}
    assert set(images["val"].values()) == {25}
    defects = SampleOptions(train_per_class=100, test_per_class=50, kind=SampleKind.DEFECTS).images()
    assert defects["train"] == {"sound": 100, "scratch": 45, "spot": 25}
    assert list(defects["test"].values()) == [50, 22, 12]


def test_the_pool_of_the_skewed_set_is_mixed_as_no_validation_is(tmp_path: Path) -> None:
    generate_sample(tmp_path / "set", SampleOptions(0, 40, 8, 48, SampleKind.SKEWED))
    recipe = Recipe.model_validate(
        {
            "name": "skewed",
            "data": {"dataset": "folder", "root": str(tmp_path / "set"), "validation": "own"},
            "pseudo_label": {"labels_per_class": 2},
        }
    )
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    split = make_split(catalogue, recipe.data, recipe.pseudo_label)
    labels = catalogue.labels("breed")
    pool, validation = (
        np.bincount(labels[part], minlength=8) for part in (split.unlabelled, split.validation)
    )
    assert pool.max() > 10 * pool.min()
    assert validation.max() == validation.min() > 0


@pytest.mark.parametrize("kind", FOLDERS)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(kind: SampleKind, tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate_sample(tmp_path / name, small(kind, seed))
    assert content(tmp_path / "a") == content(tmp_path / "b")
    different = {
        name
        for name, data in content(tmp_path / "c").items()
        if content(tmp_path / "a").get(name) != data and name.endswith(".jpg")
    }
    assert len(different) == sum(sum(counts.values()) for counts in small(kind).images().values())


def test_more_images_leave_the_first_ones_and_the_test_as_they_were(tmp_path: Path) -> None:
    generate_sample(tmp_path / "few", small(SampleKind.TWINS))
    generate_sample(tmp_path / "many", SampleOptions(3, 6, 2, 48, SampleKind.TWINS))
    few, many = content(tmp_path / "few"), content(tmp_path / "many")
    assert {name for name in few if few[name] != many[name]} == {sample_set.HIDDEN_MARKER}


@pytest.mark.parametrize("pair", sorted({name.removesuffix("_a").removesuffix("_b") for name in BEETLES}))
def test_twins_drawn_from_one_stream_differ_in_a_detail_and_in_nothing_else(pair: str) -> None:
    for seed in range(5):
        one, other = (beetle(f"{pair}_{which}", 128, np.random.default_rng(seed)) for which in "ab")
        apart = np.abs(one.astype(int) - other.astype(int)).max(axis=2) > 12
        assert 20 <= apart.sum() <= 0.06 * apart.size, (pair, seed, apart.sum())


@pytest.mark.parametrize("defect", ["scratch", "spot"])
def test_a_defect_is_small_and_all_that_differs_from_sound_cloth(defect: str) -> None:
    for seed in range(10):
        marked, sound = (
            cloth(name, 128, np.random.default_rng(seed)).astype(int) for name in (defect, "sound")
        )
        apart = np.abs(marked - sound).max(axis=2) > 8
        assert 5 <= apart.sum() <= 0.03 * apart.size, (seed, apart.sum())


def test_a_set_of_another_kind_is_no_sample_of_pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "home"
    generate_sample(home / "petbench-sample", small(SampleKind.DEFECTS))
    assert not holds_sample(home / "petbench-sample")
    assert sample_home(home).is_relative_to(tmp_path / "cache")
    with pytest.raises(UserError, match="other options"):
        generate_sample(home / "petbench-sample", SampleOptions(3, 2, 1, 48))


def test_sets_of_before_there_were_kinds_are_pets(tmp_path: Path) -> None:
    options = SampleOptions(3, 2, 1, 48)
    generate_sample(tmp_path / "set", options)
    marker = json.loads((tmp_path / "set" / sample_set.MARKER).read_text())
    del marker["kind"]
    (tmp_path / "set" / sample_set.MARKER).write_text(json.dumps(marker))
    assert holds_sample(tmp_path / "set")
    assert sample_set.is_current_sample(tmp_path / "set", options)
