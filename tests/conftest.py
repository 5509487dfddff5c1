"""Fixtures that several rooms of tests share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from workbench.support.paths import data_home

pytest_plugins = ("tests.signals",)

PHOTOGRAPH_HOMES = (data_home(), Path(__file__).parents[2] / "shared" / "data")
"""The user's own data home, before `_own_homes` gives each test another; then the checkout's neighbour."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-snapshots`: keep the app's screens as they are now, after looking at them."""
    parser.addoption("--update-snapshots", action="store_true", help="write tests/tui/snapshots anew")


def home_of_photographs(homes: Sequence[Path]) -> Path | None:
    """The first of some data homes that holds the Oxford set's photographs."""
    return next((home for home in homes if (home / "oxford-iiit-pet" / "images").is_dir()), None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The data home with real pet photographs; tests that need it say so where it is missing."""
    found = home_of_photographs(PHOTOGRAPH_HOMES)
    if found is None:
        pytest.skip(
            f"no real photographs at {' or '.join(map(str, PHOTOGRAPH_HOMES))}; PETBENCH_DATA names a place"
        )
    return found


@pytest.fixture(autouse=True)
def _own_homes(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test out of the user's own runs, data and cache."""
    base = tmp_path_factory.getbasetemp()
    monkeypatch.setenv("PETBENCH_CACHE", str(base / "cache"))
    monkeypatch.setenv("PETBENCH_DATA", str(base / "data"))
    monkeypatch.setenv("PETBENCH_RUNS", str(base / "runs"))
    monkeypatch.setenv("PETBENCH_STATE", str(base / "state"))
    monkeypatch.setenv("PETBENCH_CONFIG", str(base / "config.toml"))
