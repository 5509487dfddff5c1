"""`petbench run` and `petbench resume` from the first line to the last."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.cli.whole import Petbench
from tests.train.making import HEAD, PSEUDO, recipe_text
from workbench.cli.console import console
from workbench.cli.display import Display
from workbench.recipe import load_recipe
from workbench.runs.events import EpochDone, Message, SplitName, StageStarted
from workbench.runs.layout import run_directories
from workbench.runs.metrics import read_events
from workbench.runs.profile import read_profile
from workbench.runs.results import read_results
from workbench.train.checkpoint import load_tensors, save_tensors

_ESCAPE = re.compile(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>78])")


@pytest.fixture
def recipe(home: Path, sample: Path) -> Path:
    path = home / "tiny.toml"
    path.write_text(recipe_text(HEAD + PSEUDO, sample))
    return path


def _assert_in_order(text: str, *parts: str) -> None:
    place = 0
    for part in parts:
        found = text.find(part, place)
        assert found >= 0, f"{part!r} is not in what follows {text[:place][-80:]!r}:\n{text}"
        place = found


def test_a_run_tells_its_story_and_ends_with_numbers_chart_confusions_and_next_commands(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    said = petbench("run", recipe, "--device", "cpu")
    assert said.code == 0, said.err
    (run,) = run_directories(home / "runs")
    results = read_results(run.results)
    assert results.teacher_test is not None
    _assert_in_order(
        said.out,
        "20 labelled, 20 unlabelled, 10 validation and 20 test images",
        "precision: fp32 training",
        f"run {run.id}",
        "teacher: 3 epochs, 20 labelled, on cached features",
        "best validation accuracy",
        "round 1: 8 of 20 pseudo-labels",
        "student r1: 2 epochs, 20 labelled, 8 pseudo-labelled",
        "best validation accuracy",
        "round 2: 16 of 20",
        "best validation accuracy",
        "val %",
        f"{100 * results.teacher_test.accuracy:.2f}",
        f"{100 * results.test.accuracy:.2f}",
        "Pseudo-labels",
        "labels right %",
        "accuracy by epoch",
        "┤",
        "most confused on the test images:",
        "lowest recall:",
        f"run {run.id}",
        f"petbench runs show {run.handle}",
        f"petbench inspect {run.handle}",
        f"petbench predict {run.handle} PICTURE.jpg",
        "petbench runs ls",
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[model]\nbackbone = "resnt18"\n', "tiny.toml:4: model.backbone: unknown backbone 'resnt18'"),
        ('[finetune]\nlayers = ["layer9"]\n', "tiny.toml:4: finetune.layers: no layer group named 'layer9'"),
        ('[data]\ndataset = "folder"\nroot = "gone"\n', "gone"),
        (
            '[data]\ndataset = "sample"\nroot = "HERE"\n[model]\nbackbone = "resnet18"\nweights = "w.pth"\n',
            "w.pth",
        ),
    ],
)
def test_a_run_that_is_refused_is_never_announced(
    petbench: Petbench, home: Path, sample: Path, text: str, told: str
) -> None:
    (home / "tiny.toml").write_text(f'schema = 1\nname = "tiny"\n{text.replace("HERE", str(sample))}')
    (home / "w.pth").write_bytes(b"no weights")
    said = petbench("run", home / "tiny.toml")
    assert said.code == 2
    assert told in said.err
    assert "tiny-" not in said.out + said.err
    assert run_directories(home / "runs") == []


def test_the_homes_may_stand_before_the_command_or_after_it(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    before = dict(os.environ)
    assert petbench("--runs-dir", home / "mine", "run", recipe).code == 0
    (run,) = run_directories(home / "mine")
    assert run_directories(home / "runs") == []
    assert dict(os.environ) == before
    said = petbench("--runs-dir", home / "elsewhere", "runs", "ls", "--runs-dir", home / "mine")
    assert run.handle in said.out
    assert petbench("--fresh", "runs", "ls").code == 2


def test_the_weights_of_a_run_tell_what_they_are_of(
    petbench: Petbench, home: Path, sample: Path, recipe: Path
) -> None:
    assert petbench("run", recipe).code == 0
    (run,) = run_directories(home / "runs")
    for name in ("final", "teacher"):
        _, told = load_tensors(run.checkpoint / f"{name}.safetensors")
        assert tuple(told["classes"]) == read_results(run.results).classes
        assert told["backbone"] == "shufflenet_v2_x0_5"
        assert told["image_size"] == load_recipe(run.recipe).data.image_size
        assert (told["mean"], told["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    weights = f"model.weights={run.checkpoint / 'final.safetensors'}"
    said = petbench("run", recipe, "--set", "model.backbone=resnet18", "--set", weights)
    assert said.code == 2
    assert "the file says that it was made from shufflenet_v2_x0_5" in said.err
    tensors, told = load_tensors(run.checkpoint / "final.safetensors")
    save_tensors(run.checkpoint / "final.safetensors", tensors, {**told, "classes": told["classes"][::-1]})
    said = petbench("predict", run.id, sample / "images")
    assert said.code == 2
    assert "other classes than the run" in said.err
    del told["classes"], told["backbone"]  # as older runs have it
    save_tensors(run.checkpoint / "final.safetensors", tensors, told)
    assert petbench("predict", run.id, sample / "images").code == 0


def test_the_commands_it_ends_with_can_be_typed(
    petbench: Petbench, home: Path, sample: Path, recipe: Path
) -> None:
    said = petbench("run", recipe)
    commands = re.findall(r"^ +petbench (.+?)  +\S", said.out, flags=re.MULTILINE)
    assert len(commands) == 6
    picture = next((sample / "images").glob("*.jpg"))
    for command in commands:
        arguments = command.replace("PICTURE.jpg", str(picture)).split()
        result = petbench(*arguments)
        assert result.code == 0, (command, result.err)


def test_into_a_pipe_go_no_escape_codes(petbench: Petbench, recipe: Path) -> None:
    said = petbench("run", recipe)
    assert "\x1b" not in said.out + said.err
    assert "\r" not in said.out


def test_what_the_test_split_brings_to_light_comes_after_the_last_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def done(split: SplitName, epoch: int, accuracy: float) -> EpochDone:
        return EpochDone("student", 1, epoch, split, 1.0, accuracy, 0.1, 10.0, 1.0)

    with Display(console) as display:
        display.event(StageStarted("student", 1, 5, 20, 8, True))
        display.event(done("val", 1, 0.75))
        display.event(done("val", 2, 0.5))
        display.event(done("test", 1, 0.6))
        display.event(Message("warning", "below [bold]its\x1b[2J[/] teacher"))
        display.finish()
    assert capsys.readouterr().out.splitlines() == [
        "student r1: 5 epochs, 20 labelled, 8 pseudo-labelled, on cached features",
        "  best validation accuracy 75.00 % at epoch 1 of 5",
        r"warning: below [bold]its\x1b[2J[/] teacher",
    ]


def test_changes_on_the_command_line_are_part_of_the_runs_recipe(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    said = petbench("run", recipe, "--set", "seed=7", "--set", "training.epochs=1", "--set", "name=other")
    assert said.code == 0, said.err
    (run,) = run_directories(home / "runs")
    kept = load_recipe(run.recipe)
    assert (kept.seed, kept.training.epochs, kept.name) == (7, 1, "other")
    assert "-other-" in run.id
    epochs = [
        r.event.epoch
        for r in read_events(run.metrics).records
        if isinstance(r.event, EpochDone) and r.event.stage == "teacher" and r.event.split == "val"
    ]
    assert epochs == [1]


def test_resuming_a_finished_run_prints_its_results_again(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    first = petbench("run", recipe)
    (run,) = run_directories(home / "runs")
    again = petbench("resume", run.handle)
    assert again.code == 0, again.err
    assert again.out.startswith(f"resume {run.id}\n")
    assert "epochs, " not in again.out  # nothing was trained
    table = first.out[first.out.index("val %") :]
    assert again.out.endswith(table)


def test_directories_can_be_named_on_the_command_line(
    petbench: Petbench, home: Path, sample: Path, recipe: Path
) -> None:
    data = home / "elsewhere"
    data.mkdir()
    (data / "petbench-sample").symlink_to(sample)
    recipe.write_text(HEAD)
    said = petbench("run", recipe, "--runs-dir", home / "mine", "--data-dir", data)
    assert said.code == 0, said.err
    (run,) = run_directories(home / "mine")
    assert petbench("resume", run.id, "--runs-dir", home / "mine", "--data-dir", data).code == 0
    assert not (home / "runs").exists()


def test_a_profiled_run_says_where_its_time_went_and_keeps_it(
    petbench: Petbench, home: Path, recipe: Path
) -> None:
    said = petbench("run", recipe, "--profile")
    assert said.code == 0, said.err
    (run,) = run_directories(home / "runs")
    profile = read_profile(run)
    assert profile is not None
    table = said.out[said.out.index("Where the ") :]
    for row in profile.parts:
        assert re.search(rf"^ +{row.part} +{row.seconds:.2f} ", table, flags=re.MULTILINE), (row, table)
    assert str(run.trace) in table
    names = {event["name"] for event in json.loads(run.trace.read_text())["traceEvents"]}
    assert {"imports", "teacher epoch 1", "student r2 epoch 2", "labelling", "results"} <= names
    shown = petbench("runs", "show", run.handle)
    assert "profile.json" in shown.out
    assert json.loads(petbench("runs", "show", run.handle, "--json").out)["profile"]["device"] == "cpu"


def test_a_run_without_a_profile_keeps_none(petbench: Petbench, home: Path, recipe: Path) -> None:
    said = petbench("run", recipe)
    (run,) = run_directories(home / "runs")
    assert "Where the " not in said.out
    assert not run.profile.exists()
    assert not run.trace.exists()


@pytest.mark.slow
def test_on_a_terminal_of_eighty_columns_no_line_is_longer(home: Path, recipe: Path) -> None:
    """On a real pseudo-terminal, since what is drawn there differs from what goes into a pipe."""
    recipe.write_text(recipe.read_text().replace('"tiny"', r'"tiny \u001b]0;owned\u0007 [red]"'))
    drawn = _on_a_terminal(["run", str(recipe), "--device", "cpu"], home, columns=80)
    assert "\x1b" in drawn  # colours and a moving bar
    assert "owned\x07" not in drawn
    plain = _ESCAPE.sub("", drawn)
    assert "petbench runs show" in plain
    assert "━" in plain
    for line in re.split(r"[\r\n]+", plain):
        assert cell_len(line) <= 80, line


def _on_a_terminal(arguments: list[str], home: Path, *, columns: int) -> str:
    """Everything that `petbench ARGUMENTS` writes to a terminal so wide; it must end well."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"},
    )
    os.close(theirs)
    drawn = b""
    try:
        while part := os.read(ours, 65536):
            drawn += part
    except OSError:
        pass  # how Linux says that the other side has hung up
    os.close(ours)
    text = drawn.decode()
    assert process.wait() == 0, text
    return text
