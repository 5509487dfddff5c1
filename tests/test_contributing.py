"""What CONTRIBUTING.md, the Makefile and the hooks say is so."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import workbench
from tests.touched import beside, changed_files

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
_PATH = re.compile(r"`((?:workbench|tests|benchmarks|drills|recipes|docs)/[\w./*-]*)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    for path in _PATH.findall(text):
        assert list(ROOT.glob(path.rstrip("/"))), f"{page.name} names {path}"
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_the_map_has_the_floors_of_the_import_contract_from_top_to_bottom() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = [floor.replace(".", "/").split(" | ") for floor in contracts[0]["layers"]]
    rows = re.findall(r"^\| \d+ \| (.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert [[name.strip("` ") for name in row.split(",")] for row in rows] == floors


def test_make_help_tells_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (targets,) = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)
    said = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [line.split()[1] for line in said.splitlines()] == targets.split()
    assert "before a commit" in said


def test_hooks_and_lint_run_the_same_tools() -> None:
    hooks = re.findall(r"entry: \.venv/bin/(ruff \w+|\w+)", (ROOT / ".pre-commit-config.yaml").read_text())
    lint = re.findall(r"^\t\$\(BIN\)/(ruff \w+|mypy)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert hooks == lint


def test_the_version_stands_in_one_place() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "workbench/__init__.py"
    assert f'__version__ = "{workbench.__version__}"' in (ROOT / "workbench" / "__init__.py").read_text()


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        (["workbench/runs/filter.py"], ["tests/runs"]),
        (["workbench/tui/screens/runs/run_table.py"], ["tests/tui/runs"]),
        (["workbench/tui/screens/place.py", "workbench/tui/screens/runs/run_table.py"], ["tests/tui"]),
        (["tests/runs/making.py", "tests/runs/test_filter.py"], ["tests/runs"]),
        (["tests/runs/test_filter.py"], ["tests/runs/test_filter.py"]),
        (["tests/tui/snapshots/runs-empty-80x24.txt"], ["tests/tui"]),
        (["benchmarks/quick.py", "drills/kills.py"], ["tests/benchmarks", "tests/drills"]),
        (["recipes/quickstart.toml"], ["tests/recipe"]),
        (["workbench/__init__.py", "docs/app.md", "tests/runs/test_that_is_gone.py"], []),
    ],
)
def test_a_change_touches_the_tests_that_mirror_it(changed: list[str], tests: list[str]) -> None:
    assert beside(changed) == tests


def test_what_differs_from_a_branch_is_committed_uncommitted_and_new(tmp_path: Path) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-b", "main")
    for name in ("kept", "committed", "edited"):
        (tmp_path / name).write_text("before")
    git("add", ".")
    git("commit", "-m", "first")
    git("switch", "-c", "work")
    (tmp_path / "committed").write_text("after")
    git("commit", "-am", "second")
    (tmp_path / "edited").write_text("after")
    (tmp_path / "new").write_text("")
    assert changed_files("main", tmp_path) == ["committed", "edited", "new"]


def test_the_names_of_tests_are_printed_for_make() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "tests.touched", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
