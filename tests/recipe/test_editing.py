"""Single keys change; every other letter of the user's text stays."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.recipe.generate import recipes
from workbench.recipe import Recipe, dump_recipe, flat, parse_recipe
from workbench.recipe.source import as_literal, remove_key, set_key
from workbench.support.errors import UserError
from workbench.support.toml_text import comments, toml_literal

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))

TEXT = """\
# What this is for.
name = "a"   # short

[optimizer]
# the paper's
learning_rate = 5e-5   # not 1e-4
name = "adam"

[model]
dropout = 0.1
"""


def test_a_changed_value_leaves_every_other_letter_as_it_was() -> None:
    assert set_key(TEXT, ("optimizer", "learning_rate"), "1e-3") == TEXT.replace("= 5e-5", "= 1e-3")
    assert set_key(TEXT, ("name",), "b c") == TEXT.replace('"a"', '"b c"')


def test_a_number_keeps_the_spelling_it_was_given() -> None:
    assert "weight_decay = 1_000e-6\n" in set_key(TEXT, ("optimizer", "weight_decay"), "1_000e-6")


def test_a_new_key_comes_into_its_table() -> None:
    changed = set_key(TEXT, ("optimizer", "schedule"), "cosine")
    assert changed == TEXT.replace('name = "adam"\n', 'name = "adam"\nschedule = "cosine"\n')


def test_a_new_key_of_the_top_comes_before_the_first_table() -> None:
    assert set_key(TEXT, ("seed",), "3").index("seed = 3") < TEXT.index("[optimizer]") + 10


def test_a_new_table_comes_last_after_a_blank_line() -> None:
    assert set_key(TEXT, ("training", "epochs"), "3") == TEXT + "\n[training]\nepochs = 3\n"


def test_a_text_without_a_last_line_end_gets_one() -> None:
    assert set_key(TEXT.rstrip(), ("training", "epochs"), "3") == TEXT + "\n[training]\nepochs = 3\n"


def test_a_key_of_a_table_within_a_table_makes_it_inline_and_takes_it_away_again() -> None:
    base = set_key(TEXT, ("pseudo_label", "strategy"), "iterative")
    changed = set_key(base, ("pseudo_label", "noise", "dropout"), "0.5")
    assert changed == base + "noise = {dropout = 0.5}\n"
    assert remove_key(changed, ("pseudo_label", "noise", "dropout")) == base


@pytest.mark.parametrize(
    "noise", ["noise = {policy = 'rand'}", "noise.policy = 'rand'", "[pseudo_label.noise]\npolicy = 'rand'"]
)
def test_tables_within_tables_may_be_written_in_every_way(noise: str) -> None:
    text = f"name = 'a'\n[pseudo_label]\nstrategy = 'iterative'\n{noise}\n"
    changed = set_key(text, ("pseudo_label", "noise", "dropout"), "0.5")
    assert tomllib.loads(changed)["pseudo_label"]["noise"] == {"policy": "rand", "dropout": 0.5}


def test_a_removed_key_takes_its_own_line_and_nothing_else() -> None:
    assert remove_key(TEXT, ("model", "dropout")) == TEXT.replace("dropout = 0.1\n", "")
    assert remove_key(TEXT, ("model", "weights")) == TEXT
    assert "[optimizer]" not in remove_key(TEXT, ("optimizer",))


COMMENTED = """\
# about the model
[model] # m
backbone = "resnet18" # b

# about the labels
[pseudo_label] # p
strategy = "iterative"
noise.dropout = 0.5
[pseudo_label.balance]
# within
kind = "none" # k
# the sweep comes
[sweep] # s
seed = [
  [0], # not a header
]
# eof
"""


@pytest.mark.parametrize(
    ("table", "own"),
    [
        ("model", {"# m", "# b"}),
        ("pseudo_label", {"# p", "# k", "# within"}),
        ("sweep", {"# s", "# not a header"}),
    ],
)
def test_a_table_takes_its_own_comments_and_no_other(table: str, own: set[str]) -> None:
    edited = remove_key(COMMENTED, (table,))
    assert comments(edited) == [comment for comment in comments(COMMENTED) if comment not in own]
    assert tomllib.loads(edited) == {k: v for k, v in tomllib.loads(COMMENTED).items() if k != table}


def test_what_is_no_toml_is_text_and_what_is_stays_to_the_letter() -> None:
    assert as_literal("resnet152") == '"resnet152"'
    assert as_literal(" 5e-5 ") == "5e-5"
    assert as_literal('["head", "layer4"]') == '["head", "layer4"]'
    assert as_literal("1 # one") == '"1 # one"'
    assert as_literal("1, 2") == '"1, 2"'
    assert as_literal("") == '""'


@given(st.text(max_size=40))
def test_any_typed_text_becomes_exactly_one_value(typed: str) -> None:
    try:
        changed = set_key(TEXT, ("model", "weights"), typed)
    except UserError:
        return
    values = tomllib.loads(changed)
    assert set(values["model"]) == {"dropout", "weights"}
    assert values["optimizer"] == tomllib.loads(TEXT)["optimizer"]


def test_a_text_that_is_no_toml_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match="the recipe:2"):
        set_key("name = 'a'\nseed = \n", ("seed",), "3")


def test_a_key_below_a_value_is_refused() -> None:
    with pytest.raises(UserError, match="model is not a table"):
        set_key("name = 'a'\nmodel = 3\n", ("model", "weights"), "none")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_line_of_a_shipped_recipe_but_the_changed_one_survives(path: Path) -> None:
    text = path.read_text("utf-8")
    changed = set_key(text, ("training", "batch_size"), "7")
    before, after = text.splitlines(), changed.splitlines()
    assert [line for line in before if line not in after] in ([], [b for b in before if "batch_size" in b])
    assert parse_recipe(changed).training.batch_size == 7


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(recipes(), recipes())
def test_writing_every_knob_of_one_recipe_over_another_of_its_kind_gives_it(old: Recipe, new: Recipe) -> None:
    text = dump_recipe(old)
    wanted = flat(new)
    for key in flat(old).keys() - wanted.keys():
        text = remove_key(text, _path_of(key))
    for key, value in wanted.items():
        text = set_key(text, _path_of(key), toml_literal(value))
    if new.pseudo_label is None:
        text = remove_key(text, ("pseudo_label",))
    assert parse_recipe(text) == new


def _path_of(key: str) -> tuple[str, ...]:
    """Groups and classes, which some tables name their values by, may have dots of their own."""
    return tuple(key.split(".", 2))
