"""Copying: what is tried, in which order, and that the user is told where it went."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.support.paths import state_home
from workbench.tui.terminal import copy


class Terminal:
    """Notes what was sent to it as OSC 52."""

    def __init__(self) -> None:
        self.received: list[str] = []

    def write(self, text: str) -> None:
        self.received.append(text)


@pytest.fixture
def tmux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A tmux server of the test's own; yields its socket."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not installed")
    socket = str(tmp_path / "tmux")
    subprocess.run(["tmux", "-S", socket, "-f", "/dev/null", "new-session", "-d", "sleep 60"], check=True)
    monkeypatch.setenv("TMUX", f"{socket},1,0")
    yield socket
    subprocess.run(["tmux", "-S", socket, "kill-server"], check=False)


def test_outside_tmux_the_terminal_gets_osc_52_and_a_file_has_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    told = copy("petbench run x.toml", terminal.write)
    assert terminal.received == ["petbench run x.toml"]
    file = state_home() / "clipboard.txt"
    assert file.read_text() == "petbench run x.toml"
    assert str(file) in told


def test_inside_tmux_the_text_is_in_a_buffer(tmux: str) -> None:
    terminal = Terminal()
    told = copy("two\nlines ü", terminal.write)
    shown = subprocess.run(["tmux", "-S", tmux, "show-buffer"], capture_output=True, check=True)
    assert shown.stdout.decode() == "two\nlines ü"
    assert terminal.received == []
    assert "tmux" in told


def test_a_tmux_that_is_gone_leaves_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMUX", f"{tmp_path}/nothing,1,0")
    terminal = Terminal()
    assert "clipboard.txt" in copy("x", terminal.write)
    assert terminal.received == []


@pytest.mark.parametrize("term", ["linux", "dumb", ""])
def test_a_terminal_without_osc_52_gets_a_file(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", term)
    terminal = Terminal()
    assert copy("x", terminal.write).startswith("written to")
    assert terminal.received == []


def test_what_is_too_long_for_osc_52_goes_to_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    copy("x" * 100_000, terminal.write)
    assert terminal.received == []
    assert len((state_home() / "clipboard.txt").read_text()) == 100_000


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("PETBENCH_STATE", str(blocker / "state"))
    monkeypatch.setenv("TERM", "linux")
    assert copy("x", Terminal().write).startswith("cannot copy")
