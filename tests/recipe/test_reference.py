"""docs/recipe.md is made from the schema and tells all of it."""

from __future__ import annotations

from pathlib import Path

from workbench.recipe.explain import reference
from workbench.recipe.knobs import known_keys

PAGE = Path(__file__).parents[2] / "docs" / "recipe.md"


def test_the_page_in_docs_is_what_the_schema_says() -> None:
    assert PAGE.read_text() == reference() + "\n", "run: petbench recipe reference > docs/recipe.md"


def test_every_knob_is_on_the_page() -> None:
    page = reference()
    for path, _ in known_keys():
        assert f"`{path[-1]}`" in page or f"## [{path[-1]}" in page, path
