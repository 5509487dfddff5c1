"""A run directory may hold anything: each bad file is that run's problem, said of it, and no other's."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.runs.making import epoch, finish, make_results, make_run
from workbench.runs.comparison import compare, compare_groups, read_runs
from workbench.runs.curves import RunFollower, follow_to_end
from workbench.runs.doubt import with_changes
from workbench.runs.events import ConfusionSeen, Message, StageStarted
from workbench.runs.export import ExportFormat, export_runs, json_text, page_record, read_page
from workbench.runs.glance import Glances, look_closer
from workbench.runs.index import INDEX, list_runs
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, write_ledger
from workbench.runs.log import LogTail
from workbench.runs.metrics import MetricsWriter
from workbench.runs.notes import change_notes
from workbench.runs.predictions import save_predictions
from workbench.runs.process import write_process
from workbench.runs.profile import read_profile
from workbench.runs.seed_groups import group_runs
from workbench.runs.sources import opinions_of, sources_of
from workbench.runs.watching import RunsWatch
from workbench.support.errors import UserError
from workbench.support.regular_file import UnreadableFile

FILES = (
    "recipe.toml",
    "provenance.toml",
    "process.json",
    "exit.json",
    "control.json",
    "heartbeat",
    "notes.toml",
    "results.toml",
    "metrics.jsonl",
    "run.log",
    "profile.json",
    "label-issues.json",
    "pseudo/round-01.csv",
    "predictions/test.npz",
    "predictions/val.npz",
    "predictions/unlabelled-01.npz",
    "predictions/out-of-fold.npz",
)
SAID_IN_THE_ROW = ("recipe.toml", "process.json", "exit.json", "notes.toml", "results.toml")


def sparse_at(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(20 * 2**30)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "directory": Path.mkdir,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "nowhere": lambda path: path.symlink_to("/nowhere/at/all"),
    "itself": lambda path: path.symlink_to(path),
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "sparse": sparse_at,
}
ANY_TEXT = (b"", b"\0" * 4096, random.Random(0).randbytes(4096))
BAD_TEXTS: dict[str, tuple[bytes, ...]] = {
    ".toml": (
        b"[" * 50_000,
        b'a = {"b"=' * 5_000,
        b"schema = " + b"9" * 400 + b"\narchived = " + b"9" * 400,
        b"seed = " + b"9" * 5_000,
        b"a" + b".a" * 25_000 + b" = 1",
        b'note = "\xed\xa0\x80"',
        b'name = [1]\ntags = "x"\nnote = 1\narchived = "no"\ntraining = 3\n',
        b"name = 1979-05-27\ndata_fingerprint = 07:32:00\n[model]\nbackbone = 1979-05-27T07:32:00Z\n",
    ),
    ".json": (
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b'{"pid": ' + b"9" * 400 + b', "ended": 1e400}',
        b"[]",
        b"null\n",
    ),
    ".jsonl": (
        b'{"t": 1, "kind": ' + b"[" * 5_000 + b"\n",
        b'{"t": 1e400, "kind": "stage"}\n{"t": 1, "kind": "stage", "round": ' + b"9" * 400 + b"}\n",
        b'[]\nnull\n{"kind": {}}\n{"t": 1, "kind": []}\n{"t": "x", "kind": "message"}\n',
        b'{"t":1,"kind":"message","level":"warning","text":"\\ud800 \\u0000"}\n',
    ),
}


def make_home(home: Path) -> list[RunDirectory]:
    """Three finished runs, the middle one with every file that a run can have."""
    before, bad, after = (
        finish(make_run(home, name, age_seconds=age), make_results(teacher_accuracy=0.7))
        for name, age in (("before", 20), ("bad", 10), ("after", 0))
    )
    write_process(bad, "cpu")
    finish(bad, make_results(teacher_accuracy=0.7))
    change_notes(bad, add=["kept"], note="a note")
    bad.provenance.write_text('device = "cpu"\ndata_fingerprint = "a"\n')
    bad.control.write_text('{"wanted": "run", "attempt": 1, "grace_seconds": 1.0, "asked": 1.0}')
    bad.log.write_text("one\ntwo\n")
    bad.profile.write_text("{}")
    bad.label_issues.write_text(
        '{"folds": 2, "seed": 0, "trunk": "run", "trunk_learned": true, "least_similarity": 0.9}'
    )
    with MetricsWriter(bad.metrics) as writer:
        writer.event(StageStarted("student", 1, 2, 20, 40, False))
        writer.event(epoch(1, stage="student", round=1))
        writer.event(ConfusionSeen("student", 1, 1, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]))
        writer.event(Message("warning", "mind this"))
    rows = [PseudoLabel(id_, "Bengal", 0.5, 0.2, 0.9, True, 1.0, False, None) for id_ in "abc"]
    write_ledger(bad.ledger(1), rows)
    shares = np.full((3, 3), 0.25, np.float32) + 0.25 * np.eye(3, dtype=np.float32)
    for name in ("test", "val", "unlabelled-01", "out-of-fold"):
        save_predictions(bad.predictions(name), list("abc"), shares, np.arange(3))
    return [before, bad, after]


def look_everywhere(home: Path, bad: RunDirectory) -> None:
    """All that listings, show, compare, group, inspect and the app read; nothing but UserError is raised."""
    runs = list_runs(home)
    assert {"before", "after"} <= {run.slug for run in (one.run for one in runs)}
    for one in runs:
        if one.id != bad.id:
            assert one.problem == ""
            assert one.test_accuracy == 0.8
    group_runs(runs)
    for form in ExportFormat:
        export_runs(runs, form)
    watch, glances = RunsWatch(home), Glances()
    while not (view := watch.refresh()).complete:
        pass
    view = watch.refresh()
    assert set(view.by_id) == {one.id for one in runs}
    for one in view.summaries:
        glances.look(one)
        look_closer(one)
    read_profile(bad)
    LogTail(bad.log).refresh()
    if not os.path.lexists(bad.recipe):
        return
    json_text(page_record(read_page(bad)))
    directories = [one.run for one in runs]
    compared = compare(directories)
    assert compared.metrics[0].values.count(0.8) >= 2
    compare_groups(read_runs(directories))
    with contextlib.suppress(UnreadableFile):  # the app shows it and looks again
        follow_to_end(RunFollower(bad))
    for source in sources_of(bad):
        with contextlib.suppress(UserError):
            with_changes(bad, opinions_of(bad, source), source)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PETBENCH_STATE", str(tmp_path / "state"))
    folder = tmp_path / "runs"
    make_home(folder)
    return folder


def bad_run(home: Path) -> RunDirectory:
    (path,) = home.glob("*-bad-*")
    return RunDirectory(path)


@pytest.mark.parametrize("name", FILES)
def test_no_file_of_a_run_takes_others_down(home: Path, name: str) -> None:
    bad = bad_run(home)
    path = bad.path / name
    sound = path.read_bytes() if path.exists() else b""
    for kind, make in NO_FILES.items():
        path.unlink(missing_ok=True)
        make(path)
        look_everywhere(home, bad)
        if name in SAID_IN_THE_ROW:
            (told,) = (one.problem for one in list_runs(home) if one.id == bad.id)
            assert told.startswith(f"{name}: "), kind
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for text in (*ANY_TEXT, *BAD_TEXTS.get(path.suffix, ())):
        path.write_bytes(text)
        look_everywhere(home, bad)
    chance = random.Random(name)
    for _ in range(5):
        torn = bytearray(sound[: chance.randrange(len(sound) + 1)])
        if torn and chance.random() < 0.5:
            torn[chance.randrange(len(torn))] ^= 1 << chance.randrange(8)
        path.write_bytes(torn)
        look_everywhere(home, bad)


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("heartbeat", "run.log")])
def test_an_unfinished_run_with_a_bad_file_is_listed(home: Path, name: str) -> None:
    bad = bad_run(home)
    bad.results.unlink()
    path = bad.path / name
    for make in NO_FILES.values():
        path.unlink(missing_ok=True)
        make(path)
        (told,) = (one.problem for one in list_runs(home) if one.id == bad.id)
        if name in (*SAID_IN_THE_ROW, "metrics.jsonl"):
            assert told.startswith(f"{name}: ")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


INDEX_DAMAGES: dict[str, Callable[[Path], object]] = {
    **NO_FILES,
    "random": lambda path: path.write_bytes(random.Random(1).randbytes(8192)),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:3000]),
    "other table": lambda path: _sql(path, "DROP TABLE runs", "CREATE TABLE runs (id TEXT)"),
    "a view without end": lambda path: _sql(
        path,
        "DROP TABLE runs",
        "CREATE VIEW runs (id, stamp, summary, checksum) AS WITH RECURSIVE n(i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, i, i, i FROM n",
    ),
    "from the future": lambda path: _sql(path, "DROP TABLE runs", "PRAGMA user_version = 99"),
    "no text": lambda path: _sql(path, "UPDATE runs SET summary = x'ff', stamp = 7"),
    "other numbers": lambda path: _sql(path, "UPDATE runs SET summary = replace(summary, '0.8', '0.9')"),
}
UNUSABLE = (*(name for name in NO_FILES if name != "sparse"),)


def _sql(path: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        for statement in statements:
            database.execute(statement)


@pytest.mark.parametrize("kind", INDEX_DAMAGES)
def test_a_damaged_cache_is_made_anew_or_done_without_and_said(home: Path, kind: str) -> None:
    settle(home)
    sound = list_runs(home)
    path = home / INDEX
    assert path.is_file()
    if kind in NO_FILES:
        path.unlink()
    INDEX_DAMAGES[kind](path)
    told: list[str] = []
    assert list_runs(home, tell=told.append) == sound
    watch = RunsWatch(home)
    while not (view := watch.refresh()).complete:
        pass
    assert list(view.summaries) == sound
    if kind not in ("from the future", "no text", "other numbers"):
        assert len(told) == 1
        assert told[0].startswith(INDEX)
    told.clear()
    assert list_runs(home, tell=told.append) == sound
    assert bool(told) == (kind in UNUSABLE)


def test_a_cache_that_is_locked_is_done_without_and_said(home: Path) -> None:
    settle(home)
    sound = list_runs(home)
    told: list[str] = []
    with contextlib.closing(sqlite3.connect(home / INDEX)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert list_runs(home, tell=told.append) == sound
    assert "locked" in told[0]
    told.clear()
    assert list_runs(home, tell=told.append) == sound
    assert not told


def settle(home: Path) -> None:
    """Age all files, so that what they say is kept in the cache."""
    for path in [*home.rglob("*"), *home.iterdir()]:
        os.utime(path, (1, 1))


def test_warnings_of_results_that_were_changed_are_not_passed_on(tmp_path: Path) -> None:
    run = finish(make_run(tmp_path), make_results(0.8, teacher_accuracy=0.9))
    assert look_closer(list_runs(tmp_path)[0]).warnings == ("the student is below its teacher",)
    text = run.results.read_text()
    run.results.write_text(text.replace("below its teacher", "above its teacher"))
    assert look_closer(list_runs(tmp_path)[0]).warnings == ()
