"""A run that is profiled is the run that it would have been, and all of its time is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.making import HEAD, PSEUDO, TRUNK, Trained, tiny, train
from workbench.recipe import Recipe
from workbench.support.spans import Part, Recorder, Sums, recording


def _profiled(recipe: Recipe, home: Path) -> tuple[Trained, float, Sums, Sums]:
    recorder = Recorder()
    with recording(recorder):
        trained = train(recipe, home)
    return trained, *recorder.finish()


@pytest.mark.parametrize("base", [HEAD + PSEUDO, TRUNK], ids=["on features", "through the trunk"])
def test_a_profile_changes_no_result(base: str, sample: Path, tmp_path: Path) -> None:
    recipe = tiny(base, sample)
    plain = train(recipe, tmp_path / "plain")
    profiled, wall, own, _ = _profiled(recipe, tmp_path / "profiled")
    assert profiled.results.weights_sha256 == plain.results.weights_sha256
    assert profiled.results.val == plain.results.val
    assert sum(own.seconds.values()) == pytest.approx(wall)
    assert all(seconds >= 0 for seconds in own.seconds.values())


def test_every_step_and_every_evaluation_is_among_the_spans(sample: Path, tmp_path: Path) -> None:
    _, _, own, beside = _profiled(tiny(TRUNK, sample), tmp_path)
    steps, epochs = 2 * 5, 2
    counted = {part: own.times[part] for part in (Part.FORWARD, Part.BACKWARD, Part.EVALUATION)}
    assert counted == {Part.FORWARD: steps, Part.BACKWARD: steps, Part.EVALUATION: epochs}
    times = {part: own.times.get(part, 0) + beside.times.get(part, 0) for part in Part}
    assert times[Part.AUGMENTATION] == steps
    assert own.times[Part.RESULTS] == 1
    assert own.times[Part.STORE] == 3  # opened, filled for training and for the test split
    assert own.times[Part.CHECKPOINT] == 1
    assert Part.LABELLING not in own.times


def test_labelling_and_the_features_of_the_trunk_are_told_apart(sample: Path, tmp_path: Path) -> None:
    _, _, own, _ = _profiled(tiny(HEAD + PSEUDO, sample), tmp_path)
    assert own.times[Part.LABELLING] == 2
    # Labelled images, then validation, pool and test, each as it is first asked for.
    assert own.times[Part.FEATURES] == 4
    assert Part.AUGMENTATION not in own.times
