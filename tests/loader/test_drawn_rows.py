"""Batches drawn by rows: the very views of a batch drawn at once, and no more of them than are asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tests.loader.conftest import CPU, random_store
from workbench.loader import ImageBatches, PoolBatches, Samples, ViewFormat
from workbench.loader import batches as batches_module
from workbench.loader import views as views_module
from workbench.loader.drawn_rows import AskedRows, DrawnRows
from workbench.recipe.training import Augmentation

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
VIEWS = torch.randn(11, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class _Drawing:
    """A batch of `VIEWS` and which rows of it have been drawn."""

    def __init__(self, asked: AskedRows | None = None) -> None:
        self.drawn: list[int] = []
        self.asked = asked or AskedRows()
        self.batch: Tensor = DrawnRows.of(self._draw, VIEWS.shape, CPU, self.asked)

    def _draw(self, rows: NDArray[np.int64]) -> Tensor:
        self.drawn += rows.tolist()
        return VIEWS[torch.from_numpy(rows)]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=6), st.integers(1, 5), st.data())
def test_joined_and_cut_in_parts_any_rows_are_those_of_the_whole_and_drawn_once(
    asked: list[tuple[int, int]], parts: int, data: st.DataObject
) -> None:
    first, second = _Drawing(), _Drawing()
    joined = torch.cat([first.batch, VIEWS[:4], second.batch])
    whole = torch.cat([VIEWS, VIEWS[:4], VIEWS])
    assert joined.shape == whole.shape
    cut = list(zip(joined.tensor_split(parts), whole.tensor_split(parts), strict=True))
    assert first.drawn + second.drawn == []
    wanted: set[int] = set()
    for start, stop in asked:
        number = data.draw(st.integers(0, parts - 1))
        found, expected = cut[number]
        assert len(found) == len(expected)
        assert torch.equal(found[start:stop], expected[start:stop])
        before = sum(len(part) for _, part in cut[:number])
        wanted |= {before + row for row in range(*slice(start, stop).indices(len(expected)))}
    assert sorted(first.drawn) == sorted(row for row in wanted if row < 11)
    assert sorted(second.drawn) == sorted(row - 15 for row in wanted if row >= 15)


def test_any_other_use_has_all_rows() -> None:
    weight = torch.randn(2, 3, 3, 3)
    uses: list[Callable[[Tensor], Tensor]] = [
        lambda views: views * 2 + views,
        lambda views: F.conv2d(views, weight),
        lambda views: torch.stack([views, views]),
        lambda views: torch.cat([views, views], dim=1),
        lambda views: views[3],
        lambda views: views[::2],
        lambda views: views.clone(memory_format=torch.channels_last).mean(dim=(1, 2, 3)),
    ]
    for use in uses:
        assert torch.equal(use(_Drawing().batch), use(VIEWS))


def test_what_a_batch_was_asked_the_next_one_has_drawn_ahead_until_it_is_asked_otherwise() -> None:
    first = _Drawing()
    assert first.drawn == []
    first.batch[2:5], first.batch[8:9]
    second = _Drawing(first.asked)
    assert second.drawn == [2, 3, 4, 8]
    second.batch[2:5], second.batch[8:9]
    assert second.drawn == [2, 3, 4, 8]
    second.batch[4:7]
    assert second.drawn == [2, 3, 4, 8, 5, 6]
    third = _Drawing(first.asked)
    third.batch[4:7]
    _Drawing(first.asked).batch[4:7]
    third.batch[0:1]
    assert _Drawing(first.asked).drawn == [4, 5, 6, 0]


def test_what_is_drawn_within_a_pass_has_the_arithmetic_of_what_is_drawn_before_it() -> None:
    def draw(rows: NDArray[np.int64]) -> Tensor:
        return (torch.eye(3) @ VIEWS[torch.from_numpy(rows)].flatten(1).T[:3]).T.reshape(-1, 3, 1, 1)

    batch = DrawnRows.of(draw, (11, 3, 1, 1), CPU, AskedRows())
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        found = batch[2:4]
    assert (found.dtype, found.is_inference()) == (torch.float32, False)


AUGMENTATIONS = {
    "crops": Augmentation(brightness=0.4, colour=0.4, erasing=0.5, rotation=20.0),
    "rand": Augmentation(policy="rand"),
    "trivial": Augmentation(policy="trivial"),
    "mixup": Augmentation(mixing="mixup"),
    "cutmix": Augmentation(mixing="cutmix"),
}


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many views were rendered each time."""
    found: list[int] = []

    def watched(squares: Tensor, *given: object) -> Tensor:
        found.append(len(squares))
        return render(squares, *given)  # type: ignore[arg-type]

    render = views_module.render
    for module in (views_module, batches_module):
        monkeypatch.setattr(module, "render", watched)
    return found


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_training_views_drawn_by_rows_are_those_of_the_batch_bit_for_bit(name: str) -> None:
    store, samples = random_store(23, 37), Samples.of(np.arange(23), np.arange(23) % 3, classes=3)

    def made(*, by_rows: bool) -> ImageBatches:
        return ImageBatches(store, samples, AUGMENTATIONS[name], 32, ZERO, ONE, 10, 0, CPU, by_rows=by_rows)

    for whole, drawn in zip(made(by_rows=False).epoch(1), made(by_rows=True).epoch(1), strict=True):
        for rows in (slice(0, 3), slice(3, 7), slice(7, 13)):
            assert torch.equal(drawn.inputs[rows], whole.inputs[rows])
            if len(whole.inputs[rows]):
                assert drawn.inputs[rows].stride() == whole.inputs[rows].stride()
        assert torch.equal(drawn.targets, whole.targets)
        assert torch.equal(drawn.weights, whole.weights)


def test_of_mixed_images_only_theirs_and_their_partners_views_are_drawn(counted: list[int]) -> None:
    store, samples = random_store(40, 37), Samples.of(np.arange(40), np.arange(40) % 3, classes=3)
    batches = ImageBatches(store, samples, AUGMENTATIONS["mixup"], 32, ZERO, ONE, 40, 0, CPU, by_rows=True)
    (batch,) = batches.epoch(1)
    assert counted == []
    batch.inputs[:4]
    assert len(counted) == 1
    assert 4 <= counted[0] <= 8


def test_the_pools_views_drawn_by_rows_are_those_of_the_batch_bit_for_bit(counted: list[int]) -> None:
    store, form = random_store(23, 37), ViewFormat(32, ZERO, ONE, CPU)

    def made(*, by_rows: bool) -> PoolBatches:
        weak, strong = AUGMENTATIONS["crops"], AUGMENTATIONS["rand"]
        return PoolBatches(store, np.arange(23), weak, strong, form, 10, 0, by_rows=by_rows)

    whole = next(made(by_rows=False).epoch(1))
    counted.clear()
    drawn = next(made(by_rows=True).epoch(1))
    assert counted == []
    rows = slice(2, 9)
    assert torch.equal(drawn.weak[rows], whole.weak[rows])
    assert torch.equal(drawn.strong[rows], whole.strong[rows])
    assert counted == [7, 7]
    assert torch.equal(drawn.rows, whole.rows)
