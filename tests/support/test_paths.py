"""Paths as they are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.support.paths import short_path


def test_a_path_is_shown_from_the_working_directory_where_it_lies_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert short_path(here / "runs" / "run.log") == Path("runs/run.log")
    assert short_path(tmp_path / "elsewhere") == tmp_path / "elsewhere"
    assert short_path(Path("runs")) == Path("runs")
    here.rmdir()
    assert short_path(here / "runs") == here / "runs", "the working directory is gone"
