"""A run to inspect with its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.inspect.making import FakeHelper, make_data, make_inspectable
from workbench.runs.layout import RunDirectory
from workbench.tui.screens.inspect import InspectScreen


@pytest.fixture(autouse=True)
def helper(monkeypatch: pytest.MonkeyPatch) -> FakeHelper:
    """No test of the screen starts a process that needs torch."""
    fake = FakeHelper()
    monkeypatch.setattr(InspectScreen, "ask_helper", fake)
    return fake


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The pictures."""
    return make_data(tmp_path / "pets")


@pytest.fixture
def run(home: Path, data: Path) -> RunDirectory:
    """A finished run with two rounds."""
    return make_inspectable(home, data)
