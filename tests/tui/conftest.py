"""Fixtures of the app's tests: places of their own, and snapshots of screens as text."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import NARROW, screen_styles, screen_text

SNAPSHOTS = Path(__file__).parent / "snapshots"
STYLED = {
    "runs-finished",
    "compose-error",
    "watch-finished",
    "compare-two-results",
    "inspect-review",
    "label-group",
}
"""One state of each screen whose colours are held too."""


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """State and cache in the test's directory; no tmux, no colours switched off, clocks in UTC."""
    monkeypatch.setenv("PETBENCH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PETBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TZ", "UTC")
    for name in ("TMUX", "NO_COLOR", "PETBENCH_RUNS", "PETBENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty runs directory."""
    path = tmp_path / "runs"
    path.mkdir()
    return path


@pytest.fixture
def snapshot(request: pytest.FixtureRequest) -> Callable[[Pilot[None], str], None]:
    """Compare the screen with `snapshots/NAME.txt`, of `STYLED` also its colours with `NAME.styles.txt`.

    `pytest --update-snapshots` writes them anew.
    """
    update = bool(request.config.getoption("--update-snapshots"))

    def check(pilot: Pilot[None], name: str) -> None:
        width, height = pilot.app.size
        _compare(SNAPSHOTS / f"{name}-{width}x{height}.txt", screen_text(pilot), update=update)
        if name in STYLED and (width, height) == NARROW:
            _compare(SNAPSHOTS / f"{name}-{width}x{height}.styles.txt", screen_styles(pilot), update=update)

    return check


def _compare(path: Path, shown: str, *, update: bool) -> None:
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(shown, "utf-8")
        return
    assert path.exists(), f"no snapshot {path.name}: look at the screen, then --update-snapshots\n{shown}"
    kept = path.read_text("utf-8")
    difference = "".join(difflib.unified_diff(kept.splitlines(True), shown.splitlines(True), "kept", "shown"))
    assert shown == kept, f"{path.name} differs:\n{difference}"
