"""`--json`: every command has it, and prints what its published schema says, one object with its name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.cli.conftest import World
from tests.cli.every import all_commands
from tests.cli.test_output import own
from tests.cli.whole import Petbench, Said
from tests.jobs.background import cpu_taken
from tests.runs.making import make_run
from workbench.cli.schemas import SHAPES, schema_of
from workbench.runs.results import read_results, write_results

__all__ = ["own"]

_DOCS = Path(__file__).parents[2] / "docs" / "schemas"
_TEXT = {"runs export", "recipe reference", "schema"}
"""Commands that print nothing but text for another program."""


def _strict(schema: Any) -> Any:
    """With no key beside those that are named: what is printed is documented."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema and "type" in schema else {}
    return {**closed, **{key: _strict(one) for key, one in schema.items()}}


def _checked(said: Said) -> str:
    """The shape that was printed, which fits its schema to the last key."""
    printed = json.loads(said.out, parse_constant=pytest.fail)
    owner, shape, version = printed["schema"].split("/")
    assert (owner, version) == ("petbench", "1")
    published = json.loads((_DOCS / f"{shape}.json").read_text())
    errors = jsonschema.Draft202012Validator(_strict(published)).iter_errors(printed)
    assert [f"{shape}: {error.json_path} {error.message[:300]}" for error in errors] == []
    return str(shape)


def test_the_published_schemas_are_those_of_the_code() -> None:
    """`for shape in $(petbench schema); do petbench schema $shape > docs/schemas/$shape.json; done`"""
    assert {path.stem for path in _DOCS.glob("*.json")} == set(SHAPES)
    for shape in SHAPES:
        jsonschema.Draft202012Validator.check_schema(schema_of(shape))
        assert json.loads((_DOCS / f"{shape}.json").read_text()) == schema_of(shape), shape


def test_every_command_that_ends_with_a_value_has_json() -> None:
    lacking = {
        name
        for name, command in all_commands().items()
        if not any("--json" in getattr(option, "opts", ()) for option in command.params)
    }
    assert lacking == _TEXT


def test_every_command_prints_what_its_schema_says(
    own: dict[str, list[str]], petbench: Petbench, home: Path
) -> None:
    shapes = set()
    with cpu_taken(make_run(home / "elsewhere", "holder")):
        for name, arguments in own.items():
            if name not in _TEXT and name != "run":
                said = petbench(*name.split(), *arguments, "--json")
                assert said.code in (0, 1 if name == "doctor" else 0), (name, said.err)
                shapes.add(_checked(said))
        launched = json.loads(petbench("launch", *own["launch"], "--json").out)["runs"][0]["id"]
        shapes.add(_checked(petbench("stop", launched, "--json")))
    p, s = own["runs compare"]
    more = [
        ["run", *own["run"]],
        ["runs", "compare", p, s, "--group", "--curve", "val.loss"],
        ["inspect", p, "--round", "1", "--order", "flips"],
        ["inspect", p, "--label-issues"],
        ["inspect", p, "--confused"],
        ["queue"],
        ["runs", "export", "--format", "json"],
        ["runs", "compare", p, s, "--format", "json"],
        ["model", "show", "--recipe", own["run"][0]],
        ["recipe", "diff", p, s],
        ["review", p, "--exclude", own["neighbours"][1]],
    ]
    for line in more:
        said = petbench(*line, *(() if "--format" in line else ("--json",)))
        assert said.code == 0, (line, said.err)
        shapes.add(_checked(said))
    refused = petbench("recipe", "check", home / "nothing.toml", "--json")
    assert refused.code == 2
    shapes.add(_checked(refused))
    assert shapes == set(SHAPES)


def test_numbers_that_are_none_are_null(petbench: Petbench, home: Path, trained: World) -> None:
    run = make_run(home / "runs")
    results = read_results(trained.supervised.results)
    write_results(run.results, replace(results, test=replace(results.test, loss=float("nan"))))
    for line in (["runs", "show", run.handle], ["runs", "ls"]):
        said = petbench(*line, "--json")
        assert "null" in said.out
        _checked(said)


def test_a_shape_is_asked_for_by_name(petbench: Petbench) -> None:
    assert json.loads(petbench("schema", "runs").out)["$id"] == "petbench/runs/1"
    assert petbench("schema", "nothing").code == 2
