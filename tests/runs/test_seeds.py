"""Runs of one recipe under several seeds, and recipes compared over them."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tests.runs.making import CLASSES, finish, make_evaluation, make_results, make_run
from workbench.runs.comparison import SeedTest, compare_groups, compare_read, read_runs
from workbench.runs.comparison_table import export_comparison
from workbench.runs.export import ExportFormat
from workbench.runs.layout import RunDirectory
from workbench.runs.paired import NotPaired
from workbench.runs.predictions import save_predictions
from workbench.runs.seed_groups import common_name, group_by_seed, paired_t, seed_of, spread
from workbench.runs.summary import summarise


def run_tested(
    home: Path, name: str, seed: int, right: str, *, age_seconds: int = 0, **recipe: object
) -> RunDirectory:
    """A finished run that got the images marked with `+` right, as its results say too."""
    run = make_run(home, name, age_seconds=age_seconds, seed=seed, data={"split_seed": seed}, **recipe)
    results = make_results(0.5)
    accuracy = right.count("+") / len(right)
    finish(run, replace(results, test=replace(results.test, accuracy=accuracy, images=len(right))))
    said = [0 if mark == "+" else 1 for mark in right]
    save_predictions(
        run.predictions("test"),
        [f"image{number:02d}" for number in range(len(right))],
        np.eye(len(CLASSES), dtype=np.float32)[said],
        np.zeros(len(right), np.int64),
    )
    return run


@pytest.fixture
def six(tmp_path: Path) -> list[RunDirectory]:
    """Two recipes under three seeds."""
    one = [run_tested(tmp_path, "plain", s, "+" * (5 + s) + "-" * (5 - s)) for s in range(3)]
    fast = {"learning_rate": 0.1}
    two = [
        run_tested(tmp_path, "fast", s, "+" * (8 + s % 2) + "-" * (2 - s % 2), optimizer=fast)
        for s in range(3)
    ]
    return [*one, *two]


def test_runs_that_differ_in_seeds_only_are_one_group(six: list[RunDirectory]) -> None:
    groups = group_by_seed([summarise(run) for run in six])
    assert [(group.name, group.runs, group.seeds) for group in groups] == [
        ("plain", (0, 1, 2), ("0", "1", "2")),
        ("fast", (3, 4, 5), ("0", "1", "2")),
    ]


def test_unreadable_recipes_are_never_one_group(tmp_path: Path) -> None:
    runs = [make_run(tmp_path, "x"), make_run(tmp_path, "x", age_seconds=1)]
    for run in runs:
        run.recipe.write_text("= no toml")
    assert len(group_by_seed([summarise(run) for run in runs])) == 2


def test_a_split_of_another_seed_is_named() -> None:
    assert seed_of({"seed": 3, "data.split_seed": 3}) == "3"
    assert seed_of({"seed": 3, "data.split_seed": 0}) == "3/0"
    assert seed_of({}) == "0"


@pytest.mark.parametrize(
    ("names", "shared"),
    [
        (["lite", "lite"], "lite"),
        (["sweep/lr=1e-05,seed=0", "sweep/lr=1e-05,seed=1"], "sweep/lr=1e-05"),
        (["iter_s0", "iter_s1"], "iter"),
        (["cats0", "cats1"], "cats"),
        (["a", "b"], "a"),
        (["x data.split_seed=1", "x data.split_seed=12"], "x"),
    ],
)
def test_a_group_is_called_what_its_runs_have_in_common(names: list[str], shared: str) -> None:
    assert common_name(names) == shared


def test_one_seed_has_no_spread() -> None:
    assert spread([]) is None
    assert spread([None]) is None
    one = spread([0.5, None])
    assert one is not None
    assert (one.mean, one.deviation, one.count) == (0.5, None, 1)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_the_spread_is_the_sample_standard_deviation(values: list[float]) -> None:
    over = spread(values)
    assert over is not None
    assert over.mean == pytest.approx(statistics.fmean(values), abs=1e-6)
    assert over.deviation == pytest.approx(statistics.stdev(values), rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20))
def test_the_t_test_over_seeds_is_that_of_scipy(differences: list[float]) -> None:
    deviation = statistics.stdev(differences)
    if deviation > 1e-6:
        expected = stats.ttest_1samp(differences, 0.0).pvalue
        assert paired_t(differences) == pytest.approx(float(expected), abs=1e-9)


def test_the_t_test_needs_two_seeds_that_differ() -> None:
    assert paired_t([0.1]) is None
    assert paired_t([0.1, 0.1]) is None
    # Two differences of 1 and 3: t = 2, one degree of freedom, p = 1 − 2/π · atan 2.
    assert paired_t([1.0, 3.0]) == pytest.approx(1 - 2 / math.pi * math.atan(2.0))


def test_recipes_are_compared_over_the_seeds_that_both_have(six: list[RunDirectory]) -> None:
    groups = compare_groups(read_runs(six[:5]), 1)
    assert (groups.baseline, [row.key for row in groups.recipe]) == (0, ["optimizer.learning_rate"])
    accuracy = next(row for row in groups.metrics if row.key == "test.accuracy")
    assert [s and (round(s.mean, 3), s.count) for s in accuracy.spreads] == [(0.6, 3), (0.85, 2)]
    assert list(accuracy.deltas) == [0.0, pytest.approx(0.25)]
    test = groups.tests[1]
    assert isinstance(test, SeedTest)
    assert (test.seeds, test.better) == (("0", "1"), 2)
    assert test.difference.mean == pytest.approx(0.3)
    assert test.p_images == pytest.approx(2 / 2**4)  # four images differ, all for the better
    assert test.p_seeds is None  # three points under each of the two seeds: no spread
    assert groups.tests[0] is None


def test_of_runs_with_one_seed_the_newest_stands_for_it(tmp_path: Path) -> None:
    old = run_tested(tmp_path, "x", 0, "+---", age_seconds=60)
    runs = [run_tested(tmp_path, "x", 0, "++++"), old, run_tested(tmp_path, "x", 1, "++--")]
    accuracy = compare_groups(read_runs(runs)).metrics[0].spreads[0]
    assert accuracy is not None
    assert (accuracy.mean, accuracy.count) == (0.75, 2)


def test_groups_that_cannot_be_paired_say_why(six: list[RunDirectory], tmp_path: Path) -> None:
    classes = run_tested(tmp_path, "species", 0, "++", model={"backbone": "x"})
    results = replace(make_results(), classes=("cat", "dog", "fox"), test=make_evaluation(0.5))
    finish(classes, results)
    unfinished = make_run(tmp_path, "new", model={"backbone": "y"})
    tests = compare_groups(read_runs([*six[:3], classes, unfinished])).tests
    assert tests == (
        None,
        NotPaired("they tell different classes apart"),
        NotPaired("no seed that both were tested under"),
    )


def test_without_predictions_there_is_no_test_over_images(six: list[RunDirectory]) -> None:
    six[3].predictions("test").unlink()
    test = compare_groups(read_runs(six)).tests[1]
    assert isinstance(test, SeedTest)
    assert (test.p_images, test.better) == (None, 3)
    assert test.p_seeds is not None


@pytest.mark.parametrize("form", list(ExportFormat))
def test_groups_can_be_exported(six: list[RunDirectory], form: ExportFormat) -> None:
    read = read_runs(six)
    text = export_comparison(compare_read(read), form, compare_groups(read))
    if form is ExportFormat.JSON:
        groups = json.loads(text)["groups"]
        assert groups["groups"][1]["runs"] == [run.id for run in six[3:]]
        assert groups["metrics"]["test.accuracy"]["spreads"][0]["count"] == 3
        assert groups["tests"][1]["better"] == 3
    elif form is ExportFormat.CSV:
        assert "mean,test.accuracy,0.6" in text
        assert "paired,better,,3" in text
    else:
        assert "★ plain" in text
        assert "60.00 ± 10.00" in text
