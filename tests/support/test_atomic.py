"""Durable writes: the old file or the new one, and no litter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.support.atomic import atomic_folder, atomic_path, atomic_write, forsaken_folders, temporaries
from workbench.support.regular_file import open_to_append


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    atomic_write(path, "old")
    atomic_write(path, "nü")
    assert path.read_bytes() == "nü".encode()
    atomic_write(path, b"\xff\x00")
    assert path.read_bytes() == b"\xff\x00"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace", "write"])
def test_a_failing_write_leaves_the_old_file_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.toml"
    path.write_text("old")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace" if step == "replace" else "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "new" * 1000)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_writer_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_writer_is_done(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent
    assert path.read_text() == "new"


def test_a_missing_directory_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        atomic_write(tmp_path / "nowhere" / "a", "x")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_every_writer_leaves_the_mode_that_the_umask_asks_for(tmp_path: Path, umask: int) -> None:
    """safetensors makes its file anew, for the owner alone."""
    import torch
    from safetensors.torch import save_file

    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "text", "a")
        with atomic_path(tmp_path / "weights") as temporary:
            save_file({"a": torch.zeros(1)}, temporary)
        os.close(open_to_append(tmp_path / "log"))
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("text", "weights", "log"), 0o666 & ~umask)


def test_nothing_is_appended_through_a_link_or_to_a_pipe(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("theirs")
    (tmp_path / "link").symlink_to(other)
    os.mkfifo(tmp_path / "pipe")
    for name, said in (("link", "a link"), ("pipe", "a named pipe")):
        with pytest.raises(OSError, match=said):
            open_to_append(tmp_path / name)
    atomic_write(tmp_path / "link", "mine")
    assert other.read_text() == "theirs"
    assert not (tmp_path / "link").is_symlink()


def test_a_temporary_file_tells_what_it_was_for_and_whose_it_was(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    (tmp_path / "plain.tmp").touch()
    with atomic_path(tmp_path / "a.toml") as temporary:
        assert list(temporaries(tmp_path)) == [(temporary, "a.toml", os.getpid())]
    assert list(temporaries(tmp_path)) == []
    assert list(temporaries(tmp_path / "nowhere")) == []


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as folder:
        (folder / "part").mkdir()
        (folder / "part" / "a").write_text("new")
        assert not path.exists()
    assert (path / "part" / "a").read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="not empty"), atomic_folder(path) as folder:
        (folder / "b").write_text("other")
    with atomic_folder(path, replace=True) as folder:
        (folder / "b").write_text("other")
    assert list(path.iterdir()) == [path / "b"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_empty_folder_is_filled_and_a_file_or_a_link_stays(tmp_path: Path) -> None:
    for name in ("empty", "file", "link"):
        path = tmp_path / name
        if name == "empty":
            path.mkdir()
        elif name == "file":
            path.write_text("mine")
        else:
            path.symlink_to("empty")
        if name == "empty":
            with atomic_folder(path) as folder:
                (folder / "a").touch()
        else:
            with pytest.raises(NotADirectoryError), atomic_folder(path) as folder:
                (folder / "b").touch()
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in (tmp_path / "link").iterdir()] == ["a"]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_all_in_a_folder_has_the_modes_that_the_umask_asks_for(tmp_path: Path, umask: int) -> None:
    (tmp_path / "others").write_text("x")
    (tmp_path / "others").chmod(0o640)
    before = os.umask(umask)
    try:
        with atomic_folder(tmp_path / "model") as folder:
            (folder / "part").mkdir(mode=0o700)
            (folder / "part" / "a").touch(mode=0o600)
            (folder / "linked").hardlink_to(tmp_path / "others")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    everything = {"model": 0o777 & ~umask, "part": 0o777 & ~umask, "a": 0o666 & ~umask}
    assert modes == {**everything, "linked": 0o640, "others": 0o640}


def test_what_a_killed_writer_left_goes_with_the_next_and_what_a_living_one_fills_stays(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from workbench.support.atomic import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch(); print(folder, flush=True); time.sleep(600)"
    )
    path = tmp_path / "model"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        filled = Path(child.stdout.readline().strip())
        with atomic_folder(path):
            assert filled.exists()
        assert list(forsaken_folders(tmp_path)) == []
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert list(forsaken_folders(tmp_path)) == [(filled, "model")]
    with atomic_folder(tmp_path / "other", replace=True):
        assert filled.exists()
    (tmp_path / "other").rmdir()
    with atomic_folder(path, replace=True):
        assert not filled.exists()
    assert list(tmp_path.iterdir()) == [path]
