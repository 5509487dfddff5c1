"""A disk that fills up while a run trains: what was saved stays whole, and the run can go on later."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.loader.conftest import Recorder
from tests.train.making import HEAD, TRUNK, recipe_text
from tests.train.processes import Ended, only_run, petbench
from workbench.runs.process import read_exit
from workbench.runs.results import read_results
from workbench.train.checkpoint import load_newest

pytestmark = pytest.mark.slow

KIB = 1024
MIB = 1024 * KIB
# The recipe's checkpoints are of 5.6 MB while the first epoch goes, and of 7.0 MB from then on.
RECIPE = TRUNK + "checkpoint_seconds = 0\n"

Mount = Callable[[Path, int], None]


@pytest.fixture(scope="module")
def recipe(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(recipe_text(RECIPE, sample))
    return path


@pytest.fixture(scope="module")
def undisturbed(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The weights' hash of the run that nothing happens to."""
    home = tmp_path_factory.mktemp("undisturbed")
    ended = petbench("run", str(recipe), home=home)
    assert ended.code == 0, ended.output
    return read_results(only_run(home).results).weights_sha256


@pytest.fixture
def mount() -> Iterator[Mount]:
    """Put a small disk at a directory, or make the one there larger; needs the right to mount."""
    mounted: list[Path] = []

    def at(folder: Path, size_bytes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        options = f"size={size_bytes}" + (",remount" if folder in mounted else "")
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"no right to mount a small disk here: {done.stderr.strip()}")
        mounted.append(folder)

    yield at
    for folder in dict.fromkeys(mounted):
        subprocess.run(["umount", str(folder)], check=True)


def _fill(folder: Path) -> Path:
    """Leave not a byte free on the disk of `folder`."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while stream.write(b"\0" * 4 * KIB):
            pass
    assert shutil.disk_usage(folder).free == 0
    return path


def _assert_safe(home: Path, ended: Ended) -> None:
    """The run failed with a clear message, and its last checkpoint can be read."""
    run = only_run(home)
    assert ended.code == 1, ended.output
    said = " ".join(ended.output.split())
    assert "petbench: the disk is full" in said
    assert f"the last checkpoint is whole: free some space, then petbench resume {run.handle}" in said
    assert "Traceback" not in said
    assert "fault in petbench" not in said
    recorder = Recorder()
    assert load_newest(run.checkpoint, recorder) is not None
    assert recorder.events == []
    assert [path.name for path in run.checkpoint.iterdir() if path.name.endswith(".tmp")] == []
    record = read_exit(run)
    assert record is None or record.code == 1


def _assert_goes_on(home: Path, expected: str) -> None:
    ended = petbench("resume", "latest", home=home)
    assert ended.code == 0, ended.output
    assert read_results(only_run(home).results).weights_sha256 == expected


def test_a_file_that_may_not_grow_stops_the_run_which_goes_on_when_it_may(
    recipe: Path, undisturbed: str, tmp_path: Path
) -> None:
    ended = petbench("run", str(recipe), home=tmp_path, file_limit=6_300_000)
    assert "File too large" in ended.output
    _assert_safe(tmp_path, ended)
    _assert_goes_on(tmp_path, undisturbed)


def test_a_full_disk_stops_the_run_which_goes_on_when_there_is_space(
    recipe: Path, undisturbed: str, tmp_path: Path, mount: Mount
) -> None:
    runs = tmp_path / "runs"
    mount(runs, 18 * MIB)
    ended = petbench("run", str(recipe), home=tmp_path)
    assert "No space left on device" in ended.output
    _assert_safe(tmp_path, ended)
    again = petbench("resume", "latest", home=tmp_path)
    _assert_safe(tmp_path, again)
    mount(runs, 64 * MIB)
    _assert_goes_on(tmp_path, undisturbed)


def test_a_disk_without_a_byte_left_is_the_users_to_mend(
    recipe: Path, undisturbed: str, tmp_path: Path, mount: Mount
) -> None:
    mount(tmp_path / "runs", 18 * MIB)
    _assert_safe(tmp_path, petbench("run", str(recipe), home=tmp_path))
    filler = _fill(tmp_path / "runs")
    resumed = petbench("resume", "latest", home=tmp_path)
    assert resumed.code == 2, resumed.output
    assert "cannot be written: No space left on device" in " ".join(resumed.output.split())
    begun = petbench("run", str(recipe), home=tmp_path)
    assert begun.code == 2, begun.output
    assert "Traceback" not in resumed.output + begun.output
    filler.unlink()
    only_run(tmp_path)
    mount(tmp_path / "runs", 64 * MIB)
    _assert_goes_on(tmp_path, undisturbed)


def test_features_that_find_no_space_fail_the_run_and_not_the_process(
    sample: Path, tmp_path: Path, mount: Mount
) -> None:
    """They are written through a memory map, where a full disk may end the process with SIGBUS."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(recipe_text(HEAD, sample))
    mount(tmp_path / "cache" / "features", 128 * KIB)
    ended = petbench("run", str(recipe), home=tmp_path)
    assert ended.code == 1, ended.output
    said = "".join(ended.output.split())
    assert "thediskisfull" in said
    assert "features.npy" in said
    mount(tmp_path / "cache" / "features", 8 * MIB)
    ended = petbench("resume", "latest", home=tmp_path)
    assert ended.code == 0, ended.output


def test_a_cache_too_small_for_the_images_is_refused_before_anything_is_trained(
    recipe: Path, tmp_path: Path, mount: Mount
) -> None:
    mount(tmp_path / "cache", 8 * MIB)
    ended = petbench("run", str(recipe), home=tmp_path)
    assert ended.code == 2, ended.output
    assert "the decoded store needs" in ended.output
    assert list((tmp_path / "runs").iterdir()) == []
