"""A recipe's name means a user's own file, else one of petbench's; where each path counts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.recipe import RecipeError, dump_recipe, load_recipe
from workbench.recipe.cookbook import find_recipe, own_path, shadowed, shipped_folder, shipped_recipes
from workbench.recipe.load import PATHS, paths_from
from workbench.recipe.source import Unset, read_source
from workbench.recipe.strategies.by_confidence import Iterative
from workbench.support.errors import UserError

FOLDER_DATA = 'schema = 1\nname = "a"\n[data]\ndataset = "folder"\nroot = "photos"\n'


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    (tmp_path / "desk").mkdir()
    monkeypatch.chdir(tmp_path / "desk")
    return tmp_path / "desk"


def test_a_name_means_what_comes_with_petbench_from_any_folder(desk: Path) -> None:
    assert load_recipe(Path("quickstart")).name == "quickstart"
    assert find_recipe(Path("paper/table1")) == shipped_folder() / "paper" / "table1.toml"
    assert {"quickstart", "lite_full", "paper/table1"} < set(shipped_recipes())


def test_a_users_file_of_that_name_wins_and_is_told(desk: Path) -> None:
    text = 'schema = 1\nname = "mine"\n'
    assert shadowed(Path("quickstart")) is None
    (desk / "recipes").mkdir()
    (desk / "recipes" / "quickstart.toml").write_text(text)
    assert load_recipe(Path("quickstart")).name == "mine"
    assert shadowed(Path("quickstart")) == Path("recipes/quickstart.toml")
    (desk / "quickstart.toml").write_text(text)
    assert find_recipe(Path("quickstart")) == Path("quickstart.toml")
    (desk / "quickstart.toml").write_text(shipped_recipes()["quickstart"].read_text())
    assert shadowed(Path("quickstart")) is None


def test_a_folder_of_the_name_is_no_recipe_and_a_dot_in_a_name_no_suffix(desk: Path) -> None:
    (desk / "quickstart").mkdir()
    assert find_recipe(Path("quickstart")) == shipped_recipes()["quickstart"]
    (desk / "rate_0.5.toml").write_text('schema = 1\nname = "half"\n')
    assert load_recipe(Path("rate_0.5")).name == "half"


@pytest.mark.parametrize("given", ["../quickstart", "/quickstart", "quickstart.toml", "nothing", "a\0b", "."])
def test_anything_else_is_the_path_that_it_says(desk: Path, given: str) -> None:
    assert find_recipe(Path(given)) == Path(given)


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_new_recipe_is_found_by_its_name_where_it_is_written(desk: Path, has_folder: bool) -> None:
    if has_folder:
        (desk / "recipes").mkdir()
    own_path("idea").write_text('schema = 1\nname = "idea"\n')
    assert load_recipe(Path("idea")).name == "idea"


@pytest.mark.parametrize("file", shipped_recipes().values(), ids=shipped_recipes())
def test_no_recipe_of_petbench_names_a_path(file: Path) -> None:
    """It would count from inside the package."""
    source = read_source(file.read_text(), file.name)
    for path in PATHS:
        try:
            value = source.value(path)
        except KeyError:
            continue
        assert path == ("model", "weights")
        assert value in ("default", "none")


def test_every_path_counts_from_the_recipe_and_a_typed_one_from_here(desk: Path) -> None:
    home = desk.parent / "elsewhere"
    home.mkdir()
    weights = '[model]\nbackbone = "resnet18"\nweights = "w/resnet.pth"\n'
    (home / "a.toml").write_text(FOLDER_DATA + weights)
    recipe = load_recipe(home / "a.toml")
    assert recipe.data.root == str(home / "photos")
    assert recipe.model.weights == str(home / "w" / "resnet.pth")
    typed = load_recipe(home / "a.toml", ["data.root=others", "model.weights=IMAGENET1K_V1"])
    assert typed.data.root == str(desk / "others")
    assert typed.model.weights == "IMAGENET1K_V1"


def test_teachers_named_by_a_path_count_alike_and_names_stay_names(desk: Path) -> None:
    home = desk.parent / "elsewhere"
    home.mkdir()
    pseudo = (
        '[pseudo_label]\nlabelled_fraction = 0.1\nteacher = ["runs/one", "3fa1", "/abs/two", "~/three"]\n'
    )
    (home / "a.toml").write_text('schema = 1\nname = "a"\n' + pseudo)
    knobs = load_recipe(home / "a.toml").pseudo_label
    assert isinstance(knobs, Iterative)
    assert knobs.teacher == (str(home / "runs" / "one"), "3fa1", "/abs/two", "~/three")
    typed = load_recipe(home / "a.toml", ["pseudo_label.teacher=runs/one,3fa1"]).pseudo_label
    assert isinstance(typed, Iterative)
    assert typed.teacher == (str(desk / "runs" / "one"), "3fa1")
    (desk / "run" / "checkpoint").mkdir(parents=True)
    own = dump_recipe(load_recipe(home / "a.toml"))
    (desk / "run" / "recipe.toml").write_text(own)
    assert load_recipe(desk / "run" / "recipe.toml").pseudo_label == knobs
    with pytest.raises(RecipeError, match="teacher"):
        load_recipe(home / "a.toml", ["pseudo_label.strategy=ups"])


@pytest.mark.parametrize("typed", [True, False])
def test_a_path_that_is_there_only_from_the_other_place_names_both(desk: Path, typed: bool) -> None:
    home = desk.parent / "elsewhere"
    home.mkdir()
    (home / "a.toml").write_text(FOLDER_DATA)
    ((home if typed else desk) / "photos").mkdir()
    with pytest.raises(RecipeError) as caught:
        load_recipe(home / "a.toml", ["data.root=photos"] if typed else [])
    assert str(desk / "photos") in str(caught.value)
    assert str(home / "photos") in str(caught.value)
    (problem,) = caught.value.problems
    assert problem.where == ("--set data.root=photos" if typed else f"{home / 'a.toml'}:5")


def test_the_recipe_of_an_older_run_counts_from_here_as_it_did(desk: Path) -> None:
    run = desk.parent / "run"
    (run / "checkpoint").mkdir(parents=True)
    (run / "recipe.toml").write_text(FOLDER_DATA)
    assert load_recipe(run / "recipe.toml").data.root == str(desk / "photos")
    assert paths_from(Path("/dev/fd/63")) == Path()


def test_a_key_is_taken_out_before_others_are_set(desk: Path) -> None:
    plain = load_recipe(Path("quickstart"), [Unset("pseudo_label"), Unset("training.epochs")])
    assert plain.pseudo_label is None
    assert plain.training.epochs == 20
    again = load_recipe(
        Path("pseudo_iter"), [Unset("pseudo_label.fraction"), "pseudo_label.select=threshold"]
    )
    assert again.pseudo_label is not None
    with pytest.raises(RecipeError, match="fraction"):
        load_recipe(Path("pseudo_iter"), ["pseudo_label.select=threshold"])


def test_taking_out_what_is_not_there_is_fine_but_what_cannot_be_is_not(desk: Path) -> None:
    load_recipe(Path("quickstart"), [Unset("optimizer.momentum"), Unset("sweep.seeds")])
    with pytest.raises(UserError, match=r"--unset optimizer\.momentun: no such key.*\n.*optimizer\.momentum"):
        load_recipe(Path("quickstart"), [Unset("optimizer.momentun")])
    with pytest.raises(UserError, match="--unset a b"):
        load_recipe(Path("quickstart"), [Unset("a b")])


@pytest.mark.parametrize(
    ("change", "tags"),
    [("tags=a,b", ("a", "b")), ("tags=a", ("a",)), ('tags=["a", "b"]', ("a", "b")), ("tags=", ())],
)
def test_a_list_of_words_needs_no_quotes(desk: Path, change: str, tags: tuple[str, ...]) -> None:
    assert load_recipe(Path("quickstart"), [change]).tags == tags


def test_a_list_of_words_beside_single_words(desk: Path) -> None:
    changes = ["finetune.layers=stage7,head", "data.evaluation_views=full, close"]
    recipe = load_recipe(Path("quickstart"), changes)
    assert recipe.finetune.layers == ("stage7", "head")
    assert recipe.data.evaluation_views == ("full", "close")
    assert load_recipe(Path("quickstart"), ["finetune.layers=all"]).finetune.layers == "all"
    assert load_recipe(Path("quickstart"), ["description=one, two"]).description == "one, two"
