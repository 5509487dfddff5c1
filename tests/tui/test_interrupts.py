"""^C at any time, and terminals that cannot show the app: words or silence, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tui.terminals import PATIENCE_SECONDS, PETBENCH, PseudoTerminal


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    names = ("RUNS", "DATA", "CACHE", "STATE")
    return {**{f"PETBENCH_{name}": str(tmp_path / name.lower()) for name in names}, **more}


def ended(terminal: PseudoTerminal) -> tuple[int, str]:
    """The exit code, and all that was written."""
    while terminal._read(PATIENCE_SECONDS):
        pass
    _, status = os.waitpid(terminal.pid, 0)
    os.close(terminal._master)
    return os.waitstatus_to_exitcode(status), terminal.raw.decode("utf-8", "replace")


@pytest.mark.parametrize("kind", ["dumb", "unknown", ""])
def test_a_terminal_that_cannot_place_its_cursor_is_refused_in_words(tmp_path: Path, kind: str) -> None:
    code, said = ended(PseudoTerminal(PETBENCH, (100, 30), environment(tmp_path, TERM=kind)))
    assert code == 2
    assert "cannot" in said
    assert "petbench runs ls" in said
    assert "\x1b[?1049h" not in said, "the terminal was left alone"
    assert "Traceback" not in said


def test_interrupts_while_the_app_closes_print_nothing(tmp_path: Path) -> None:
    terminal = PseudoTerminal(PETBENCH, (100, 30), environment(tmp_path))
    terminal.read_until("No runs yet")
    terminal.send("q")
    for _ in range(40):  # from the key to the end of the process and beyond
        try:
            os.kill(terminal.pid, signal.SIGINT)
        except ProcessLookupError:
            break
        terminal._read(0.02)
    code, said = ended(terminal)
    assert code in (0, 130)
    assert "Traceback" not in said
    assert "Exception ignored" not in said
    assert said.count("\x1b[?1049h") == said.count("\x1b[?1049l") == 1, "the terminal is as it was"


def test_an_interrupt_from_outside_closes_the_app_as_its_key_does(tmp_path: Path) -> None:
    terminal = PseudoTerminal(PETBENCH, (100, 30), environment(tmp_path))
    terminal.read_until("No runs yet")
    os.kill(terminal.pid, signal.SIGINT)
    code, said = ended(terminal)
    assert code == 0
    assert "Traceback" not in said
    assert "\x1b[?1049l" in said


_INTERRUPTED_EARLY = """
import os, signal
from workbench.tui import app

run = app.PetbenchApp.run_async

async def interrupted(self):
    os.kill(os.getpid(), signal.SIGINT)
    await run(self)

app.PetbenchApp.run_async = interrupted
from workbench.cli.entry import main
main()
"""


def test_an_interrupt_before_the_first_frame_is_not_forgotten(tmp_path: Path) -> None:
    code, said = ended(
        PseudoTerminal((sys.executable, "-c", _INTERRUPTED_EARLY), (100, 30), environment(tmp_path))
    )
    assert code == 0
    assert "Traceback" not in said
    assert said.count("\x1b[?1049h") == said.count("\x1b[?1049l")


_INTERRUPTED_AT_IMPORT = """
import os, signal, sys

def interrupt(event, _):
    global left
    if event == "import":
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGINT)

left, sys.argv = int(sys.argv[1]), ["petbench", *sys.argv[2:]]
from workbench.cli.entry import main
sys.addaudithook(interrupt)
main()
"""


@pytest.mark.parametrize(
    ("arguments", "imports"),
    [((), (1, 150, 400)), (("runs", "ls"), (1, 300, 450, 600)), (("run", "nothing.toml"), (150, 500))],
)
def test_interrupts_at_the_start_print_no_traceback(
    tmp_path: Path, arguments: tuple[str, ...], imports: tuple[int, ...]
) -> None:
    for number in imports:  # of petbench's some five hundred
        command = (sys.executable, "-c", _INTERRUPTED_AT_IMPORT, str(number), *arguments)
        code, said = ended(PseudoTerminal(command, (100, 30), environment(tmp_path)))
        assert code == 130, (number, said)
        assert "Traceback" not in said
        assert "Exception ignored" not in said


def test_a_process_told_to_ignore_interrupts_does(tmp_path: Path) -> None:
    script = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + (
        "import sys; sys.argv = ['petbench', '--version']\n"
        "from workbench.cli.entry import main\n"
        "try: main()\n"
        "finally: print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "True"
