"""`petbench runs …` as a user types it."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from typer.testing import CliRunner

from tests.cli.commands import on_screen
from tests.runs.making import epoch, finish, make_results, make_run
from workbench.cli.runs import app
from workbench.runs.events import Message, RanksSeen, RoundLabelled, StageStarted
from workbench.runs.metrics import MetricsWriter
from workbench.runs.notes import read_notes
from workbench.runs.predictions import save_predictions
from workbench.runs.process import write_process
from workbench.support.errors import UserError

HOSTILE = [
    "a[/b]",
    "[red]x",
    "esc\x1b[2Jape",
    "bidi\u202ekcab",
    "new\nline",
    "猫" * 30,
    ":cat: emoji 🐈",
    "x" * 80,
]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PETBENCH_RUNS", str(tmp_path / "runs"))
    on_screen(monkeypatch, 80)
    return tmp_path / "runs"


def petbench(*arguments: str) -> str:
    """The output of `petbench runs ARGUMENTS`; a user's mistake is raised."""
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_listing_shows_state_progress_and_accuracies(home: Path) -> None:
    finish(make_run(home, "done", age_seconds=9), make_results(0.8123, teacher_accuracy=0.75))
    live = make_run(home, "going", pseudo_label={"strategy": "iterative", "rounds": 5})
    write_process(live, "cpu")
    with MetricsWriter(live.metrics) as writer:
        writer.event(StageStarted("student", 2, 5, 10, 5, False))
        writer.event(epoch(3, 0.7, stage="student", round=2))
    text = petbench("ls")
    lines = [line for line in text.splitlines() if "going" in line or "done" in line]
    assert live.handle in lines[0]
    assert "student 2/5 · 3/5" in lines[0]
    assert re.search(r"finished .*83\.23 +81\.23 +75\.00", lines[1])
    assert text.splitlines()[-1] == "2 of 2 runs"


def test_every_listing_fits_eighty_columns_whatever_the_names(home: Path) -> None:
    for number, name in enumerate(HOSTILE):
        run = finish(
            make_run(home, name, age_seconds=number, tags=[name]), make_results(teacher_accuracy=0.7)
        )
        petbench("tag", run.handle, name[:60])
        petbench("note", run.handle, name)
    pages = [
        petbench("ls"),
        *(petbench("show", f"@{n}") for n in range(1, len(HOSTILE) + 1)),
        petbench("compare", "@1", "@2"),
    ]
    petbench("rm", "@1", "@2")
    pages.append(petbench("trash"))
    for page in pages:
        assert "\x1b" not in page
        assert "\u202e" not in page
        assert max(cell_len(line) for line in page.splitlines() if "/" not in line) <= 80
    assert "a[/b]" in pages[0]
    assert "[red]x" in pages[0]
    assert r"esc\x1b[2Jape" in pages[3]
    assert ":cat: emoji" in pages[7]


def test_a_wide_terminal_shows_more(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(make_run(home, tags=["table1"]))
    on_screen(monkeypatch, 40)
    assert "table1" not in petbench("ls")
    on_screen(monkeypatch, 160)
    assert "resnet18" in petbench("ls")
    assert "table1" in petbench("ls")


def test_a_listing_can_be_filtered_sorted_and_given_columns(home: Path) -> None:
    for number, accuracy in enumerate((0.7, 0.9, 0.8)):
        finish(make_run(home, f"run{number}", age_seconds=number, seed=number), make_results(accuracy))
    text = petbench("ls", "-f", "accuracy>=80%", "--sort", "accuracy", "--columns", "name,seed,accuracy")
    rows = [line.split() for line in text.splitlines() if line.strip().startswith("run")]
    assert rows == [["run2", "2", "80.00"], ["run1", "1", "90.00"]]
    assert "2 of 3 runs" in text
    records = json.loads(petbench("ls", "--json", "--sort=-accuracy"))["runs"]
    assert [record["name"] for record in records] == ["run1", "run2", "run0"]
    for wrong in (("-f", "accuracy>"), ("--sort", "zzzqqq"), ("--columns", "name,zzzqqq")):
        with pytest.raises(UserError):
            petbench("ls", *wrong)


def test_a_long_listing_is_cut_to_the_limit(home: Path) -> None:
    for number in range(4):
        make_run(home, f"run{number}", age_seconds=number)
    text = petbench("ls", "--limit", "2")
    assert ("run1" in text, "run2" in text) == (True, False)
    assert "2 of 4 runs" in text
    assert "4 of 4 runs" in petbench("ls", "-n", "0")
    assert len(json.loads(petbench("ls", "--json"))["runs"]) == 4
    assert len(json.loads(petbench("ls", "--json", "-n", "3"))["runs"]) == 3


def test_long_names_never_push_numbers_out_of_a_listing(home: Path) -> None:
    for number in range(3):
        name = f"{number}" + "long name " * 7
        finish(make_run(home, name, age_seconds=number), make_results(0.8123, teacher_accuracy=0.7))
    rows = [line for line in petbench("ls").splitlines() if "long name" in line]
    assert len(rows) == 3
    assert all("finished" in row and "83.23" in row and "81.23" in row for row in rows)
    wanted = "name,description,test.accuracy,val.accuracy,test.loss,val.loss,id,note,created,seed"
    assert petbench("ls", "--columns", wanted).count("81.23") == 3


def test_archived_runs_are_listed_only_on_request(home: Path) -> None:
    run = finish(make_run(home))
    petbench("archive", run.id)
    assert "0 of 1 runs (1 archived: --archived)" in petbench("ls")
    assert run.handle in petbench("ls", "--archived")
    petbench("unarchive", run.id)
    assert run.handle in petbench("ls")


def test_an_empty_home_says_what_to_do(home: Path) -> None:
    assert "petbench run RECIPE" in petbench("ls")
    assert json.loads(petbench("ls", "--json"))["runs"] == []


def test_a_page_tells_results_rounds_confusions_and_warnings(home: Path) -> None:
    run = finish(make_run(home, description="ten per cent"), make_results(0.8, teacher_accuracy=0.75))
    with MetricsWriter(run.metrics) as writer:
        writer.event(RoundLabelled(1, 80, 40, 0.9, None, 0, 0.91, [], []))
        writer.event(Message("warning", "a class has no label"))
        writer.event(Message("info", "not shown"))
    text = petbench("show", run.handle)
    for part in (
        "ten per cent",
        "finished",
        "teacher test",
        "75.00",
        "90.00",
        "Abyssinian",
        "below its teacher",
    ):
        assert part in text
    assert "a class has no label" in text
    assert "not shown" not in text
    record = json.loads(petbench("show", run.handle, "--json"))
    assert record["results"]["teacher_test"]["accuracy"] == 0.75
    assert record["most_confused"][0]["true"] == "Abyssinian"
    assert record["rounds"][0]["selected"] == 40


def test_a_page_and_a_listing_tell_on_how_many_devices_a_run_trained_and_what_each_did(home: Path) -> None:
    run = finish(make_run(home), replace(make_results(), devices=2))
    (run.path / "provenance.toml").write_text('device = "NVIDIA H200"\nprocesses = "2"\n')
    ranks = RanksSeen("fit", 0, 1, [44.0, 43.25], [2**30, 3 * 2**29])
    with MetricsWriter(run.metrics) as writer:
        for event in (StageStarted("fit", 0, 1, 10, 0, False), epoch(1, split="train"), ranks, epoch(1)):
            writer.event(event)
    text = petbench("show", run.handle)
    for part in (
        "NVIDIA H200, 2 processes",
        "0: 44.0 images/s, 1.0 GiB",
        "1: 43.2 images/s, 1.5 GiB",
        "trained 2m00s at 87.2 images/s on 2 devices",
    ):
        assert part in text
    assert json.loads(petbench("show", run.handle, "--json"))["ranks"] == asdict(ranks)
    assert json.loads(petbench("ls", "--json"))["runs"][0]["metrics"]["devices"] == 2
    assert run.handle in petbench("ls", "--filter", "devices=2")
    alone = finish(make_run(home, "alone"))
    page = json.loads(petbench("show", alone.handle, "--json"))
    assert (page["ranks"], page["results"]["devices"]) == (None, None)
    assert "devices" not in alone.results.read_text()
    assert "ranks" not in petbench("show", alone.handle)


def test_a_page_of_a_run_without_results_says_how_to_go_on(home: Path) -> None:
    run = make_run(home)
    with MetricsWriter(run.metrics) as writer:
        writer.event(RoundLabelled(1, 80, 40, None, None, 0, 0.9123, [], []))
    text = petbench("show", "latest")
    assert "0.912" in text
    assert f"petbench resume {run.handle}" in text


def test_a_comparison_tells_differences_and_deltas(home: Path) -> None:
    a = finish(make_run(home, "a", seed=1), make_results(0.8))
    b = finish(make_run(home, "b", seed=2), make_results(0.9))
    text = petbench("compare", a.handle, b.handle)
    assert "90.00 +10.00" in text
    assert re.search(r"seed +1 +2", text)
    assert json.loads(petbench("compare", a.id, b.id, "--json"))["recipe"] == {"seed": [1, 2]}
    assert "| seed | 1 | 2 |" in petbench("compare", a.id, b.id, "--format", "md")
    for wrong in (("--json", "--format", "csv"), ("--output", "x")):
        with pytest.raises(UserError):
            petbench("compare", a.id, b.id, *wrong)


def test_runs_are_exported_to_the_terminal_or_a_file(home: Path, tmp_path: Path) -> None:
    a, b = finish(make_run(home, "a")), finish(make_run(home, "b", age_seconds=5))
    assert petbench("export").splitlines()[1].startswith(a.id)
    assert len(json.loads(petbench("export", b.id, "-F", "json"))["runs"]) == 1
    assert [r["name"] for r in json.loads(petbench("export", "-F", "json", "-f", "name=b"))["runs"]] == ["b"]
    target = tmp_path / "runs.csv"
    petbench("export", "--output", str(target))
    assert target.read_text().count("\n") == 3
    with pytest.raises(UserError, match="mkdir -p"):
        petbench("export", "--output", str(tmp_path / "no" / "such" / "file"))


def test_tags_are_added_and_removed_and_a_note_forgotten(home: Path) -> None:
    run = make_run(home)
    petbench("tag", run.handle, "good", "table1")
    petbench("tag", run.handle, "good", "--remove")
    petbench("note", run.handle, "look again")
    assert (read_notes(run).tags, read_notes(run).note) == (("table1",), "look again")
    assert "no note" in petbench("note", run.handle, "")
    assert read_notes(run).note == ""


def test_a_removed_run_can_be_restored_until_the_trash_is_emptied(home: Path) -> None:
    run = finish(make_run(home))
    assert f"petbench runs restore {run.handle}" in petbench("rm", run.id)
    assert run.id in petbench("trash")
    assert json.loads(petbench("trash", "--json"))["runs"][0]["id"] == run.id
    petbench("restore", run.handle)
    assert run.path.is_dir()
    petbench("rm", run.id)
    with pytest.raises(UserError, match="--yes"):
        petbench("trash", "--empty")
    assert run.id in petbench("trash")
    assert "1 deleted" in petbench("trash", "--empty", "--yes")
    assert "empty" in petbench("trash")
    with pytest.raises(UserError, match="--empty"):
        petbench("trash", "--yes")


def test_a_run_that_is_going_is_not_removed(home: Path) -> None:
    run = make_run(home)
    write_process(run, "cpu")
    with pytest.raises(UserError, match="running"):
        petbench("rm", run.id)
    assert run.path.is_dir()


def test_the_runs_directory_can_be_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "other")
    assert run.handle in petbench("ls", "--runs-dir", str(tmp_path / "other"))


def test_the_end_of_a_log_is_shown_harmless_and_searched(home: Path) -> None:
    run = finish(make_run(home))
    run.log.write_text("one loss\n\x1b[31mtwo\nLOSS three\n")
    assert petbench("log", run.handle).splitlines() == ["one loss", r"\x1b[31mtwo", "LOSS three"]
    assert petbench("log", run.handle, "-n", "1").splitlines() == ["LOSS three"]
    assert petbench("log", run.handle, "--search", "loss").splitlines() == ["one loss", "LOSS three"]


def test_a_log_is_followed_until_the_run_ends(home: Path) -> None:
    run = make_run(home)
    write_process(run, "cpu")
    run.log.write_text("before\n")

    def end() -> None:
        with run.log.open("a") as log:
            log.write("while it was followed\nno whole li")
        finish(run)

    later = threading.Timer(0.3, end)
    later.start()
    assert petbench("log", run.handle, "--follow").splitlines() == ["before", "while it was followed"]
    later.join()


def test_what_was_left_behind_is_told_asked_about_and_cleared(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PETBENCH_STATE", str(tmp_path / "state"))
    run = make_run(home)
    assert petbench("tidy") == "nothing is left behind\n"
    left = run.checkpoint / ".000001.safetensors.4194000-0123abcd.tmp"
    left.write_bytes(b"x" * 5000)
    assert "000001.safetensors was never finished" in " ".join(petbench("tidy", "--dry-run").split())
    told = json.loads(petbench("tidy", "--dry-run", "--json"))
    assert told["removed"] is False
    (one,) = told["leftovers"]
    assert (one["path"], one["kind"], one["bytes"]) == (str(left), "temporary file", told["bytes"])
    with pytest.raises(UserError, match="nobody to ask"):
        petbench("tidy")
    for option, value in (("--older-than", "soon"), ("--cache-limit", "20 zebras"), ("--older-than", "3GB")):
        with pytest.raises(UserError, match="no size or age"):
            petbench("tidy", option, value)
    assert left.exists()
    assert "1 removed" in petbench("tidy", "--yes")
    assert not left.exists()


def test_a_runs_confidence_is_told_in_bars_and_drawn(home: Path, tmp_path: Path) -> None:
    run = finish(make_run(home, "done"))
    assert "Confidence:" not in petbench("show", run.handle)
    with pytest.raises(UserError, match="no reliability diagram"):
        petbench("show", run.handle, "--figure", str(tmp_path / "a.svg"))
    random = np.random.default_rng(1)
    shares = random.dirichlet(np.full(3, 0.3), 200).astype(np.float32)
    labels = np.where(random.random(200) < 0.8, shares.argmax(axis=1), 0)
    save_predictions(run.predictions("val"), [f"{i}" for i in range(200)], shares, labels)
    shown = petbench("show", run.handle, "--figure", str(tmp_path / "a.svg"))
    assert "Confidence: temperature" in shown
    assert len(re.findall(r"^ +[\d.]+–[\d.]+ +1[34] +[\d.]+ +█", shown, re.MULTILINE)) == 15
    assert (tmp_path / "a.svg").read_text().startswith("<svg")
    petbench("show", run.handle, "--figure", str(tmp_path / "a.png"))
    assert Image.open(tmp_path / "a.png").size[0] > 1000
    told = json.loads(petbench("show", run.handle, "--json"))["reliability"]
    assert sum(one["images"] for one in told["bins"]) == 200
    assert told["calibration"]["test_error"] is None
    with pytest.raises(UserError, match="no kind of figure"):
        petbench("show", run.handle, "--figure", str(tmp_path / "a.txt"))
