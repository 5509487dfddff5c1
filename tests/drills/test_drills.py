"""Drills find the faults that they are for, and the same seed makes the same attempt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills import disk, files, kills, rivals
from drills.damage import WAYS
from drills.ground import Undisturbed, answers_of, crashed, judge
from drills.processes import Ended, Place
from drills.table import DRILLS, FAULTS, Outcome, Tally, Verdict, dice, in_turn, repeat, table
from tests.train.making import HEAD, make_sample, tiny, train
from workbench.runs.results import read_results, write_results

SOUND = Ended(0, "", "")


@pytest.fixture(scope="module")
def undisturbed(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A run that nothing happened to."""
    home = tmp_path_factory.mktemp("undisturbed")
    trained = train(tiny(HEAD, sample, "training.epochs=1"), home)
    return Undisturbed("head", home / "recipe.toml", Place(home), answers_of(trained.directory), 1.0, ())


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_sample(tmp_path_factory.mktemp("drills") / "sample")


def test_every_drill_says_what_it_does_and_is_held_in_ci() -> None:
    kinds = {module.__name__.rpartition(".")[2] for module in (disk, files, kills, rivals)}
    assert {one.kind for one in DRILLS.values()} == kinds
    assert all(one.what and 0 < one.short <= one.count for one in DRILLS.values())


def test_an_attempt_has_dice_of_its_own() -> None:
    assert dice(1, "a", 5).random() == dice(1, "a", 5).random()
    assert len({dice(*key).random() for key in ((1, "a", 5), (2, "a", 5), (1, "b", 5), (1, "a", 6))}) == 4


@given(st.integers(1, 400))
def test_each_place_has_its_turn_before_any_has_two(length: int) -> None:
    assert {in_turn(number, length) for number in range(length)} == set(range(length))


def test_the_table_counts_attempts_faults_and_verdicts() -> None:
    one = next(iter(DRILLS.values()))
    tally = Tally(one)
    tally.add(7, Outcome(Verdict.SAME, "killed", times=3))
    tally.add(8, Outcome(Verdict.SILENT, "a bit", "the weights differ"))
    assert tally.record(5)["faults"][0]["repeat"] == repeat(one, 5, 8)
    assert repeat(one, 5, 8) == f"python -m drills {one.name} --seed 5 --first 8 --count 1"
    row = [cell.strip() for cell in table([tally]).splitlines()[-1].split("|")]
    assert row[1:4] == [one.name, "2", "4"]
    assert row[4 : 4 + len(Verdict)] == ["1" if v in (Verdict.SAME, Verdict.SILENT) else "0" for v in Verdict]


@pytest.mark.parametrize("way", [way for way, _ in WAYS], ids=lambda way: way.__name__)
def test_every_way_of_damage_changes_the_file(way: object, tmp_path: Path) -> None:
    path, other = tmp_path / "a" / "file.toml", tmp_path / "b" / "file.toml"
    for one, text in ((path, "x = 1\ny = 22\nz = 3\n"), (other, "x = 2\n")):
        one.parent.mkdir()
        one.write_text(text)
    before = path.read_bytes()
    assert way(path, Random(0), other)  # type: ignore[operator]
    assert not path.is_file() or path.stat().st_size > 2**30 or path.read_bytes() != before
    assert other.read_text() == "x = 2\n"


def test_a_run_that_ends_as_it_should_is_the_same(undisturbed: Undisturbed) -> None:
    assert judge(undisturbed.place, undisturbed, SOUND, "nothing").verdict is Verdict.SAME


def test_a_file_left_behind_is_a_fault(undisturbed: Undisturbed) -> None:
    left = undisturbed.run.checkpoint / ".000001.safetensors.12-00ff00ff.tmp"
    left.touch()
    outcome = judge(undisturbed.place, undisturbed, SOUND, "nothing")
    left.unlink()
    assert (outcome.verdict, outcome.said) == (Verdict.LEFT, f"checkpoint/{left.name}")
    assert Verdict.LEFT in FAULTS


def test_another_prediction_is_a_silent_change(undisturbed: Undisturbed) -> None:
    path = undisturbed.run.predictions("test")
    content = path.read_bytes()
    path.write_bytes(b"0")
    outcome = judge(undisturbed.place, undisturbed, SOUND, "a change")
    path.write_bytes(content)
    assert (outcome.verdict, outcome.said) == (Verdict.SILENT, "predictions/test.npz differs")


def test_other_weights_are_a_silent_change(undisturbed: Undisturbed) -> None:
    path = undisturbed.run.results
    content = path.read_bytes()
    write_results(path, replace(read_results(path), weights_sha256="0" * 64))
    outcome = judge(undisturbed.place, undisturbed, SOUND, "a change")
    path.write_bytes(content)
    assert (outcome.verdict, outcome.said) == (Verdict.SILENT, "the weights differ")


def test_hangs_signals_and_tracebacks_are_told_from_words() -> None:
    assert crashed(Ended(None, "", "")) is Verdict.HANG
    assert crashed(Ended(-11, "", "")) is Verdict.TRACEBACK
    assert crashed(Ended(1, "", "Traceback (most recent call last):\n")) is Verdict.TRACEBACK
    assert crashed(Ended(1, "", "MemoryError: this is a fault in petbench")) is Verdict.TRACEBACK
    assert crashed(Ended(2, "", "petbench: results.toml is damaged")) is None
