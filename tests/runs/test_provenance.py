"""Where a run came from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import workbench
from tests.runs.making import make_run
from workbench.runs.provenance import (
    CodeState,
    code_state,
    collect_provenance,
    read_provenance,
    write_provenance,
)
from workbench.support.errors import UserError


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package committed to a repository of its own."""
    package = tmp_path / "repository" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("one = 1\n")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-qm", "first")
    return package


def test_committed_code_is_known_by_its_commit(package: Path) -> None:
    state = code_state(package)
    assert len(state.commit) == 40
    assert (state.dirty, state.patch, state.untracked) == (False, b"", 0)


def test_changed_code_is_known_by_commit_and_patch(package: Path) -> None:
    (package / "__init__.py").write_text("one = 2\n")
    (package / "new\nfile.py").write_text("")
    state = code_state(package)
    assert state.dirty
    assert b"-one = 1\n+one = 2" in state.patch
    assert state.untracked == 1


def test_an_installed_copy_inside_somebodys_repository_is_not_that_repository(package: Path) -> None:
    installed = package.parent / "site-packages" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert code_state(installed) == CodeState()


def test_what_is_written_can_be_read_and_names_the_patch(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_provenance(run, ["petbench", "run", "a\x1b[b.toml"], {"device": "cpu", "data_fingerprint": "abc"})
    facts = read_provenance(run)
    assert facts["command_line"] == ["petbench", "run", "a\x1b[b.toml"]
    assert facts["device"] == "cpu"
    assert facts["petbench"] == workbench.__version__
    assert facts["packages"]["numpy"]
    assert run.dirty_patch.exists() == ("patch" in facts.get("code", {}))


def test_collecting_imports_no_torch() -> None:
    program = (
        "import sys; from workbench.runs.provenance import *; "
        "collect_provenance([], {}, CodeState()); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_dirty_checkout_is_told_even_where_its_patch_is_too_large_to_keep() -> None:
    facts = collect_provenance([], {}, CodeState(commit="c" * 40, dirty=True))
    assert facts["code"] == {"commit": "c" * 40, "dirty": True, "untracked": 0}


def test_a_run_without_provenance_has_none_and_a_damaged_one_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_provenance(run) == {}
    run.provenance.write_text("=")
    with pytest.raises(UserError, match="damaged provenance: line 1: not valid TOML"):
        read_provenance(run)
