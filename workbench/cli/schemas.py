"""What `--json` prints, command by command: the one source of the JSON Schema files in docs/schemas.

Every command prints one object whose `schema` names its shape and the shape's version, such as
`petbench/runs-ls/1`. A key may be added to a version; one that goes or changes its meaning makes a new one.
Times are ISO 8601 with the zone's offset. Numbers that are not finite are null.
"""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from workbench.cli.console import print_text
from workbench.cli.gpu_health import Finding
from workbench.cli.image_shapes import IMAGE_SHAPES
from workbench.cli.recipe_shapes import RECIPE_SHAPES
from workbench.cli.run_shapes import RUN_SHAPES
from workbench.runs.export import json_text, schema_name
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest


class Doctor(TypedDict):
    errors: int
    findings: list[Finding]


SHAPES: dict[str, Any] = {**RUN_SHAPES, **RECIPE_SHAPES, **IMAGE_SHAPES, "doctor": Doctor}
"""The name in `schema` -> what stands beside it."""


@functools.cache
def schema_of(shape: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a shape."""
    schema = _nullable(TypeAdapter(SHAPES[shape]).json_schema(mode="serialization"))
    properties = {"schema": {"const": schema_name(shape)}, **schema.pop("properties")}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": schema_name(shape),
        **schema,
        "properties": properties,
        "required": ["schema", *schema["required"]],
    }


def _nullable(schema: Any) -> Any:
    """With null for every number, since JSON has no NaN."""
    if isinstance(schema, list):
        return [_nullable(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("type") == "number":
        return {**schema, "type": ["number", "null"]}
    return {key: _nullable(one) for key, one in schema.items()}


def schema(
    shape: Annotated[
        str | None,
        typer.Argument(metavar="[SHAPE]", help="Between the strokes of what --json calls its schema."),
    ] = None,
) -> None:
    """Print the JSON Schema of what --json prints (docs/schemas holds them all); alone, list the shapes."""
    if shape is None:
        print_text("".join(f"{name}\n" for name in SHAPES))
    elif shape in SHAPES:
        print_text(json_text(schema_of(shape)))
    else:
        near = nearest(shape, SHAPES)
        raise UserError(
            f"no shape {clean(shape, 60)!r}",
            allowed=list(SHAPES),
            hint=f"did you mean {near}?" if near else "",
        )
