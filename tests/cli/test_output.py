"""Output that cannot be written, text that would drive a terminal, letters that a locale lacks."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import workbench.cli
from tests.cli.conftest import World
from tests.cli.every import NOT_TYPED, all_commands, typed
from tests.cli.whole import Petbench
from tests.runs.making import finish, make_run
from tests.train.making import HEAD, recipe_text
from workbench.cli.console import print_json
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.notes import change_notes

_WALK = """
import json, os, sys, traceback
from drills.processes import prepare
from workbench.cli.main import main

prepare()
told = []
for outlet, arguments in json.load(sys.stdin):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.dup2(write, 2)
            if outlet == "closed":
                os.close(1)
            else:
                if outlet == "full":
                    end = os.open("/dev/full", os.O_WRONLY)
                else:
                    gone, end = os.pipe()
                    os.close(gone)
                os.dup2(end, 1)
            sys.argv = ["petbench", *arguments]
            main()
        except SystemExit as exit_:
            code = exit_.code
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        os._exit(code)
    os.close(write)
    with open(read, "rb") as stream:
        said = stream.read().decode()
    told.append([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said])
json.dump(told, sys.stdout)
"""


def _walk(jobs: Sequence[tuple[str, Sequence[str]]]) -> list[tuple[int, str]]:
    """Exit code and standard error of each command line; its standard output is full, closed or not read."""
    walked = subprocess.run(
        [sys.executable, "-c", _WALK],
        input=json.dumps(list(jobs)),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert walked.returncode == 0, walked.stderr
    return [(code, said) for code, said in json.loads(walked.stdout)]


@pytest.fixture
def own(trained: World, home: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A command line for every command, in a home of its own with two finished runs."""
    monkeypatch.setenv("PETBENCH_STATE", str(home / "state"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    shutil.copytree(trained.runs, home / "runs", dirs_exist_ok=True)
    monkeypatch.setenv("PETBENCH_DATA", str(trained.data))
    (home / "tiny.toml").write_text(recipe_text(HEAD, sample))
    Image.new("RGB", (40, 40)).save(home / "picture.png")
    pseudo, supervised = (
        RunDirectory(home / "runs" / run.id) for run in (trained.pseudo_labelled, trained.supervised)
    )
    return typed(home, pseudo, supervised, home / "tiny.toml")


def test_every_command_has_a_line_here(own: dict[str, list[str]]) -> None:
    assert set(all_commands()) == set(own) | NOT_TYPED


_TOLD = {
    "full": (1, "petbench: cannot write to standard output: No space left on device\n"),
    "closed": (1, "petbench: cannot write to standard output: Bad file descriptor\n"),
    "unread": (141, ""),
}


def _assert_told(outlet: str, lines: list[list[str]]) -> None:
    code, words = _TOLD[outlet]
    for line, (ended, said) in zip(lines, _walk([(outlet, line) for line in lines]), strict=True):
        assert ended == code, (line, outlet, said)
        assert said.endswith(words), (line, outlet, said)
        assert "Traceback" not in said, (line, outlet, said)


@pytest.mark.parametrize("outlet", _TOLD)
def test_a_full_disk_a_closed_stream_and_a_reader_that_went_are_told_alike(outlet: str, home: Path) -> None:
    # All pages of help go one way, so every one is walked to one outlet only.
    commands = ["", *all_commands()] if outlet == "full" else ["", "run", "runs show"]
    helps = [[*name.split(), "--help"] for name in commands]
    listings = [["runs", "ls"], ["runs", "ls", "--json"], ["runs", "export"], ["strategies"], ["queue"]]
    _assert_told(outlet, [["--version"], *helps, *listings])


@pytest.mark.slow
@pytest.mark.parametrize("outlet", ["full", "unread"])
def test_every_command_tells_that_its_output_is_lost(outlet: str, own: dict[str, list[str]]) -> None:
    waits = ("launch", "queue move", "queue cancel")
    typed_out = [[*name.split(), *words] for name, words in own.items() if name not in waits]
    _assert_told(outlet, typed_out)


@pytest.mark.slow
def test_a_run_whose_reader_went_is_trained_to_its_end(own: dict[str, list[str]], home: Path) -> None:
    before = set(run_directories(home / "runs"))
    assert _walk([("unread", ["run", *own["run"]])]) == [(141, "")]
    (run,) = set(run_directories(home / "runs")) - before
    assert run.results.is_file()


_CUT = """
import sys
from workbench.cli.streams import outliving_output, with_streams

def command():
    with outliving_output():
        print("one", flush=sys.argv[1] == "at once")
    return 130

sys.exit(with_streams(command))
"""


@pytest.mark.parametrize("lost", ["at once", "at the end"])
@pytest.mark.parametrize("outlet", ["/dev/full", "a terminal that was closed"])
def test_what_was_interrupted_says_so_also_when_its_last_words_are_lost(outlet: str, lost: str) -> None:
    if outlet == "/dev/full":
        written = os.open(outlet, os.O_WRONLY)
    else:
        master, written = os.openpty()
        os.close(master)
    ended = subprocess.run(
        [sys.executable, "-c", _CUT, lost],
        stdout=written,
        stderr=written,
        start_new_session=True,
        check=False,
    )
    os.close(written)
    assert ended.returncode == 130


def test_what_standard_error_does_not_take_is_dropped(home: Path) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "workbench.cli.main", "runs", "show", "nothing"], stderr=full, check=False
        )
    assert ended.returncode == 2


# -- letters


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_locale_of_few_letters_gets_plainer_ones(encoding: str, home: Path) -> None:
    finish(make_run(home / "runs", "Kätzchen – 猫"))
    ended = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", "runs", "ls"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
        check=True,
    )
    text = ended.stdout.decode(encoding)
    assert "tzchen - ?" in text


# -- text from outside

ESCAPE = "\x1b]0;owned\x07"
HARMFUL = re.compile(
    "[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
OUTSIDE = f"a{ESCAPE}b\u202ec\x7fd\x9be"


@pytest.fixture
def hostile(home: Path) -> RunDirectory:
    """A run whose directory, name, tags and note would drive a terminal."""
    run = finish(make_run(home / "runs", OUTSIDE, tags=[OUTSIDE]))
    moved = RunDirectory(run.path.rename(run.path.with_name(f"x{ESCAPE};$(touch pwned)")))
    change_notes(moved, note=f"{OUTSIDE}\nsecond line")
    return moved


def test_no_command_prints_what_drives_a_terminal(
    petbench: Petbench, hostile: RunDirectory, home: Path
) -> None:
    path = str(hostile.path)
    lines: list[list[str]] = [
        ["runs", "ls"], ["runs", "ls", "--json"], ["runs", "show", path], ["runs", "group"],
        ["runs", "show", path, "--json"], ["runs", "export"], ["runs", "export", "-F", "md"],
        ["runs", "tag", path, OUTSIDE], ["runs", "note", path, OUTSIDE], ["runs", "show", OUTSIDE],
        ["runs", "export", "-F", "json"], ["recipe", "show", path], ["recipe", "check", OUTSIDE],
        ["run", OUTSIDE], ["runs", OUTSIDE], ["runs", "show", os.fsdecode(b"\xff\xfe")],
        ["runs", "ls", f"--{OUTSIDE}"], ["runs", "ls", "--limit", OUTSIDE], ["backbones", OUTSIDE],
        ["runs", "ls", "--filter", OUTSIDE], ["data", "check", "--root", OUTSIDE],
    ]  # fmt: skip
    for line in lines:
        said = petbench(*line)
        assert not HARMFUL.search(said.out), (line, said.out)
        assert not HARMFUL.search(said.err), (line, said.err)


def test_a_command_to_type_is_quoted(petbench: Petbench, hostile: RunDirectory) -> None:
    told = petbench("runs", "show", str(hostile.path)).out
    assert "'" in told.split("next:")[1].split("petbench inspect ")[1][:2]


def test_exports_hold_a_line_a_run_and_no_control_character(
    petbench: Petbench, hostile: RunDirectory
) -> None:
    text = petbench("runs", "export").out
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["note"] == r"a\x1b]0;owned\x07b\u202ec\x7fd\x9be\nsecond line"
    (record,) = json.loads(petbench("runs", "export", "-F", "json").out)["runs"]
    assert record["name"] == OUTSIDE


def test_json_is_ascii_without_control_characters_and_without_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json("runs", {"text": OUTSIDE, "numbers": [float("nan"), float("inf"), 1.5]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert not HARMFUL.search(out)
    assert json.loads(out, parse_constant=pytest.fail) == {
        "schema": "petbench/runs/1",
        "text": OUTSIDE,
        "numbers": [None, None, 1.5],
    }


# -- files


@pytest.mark.parametrize(
    "line",
    [
        ["runs", "export", "--output"],
        ["runs", "compare", "P", "S", "--export"],
        ["inspect", "P", "--export"],
        ["lr-find", "R", "--output"],
        ["review", "P", "--accept", "I", "--file"],
    ],
)
def test_a_file_into_a_missing_folder_is_refused_with_the_command_that_makes_it(
    line: list[str], own: dict[str, list[str]], petbench: Petbench, home: Path
) -> None:
    words = {
        "P": own["inspect"][0],
        "S": own["runs compare"][1],
        "R": own["run"][0],
        "I": own["neighbours"][1],
    }
    target = home / "no such" / "folder" / ("sheet.png" if line[0] == "inspect" else "file.csv")
    said = petbench(*(words.get(word, word) for word in line), target)
    assert said.code == 2, said
    assert f"mkdir -p '{target.parent}' makes it" in said.err
    assert not target.parent.exists()


def test_a_device_and_a_link_are_written_through(petbench: Petbench, home: Path) -> None:
    finish(make_run(home / "runs"))
    (home / "link.csv").symlink_to(home / "real.csv")
    assert petbench("runs", "export", "-o", home / "link.csv").code == 0
    assert (home / "link.csv").is_symlink()
    assert (home / "real.csv").read_text().startswith("id,")
    os.mkfifo(home / "pipe")
    reader = subprocess.Popen(["cat", str(home / "pipe")], stdout=subprocess.PIPE, text=True)
    assert petbench("runs", "export", "-o", home / "pipe").code == 0
    assert reader.communicate()[0].startswith("id,")
    assert (home / "pipe").is_fifo()


# -- the one place

_STREAMS = {"streams.py", "console.py", "entry.py", "doctor.py"}  # doctor looks whether there is a terminal
_FILES = {"console.py"}


def test_commands_print_and_write_through_one_place() -> None:
    folder = Path(workbench.cli.__file__).parent
    found = [
        f"{path.name}:{line} {what}"
        for path in sorted(folder.rglob("*.py"))
        for line, what in _outlets(ast.parse(path.read_text()))
        if path.name not in (_FILES if what in _WRITERS else _STREAMS)
    ]
    assert found == []


_WRITERS = {"atomic_write", "write_text", "write_bytes"}
_PRINTERS = {"print", "echo", "secho", "pprint", "RichConsole"}


def _outlets(tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            found.append((node.lineno, ast.unparse(node)))
        if isinstance(node, ast.Call):
            name: Any = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            by_console = isinstance(node.func, ast.Attribute) and name == "print"
            if name in _PRINTERS | _WRITERS and not by_console:
                found.append((node.lineno, name))
            if by_console and "console" not in ast.unparse(node.func).lower():
                found.append((node.lineno, ast.unparse(node.func)))
    return found


def test_the_test_above_finds_what_it_looks_for() -> None:
    code = "print(1)\n"
    code += "sys.stdout.write('')\ntyper.echo(1)\nrich.print(1)\nconsole.print(1)\nPath().write_text('')"
    assert [line for line, _ in sorted(_outlets(ast.parse(code)))] == [1, 2, 3, 4, 6]
