"""What a run decodes when: no part of its split before a step looks at it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.loader.conftest import Recorder
from tests.train.making import HEAD, POOL_IMAGES, PSEUDO, TEST_IMAGES, Crash, differing, go_on, tiny, train
from workbench.dataset import load_split
from workbench.dataset.run_data import open_catalogue
from workbench.loader import open_store
from workbench.runs.events import Event, StageStarted

RECIPE = HEAD + PSEUDO


class Order(Recorder):
    """Stages, and parts that were decoded or looked at, in the order in which they came."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def event(self, event: Event) -> None:
        super().event(event)
        if isinstance(event, StageStarted):
            self.order.append(f"{event.stage} {event.round}")

    def progress(self, task: str, done: int, total: int) -> None:
        if task.startswith(("decode", "features")) and done == total:
            self.order.append(f"{task}: {total}")


def test_a_part_is_decoded_when_a_stage_needs_it(sample: Path, tmp_path: Path) -> None:
    watching = Order()
    train(tiny(RECIPE, sample), tmp_path, recorder=watching)
    assert watching.order == [
        f"decode labelled and validation images: {POOL_IMAGES // 2 + 10}",
        f"features of the labelled images: {POOL_IMAGES // 2}",
        "teacher 0",
        "features of the validation images: 10",
        f"decode the pool: {POOL_IMAGES // 2}",
        f"features of the pool: {POOL_IMAGES // 2}",
        "student 1",
        "student 2",
        f"decode the test images: {TEST_IMAGES}",
        f"features of the test images: {TEST_IMAGES}",
    ]


@pytest.fixture
def broken(sample: Path, tmp_path: Path) -> Path:
    """A sample set with an image of the pool and one of the test part that only decoding finds broken."""
    root = tmp_path / "broken"
    shutil.copytree(sample, root)
    before = train(tiny(RECIPE, root), tmp_path / "before")
    catalogue = open_catalogue(tiny(RECIPE, root).data, data_home=tmp_path)
    split = load_split(before.directory.split, catalogue)
    for position in (split.unlabelled[0], split.test[0]):
        path = catalogue.records[position].path
        os.truncate(path, path.stat().st_size // 3)
    return root


def test_images_of_later_parts_that_cannot_be_decoded_are_as_if_they_had_been_known(
    broken: Path, tmp_path: Path
) -> None:
    recipe = tiny(RECIPE, broken)
    cold = train(recipe, tmp_path / "cold")
    catalogue = open_catalogue(recipe.data, data_home=tmp_path)
    for name in ("warm", "resumed"):
        open_store(catalogue, recipe.data.image_size, cache=tmp_path / name / "cache", reporter=Recorder())
    warm = train(recipe, tmp_path / "warm")
    crashed = train(recipe, tmp_path / "killed", recorder=Crash(at=4))
    assert crashed.outcome.code == 1
    resumed = go_on(crashed.directory, recipe, tmp_path / "resumed")
    for run in (cold, warm, resumed):
        assert (run.results.unlabelled, run.results.test.images) == (POOL_IMAGES // 2 - 1, TEST_IMAGES - 1)
        assert differing(cold.weights(), run.weights()) == set()
        assert run.directory.split.read_bytes() == cold.directory.split.read_bytes()
        split = load_split(run.directory.split, catalogue)
        assert (len(split.unlabelled), len(split.test)) == (POOL_IMAGES // 2 - 1, TEST_IMAGES - 1)
        assert split.fingerprint in run.directory.provenance.read_text()
