"""Files of unknown make: regular ones are read up to a limit, others refused in words, never waited for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.support.digests import file_sha256
from workbench.support.regular_file import (
    JSON_DEPTH,
    UnreadableFile,
    open_regular,
    parse_json,
    read_bytes,
    read_json,
    read_text,
    regular_descriptor,
    regular_size,
)

_LIMIT = 1000


def _sparse(path: Path) -> None:
    with path.open("wb") as stream:
        stream.truncate(20 * 2**30)


OTHERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pipe": (os.mkfifo, "a named pipe, not a regular file"),
    "directory": (Path.mkdir, "a directory, not a regular file"),
    "socket": (lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), "a socket, not a regular file"),
    "endless": (lambda path: path.symlink_to("/dev/zero"), "a device, not a regular file"),
    "terminal": (lambda path: path.symlink_to("/dev/tty"), "a device, not a regular file"),
    "round": (lambda path: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    "link to nothing": (lambda path: path.symlink_to(path.with_name("gone")), "a link to nothing"),
    "sparse": (_sparse, "20.0 GiB, and at most 1000 B are read"),
    "endless kernel file": (lambda path: path.symlink_to("/proc/self/smaps"), "and at most 1000 B are read"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_what_is_no_regular_file_of_bounded_size_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    make, word = OTHERS[kind]
    path = tmp_path / "notes.toml"
    make(path)
    with pytest.raises(UnreadableFile, match=word) as caught:
        read_bytes(path, _LIMIT)
    assert str(caught.value).startswith("notes.toml: ")


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_no_hash_is_made_of_what_never_ends(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "final.safetensors"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(UnreadableFile):
        file_sha256(path)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800"])
@pytest.mark.parametrize("read", [open_regular, regular_size])
def test_what_cannot_be_a_name_is_refused_in_words(
    tmp_path: Path, name: str, read: Callable[[Path], object]
) -> None:
    with pytest.raises(UnreadableFile, match="not a file name"):
        read(tmp_path / name)


def test_only_nothing_at_all_is_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "none", _LIMIT)


def test_a_pipe_swapped_in_after_the_look_is_neither_waited_for_nor_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, regular = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(path)
    regular.touch()
    seen = regular.stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: seen)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - Path.stat is replaced
    with pytest.raises(UnreadableFile, match="a named pipe"):
        open_regular(path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_writer_makes_its_file_and_follows_no_link(tmp_path: Path) -> None:
    append = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    path, elsewhere = tmp_path / "run.log", tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    with os.fdopen(regular_descriptor(path, append), "wb") as stream:
        stream.write(b"a")
    assert path.read_bytes() == b"a"
    path.unlink()
    for target in (elsewhere, tmp_path / "new"):
        path.symlink_to(target)
        with pytest.raises(UnreadableFile, match="a link"):
            regular_descriptor(path, append)
        path.unlink()
    assert elsewhere.read_text() == "mine"
    assert not (tmp_path / "new").exists()


def test_the_limit_is_kept_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * _LIMIT)
    assert len(read_bytes(path, _LIMIT)) == _LIMIT
    with pytest.raises(UnreadableFile):
        read_bytes(path, _LIMIT - 1)


def test_text_that_is_none_says_which_byte(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"ab\xff")
    with pytest.raises(UnreadableFile, match="not UTF-8 text: byte 0xff at 2"):
        read_text(path, _LIMIT)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[" * 900 + "]" * 900, f"nested more than {JSON_DEPTH} deep"),
        ('{"a":' * 400, f"nested more than {JSON_DEPTH} deep"),
        ("9" * 400, "a whole number of 400 digits"),
        ("9" * 5000, "a whole number of 5000 digits"),
        ("", "not valid JSON"),
        ('{"a": 1', "not valid JSON"),
        ('"\x00"', "not valid JSON"),
        ("[" * 40 + '"' + '\\"' * 4000, "nested more than"),
    ],
)
def test_json_is_read_with_bounded_effort_or_refused_in_a_line(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UnreadableFile, match=word):
        read_json(path, 10_000)


def test_json_that_is_wide_or_holds_brackets_in_strings_is_not_deep() -> None:
    assert parse_json(b"[" + b",".join([b"[]"] * 100) + b"]") == [[]] * 100
    assert parse_json('["' + "[" * 100 + '\\""]') == ["[" * 100 + '"']
    assert parse_json(str(2**63 - 1)) == 2**63 - 1
