"""What the first paint waits for."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "torch",
    "torchvision",
    "numpy",
    "PIL",
    "pydantic",
    "psutil",
    "tomlkit",
    "workbench.recipe",
    "workbench.jobs",
)


def test_the_table_of_runs_is_there_without_the_heavy_modules() -> None:
    code = (
        "import sys, workbench.tui.start, workbench.tui.screens.runs;"
        f"print(*(name for name in {HEAVY!r} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
