"""Labelling in a real tmux, with an app that is killed in the middle: what was said is in the file."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tui.terminals import PETBENCH, Tmux, wait_until
from workbench.labels.journal import NAME, read

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]
_COUNT = re.compile(r"([\d,]+) of 12 labelled")


@pytest.fixture
def tmux(tmp_path: Path) -> Iterator[Tmux]:
    """A tmux beside the folder `photos`, at 80×24."""
    names = ("RUNS", "DATA", "CACHE", "STATE")
    env = {f"PETBENCH_{name}": str(tmp_path / name.lower()) for name in names}
    env |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "COLORTERM": "truecolor"}
    terminal = Tmux(tmp_path / "socket", env, (80, 24), cwd=tmp_path)
    yield terminal
    terminal.kill_server()


def labelled(tmux: Tmux) -> int:
    """How many images the screen says are labelled."""
    found = _COUNT.search(tmux.text())
    return int(found.group(1)) if found else -1


def test_every_stroke_of_an_app_that_is_killed_is_in_the_file_and_can_be_undone(
    tmux: Tmux, photos: Path
) -> None:
    file = photos / NAME
    tmux.start(PETBENCH)
    tmux.wait_for("No runs yet")
    tmux.send("L")
    tmux.wait_for("Label the images of")
    tmux.type("pho")
    tmux.wait_for("photos/")
    tmux.send("Tab", "Enter")
    tmux.wait_for("0 of 12 labelled", ".png")
    tmux.send("n")
    tmux.wait_for("its name")
    tmux.type("dog")
    tmux.send("Enter")
    wait_until(lambda: labelled(tmux) >= 1, "the first label")
    while labelled(tmux) < 4:
        tmux.wait_for(".png")  # for a moment there may be none, and a key is refused
        before = labelled(tmux)
        tmux.send("1")
        wait_until(lambda before=before: labelled(tmux) > before, "another label")  # type: ignore[misc]

    told = labelled(tmux)
    tmux.send("1")
    os.kill(tmux.process().pid, signal.SIGKILL)
    tmux.wait_until_ended()
    journal = read(file)
    assert not journal.remarks
    assert len(journal.labels) >= told
    assert set(journal.labels.values()) == {"dog"}
    rows = journal.rows
    tmux.kill_server()

    tmux.start((*PETBENCH, "label", "photos"))  # the app was left there, too
    tmux.wait_for(f"{len(journal.labels)} of 12 labelled", "1 dog")  # where it was left
    left = labelled(tmux)
    while left:
        tmux.send("u")
        wait_until(lambda left=left: labelled(tmux) < left, "a label less")  # type: ignore[misc]
        left = labelled(tmux)
    assert not read(file).labels
    assert read(file).rows[: len(rows)] == rows  # nothing is ever taken out
    tmux.send("u")
    tmux.wait_for("taken back already")
    tmux.send("q")
    tmux.wait_until_ended()
