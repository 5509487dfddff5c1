"""Which tests a change touches: `python -m tests.touched [BASE]` prints their paths, for `make check`.

tests/ mirrors workbench/: a changed file's tests lie in the deepest folder of tests/ that its path leads to.
What else might break by it the whole suite tells.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
_ELSEWHERE = {
    "recipes": "tests/recipe",
    "docs/recipe.md": "tests/recipe",
    "docs/schemas": "tests/cli/test_json.py",
    "docs/decisions": "tests/test_contributing.py",
    "docs/plugins.md": "tests/plugins",
    "Makefile": "tests/test_contributing.py",
    "CONTRIBUTING.md": "tests/test_contributing.py",
    ".pre-commit-config.yaml": "tests/test_contributing.py",
    "pyproject.toml": "tests/cli/test_wheel.py",
    "README.md": "tests/cli/test_wheel.py",
}
"""Files outside of the packages -> the tests that read them."""


def changed_files(base: str, root: Path = ROOT) -> list[str]:
    """What differs from where this branch left `base`, committed or not, new files too."""
    fork = _git(root, "merge-base", base, "HEAD")[0]
    differing = _git(root, "diff", "--name-only", "--no-renames", fork)
    return sorted({*differing, *_git(root, "ls-files", "--others", "--exclude-standard")})


def beside(changed: Iterable[str], root: Path = ROOT) -> list[str]:
    """The tests beside changed files, none of them twice.

    Args:
        changed: paths from the root.
    """
    found = {test for path in changed if (test := _test_of(PurePosixPath(path), root)) is not None}
    return sorted(str(test) for test in found if not found.intersection(test.parents))


def _test_of(path: PurePosixPath, root: Path) -> PurePosixPath | None:
    for name, elsewhere in _ELSEWHERE.items():
        if path.is_relative_to(name):
            return PurePosixPath(elsewhere)
    top, *folders = path.parts[:-1] or ("",)
    if top == "tests" and path.name.startswith("test_"):
        return path if (root / path).exists() else None
    if path.suffix == ".md":
        return None
    mirrored = folders if top in ("workbench", "tests") else [top, *folders]
    test = PurePosixPath("tests")
    for folder in mirrored:  # tests/tui/runs mirrors workbench/tui/screens/runs
        if any((root / test / folder).rglob("test_*.py")):
            test /= folder
    return None if test == PurePosixPath("tests") else test


def _git(root: Path, *arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


if __name__ == "__main__":
    print(*beside(changed_files(sys.argv[1] if len(sys.argv) > 1 else "main")))
