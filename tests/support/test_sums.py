"""`SHA256SUMS`: what files were when they were written."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import pytest

from workbench.support import digests as sums
from workbench.support.atomic import atomic_write
from workbench.support.digests import SUMS, note_sum, require_sum, summed_path, summed_write
from workbench.support.regular_file import UnreadableFile


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with a listed file in it and one below it."""
    summed_write(tmp_path / "a.txt", tmp_path, b"one\n")
    (tmp_path / "below").mkdir()
    with summed_path(tmp_path / "below" / "b c.txt", tmp_path) as temporary:
        temporary.write_bytes(b"two\n")
    return tmp_path


def test_what_was_written_is_believed(root: Path) -> None:
    require_sum(root / "a.txt")
    require_sum(root / "a.txt", b"one\n")
    require_sum(root / "below" / "b c.txt")


@pytest.mark.parametrize("name", ["a.txt", "below/b c.txt"])
@pytest.mark.parametrize("content", [b"", b"one", b"onf\n", b"one\n\0"])
def test_another_content_is_told_with_the_file(root: Path, name: str, content: bytes) -> None:
    (root / name).write_bytes(content)
    with pytest.raises(UnreadableFile, match=f"{Path(name).name}.*{SUMS} tells of another"):
        require_sum(root / name)


def test_another_file_that_is_sound_in_itself_is_told(root: Path) -> None:
    shutil.copy(root / "below" / "b c.txt", root / "a.txt")
    with pytest.raises(UnreadableFile):
        require_sum(root / "a.txt")


def test_a_file_that_is_written_again_has_its_new_sum(root: Path) -> None:
    summed_write(root / "a.txt", root, b"three\n")
    require_sum(root / "a.txt")
    require_sum(root / "below" / "b c.txt")


def test_sums_are_noted_before_the_file_is_there(tmp_path: Path) -> None:
    """A crash between the two leaves a sum that the next attempt fulfils, never a file that looks damaged."""
    with contextlib.suppress(OSError), summed_path(tmp_path / "a", tmp_path):
        raise OSError("power")
    assert not (tmp_path / SUMS).exists()
    (tmp_path / "a").mkdir()  # nothing can be renamed to it
    with pytest.raises(OSError, match=r"directory|exists"):
        summed_write(tmp_path / "a", tmp_path, b"x")
    assert (tmp_path / SUMS).read_text().endswith("  a\n")


def test_a_crash_between_a_file_and_its_list_damages_neither_the_old_file_nor_the_new(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise OSError("power")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(sums, "atomic_write", crash_at := _CrashAt(2))
        with pytest.raises(OSError, match="power"):
            summed_write(root / "a.txt", root, b"four\n")  # the list is written, the file is not
    assert crash_at.calls == 2
    require_sum(root / "a.txt")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(sums, "note_sum", crash)
        with pytest.raises(OSError, match="power"):
            summed_write(root / "a.txt", root, b"four\n")  # both are, and the former sum is not yet gone
    assert (root / "a.txt").read_bytes() == b"four\n"
    require_sum(root / "a.txt")
    summed_write(root / "a.txt", root, b"five\n")
    assert (root / SUMS).read_text().count("  a.txt\n") == 1


class _CrashAt:
    """`atomic_write` up to its n-th call, which fails."""

    def __init__(self, call: int) -> None:
        self.calls, self._at = 0, call

    def __call__(self, path: Path, content: str | bytes) -> None:
        self.calls += 1
        if self.calls == self._at:
            raise OSError("power")
        atomic_write(path, content)


@pytest.mark.parametrize("listed", [None, "", "\0\0\0", "no sum at all\n", "[" * 5000])
def test_without_a_list_that_can_be_read_files_are_believed(root: Path, listed: str | None) -> None:
    (root / SUMS).unlink()
    if listed is not None:
        (root / SUMS).write_text(listed)
    (root / "a.txt").write_text("changed")
    require_sum(root / "a.txt")


def test_the_list_is_what_sha256sum_reads(root: Path) -> None:
    if shutil.which("sha256sum") is None:
        pytest.skip("no sha256sum here")
    command = ["sha256sum", "--check", "--strict", SUMS]
    assert subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 0
    (root / "a.txt").write_text("changed")
    assert subprocess.run(command, cwd=root, capture_output=True, check=False).returncode == 1


def test_noting_the_same_sum_again_writes_nothing(root: Path) -> None:
    before = (root / SUMS).stat().st_ino
    note_sum(root / "a.txt", root, "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806")
    assert (root / SUMS).stat().st_ino == before
