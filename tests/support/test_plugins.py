"""Registries, and what becomes of other packages' plug-ins that break."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.recipe.pseudo_label import STRATEGIES
from workbench.support import plugins
from workbench.support.plugins import Plugin, Registry, broken_to, installed_plugins, load_plugins

Packaged = Callable[[str, str], None]


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Packaged:
    """Installs a package `petbench-NAME` whose only module registers a data set as this code does it."""
    monkeypatch.setattr(plugins, "_loaded", {})
    monkeypatch.setattr(plugins, "_registries", list(plugins._registries))
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(name: str, code: str) -> None:
        monkeypatch.delitem(sys.modules, f"petbench_{name}", raising=False)
        (tmp_path / f"petbench_{name}.py").write_text(code)
        facts = tmp_path / f"petbench_{name}-1.2.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: petbench-{name}\nVersion: 1.2\n")
        (facts / "entry_points.txt").write_text(f"[petbench.datasets]\n{name} = petbench_{name}\n")

    return install


def registry() -> Registry[int]:
    """One without things of its own."""
    return Registry("data set", [], "petbench.datasets")


ADDS = "from workbench.support import plugins\nplugins._registries[-1].add({name!r}, 1)\n"


def test_things_come_in_the_order_in_which_they_registered() -> None:
    things: Registry[int] = Registry("thing", [])
    things.add("b", 1)
    things.add("a", 2)
    assert dict(things) == {"b": 1, "a": 2}
    assert (list(things), len(things), "c" in things) == (["b", "a"], 2, False)


def test_two_of_one_name_are_refused() -> None:
    things: Registry[int] = Registry("thing", [])
    things.add("a", 1)
    with pytest.raises(ValueError, match="there is another thing named 'a'"):
        things.add("a", 2)


def test_other_packages_are_imported_when_the_registry_is_read_and_not_before(packaged: Packaged) -> None:
    packaged("more", ADDS.format(name="more"))
    things = registry()
    assert [plugin.name for plugin in installed_plugins("petbench.datasets")] == ["more"]
    assert not things._things
    assert list(things) == ["more"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("raise SystemExit('I want another petbench')", "SystemExit: I want another petbench"),
        ("1 +", "SyntaxError: invalid syntax"),
        (ADDS.format(name="good"), "ValueError: there is another data set named 'good'"),
        ("raise RuntimeError('\\x1b[31mred\\nlines')", "RuntimeError: \\x1b[31mred\\nlines"),
    ],
)
def test_a_broken_plug_in_is_one_message_with_package_and_entry_point(
    packaged: Packaged, code: str, problem: str
) -> None:
    packaged("good", ADDS.format(name="good"))
    packaged("wings", code)
    things, told = registry(), list[Plugin]()
    with broken_to(told.append):
        assert list(things) == ["good"]
        assert list(things) == ["good"]  # and does not hear of it again
    (plugin,) = told
    said = plugin.warning
    assert said.startswith("plug-in wings of petbench-wings 1.2 (petbench.datasets: petbench_wings): ")
    assert problem.partition("\\x1b")[0] in said
    assert "pip uninstall petbench-wings" in said
    assert "\x1b" not in said
    assert "\n" not in said
    assert [plugin.problem == "" for plugin in load_plugins("petbench.datasets")] == [True, False]


def test_what_a_broken_plug_in_had_registered_is_taken_back(packaged: Packaged) -> None:
    packaged("half", ADDS.format(name="half") + "raise RuntimeError('after half')\n")
    with broken_to(lambda _: None):
        assert not registry()


def test_it_is_told_on_the_standard_error_output(
    packaged: Packaged, capsys: pytest.CaptureFixture[str]
) -> None:
    packaged("wings", "import no_such_module")
    assert not registry()
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.count("\n") == 1
    assert seen.err.startswith("petbench: warning: plug-in wings of petbench-wings 1.2")


def test_a_strategy_that_inherits_from_another_without_a_name_of_its_own_is_none() -> None:
    before = dict(STRATEGIES)
    type("Mine", (STRATEGIES["fixmatch"],), {"__module__": __name__})
    assert dict(STRATEGIES) == before
