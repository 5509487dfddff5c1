"""What can go, and what never does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs.making import elsewhere, finish, make_run
from workbench.runs.layout import RunDirectory
from workbench.runs.leftovers import TRASH, Wanted, find_leftovers, move_to_trash, remove
from workbench.runs.process import write_process
from workbench.support.digests import file_sha256
from workbench.support.locks import try_lock

DEAD = 2**22 - 7
DAY = 86400.0


def _found(home: Path, wanted: Wanted | None = None) -> list[str]:
    found = find_leftovers(home / "runs", [home / "state"], home / "cache", wanted or Wanted())
    return [str(one.path.relative_to(home)) for one in found]


def _tidy(home: Path, wanted: Wanted | None = None) -> list[str]:
    """Why what was found stayed."""
    found = find_leftovers(home / "runs", [home / "state"], home / "cache", wanted or Wanted())
    return [why for _, why in remove(found, home / "runs") if why]


def _file(path: Path, *, age: float = 0.0, size: int = 5000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def _litter(run: RunDirectory) -> set[str]:
    """What a run that was killed leaves: in its folders, and where front ends write as well."""
    made = [
        _file(run.checkpoint / f".000003.safetensors.{DEAD}-0123abcd.tmp"),
        _file(run.path / "predictions" / f".test.npz.{DEAD}-0123abcd.tmp"),
        _file(run.path / f".results.toml.{DEAD}-0123abcd.tmp"),
        _file(run.path / f".notes.toml.{DEAD}-0123abcd.tmp", age=2 * 3600),
    ]
    _file(run.path / f".notes.toml.{DEAD}-89abcdef.tmp")  # perhaps somebody is writing it
    _file(run.path / "mine.tmp")
    return {str(path.relative_to(run.path)) for path in made}


def _all(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()}


def test_temporary_files_of_a_dead_run_go_and_nothing_else(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    before = _all(tmp_path)
    litter = {f"runs/{run.id}/{name}" for name in _litter(run)}
    kept = _all(tmp_path) - litter
    assert set(_found(tmp_path)) == litter
    assert _tidy(tmp_path) == []
    assert _all(tmp_path) - {f"runs/{run.id}/.lock"} == kept > before


def test_of_a_run_that_is_alive_here_or_may_be_elsewhere_nothing_goes(tmp_path: Path) -> None:
    here, there, old = (make_run(tmp_path / "runs", name) for name in ("a", "b", "c"))
    write_process(here, "cpu")
    for run in (there, old):
        elsewhere(run, os.getpid())
    then = time.time() - 30 * DAY
    for path in (old.process, old.heartbeat):
        os.utime(path, (then, then))  # to all appearance lost, but who knows what its machine does
    for run in (here, there, old):
        _litter(run)
    assert _found(tmp_path) == []


def test_a_run_that_comes_alive_between_finding_and_removing_keeps_its_files(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    _litter(run)
    found = find_leftovers(tmp_path / "runs", [], tmp_path / "cache", Wanted())
    write_process(run, "cpu")
    before = _all(tmp_path)
    assert {why for _, why in remove(found, tmp_path / "runs")} == {"the run goes on meanwhile"}
    assert _all(tmp_path) == before


def test_numbered_checkpoints_go_once_the_final_weights_are_whole(tmp_path: Path) -> None:
    run = finish(make_run(tmp_path / "runs"))
    numbered = {
        str(_file(run.checkpoint / f"000001.{end}").relative_to(tmp_path))
        for end in ("safetensors", "sha256")
    }
    assert _found(tmp_path) == []  # no final weights
    final = _file(run.checkpoint / "final.safetensors")
    final.with_suffix(".sha256").write_text(f"{file_sha256(final)}  {final.name}\n")
    assert set(_found(tmp_path)) == numbered
    content = run.results.read_text()
    run.results.write_text(content[:-90])
    assert _found(tmp_path) == []  # it has to be concluded again
    run.results.write_text(content)
    told = final.with_suffix(".sha256")
    sum_ = told.read_text()
    told.unlink()
    os.mkfifo(told)  # a stranger's: not waited for
    assert _found(tmp_path) == []
    told.unlink()
    told.write_text(sum_)
    assert _tidy(tmp_path) == []
    assert final.exists()
    assert not list(run.checkpoint.glob("0*"))


def test_links_lead_nowhere(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs")
    other = tmp_path / "other"
    _file(other / f".000003.safetensors.{DEAD}-0123abcd.tmp", age=DAY)
    run.checkpoint.rmdir()
    run.checkpoint.symlink_to(other)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "stores").symlink_to(other)
    assert _found(tmp_path, Wanted(older_than_seconds=0)) == []


def _caches(home: Path) -> list[Path]:
    """The oldest first."""
    folders = [home / "cache" / "stores" / f"{n:016x}-160" for n in range(2)]
    folders += [home / "cache" / "features" / f"resnet18-{n:016x}" for n in range(2)]
    for age, folder in enumerate(reversed(folders)):
        _file(folder / "pixels.npy", age=(age + 1) * DAY, size=100_000)
    return folders


def test_caches_go_by_age_or_down_to_a_size_and_only_if_asked(tmp_path: Path) -> None:
    folders = _caches(tmp_path)
    names = [str(folder.relative_to(tmp_path)) for folder in folders]
    _file(tmp_path / "cache" / "stores" / "mine" / "a", age=90 * DAY)
    assert _found(tmp_path) == []
    assert set(_found(tmp_path, Wanted(older_than_seconds=2.5 * DAY))) == set(names[:2])
    assert set(_found(tmp_path, Wanted(cache_limit_bytes=350_000))) == {names[0]}
    assert _tidy(tmp_path, Wanted(cache_limit_bytes=0)) == []
    assert _all(tmp_path) == {"cache/stores/mine/a"}


def test_a_cache_that_is_used_or_being_filled_stays(tmp_path: Path) -> None:
    mapped, filled, *_ = _caches(tmp_path)
    code = (
        "import mmap, sys, time; f = open(sys.argv[1], 'r+b'); m = mmap.mmap(f.fileno(), 0); f.close();"
        "print(flush=True); time.sleep(600)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(mapped / "pixels.npy")], stdout=subprocess.PIPE)
    then = time.time() - 9 * DAY
    try:
        assert child.stdout is not None
        child.stdout.readline()
        os.utime(mapped / "pixels.npy", (then, then))
        assert str(mapped.relative_to(tmp_path)) not in _found(tmp_path, Wanted(older_than_seconds=0))
    finally:
        child.kill()
        child.communicate()
    descriptor = try_lock(filled.with_name(f".{filled.name}.lock"))
    assert descriptor is not None
    assert _tidy(tmp_path, Wanted(cache_limit_bytes=0)) == ["it is being filled"]
    os.close(descriptor)
    assert filled.exists()


def test_forsaken_temporaries_of_caches_state_and_reviews_go_and_fresh_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    places = ("cache/contents", "cache/stores/x", "state/jobs/host", "runs/reviews")
    old = {_file(tmp_path / place / f".a.json.{DEAD}-0123abcd.tmp", age=2 * 3600) for place in places}
    for place in places:
        _file(tmp_path / place / f".a.json.{DEAD}-89abcdef.tmp")
        _file(tmp_path / place / f".a.json.{os.getpid()}-0123abcd.tmp", age=2 * 3600)
    assert {tmp_path / name for name in _found(tmp_path)} == old
    assert _tidy(tmp_path) == []
    assert not any(path.exists() for path in old)


@pytest.mark.parametrize("wanted", [Wanted(whole_trash=True), Wanted(older_than_seconds=-1)])
def test_the_trash_goes_only_if_asked(tmp_path: Path, wanted: Wanted) -> None:
    home = tmp_path / "runs"
    run, alive = make_run(home), make_run(home, "alive")
    move_to_trash([run])
    write_process(alive, "cpu")
    alive.path.rename(home / TRASH / alive.id)  # by hand
    assert _found(tmp_path) == []
    assert _tidy(tmp_path, wanted) == ["it is alive, in the trash"]
    assert [path.name for path in (home / TRASH).iterdir()] == [alive.id]
