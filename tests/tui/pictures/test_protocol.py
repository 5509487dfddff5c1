"""Which protocol a terminal gets, and what it costs to find out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from workbench.support.errors import UserError
from workbench.tui.pictures import Protocol, choose_protocol, chosen_protocol, protocol


@pytest.fixture(autouse=True)
def _unchosen() -> Iterator[None]:
    before = protocol._chosen
    yield
    protocol._chosen = before


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A terminal that shows Kitty's protocol; the list has an entry for every time it was asked."""
    times: list[str] = []

    def ask() -> Protocol:
        times.append("asked")
        return Protocol.KITTY

    monkeypatch.setattr(protocol, "_ask_terminal", ask)
    monkeypatch.setattr(protocol, "_is_terminal", lambda: True)
    return times


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, Protocol.KITTY),
        ({"TERM": "foot"}, Protocol.KITTY),
        ({"TERM": "xterm-256color"}, Protocol.HALF),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}, Protocol.HALF),
        ({"TERM": "screen", "KITTY_WINDOW_ID": "1"}, Protocol.HALF),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, Protocol.OFF),
        ({"TERM": "dumb"}, Protocol.OFF),
        ({}, Protocol.HALF),
    ],
)
def test_auto_asks_only_terminals_that_may_say_yes(
    asked: list[str], environ: dict[str, str], expected: Protocol
) -> None:
    assert choose_protocol("auto", environ) is expected
    assert chosen_protocol() is expected
    assert bool(asked) == (expected is Protocol.KITTY)


def test_what_was_asked_for_is_used_wherever_one_is(asked: list[str]) -> None:
    for name in ("half", "off"):
        assert choose_protocol(name, {"TERM": "xterm-kitty"}) is Protocol(name)
    assert asked == []
    assert choose_protocol("sixel", {"TMUX": "/tmp/x"}) is Protocol.SIXEL
    assert asked == ["asked"]  # for the size of its cells


def test_a_wrong_option_is_told_with_the_right_ones() -> None:
    with pytest.raises(UserError, match="'jpeg'") as caught:
        choose_protocol("jpeg")
    assert caught.value.allowed == "auto, kitty, sixel, half, off"


def test_without_a_terminal_nothing_is_imported_or_asked() -> None:
    code = (
        "import sys; from workbench.tui.pictures import choose_protocol; "
        "print(choose_protocol('auto', {'TERM': 'xterm-kitty'}), choose_protocol('off'), "
        "[m for m in sys.modules if m.startswith(('textual_image', 'PIL', 'numpy'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert done.stdout.split() == ["half", "off", "[]"]
