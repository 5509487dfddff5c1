"""Which protocol a terminal gets, and what it costs to find out."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from workbench.support.errors import UserError
from workbench.tui.pictures import Blocks, Drawing, Protocol, choose_drawing, chosen_drawing, image_protocol


@pytest.fixture(autouse=True)
def _unchosen() -> Iterator[None]:
    before = image_protocol._chosen
    yield
    image_protocol._chosen = before


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A new kitty; the list has an entry for every time it was asked."""
    times: list[str] = []

    def protocol_of_it() -> Protocol:
        times.append("protocol")
        return Protocol.KITTY

    def name_of_it() -> str:
        times.append("name")
        return "kitty(0.41.1)"

    monkeypatch.setattr(image_protocol, "_ask_protocol", protocol_of_it)
    monkeypatch.setattr(image_protocol, "_answer", name_of_it)
    monkeypatch.setattr(image_protocol, "_is_terminal", lambda: True)
    return times


KITTY = Drawing(Protocol.KITTY, Blocks.OCTANT)
CELLS = Drawing(Protocol.CELLS, Blocks.QUADRANT)
OFF = Drawing(Protocol.OFF, Blocks.QUADRANT)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TERM": "xterm-kitty"}, KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, KITTY),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, KITTY),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, KITTY),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7803"}, KITTY),
        ({"TERM": "foot"}, KITTY),
        ({"TERM": "xterm-256color"}, CELLS),
        ({"TERM": "tmux-256color", "TMUX": "/tmp/x", "KITTY_WINDOW_ID": "1"}, CELLS),
        ({"TERM": "screen", "KITTY_WINDOW_ID": "1"}, CELLS),
        ({"TERM": "xterm-kitty", "NO_COLOR": "1"}, OFF),
        ({"TERM": "dumb"}, OFF),
        ({}, CELLS),
        ({"TERM": "xterm-256color", "PETBENCH_IMAGES": ""}, CELLS),
    ],
)
def test_auto_asks_only_terminals_that_may_say_yes(
    asked: list[str], environ: dict[str, str], expected: Drawing
) -> None:
    assert choose_drawing("auto", environ) == choose_drawing(None, environ) == expected
    assert chosen_drawing() == expected
    assert bool(asked) == (expected == KITTY)


def test_what_was_asked_for_is_used_wherever_one_is(asked: list[str]) -> None:
    for blocks in Blocks:
        assert choose_drawing(blocks, {"TERM": "xterm-kitty"}) == Drawing(Protocol.CELLS, blocks)
    assert choose_drawing("off", {"TERM": "xterm-kitty"}) == OFF
    assert asked == []
    assert choose_drawing("sixel", {"TMUX": "/tmp/x"}) == Drawing(Protocol.SIXEL, Blocks.QUADRANT)
    assert asked == ["protocol"]  # for the size of its cells


def test_the_environment_chooses_where_the_command_line_does_not(asked: list[str]) -> None:
    environ = {"TERM": "xterm-kitty", "PETBENCH_IMAGES": "sextant"}
    assert choose_drawing(None, environ) == Drawing(Protocol.CELLS, Blocks.SEXTANT)
    assert choose_drawing("half", environ) == Drawing(Protocol.CELLS, Blocks.HALF)
    assert choose_drawing("auto", environ) == KITTY
    with pytest.raises(UserError, match="'jpeg'") as caught:
        choose_drawing(None, {"PETBENCH_IMAGES": "jpeg"})
    assert caught.value.where == "PETBENCH_IMAGES"


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("kitty(0.40.0)", Blocks.OCTANT),
        ("kitty(0.39.1)", Blocks.SEXTANT),
        ("foot(1.20.2)", Blocks.OCTANT),
        ("foot(1.16.2)", None),
        ("ghostty 1.2.0-main+4d2b1a", Blocks.OCTANT),
        ("ghostty 1.1.3", Blocks.SEXTANT),
        ("VTE(7803)", Blocks.OCTANT),
        ("VTE(7600)", None),
        ("WezTerm 20240203-110809-5046fc22", Blocks.SEXTANT),
        ("XTerm(390)", None),
        ("tmux 3.5a", None),
        ("kitty", None),
        ("", None),
    ],
)
def test_terminals_that_draw_blocks_themselves_are_known_by_version(name: str, blocks: Blocks | None) -> None:
    assert image_protocol.drawn_by(name) is blocks


ASK = (
    "import os; from workbench.tui.pictures.image_protocol import ask_name; "
    "print('name:', ask_name({'TERM': 'xterm-kitty'}), flush=True)"
)


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (b"\x1bP>|kitty(0.41.1)\x1b\\\x1b[?62;c", b"name: kitty(0.41.1)\r\n"),
        (b"\x1b[?6c", b"name: \r\n"),  # knows no XTVERSION
        (b"", b"name: \r\n"),  # says nothing at all
    ],
)
def test_a_terminal_is_asked_for_its_name_and_left_as_it_was(answer: bytes, name: bytes) -> None:
    ours, theirs = pty.openpty()
    child = subprocess.Popen([sys.executable, "-c", ASK], stdin=theirs, stdout=theirs, stderr=subprocess.PIPE)
    os.close(theirs)
    said = b""

    def listen() -> None:
        nonlocal said
        try:
            while read := os.read(ours, 1024):
                if b"\x1b[c" not in said and b"\x1b[c" in said + read:
                    os.write(ours, answer)
                said += read
        except OSError:
            return  # its other end is closed

    listener = threading.Thread(target=listen)
    listener.start()
    _, errors = child.communicate()
    listener.join()
    os.close(ours)
    assert errors == b""
    assert said == b"\x1b[>0q\x1b[c" + name  # the answer is not echoed


def test_a_wrong_option_is_told_with_the_right_ones() -> None:
    with pytest.raises(UserError, match="'jpeg'") as caught:
        choose_drawing("jpeg")
    assert caught.value.where == "--images"
    assert caught.value.allowed == "auto, kitty, sixel, octant, sextant, quadrant, half, off"


def test_without_a_terminal_nothing_is_imported_or_asked() -> None:
    code = (
        "import sys; from workbench.tui.pictures import choose_drawing; "
        "print(choose_drawing('auto', {'TERM': 'xterm-kitty'}).blocks, choose_drawing('off').protocol, "
        "[m for m in sys.modules if m.startswith(('textual_image', 'PIL', 'numpy'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert done.stdout.split() == ["quadrant", "off", "[]"]
