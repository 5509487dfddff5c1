"""`petbench runs compare` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from tests.cli.commands import on_screen
from tests.runs.making import finish, make_results, make_run
from tests.runs.test_curves import write_epochs
from tests.runs.test_seeds import run_tested
from workbench.cli.runs import app
from workbench.runs.intervals import paired_difference
from workbench.runs.layout import RunDirectory
from workbench.support.errors import UserError


def compare(*arguments: str) -> str:
    """The output of `petbench runs compare ARGUMENTS`; a user's mistake is raised."""
    result = CliRunner().invoke(app, ["compare", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunDirectory]:
    """Two recipes under two seeds each; the second gets eight images more right."""
    home = tmp_path / "runs"
    monkeypatch.setenv("PETBENCH_RUNS", str(home))
    on_screen(monkeypatch, 80)
    return [
        run_tested(home, name, seed, right, age_seconds=10 * age + seed, model={"backbone": name})
        for age, (name, right) in enumerate((("plain", "++" + "-" * 8), ("better", "+" * 10)))
        for seed in range(2)
    ]


def test_a_baseline_is_pinned_wherever_it_was_named(runs: list[RunDirectory]) -> None:
    text = compare(runs[0].handle, runs[2].handle, "--baseline", runs[2].handle)
    assert "B ★" in text
    assert "20.00 −80.00" in text
    record = json.loads(compare(runs[0].id, runs[2].id, "-b", runs[2].id, "--json"))
    assert record["baseline"] == runs[2].id
    assert record["metrics"]["test.accuracy"]["deltas"] == [-0.8, 0.0]
    assert [run["id"] for run in record["runs"]] == [runs[0].id, runs[2].id]


def test_a_baseline_that_was_not_named_is_taken_along(runs: list[RunDirectory]) -> None:
    record = json.loads(compare(runs[1].id, runs[2].id, "-b", runs[0].id, "--json"))
    assert [run["id"] for run in record["runs"]] == [runs[0].id, runs[1].id, runs[2].id]
    assert record["baseline"] == runs[0].id


def test_mcnemars_test_is_told_with_what_it_counts(runs: list[RunDirectory]) -> None:
    text = compare(runs[0].handle, runs[2].handle)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert rows["McNemar"] == ["McNemar", "p", "–", ".008✱"]
    assert rows["won"][-2:] == ["–", "8:0"]
    assert rows["change"][-4:] == ["–", "+38.4", "to", "+94.3"]
    assert next(line for line in text.splitlines() if "test accuracy" in line).endswith("+80.00✱")
    assert "Holm" not in text
    test = json.loads(compare(runs[0].id, runs[2].id, "--json"))["paired"][1]
    assert test["p"] == test["p_holm"] == pytest.approx(2**-7)
    assert test["interval"] == pytest.approx(paired_difference(2, 0, 8, 0))


def test_several_runs_against_one_baseline_are_adjusted_for_and_say_so(runs: list[RunDirectory]) -> None:
    names = [run.id for run in runs]
    text = compare(*names)
    assert "p adjusted for 3 comparisons (Holm)" in " ".join(text.split())
    assert ".023" in text  # 3 · 2⁻⁷, above the mark's 0.01
    assert "✱" not in text.replace("✱ p < 0.01", "")
    tests = json.loads(compare(*names, "--json"))["paired"]
    assert [test and test["p"] for test in tests] == pytest.approx([None, 1.0, 2**-7, 2**-7])
    assert [test and test["p_holm"] for test in tests] == pytest.approx([None, 1.0, 3 * 2**-7, 3 * 2**-7])


def test_accuracies_stand_with_their_intervals(runs: list[RunDirectory]) -> None:
    text = compare(runs[0].handle, runs[2].handle)
    row = next(line for line in text.splitlines() if "95 % interval" in line)
    assert row.split()[-2:] == ["5.7–51.0", "72.2–100"]
    record = json.loads(compare(runs[0].id, runs[2].id, "--json"))
    assert record["intervals"]["test.accuracy"][0] == pytest.approx([0.0567, 0.5098], abs=1e-4)


def test_missing_predictions_are_told_and_do_not_stop_the_comparison(runs: list[RunDirectory]) -> None:
    runs[2].predictions("test").unlink()
    text = compare(runs[0].handle, runs[2].handle)
    assert "not paired" in text
    assert "no predictions/test.npz" in text
    runs[2].predictions("test").write_bytes(b"not a zip")
    assert "damaged" in compare(runs[0].handle, runs[2].handle)


def test_damaged_results_of_one_run_leave_the_others_comparable(runs: list[RunDirectory]) -> None:
    runs[2].results.write_text("classes = [")
    text = compare(*(run.handle for run in runs[:3]))
    assert "warning" in text
    assert "damaged results" in text
    assert "20.00" in text


def test_groups_show_mean_spread_and_tests_over_seeds(runs: list[RunDirectory]) -> None:
    text = compare(*(run.handle for run in runs), "--group")
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "test accuracy % 20.00 ± 0.00 100.00 ± 0.00 +80.00✱" in rows
    assert "seeds better – 2 of 2" in rows
    assert "p (images) – .008✱" in rows
    assert "B better 0 1" in rows
    groups = json.loads(compare(*(run.id for run in runs), "-g", "--json"))["groups"]
    assert [group["seeds"] for group in groups["groups"]] == [["0", "1"], ["0", "1"]]


def test_one_seed_is_said_to_have_no_spread(runs: list[RunDirectory]) -> None:
    assert "one seed, so no spread" in compare(*(run.handle for run in runs[:3]), "-g")


def test_confusions_are_shown_on_request(runs: list[RunDirectory]) -> None:
    assert "confusion" not in compare(runs[0].handle, runs[2].handle)
    assert "no test confusion differs" in compare(runs[0].handle, runs[2].handle, "--confusion")


@pytest.mark.parametrize("name", ["table.md", "table.csv", "table.json"])
def test_a_files_name_tells_its_format(runs: list[RunDirectory], tmp_path: Path, name: str) -> None:
    target = tmp_path / name
    said = compare(runs[0].id, runs[2].id, "--export", str(target)).replace("\n", "")
    assert "written to" in said
    first = target.read_text().lstrip()
    assert first.startswith({"md": "| recipe", "csv": "section,key", "json": "{"}[name.rpartition(".")[2]])


def test_a_name_that_tells_no_format_is_refused(runs: list[RunDirectory], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tells no format"):
        compare(runs[0].id, runs[2].id, "--export", str(tmp_path / "table.xlsx"))


def test_twenty_runs_fit_eighty_columns_and_one_more_is_refused(runs: list[RunDirectory]) -> None:
    home = runs[0].path.parent
    for number in range(17):
        finish(make_run(home, f"a rather long name of a run {number}", seed=number), make_results())
    everything = [run.name for run in home.iterdir()]
    text = compare(*everything[:20])
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert " T " in text
    with pytest.raises(UserError, match="too many"):
        compare(*everything)


def test_curves_are_drawn_on_one_scale_and_told_point_by_point(runs: list[RunDirectory]) -> None:
    write_epochs(runs[0], 0.15, 0.25)
    write_epochs(runs[2], 0.35, 0.55, 0.95)
    text = compare(runs[0].handle, runs[2].handle, "--curve", "val.accuracy")
    rows = [line.split() for line in text.splitlines() if "▁" in line or "█" in line]
    assert (rows[0][0], rows[1][0]) == ("A", "B")
    assert rows[0][-4:] == ["20.00", "20.00", "teacher", "2"]
    assert rows[1][-4:] == ["90.00", "90.00", "teacher", "3"]
    assert rows[1][-5].endswith("█")
    curve = json.loads(compare(runs[0].id, runs[2].id, "--curve", "val.loss", "--by", "step", "--json"))[
        "curve"
    ]
    assert (curve["metric"], curve["axis"]) == ("val.loss", "step")
    assert curve["runs"][0]["x"] == [10.0, 20.0]
    assert curve["runs"][1]["y"] == pytest.approx([0.7, 0.5, 0.1])


def test_a_run_without_epochs_has_an_empty_curve(runs: list[RunDirectory]) -> None:
    text = compare(runs[0].handle, runs[2].handle, "--curve", "train.loss")
    assert "train loss by epoch" in text


@pytest.mark.parametrize("wrong", [("--curve", "nothing"), ("--by", "moon")])
def test_a_curve_that_is_not_known_is_refused(runs: list[RunDirectory], wrong: tuple[str, str]) -> None:
    with pytest.raises(UserError, match=wrong[1]):
        compare(runs[0].handle, runs[2].handle, *wrong)
