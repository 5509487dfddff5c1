"""Prompts, seeds and folders: known before any pipeline is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dataset.pictures import jpeg
from workbench.dataset import Catalogue, open_catalogue
from workbench.dataset.listing import file_name, readable
from workbench.generate.image_plan import Wish, local_pipeline, make_plan, words_of
from workbench.recipe import Recipe
from workbench.recipe.data import Data
from workbench.support.errors import UserError


def wish(**values: object) -> Wish:
    """Of one image a class."""
    return Wish(model="m", images=1, **values)  # type: ignore[arg-type]


@pytest.fixture
def catalogue(recipe: Recipe, tmp_path: Path) -> Catalogue:
    """Of the sample set, which knows cats from dogs."""
    return open_catalogue(recipe.data, data_home=tmp_path)


@given(st.binary(min_size=1, max_size=40).filter(lambda name: not {0, ord("/")} & set(name)))
def test_a_class_named_after_any_folder_leads_back_to_it(name: bytes) -> None:
    assert os.fsencode(file_name(readable(os.fsdecode(name)))) == name


def test_folders_of_odd_names_are_found_again_as_their_classes(tmp_path: Path) -> None:
    names = ["a\\b", "tab\there", "{class} %s", "ünïcode", "$(rm) 'quoted'", os.fsdecode(b"raw\xff")]
    root = tmp_path / "set"
    for number, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for image in range(4):
            (root / name / f"{image}.jpg").write_bytes(jpeg(10 * number + image, 32, 32))
    catalogue = open_catalogue(Data(dataset="folder", root=str(root)), data_home=tmp_path)
    plan = make_plan(wish(), catalogue, "breed")
    assert {planned.folder for planned in plan.classes} == set(names)
    prompts = {planned.folder: planned.prompt for planned in plan.classes}
    assert prompts["tab\there"] == "a photo of a tab here"
    assert prompts["{class} %s"] == "a photo of a {class} %s"
    assert prompts["ünïcode"] == "a photo of a ünïcode"
    more = tmp_path / "more"
    for number, planned in enumerate(plan.classes):
        (more / planned.folder).mkdir(parents=True)
        (more / planned.folder / "0.png").write_bytes(jpeg(900 + number, 32, 32))
    joined = open_catalogue(
        Data(dataset="folder", root=str(root), extra_labelled=str(more)), data_home=tmp_path
    )
    extra = joined.positions("extra_labelled")
    assert sorted(joined.labels("breed")[extra].tolist()) == list(range(len(names)))


def test_names_become_words() -> None:
    assert words_of("american_pit_bull__terrier") == "american pit bull terrier"
    assert words_of("wire-haired St. Bernard") == "wire-haired St. Bernard"
    assert words_of("___") == "___"


def test_seeds_follow_from_seed_class_and_index_alone(catalogue: Catalogue) -> None:
    first, other = (make_plan(wish(seed=seed), catalogue, "breed") for seed in (0, 1))
    seeds = {plan.seed_of(planned, i) for plan in (first, other) for planned in plan.every for i in range(50)}
    assert len(seeds) == 2 * len(first.every) * 50
    assert max(seeds) < 2**48
    alone = make_plan(wish(classes=(first.every[3].name,)), catalogue, "breed")
    assert alone.seed_of(alone.classes[0], 7) == first.seed_of(first.every[3], 7)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("a photo", "all classes would be asked for in the same words"),
        ("a {breed}", "{breed}: no such field"),
        ("a {class!r}", "{class}: no such field"),
        ("a {class", "cannot be read"),
        ("a {}", "{}: no such field"),
    ],
)
def test_a_template_that_cannot_be_filled_is_refused(catalogue: Catalogue, template: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        make_plan(wish(prompt=template), catalogue, "breed")
    assert said in str(refused.value)
    assert "{class} and {species}" in refused.value.allowed


def test_where_species_are_the_classes_the_prompt_names_them_alone(catalogue: Catalogue) -> None:
    plan = make_plan(wish(), catalogue, "species")
    assert [planned.prompt for planned in plan.classes] == ["a photo of a cat", "a photo of a dog"]
    with pytest.raises(UserError, match="the data set knows no species"):
        make_plan(wish(prompt="{class} {species}"), catalogue, "species")


def test_a_class_that_is_none_is_named_with_the_closest(catalogue: Catalogue) -> None:
    with pytest.raises(UserError, match=f"did you mean {catalogue.breeds[0]}"):
        make_plan(wish(classes=(catalogue.breeds[0] + "s",)), catalogue, "breed")


def test_what_is_no_pipeline_is_told_from_outside(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.safetensors").write_bytes(b"")
    for name, said in (
        ("empty", "it has no model_index.json"),
        ("model.safetensors", "is a file"),
        ("gone", "no such folder"),
    ):
        with pytest.raises(UserError, match=said):
            local_pipeline(str(tmp_path / name))
    assert local_pipeline("somebody/a-model") is None
    with pytest.raises(UserError, match="no such folder"):
        local_pipeline("what is/this/name")
