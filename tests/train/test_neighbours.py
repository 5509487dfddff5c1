"""Neighbours are exactly the most alike, and their features are computed once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loader.conftest import Recorder
from tests.train.making import CPU, HEAD, PSEUDO, TRUNK, Trained, tiny, train
from workbench.dataset import Catalogue, Correction, Verdict, load_split, open_catalogue
from workbench.dataset.review import record
from workbench.recipe import load_recipe
from workbench.support.errors import UserError
from workbench.train import predict
from workbench.train.near_rows import nearest_rows
from workbench.train.run_features import Neighbour, neighbours


def _found(trained: Trained, home: Path, positions: list[int], count: int = 5) -> list[list[Neighbour]]:
    recipe = load_recipe(trained.directory.recipe)
    predictor = predict.load_predictor(trained.directory, recipe, CPU)
    return neighbours(
        trained.directory,
        recipe,
        _catalogue(trained, home),
        predictor,
        positions,
        count,
        cache=home / "cache",
        reporter=Recorder(),
    )


def _catalogue(trained: Trained, home: Path) -> Catalogue:
    return open_catalogue(load_recipe(trained.directory.recipe).data, data_home=home)


def test_the_nearest_rows_are_those_of_brute_force() -> None:
    draws = np.random.default_rng(0)
    known, asked = draws.normal(size=(50, 8)), draws.normal(size=(7, 8))
    rows, cosines = nearest_rows(torch.from_numpy(known).float(), torch.from_numpy(asked).float(), 4)
    assert rows.shape == cosines.shape == (7, 4)
    for query, found, alike in zip(asked, rows, cosines, strict=True):
        exact = [float(query @ row / np.linalg.norm(query) / np.linalg.norm(row)) for row in known]
        expected = sorted(range(50), key=lambda row: -exact[row])[:4]
        assert found.tolist() == expected
        assert alike == pytest.approx([exact[row] for row in expected], abs=1e-6)


def test_ties_keep_the_order_of_rows_and_a_zero_feature_is_like_nothing() -> None:
    known = torch.tensor([[0.0, 2.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    rows, cosines = nearest_rows(known, torch.tensor([[0.0, 5.0]]), 4)
    assert rows.tolist() == [[0, 2, 1, 3]]
    assert cosines.tolist() == [[1.0, 1.0, 0.0, 0.0]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("neighbours")


def test_neighbours_are_labelled_training_images_most_alike_first_and_never_the_image_itself(
    sample: Path, base: Path
) -> None:
    trained = train(tiny(HEAD + PSEUDO, sample), base)
    catalogue = _catalogue(trained, base)
    split = load_split(trained.directory.split, catalogue)
    labelled = {
        catalogue.records[p].id: catalogue.breeds[catalogue.records[p].breed] for p in split.labelled.tolist()
    }
    asked = [int(split.labelled[0]), int(split.unlabelled[0]), int(split.test[0])]
    for position, found in zip(asked, _found(trained, base, asked), strict=True):
        assert len(found) == 5
        assert all(labelled[near.id] == near.label for near in found)
        assert catalogue.records[position].id not in [near.id for near in found]
        similarities = [near.similarity for near in found]
        assert similarities == sorted(similarities, reverse=True)
    everyone = _found(trained, base, asked[:1], count=1000)[0]
    assert {near.id for near in everyone} == labelled.keys() - {catalogue.records[asked[0]].id}


def test_a_frozen_trunks_features_come_from_the_cache_that_training_filled(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train(tiny(HEAD, sample), tmp_path)
    files = sorted(tmp_path.glob("cache/features/*"))
    monkeypatch.setattr(predict.Predictor, "features", lambda *_: pytest.fail("computed again"))
    assert _found(trained, tmp_path, [0])
    assert sorted(tmp_path.glob("cache/features/*")) == files


def test_a_trained_trunks_features_are_computed_with_its_own_weights_once(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = train(tiny(TRUNK, sample, "training.epochs=1"), tmp_path)
    before = set(tmp_path.glob("cache/features/*"))
    first = _found(trained, tmp_path, [0, 1])
    assert len(set(tmp_path.glob("cache/features/*")) - before) == 1
    monkeypatch.setattr(predict.Predictor, "features", lambda *_: pytest.fail("computed again"))
    assert _found(trained, tmp_path, [0, 1]) == first


def test_a_neighbour_has_the_class_that_the_run_was_taught(sample: Path, tmp_path: Path) -> None:
    review = tmp_path / "review.toml"
    first = train(tiny(HEAD, sample), tmp_path)
    catalogue = _catalogue(first, tmp_path)
    labelled = load_split(first.directory.split, catalogue).labelled.tolist()
    image = catalogue.records[labelled[0]]
    wrong = catalogue.breeds[(image.breed + 1) % 10]
    record(review, Correction(image.id, Verdict.RELABEL, wrong))
    trained = train(tiny(HEAD, sample, f"data.corrections={review}"), tmp_path)
    review.unlink()
    found = _found(trained, tmp_path, [labelled[1]], count=1000)[0]
    assert [near.label for near in found if near.id == image.id] == [wrong]


def test_an_image_that_is_gone_is_named(sample: Path, tmp_path: Path) -> None:
    trained = train(tiny(TRUNK, sample, "training.epochs=1"), tmp_path)
    recipe = load_recipe(trained.directory.recipe)
    catalogue = _catalogue(trained, tmp_path)
    position = int(load_split(trained.directory.split, catalogue).labelled[0])
    path = catalogue.records[position].path
    predictor = predict.load_predictor(trained.directory, recipe, CPU)
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(UserError, match=catalogue.records[position].id):
            neighbours(
                trained.directory,
                recipe,
                catalogue,
                predictor,
                [1],
                3,
                cache=tmp_path / "c",
                reporter=Recorder(),
            )
    finally:
        path.write_bytes(content)
