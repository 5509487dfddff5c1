"""docs/plugins.md shows the code that the tests run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = Path(__file__).parent / "petbench-tiny"
PAGE = (ROOT / "docs" / "plugins.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("name", ["margin", "entropy", "entropy_loss", "net", "prefix"])
def test_every_module_of_the_package_is_on_the_page_as_it_is(name: str) -> None:
    assert ("python", (PACKAGE / "petbench_tiny" / f"{name}.py").read_text()) in BLOCKS


def test_the_entry_points_on_the_page_are_the_packages() -> None:
    (shown,) = (text for kind, text in BLOCKS if kind == "toml")
    assert (PACKAGE / "pyproject.toml").read_text().endswith(shown)
    assert len(BLOCKS) == 6  # nothing on the page is untested
