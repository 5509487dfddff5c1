"""A run's state survives the way to disk and back."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workbench.pseudo import Selection
from workbench.runs.events import StageName
from workbench.runs.results import RoundResult
from workbench.train.compiled import Compilation
from workbench.train.precision import Precision
from workbench.train.state import Best, RunState, StageProgress, pack, unpack

NUMBERS = st.floats(0, 1e6)
COUNTS = st.integers(0, 2**40)


@st.composite
def bests(draw: st.DrawFn) -> Best:
    random = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    weights: dict[str, Tensor] = {
        "head.linear.weight": torch.randn(3, 4, generator=random),
        "trunk.norm.num_batches_tracked": torch.tensor(draw(st.integers(0, 9))),
        "trunk.a/b": torch.randn(2, generator=random),
    }
    stage = draw(st.sampled_from(get_args(StageName)))
    return Best(stage, draw(COUNTS), draw(COUNTS), draw(NUMBERS), draw(NUMBERS), weights)


@st.composite
def selections(draw: st.DrawFn) -> Selection:
    count, classes = draw(st.integers(0, 6)), draw(st.integers(2, 4))
    random = np.random.default_rng(count)
    return Selection(
        np.sort(random.choice(99, size=count, replace=False)).astype(np.int64),
        random.dirichlet(np.ones(classes), size=count).astype(np.float32),
        random.random(count).astype(np.float32),
        draw(st.floats(1, 100)),
    )


ROUNDS = st.builds(RoundResult, COUNTS, COUNTS, NUMBERS, st.none() | NUMBERS, COUNTS, NUMBERS)
STATES = st.builds(
    RunState,
    stage_index=COUNTS,
    progress=st.builds(
        StageProgress, COUNTS, COUNTS, COUNTS, NUMBERS, NUMBERS, COUNTS, NUMBERS, best=st.none() | bests()
    ),
    precision=st.none() | st.builds(Precision, st.sampled_from(["fp32", "bf16"]), st.just("bf16"), st.text()),
    compilation=st.none() | st.builds(Compilation, st.booleans(), st.text()),
    micro_batch=COUNTS,
    probe_accuracy=st.none() | NUMBERS,
    teacher=st.none() | bests(),
    student=st.none() | bests(),
    selection=st.none() | selections(),
    selection_round=COUNTS,
    flipped=COUNTS,
    pool_predicted=st.none()
    | st.lists(st.integers(0, 36), max_size=5).map(lambda x: np.array(x, dtype=np.int64)),
    rounds=st.lists(ROUNDS, max_size=3),
    warnings=st.lists(st.text(), max_size=3),
    training_seconds=NUMBERS,
    images_trained=COUNTS,
    peak_memory_bytes=COUNTS,
)


@given(STATES)
def test_every_field_of_a_state_comes_back(state: RunState) -> None:
    tensors, plain = pack(state)
    assert _plain(unpack(tensors, json.loads(json.dumps(plain)))) == _plain(state)


def test_a_beginning_comes_back() -> None:
    tensors, plain = pack(RunState())
    assert tensors == {}
    assert unpack({}, json.loads(json.dumps(plain))) == RunState()


def test_every_field_is_packed_so_that_a_new_one_cannot_be_forgotten() -> None:
    drawn = {field.name for field in dataclasses.fields(RunState)}
    assert drawn == {
        *("stage_index", "progress", "precision", "compilation", "micro_batch", "probe_accuracy"),
        *("teacher", "student"),
        *("selection", "selection_round", "flipped", "pool_predicted", "rounds", "warnings"),
        *("training_seconds", "images_trained", "peak_memory_bytes"),
    }


def test_the_better_epoch_has_the_higher_accuracy_then_the_lower_loss_then_comes_later() -> None:
    best = Best("fit", 0, 3, 0.8, 0.5, {})
    assert best.better_than(0.7, 0.1)
    assert best.better_than(0.8, 0.6)
    assert not best.better_than(0.8, 0.5)
    assert not best.better_than(0.8, 0.4)
    assert not best.better_than(0.9, 9.0)


def _plain(value: object) -> object:
    """Nested plain values that compare with ==, tensors with their types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Tensor | np.ndarray):
        return (str(value.dtype), tuple(value.shape), value.tolist())
    return value
