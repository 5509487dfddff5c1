"""Names that try to drive the terminal show as harmless text: the raw bytes on a pseudo-terminal are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.making import finish, make_results, make_run
from tests.tui.hostile import FORBIDDEN, make_hostile_run
from tests.tui.terminals import PETBENCH, PseudoTerminal, on_terminal

SIZES = [(80, 24), (160, 48)]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """The environment of an app whose newest run is hostile; another one stands beside it."""
    home = tmp_path / "runs"
    home.mkdir()
    finish(make_run(home, "harmless", age_seconds=60), make_results(0.8))
    make_hostile_run(home)
    return {
        "PETBENCH_RUNS": str(home),
        "PETBENCH_STATE": str(tmp_path / "state"),
        "PETBENCH_CACHE": str(tmp_path / "cache"),
        "PETBENCH_DATA": str(tmp_path / "data"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_no_screen_lets_hostile_text_drive_the_terminal(
    places: dict[str, str], size: tuple[int, int]
) -> None:
    with on_terminal(PETBENCH, size=size, env=places) as terminal:
        terminal.read_until("evil")
        _walk(terminal)
    for poison in FORBIDDEN:
        assert poison not in terminal.raw, f"{poison!r} reached the terminal"
    assert rb"\x1b[31mEVIL" in terminal.raw, "the poison was not shown at all, so nothing is proven"
    assert rb"\u202e" in terminal.raw


def _walk(terminal: PseudoTerminal) -> None:
    """Through every screen and panel that shows the run's text."""
    for keys in (
        "?",  # help
        "\x1b",
        "y",  # the command line
        "\x1b",
        "\r",  # watch, and its tabs
        *"12345",
        "\x1b",
        "i",  # inspect, and one image
        "\r",
        "\x1b",
        "\x1b",
        " ",  # both runs chosen, compared
        "j",
        " ",
        "c",
        *"1234",
        "\x1b",
        "\x10",  # the palette, typing the run's name
        "evil",
        "\x1b",
    ):
        terminal.send(keys)
        terminal.drain()
