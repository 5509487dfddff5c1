"""A run's state survives the way to disk and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings

from tests.drawing import comparable, drawn, leaves, without
from workbench.pseudo import Selection
from workbench.train.state import Best, RunState, pack, unpack


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(drawn(RunState) | drawn(RunState, whole=True))
def test_every_field_of_a_state_comes_back(state: RunState) -> None:
    tensors, plain = pack(state)
    assert comparable(unpack(tensors, _through_json(plain))) == comparable(state)


@settings(deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow])
@given(drawn(RunState, whole=True))
def test_whatever_is_forgotten_on_the_way_is_missed(state: RunState) -> None:
    tensors, plain = pack(state)
    for path in leaves(plain):
        try:
            found = unpack(tensors, _through_json(without(plain, path)))
        except (KeyError, ValueError):
            continue
        assert comparable(found) != comparable(state), f"nobody would notice that {path} is gone"
    for name in tensors:
        left = {other: tensor for other, tensor in tensors.items() if other != name}
        try:
            found = unpack(left, plain)
        except KeyError:
            continue
        assert comparable(found) != comparable(state), f"nobody would notice that {name} is gone"


def test_a_beginning_comes_back() -> None:
    tensors, plain = pack(RunState())
    assert tensors == {}
    assert unpack({}, _through_json(plain)) == RunState()


@pytest.mark.parametrize("whole", [True, False])
def test_a_state_that_0_1_0_wrote_is_read(whole: bool) -> None:
    """The keys and names as it had them; a whole checkpoint of it is in tests/fixtures."""
    row = torch.tensor([0.5, 0.25])
    tensors = {"best/head": row, "teacher/head": row + 1, "student/a/b": row + 2} if whole else {}
    best = {"stage": "student", "round": 1, "epoch": 2, "accuracy": 0.5, "loss": 1.5}
    plain: dict[str, Any] = {
        "stage_index": 1,
        "micro_batch": 4,
        "probe_accuracy": None,
        "selection_round": 1,
        "flipped": 3,
        "warnings": ["odd"],
        "training_seconds": 2.5,
        "images_trained": 9,
        "peak_memory_bytes": 7,
        "progress": {
            "epoch": 1,
            "step": 2,
            "stale_epochs": 0,
            "loss_sum": 0.5,
            "right_sum": 1.0,
            "images": 8,
        },
        "precision": {"training": "fp32", "inference": "bf16", "reason": "timed"},
        "compilation": None,
        "rounds": [],
        **(dict.fromkeys(("best", "teacher", "student"), best if whole else None)),
    }
    if whole:
        plain |= {"labelled_weight": 2.0}
        tensors |= {
            "selection/rows": torch.tensor([3]),
            "selection/targets": row[None],
            "selection/weights": torch.ones(1),
            "selection/marginal": row.double(),
            "pool/predicted": torch.tensor([1, 0]),
            "fold/fit": row[None, None],
            "met": row.double(),
        }
    state = unpack(tensors, _through_json(plain))
    assert (state.stage_index, state.taught_by_runs, state.warnings) == (1, False, ["odd"])
    if not whole:
        assert (state.teacher, state.selection, state.met, state.out_of_fold) == (None, None, None, None)
        return
    assert state.progress.best is not None
    assert state.student is not None
    assert state.progress.best.weights["head"] is row
    assert list(state.student.weights) == ["a/b"]
    expected = Selection(
        rows=np.array([3]),
        targets=row[None].numpy(),
        weights=np.ones(1, np.float32),
        labelled_weight=2.0,
        marginal=np.array([0.5, 0.25]),
    )
    assert comparable(state.selection) == comparable(expected)
    assert comparable(state.pool_predicted) == comparable(np.array([1, 0]))
    assert state.out_of_fold is not None
    assert list(state.out_of_fold.said) == ["fit"]
    assert comparable(state.met) == comparable(np.array([0.5, 0.25]))


def test_the_better_epoch_has_the_higher_accuracy_then_the_lower_loss_then_comes_later() -> None:
    best = Best("fit", 0, 3, 0.8, 0.5, {})
    assert best.better_than(0.7, 0.1)
    assert best.better_than(0.8, 0.6)
    assert not best.better_than(0.8, 0.5)
    assert not best.better_than(0.8, 0.4)
    assert not best.better_than(0.9, 9.0)


def _through_json(plain: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(plain))
    return found
