"""Fixtures that several rooms of tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-snapshots`: keep the app's screens as they are now, after looking at them."""
    parser.addoption("--update-snapshots", action="store_true", help="write tests/tui/snapshots anew")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The data home with real pet photographs; tests that need it say so where it is missing."""
    if not (SHARED_DATA / "oxford-iiit-pet" / "images").is_dir():
        pytest.skip(f"no real photographs at {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(autouse=True)
def _own_homes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the user's own runs, data and cache."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("PETBENCH_CACHE", str(base / "cache"))
    monkeypatch.setenv("PETBENCH_DATA", str(base / "data"))
    monkeypatch.setenv("PETBENCH_RUNS", str(base / "runs"))
    monkeypatch.setenv("PETBENCH_STATE", str(base / "state"))
