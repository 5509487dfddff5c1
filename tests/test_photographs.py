"""Where the tests that need real photographs look for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import home_of_photographs


def test_the_first_home_that_holds_photographs_is_taken(tmp_path: Path) -> None:
    empty, full, other = (tmp_path / name for name in ("empty", "full", "other"))
    empty.mkdir()
    for home in (full, other):
        (home / "oxford-iiit-pet" / "images").mkdir(parents=True)
    assert home_of_photographs([empty, full, other]) == full
    assert home_of_photographs([empty, tmp_path / "gone"]) is None


def test_the_users_own_data_home_comes_first(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-c", "from tests.conftest import PHOTOGRAPH_HOMES; print(PHOTOGRAPH_HOMES[0])"],
        env={"PETBENCH_DATA": str(tmp_path)},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == str(tmp_path)
