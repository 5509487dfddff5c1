"""Every drill is held a few times: `make drills` holds them by the hundred (docs/reliability.md)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["kills", "files", "disk", "rivals"])
def test_a_few_attempts_of_each_kind_end_without_a_fault(kind: str, tmp_path: Path) -> None:
    found = tmp_path / "found.json"
    command = [sys.executable, "-m", "drills", kind, "--short", "--dir", str(tmp_path), "--json", str(found)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    drills = json.loads(found.read_text())["drills"]
    assert all(one["attempts"] > 0 or one["skipped"] for one in drills)
    assert not any(one["faults"] for one in drills)
