"""Slices: which parts of a split a model is wrong of beyond chance, and which only seem so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from workbench.runs.opinion_columns import Opinion
from workbench.runs.slices import PAIR, Slices, find_slices, fisher
from workbench.support.errors import UserError

CLASSES = ("cat", "dog", "owl")


def opinions(right: Sequence[bool | None], true: Sequence[str] | None = None) -> list[Opinion]:
    """One image each; None where the class is not known."""
    rows = []
    for place, is_right in enumerate(right):
        truth = true[place] if true is not None else CLASSES[place % 3]
        said = truth if is_right is not False else CLASSES[(CLASSES.index(truth) + 1) % 3]
        known = None if is_right is None else truth
        rows.append(Opinion(f"{place:04d}.jpg", said, None, 0.9, 0.8, 0.1, known))
    return rows


def words(name: str, low: float, high: float) -> str:
    """Plain numbers."""
    return f"{low:g}–{high:g}"


def slices_of(rows: Sequence[Opinion], *, pairs: bool = False, smallest: int = 10,
              numbers: dict[str, NDArray[np.float64]] | None = None,
              names: dict[str, list[str | None]] | None = None, classes: bool = False) -> Slices:  # fmt: skip
    return find_slices(
        rows,
        numbers or {},
        names or {},
        number_words=words,
        smallest=smallest,
        by_class=classes,
        by_said=classes,
        pairs=pairs,
    )


@given(st.data())
def test_the_chance_is_that_of_fishers_exact_test_in_scipy(data: st.DataObject) -> None:
    total = data.draw(st.integers(2, 300))
    hits, images = data.draw(st.integers(0, total)), data.draw(st.integers(1, total - 1))
    right = data.draw(st.integers(max(0, images + hits - total), min(images, hits)))
    table = [[right, images - right], [hits - right, total - images - hits + right]]
    expected = stats.fisher_exact(table).pvalue
    assert fisher(right, images, hits, total) == pytest.approx(expected, rel=1e-6, abs=1e-12)


def test_dark_images_of_which_the_model_is_wrong_are_found_and_come_first() -> None:
    random = np.random.default_rng(0)
    brightness = random.uniform(0, 255, 400)
    dark = brightness < np.quantile(brightness, 0.25)
    right = np.where(dark, random.random(400) < 0.5, random.random(400) < 0.95)
    sizes = random.uniform(100, 200, 400)
    found = slices_of(
        opinions(right.tolist()), numbers={"brightness": brightness, "size": sizes}, classes=True
    )
    worst = found.found[0]
    assert (worst.key, worst.mark, worst.images) == ("brightness:1", "worse", 100)
    assert worst.accuracy == pytest.approx(right[dark].mean())
    assert worst.rest == pytest.approx(right[~dark].mean())
    assert worst.interval[0] < worst.accuracy < worst.interval[1]
    assert set(worst.ids) == {f"{place:04d}.jpg" for place in np.flatnonzero(dark)}
    assert [one.key for one in found.found if one.mark == "worse"] == ["brightness:1"]
    assert found.tried == len(found.found) == 4 + 4 + 3 + 3
    assert found.by == ("brightness", "size", "class", "said")


def test_where_answers_are_wrong_at_random_a_run_in_a_hundred_has_a_mark() -> None:
    marked = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        right = (random.random(300) < 0.85).tolist()
        numbers = {f"fact {number}": random.random(300) for number in range(8)}
        names: dict[str, list[str | None]] = {"camera": [str(one) for one in random.integers(0, 6, 300)]}
        found = slices_of(opinions(right), numbers=numbers, names=names, pairs=seed < 10)
        marked += any(one.mark is not None for one in found.found)
    assert marked <= 3


def test_equal_values_never_lie_in_two_slices_and_a_fact_that_is_the_same_of_all_is_none() -> None:
    right = [place % 4 != 0 for place in range(100)]
    widths = np.array([500.0] * 60 + [400.0] * 40)
    found = slices_of(opinions(right), numbers={"width": widths, "one": np.ones(100)})
    assert {(one.key, one.images) for one in found.found} == {("width:1", 40), ("width:2", 60)}
    assert {one.words for one in found.found} == {"width 400–400", "width 500–500"}


def test_images_without_a_value_are_a_slice_and_those_of_unknown_class_count_nowhere() -> None:
    right: list[bool | None] = [True] * 40 + [False] * 10 + [None] * 30
    values = np.concatenate([np.arange(40.0), np.full(10, np.nan), np.full(30, 1.0)])
    cameras: list[str | None] = ["a"] * 40 + [None] * 10 + ["b"] * 30
    found = slices_of(opinions(right), numbers={"iso": values}, names={"camera": cameras})
    assert found.images == 50
    by_key = {one.key: one for one in found.found}
    assert by_key["iso:"].accuracy == 0
    assert by_key["iso:"].mark == "worse"
    assert "camera:b" not in by_key
    assert "camera:" not in by_key  # the very images of which no iso is known: told once
    with pytest.raises(UserError, match="of none of these images the class is known"):
        slices_of(opinions([None] * 20))


def test_bins_are_those_of_all_images_of_the_split_whatever_is_known_of_them() -> None:
    values = np.arange(100.0)
    some = slices_of(opinions([None] * 50 + [True] * 50), numbers={"iso": values}, smallest=2)
    assert {one.key for one in some.found} == {"iso:3", "iso:4"}


def test_too_few_images_inside_or_beside_are_no_slice() -> None:
    cameras: list[str | None] = [*["a"] * 91, *["b"] * 9]
    names = {"camera": cameras}
    rows = opinions([True] * 100)
    assert slices_of(rows, names=names).found == ()
    assert len(slices_of(rows, names=names, smallest=9).found) == 2


def test_a_pair_is_marked_only_where_it_is_worse_than_the_rest_of_its_worse_part() -> None:
    random = np.random.default_rng(3)
    dark, cat = random.random(800) < 0.5, random.random(800) < 0.5
    true = np.where(cat, "cat", "dog").tolist()
    alone = np.where(cat, random.random(800) < 0.6, random.random(800) < 0.97)  # cats are hard, dark or not
    light: list[str | None] = ["dark" if one else "bright" for one in dark]
    names = {"light": light}
    found = slices_of(opinions(alone.tolist(), true), names=names, classes=True, pairs=True)
    marked = {one.key for one in found.found if one.mark == "worse"}
    assert "class:cat" in marked
    assert not any(PAIR in key for key in marked)
    both = np.where(cat & dark, random.random(800) < 0.4, random.random(800) < 0.95)  # dark cats alone are
    found = slices_of(opinions(both.tolist(), true), names=names, classes=True, pairs=True)
    worst = found.of_key("class:cat + light:dark" if "class:cat + light:dark" in
                         {one.key for one in found.found} else "light:dark + class:cat")  # fmt: skip
    assert worst.mark == "worse"
    assert worst.rest > 0.9
    assert set(worst.ids) == {f"{place:04d}.jpg" for place in np.flatnonzero(cat & dark)}


def test_class_and_what_was_said_are_no_pair() -> None:
    found = slices_of(opinions([place % 5 > 0 for place in range(300)]), classes=True, pairs=True)
    assert not [one.key for one in found.found if PAIR in one.key]


def test_a_key_that_is_none_names_the_nearest() -> None:
    found = slices_of(opinions([True, False] * 50), numbers={"brightness": np.arange(100.0)})
    with pytest.raises(UserError, match="did you mean brightness:1"):
        found.of_key("brightnes:1")
