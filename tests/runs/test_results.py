"""results.toml: round trips, None, the headline."""

from __future__ import annotations

import math
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runs.making import CLASSES, make_evaluation, make_results
from workbench.runs.results import (
    Confusion,
    Evaluation,
    Results,
    RoundResult,
    most_confused,
    read_headline,
    read_results,
    write_results,
)
from workbench.support.digests import SUMS
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile

counts = st.integers(0, 2**40)
shares = st.floats(0, 1)
numbers = st.floats(allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
rounds = st.builds(RoundResult, counts, counts, shares, st.none() | shares, counts, shares)


def evaluations(classes: int) -> st.SearchStrategy[Evaluation]:
    return st.builds(
        Evaluation,
        images=counts,
        accuracy=shares,
        loss=numbers,
        macro_f1=shares,
        top5=shares,
        calibration_error=shares,
        recall=st.tuples(*[st.none() | shares] * classes),
        confusion=st.tuples(*[st.tuples(*[counts] * classes)] * classes),
    )


def results_of(classes: int) -> st.SearchStrategy[Results]:
    return st.builds(
        Results,
        classes=st.tuples(*[texts] * classes),
        val=evaluations(classes),
        test=evaluations(classes),
        best_stage=texts,
        best_round=counts,
        best_epoch=counts,
        training_seconds=numbers,
        images_per_second=numbers,
        peak_memory_bytes=counts,
        precision=texts,
        labelled=counts,
        unlabelled=counts,
        classes_covered=counts,
        teacher_val=st.none() | evaluations(classes),
        teacher_test=st.none() | evaluations(classes),
        probe_val_accuracy=st.none() | shares,
        rounds=st.lists(rounds, max_size=3).map(tuple),
        warnings=st.lists(texts, max_size=3).map(tuple),
    )


all_results = st.integers(0, 4).flatmap(results_of)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(results=all_results)
def test_any_results_come_back_as_they_were_written(tmp_path: Path, results: Results) -> None:
    path = tmp_path / "results.toml"
    write_results(path, results)
    assert read_results(path) == results
    assert read_headline(path)["test"]["accuracy"] == results.test.accuracy
    assert read_headline(path)[""]["training_seconds"] == results.training_seconds
    if results.rounds:
        assert (
            read_headline(path)["rounds"].get("pseudo_label_accuracy")
            == results.rounds[-1].pseudo_label_accuracy
        )


def test_a_matrix_has_a_line_a_row_for_people_to_read(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    write_results(path, make_results(teacher_accuracy=0.7))
    text = path.read_text()
    assert "confusion = [\n    [5, 1, 0],\n    [1, 3, 0],\n    [0, 0, 0],\n]\n" in text
    assert tomllib.loads(text)["teacher_test"]["accuracy"] == 0.7
    assert "probe_val_accuracy" not in text


def test_a_loss_that_is_no_number_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    write_results(path, replace(make_results(), test=replace(make_evaluation(), loss=math.nan)))
    assert math.isnan(read_results(path).test.loss)


def test_a_class_named_with_undecodable_bytes_does_not_spoil_the_file(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    write_results(path, replace(make_results(), classes=("a\udcff", "b", "c")))
    assert read_results(path).classes == ("a?", "b", "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [("x = ", "damaged"), ("x = 1\n", "classes"), ('test = "x"', "damaged"), ("[val]\n", "damaged")],
)
def test_damaged_results_are_one_message_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "results.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_results(path)
    assert caught.value.where == str(path)


def test_the_most_confused_pairs_come_first_and_ties_keep_the_classes_order() -> None:
    confusion = [[5, 2, 0], [2, 3, 4], [0, 0, 9]]
    assert most_confused(confusion, CLASSES, 2) == [
        Confusion("Bengal", "beagle", 4, 4 / 9),
        Confusion("Abyssinian", "Bengal", 2, 2 / 7),
    ]
    assert len(most_confused(confusion, CLASSES, 99)) == 3
    assert most_confused([[0, 0], [0, 0]], ("a", "b"), 5) == []


def _written(path: Path) -> bytes:
    write_results(path, make_results(teacher_accuracy=0.7))
    return path.read_bytes()


def test_results_cut_short_anywhere_are_damaged_for_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    content = _written(path)
    for kept in range(len(content)):
        path.write_bytes(content[:kept])
        with pytest.raises(UserError, match="damaged results"):
            read_results(path)
        with pytest.raises(UnreadableFile):
            read_headline(path)


def test_a_flipped_bit_anywhere_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    content = _written(path)
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 7
        path.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged results"):
            read_results(path)
        with pytest.raises(UnreadableFile):
            read_headline(path)


def test_results_of_before_there_were_checksums_are_read(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    lines = _written(path).decode().splitlines(keepends=True)
    path.write_text("".join(lines[1:-1]))
    (tmp_path / SUMS).unlink()
    assert read_results(path) == make_results(teacher_accuracy=0.7)
    assert read_headline(path)["test"]["accuracy"] == 0.8


@pytest.mark.parametrize(("classes", "told"), [(2, None), (5, None), (6, 1.0), (37, 1.0)])
def test_accuracy_among_five_is_told_of_more_than_five_classes(classes: int, told: float | None) -> None:
    evaluation = replace(make_evaluation(), recall=(0.5,) * classes)
    assert evaluation.told_top5 == told


def test_results_of_another_run_are_damage(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine" / "results.toml", tmp_path / "other" / "results.toml"
    for path, accuracy in ((mine, 0.7), (other, 0.6)):
        path.parent.mkdir()
        write_results(path, make_results(teacher_accuracy=accuracy))
    mine.write_bytes(other.read_bytes())
    with pytest.raises(UserError, match="damaged results"):
        read_results(mine)
    with pytest.raises(UnreadableFile):
        read_headline(mine)


def test_results_say_how_many_labels_were_used_for_what_and_how_sure_each_accuracy_is(tmp_path: Path) -> None:
    results = replace(make_results(), val=replace(make_evaluation(), images=5, accuracy=1.0))
    write_results(tmp_path / "results.toml", results)
    written = tomllib.loads((tmp_path / "results.toml").read_text())
    assert written["labels"] == {"training": 20, "choosing": 5, "testing": 10}
    assert written["val"]["accuracy_interval"] == pytest.approx([0.5655, 1.0], abs=1e-4)
    assert results.val.words == "100 % (56.6–100)"


def test_results_of_before_there_were_intervals_are_told_with_them(tmp_path: Path) -> None:
    path = tmp_path / "results.toml"
    write_results(path, make_results())
    values = tomllib.loads(path.read_text())
    del values["labels"], values["val"]["accuracy_interval"], values["test"]["accuracy_interval"]
    (tmp_path / SUMS).unlink()
    path.write_text(tomli_w.dumps(values))
    assert read_results(path) == make_results()


def test_a_choice_between_models_that_validation_cannot_tell_apart_says_so() -> None:
    results = make_results(0.82, teacher_accuracy=0.8)
    unsure = replace(results, student_val_interval=(-0.05, 0.09)).choice_words
    assert unsure == (
        "chosen by 10 validation images: the student; student less teacher +4.00 points (−5.0 to +9.0), "
        "which may be chance; the intervals of all rounds overlap"
    )
    sure = replace(results, student_val_interval=(0.01, 0.09), rounds=results.rounds[:1]).choice_words
    assert sure == (
        "chosen by 10 validation images: the student; student less teacher +4.00 points (+1.0 to +9.0)"
    )
    assert make_results().choice_words == ""
