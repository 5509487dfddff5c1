"""The form's core without a screen: fields from the schema, edits of the text, what is offered."""

from __future__ import annotations

import shlex
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.recipe.generate import recipes
from workbench.recipe import STRATEGIES, Recipe, dump_recipe, flat, parse_recipe
from workbench.recipe.knobs import known_keys
from workbench.recipe.source import Grid
from workbench.recipe.sweep import parse_sweep
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.support.toml_text import toml_literal
from workbench.tui.screens.compose.draft import draft_of, edit, retext, taken_out
from workbench.tui.screens.compose.draft_launch import launch_command
from workbench.tui.screens.compose.form_lines import group_summary
from workbench.tui.screens.compose.knob_fields import (
    INSTEAD_OF,
    FieldKind,
    field_by_key,
    form_fields,
    is_offered,
    literal_typed,
    shown_value,
)

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))
ITERATIVE = (RECIPES[0].parent / "pseudo_iter.toml").read_text("utf-8")
FOUR = "evaluated centre+full+squash+close"


def test_the_form_has_every_knob_of_the_schema() -> None:
    offered = {field.key for strategy in STRATEGIES for field in form_fields(strategy)}
    tables = {"data", "model", "finetune", "optimizer", "augmentation", "training", "pseudo_label"}
    # A sweep is marked on the field that it varies, and is no field of its own.
    paths = [path for path, _ in known_keys() if path[0] != "sweep"]
    known = {".".join(path) for path in paths} - tables - {"schema", "pseudo_label.noise"}
    assert offered == known


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "224 px"),
        ('[data]\nevaluation_views = ["full", "close"]', "224 px · evaluated full+close"),
        (
            '[finetune]\nlayers = "head"\n[augmentation]\nrandom_crop = false\nflip = false',
            f"224 px · {FOUR}",
        ),
    ],
)
def test_other_views_than_the_centre_are_told_with_the_data(line: str, said: str) -> None:
    draft = draft_of(f'schema = 1\nname = "views"\n{line}\n', "test")
    assert group_summary("data", draft.look()) == f"oxford-iiit-pet · breed · {said}"


def test_every_field_explains_itself() -> None:
    for strategy in STRATEGIES:
        for field in form_fields(strategy):
            assert field.knob.help
            assert field.knob.allowed


def test_fields_are_typed_as_their_knobs_are() -> None:
    fields = field_by_key("iterative")
    assert fields["model.backbone"].kind is FieldKind.NAME
    assert fields["training.epochs"].kind is FieldKind.NUMBER
    assert fields["augmentation.flip"].choices == ("true", "false")
    assert fields["pseudo_label.stratified"].choices == ("", "true", "false")
    assert fields["finetune.layers"].kind is FieldKind.NAMES
    assert fields["augmentation.random_crop"].kind is FieldKind.LITERAL
    assert fields["pseudo_label.noise.policy"].label == "noise.policy"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_a_valid_and_unchanged_draft(path: Path) -> None:
    draft = draft_of(path.read_text("utf-8"), str(path), path)
    assert draft.is_valid
    assert not draft.is_changed
    assert draft.all_problems == ()


def test_paths_of_a_draft_count_from_where_its_file_would_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the command line reads them, before the draft is handed to a run or written anywhere else."""
    run = tmp_path / "run"
    (run / "checkpoint").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    text = 'schema = 1\nname = "a"\n\n[data]\ndataset = "folder"\nroot = "pets"\n'
    for path, meant in (
        (None, tmp_path / "pets"),
        (Path("recipes/mine.toml"), tmp_path / "recipes" / "pets"),
        (run / "recipe.toml", tmp_path / "pets"),  # a run of before paths stood absolute in it
    ):
        draft = draft_of(text, "", path)
        assert draft.recipe is not None
        assert draft.recipe.data.root == str(meant)
        sweep = parse_sweep(draft.text, "a", [Grid("seed", ("1",))], folder=draft.folder)
        assert sweep.runs[0].recipe.data == draft.recipe.data


def test_an_edit_changes_the_text_and_the_recipe_and_keeps_comments() -> None:
    draft = edit(draft_of(ITERATIVE, "x"), "pseudo_label.fraction", "0.3")
    assert draft.text == ITERATIVE.replace("fraction = 0.2   ", "fraction = 0.3   ").replace(
        "validation_fraction = 0.3", "validation_fraction = 0.2"
    )
    assert draft.look()["pseudo_label.fraction"] == 0.3


def test_a_value_the_schema_refuses_is_told_at_its_field_and_stands_in_the_text() -> None:
    draft = edit(draft_of(ITERATIVE, "x"), "training.epochs", '"many"')
    assert 'epochs = "many"' in draft.text
    assert not draft.is_valid
    (problem,) = draft.problems_at("training.epochs")
    assert "cannot be" in problem.what
    assert problem.allowed == "a whole number from 1 to 10,000"
    assert draft.problems_at("training.batch_size") == []
    assert edit(draft, "training.epochs", "3").is_valid


def test_a_knob_the_schema_does_not_have_is_told_at_its_group() -> None:
    draft = retext(draft_of(ITERATIVE, "x"), ITERATIVE.replace("learning_rate", "lr"))
    assert [problem.key for problem in draft.stray_problems("optimizer")] == ["optimizer.lr"]
    assert draft.stray_problems("data") == []


def test_a_text_that_is_no_toml_keeps_the_last_values_and_says_the_line() -> None:
    draft = draft_of(ITERATIVE, "x")
    broken = retext(draft, ITERATIVE + "\nepochs = = 3\n")
    assert broken.broken is not None
    assert broken.broken.line == ITERATIVE.count("\n") + 2
    assert broken.text.endswith("epochs = = 3\n")
    assert broken.values == draft.values
    assert not broken.is_valid
    with pytest.raises(UserError, match="mended first"):
        edit(broken, "seed", "3")
    assert retext(broken, ITERATIVE) == draft


def test_another_strategy_takes_out_what_it_would_refuse_and_the_way_back_brings_it_again() -> None:
    draft = draft_of(ITERATIVE, "x")
    one_shot = edit(draft, "pseudo_label.strategy", '"one_shot"')
    assert one_shot.is_valid
    assert "pseudo_label.rounds" in taken_out(draft, one_shot)
    back = edit(one_shot, "pseudo_label.strategy", '"iterative"')
    assert back.recipe == draft.recipe
    assert back.parked == {}


def test_no_strategy_takes_the_table_out_and_a_first_one_begins_valid() -> None:
    supervised = edit(draft_of(ITERATIVE, "x"), "pseudo_label.strategy", None)
    assert supervised.recipe is not None
    assert supervised.recipe.pseudo_label is None
    assert "[pseudo_label]" not in supervised.text
    again = edit(supervised, "pseudo_label.strategy", '"iterative"')
    assert again.recipe == draft_of(ITERATIVE, "x").recipe
    first = edit(draft_of('name = "a"\n', "x"), "pseudo_label.strategy", '"class_balanced"')
    assert first.is_valid


@pytest.mark.parametrize("key", INSTEAD_OF)
def test_setting_one_of_two_that_exclude_each_other_replaces_the_other(key: str) -> None:
    plain = ITERATIVE.replace("validation_fraction = 0.2\n", "")
    # label_folds is for a frozen trunk on fixed views alone
    for knob in ("augmentation.random_crop=false", "augmentation.flip=false", 'finetune.batch_norm="tuned"'):
        plain = edit(draft_of(plain, "x"), *knob.split("=")).text
    plain = edit(draft_of(plain, "x"), "finetune.layers", '"head"').text
    for other in INSTEAD_OF[key]:
        text = plain
        for wanted in (other, "data.folds" if other == "data.fold" else other):
            text = edit(draft_of(text, "x"), wanted, _some(wanted)).text
        draft = edit(draft_of(text, "x"), key, _some(key))
        assert draft.is_valid, draft.problems
        assert draft.look().written(other) is None
        table, _, name = other.rpartition(".")
        with pytest.raises(UserError):  # the table of exclusions tells no more than the schema does
            parse_recipe(draft.text, overrides=[f"{table}.{name}={_some(other)}"])


def _some(key: str) -> str:
    last = key.rpartition(".")[2]
    counts = {
        "folds": "5",
        "fold": "1",
        "labels_per_class": "4",
        "validation_images": "20",
        "label_folds": "5",
    }
    return "false" if last == "stratified" else counts.get(last, "0.3")


def test_names_with_dots_of_groups_and_classes_are_quoted_in_the_command_line() -> None:
    text = 'schema = 1\nname = "x"\n[pseudo_label]\nstrategy = "class_balanced"\nlabelled_fraction = 0.1\n'
    draft = retext(
        draft_of(text, "x", Path("x.toml")),
        f'{text}prior = {{"St. Bernard" = 0.3, pug = 0.7}}\n[optimizer]\nlayer_rates = {{"a.b" = 1e-4}}\n',
    )
    words = shlex.split(launch_command(draft, {}))
    changes = [after for before, after in pairwise(words) if before == "--set"]
    assert parse_recipe(text, overrides=changes) == draft.recipe


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(recipes())
def test_every_knob_that_counts_in_a_recipe_is_offered(recipe: Recipe) -> None:
    draft = draft_of(dump_recipe(recipe), "x")
    offered = {field.key for field in draft.offered()}
    for key, value in flat(recipe).items():
        # The schema lets these stand at what switches them off, where they would do nothing.
        is_idle = key.startswith(("finetune.", "optimizer.warmup")) and not value
        if key != "schema" and not key.startswith("optimizer.layer_rates") and not is_idle:
            assert key in offered or any(key.startswith(f"{one}.") for one in offered), key


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(recipes(), st.data())
def test_choices_lead_from_one_valid_recipe_to_another_unless_the_form_says_why(
    recipe: Recipe, data: st.DataObject
) -> None:
    draft = draft_of(dump_recipe(recipe), "x")
    choices = [field for field in draft.offered() if field.kind is FieldKind.CHOICE]
    field = data.draw(st.sampled_from(choices))
    changed = edit(draft, field.key, data.draw(st.sampled_from(field.choices)) or None)
    for problem in changed.problems:
        assert "has no effect while" not in problem.what, problem
    shown = {one.key for one in changed.offered()}
    for problem in changed.problems:
        assert problem.key in shown or problem.key.split(".")[0] in ("data", "pseudo_label", "augmentation")


def test_a_knob_that_would_be_ignored_is_not_offered() -> None:
    keys = {field.key for field in draft_of(ITERATIVE, "x").offered()}
    assert "pseudo_label.fraction" in keys
    assert "pseudo_label.threshold" not in keys
    assert "optimizer.momentum" not in keys
    assert "data.fold" not in keys
    sgd = edit(draft_of(ITERATIVE, "x"), "optimizer.name", '"sgd"')
    momentum = field_by_key("iterative")["optimizer.momentum"]
    assert is_offered(momentum, sgd.look())


HOSTILE = [
    "a[/b]",
    "\x1b]52;c;aGk=\x07",
    "safe\u202egnp.exe",
    'quote " and \\',
    " edges ",
    '"quoted"',
    "a\nb",
    "'x'",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_as_they_are_and_show_as_harmless_text(name: str) -> None:
    field = field_by_key(None)["name"]
    draft = edit(draft_of('name = "x"\n', "x"), "name", toml_literal(name))
    assert draft.recipe is not None
    assert draft.recipe.name == name
    shown = shown_value(field, name)
    assert clean(shown) == shown
    typed = literal_typed(field, shown)
    assert typed is not None
    assert tomllib.loads(f"value = {typed}")["value"] == name


@given(st.sampled_from(form_fields("iterative")), st.data())
def test_a_value_shown_and_typed_again_is_the_same_value(field: object, data: st.DataObject) -> None:
    assert isinstance(field, type(form_fields(None)[0]))
    values = {
        FieldKind.NUMBER: st.one_of(
            st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False)
        ),
        FieldKind.TEXT: st.text(st.characters(codec="utf-8"), max_size=20),
        FieldKind.NAME: st.one_of(
            st.text(st.characters(codec="utf-8"), max_size=20),
            st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=3),
        ),
        FieldKind.NAMES: st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=3),
        FieldKind.LITERAL: st.lists(st.floats(0, 1), min_size=2, max_size=2),
        FieldKind.CHOICE: st.booleans(),
    }
    value = data.draw(values[field.kind])
    shown = shown_value(field, value)
    assert clean(shown) == shown
    typed = literal_typed(field, shown)
    if typed is None:
        assert toml_literal(value) == field.default  # left out, it is the same
    elif (field.key, value) != ("finetune.layers", ["head"]):  # typed as the word that means it
        assert tomllib.loads(f"value = {typed}")["value"] == value


def test_what_is_typed_needs_no_quotes_and_no_brackets() -> None:
    fields = field_by_key(None)
    assert literal_typed(fields["model.backbone"], "resnet18") == '"resnet18"'
    several = '["resnet18", "resnet34"]'
    assert literal_typed(fields["model.backbone"], "resnet18, resnet34") == several
    assert literal_typed(fields["model.backbone"], several) == several
    assert shown_value(fields["model.backbone"], ["resnet18", "resnet34"]) == "resnet18, resnet34"
    assert literal_typed(fields["model.backbone"], '"resnet18"') == '"resnet18"'
    assert literal_typed(fields["finetune.layers"], "layer4, head") == '["layer4", "head"]'
    assert literal_typed(fields["finetune.layers"], "all") == '"all"'
    assert literal_typed(fields["augmentation.random_crop"], "[0.2, 1]") == "[0.2, 1]"
    assert literal_typed(fields["training.epochs"], "") is None
    assert literal_typed(fields["optimizer.learning_rate"], "5e") == '"5e"'
