"""A wheel, installed into an environment of its own, does in an empty folder what the README says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.recipe.cookbook import shipped_recipes

CHECKOUT = Path(__file__).parents[2]

Command = Callable[..., str]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh virtual environment with the wheel in it; what the wheel needs is borrowed from this one."""
    pytest.importorskip("hatchling", reason="builds the wheel; comes with petbench[dev]")
    folder = tmp_path_factory.mktemp("wheel")
    _shell(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=CHECKOUT)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    _shell(
        sys.executable, "-m", "pip", f"--python={python}", "install", "--no-deps", "--no-index", str(wheel)
    )
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    borrowed = [path for path in sys.path if path.endswith("-packages")]
    (packages / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return folder / "venv"


@pytest.fixture
def petbench(environment: Path, tmp_path: Path) -> Command:
    """Runs the installed `petbench ARGUMENTS` in an empty folder, with a data home that cannot be written."""
    data, folder = tmp_path / "data", tmp_path / "empty"
    data.mkdir(mode=0o555)
    folder.mkdir()
    own = {"PYTHONPATH": "", "PETBENCH_DATA": str(data), "PETBENCH_RUNS": str(folder / "runs")}
    return lambda *words: _shell(str(environment / "bin" / "petbench"), *words, cwd=folder, **own)


def test_every_recipe_is_in_the_wheel(environment: Path, petbench: Command) -> None:
    listed = {
        row["name"]: Path(row["file"]) for row in json.loads(petbench("recipe", "ls", "--json"))["recipes"]
    }
    assert set(listed) == set(shipped_recipes())
    for name, file in shipped_recipes().items():
        assert environment in listed[name].parents
        assert listed[name].read_bytes() == file.read_bytes()


def test_the_readme_names_recipes_that_are_there() -> None:
    """In its table, by name, and in its commands."""
    readme = (CHECKOUT / "README.md").read_text()
    table = readme.partition("| recipe | what it is |")[2].partition("\n\n")[0]
    cells = [row.split("|")[1] for row in table.splitlines()[2:]]
    names = {name for cell in cells for name in re.findall(r"`([a-z0-9_]+)`", cell)}
    assert len(names) > 12
    assert names <= set(shipped_recipes())
    for line in re.findall(r"^petbench (?:run|launch|sweep) ([a-z0-9_/. ]+)", readme, re.MULTILINE):
        named = {word for word in line.split() if not word.endswith(".toml")}  # files that start writes
        assert named <= {*shipped_recipes(), "my_idea"}


def test_recipes_are_copied_and_begun_by_name(petbench: Command, tmp_path: Path) -> None:
    petbench("recipe", "copy", "lite_full")
    petbench("recipe", "new", "my_idea", "--from", "quickstart")
    assert (tmp_path / "empty" / "lite_full.toml").read_bytes() == shipped_recipes()["lite_full"].read_bytes()
    assert 'name = "my_idea"' in petbench("recipe", "show", "my_idea", "--toml")
    assert "final" in petbench("paper", "recipes")
    assert "0 of 30 runs" in petbench("sweep", "paper/table1", "--collect")


@pytest.mark.slow
def test_the_quickstart_trains(petbench: Command, tmp_path: Path) -> None:
    said = petbench("run", "quickstart")
    assert "student" in said
    (run,) = json.loads(petbench("runs", "ls", "--json"))["runs"]
    assert run["status"] == "finished"
    assert list((tmp_path / "data").iterdir()) == []


def _shell(*words: str, cwd: Path | None = None, **environment: str) -> str:
    """What a command that must succeed printed."""
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout
