"""What a person reads when a recipe is wrong: place, key, value, allowed values, the nearest name."""

from __future__ import annotations

import pytest

from workbench.recipe import RecipeError, parse_recipe
from workbench.recipe.problems import placed
from workbench.recipe.pseudo_label import STRATEGIES
from workbench.recipe.source import Source
from workbench.support.errors import UserError

HEAD = 'schema = 1\nname = "x"\n'
_STRATEGIES = ", ".join(f'"{name}"' for name in STRATEGIES)


def complaint(body: str) -> str:
    with pytest.raises(UserError) as caught:
        parse_recipe(HEAD + body, "r.toml")
    return str(caught.value)


def problems(body: str) -> list[tuple[int | None, str, str, str]]:
    """(line, what, allowed, hint) of each problem."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(HEAD + body, "r.toml")
    return [(p.line, p.what, p.allowed, p.hint) for p in caught.value.problems]


def test_a_wrong_type_names_line_key_value_and_what_is_allowed() -> None:
    assert complaint('[optimizer]\nlearning_rate = "fast"') == (
        'r.toml:4: optimizer.learning_rate cannot be "fast" (text)\nallowed: a number above 0 and at most 10'
    )


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        ("[data]\nimage_size = 10", "a whole number from 32 to 1,024 (pixels)"),
        ("[data]\nvalidation_fraction = 1.0", "a number above 0 and below 1"),
        ("[data]\nfolds = 1", "a whole number from 2 to 20"),
        ("seed = -1", "a whole number from 0 to 2^63 - 1"),
        ("[augmentation]\nflip = 1", "true or false"),
        ("[augmentation]\nrandom_crop = [0.5]", "false or a range [low, high] with 0 < low <= high <= 1"),
        (
            "[augmentation]\nrandom_crop = [0.9, 0.5]",
            "false or a range [low, high] with 0 < low <= high <= 1",
        ),
        ("[augmentation]\nrandom_crop = 0", "false or a range [low, high] with 0 < low <= high <= 1"),
        ("[finetune]\nlayers = []", '"all", "head" or a list of one or more of the backbone\'s layer groups'),
        (
            "[finetune]\nlayers = [1, 2]",
            '"all", "head" or a list of one or more of the backbone\'s layer groups',
        ),
        ("[optimizer]\nlayer_rates = {a = -1}", "a number above 0 and at most 10"),
        ("[optimizer]\nlayer_rates = {momentum = -1}", "a number above 0 and at most 10"),
        ("[optimizer]\nlearning_rate = nan", "a number above 0 and at most 10"),
        ("[optimizer]\nlearning_rate = 1e999", "a number above 0 and at most 10"),
        ("tags = [1979-05-27]", "a list of text of at most 20 items"),
        ("data = 5", "a table, [data]"),
        ("[[data]]", "a table, [data]"),
        ("pseudo_label = []", "a table, [pseudo_label]"),
        ("[pseudo_label]\nlabelled_fraction = 0.1\nnoise = 3", "a table, [pseudo_label.noise]"),
        ("[pseudo_label]\nstrategy = 5", _STRATEGIES),
        ("[pseudo_label]\nstrategy = {}", _STRATEGIES),
    ],
)
def test_one_wrong_value_is_one_problem_that_says_what_is_allowed(body: str, allowed: str) -> None:
    ((line, what, said, _),) = problems(body)
    assert line == 2 + len(body.splitlines())
    assert "cannot be" in what
    assert len(what) < 160
    assert said == allowed


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("[optimizer]\nlerning_rate = 1", "did you mean optimizer.learning_rate?"),
        ("[optimizer]\nschedule = 'cosin'", 'did you mean "cosine"?'),
        ("[optimiser]\nname = 'sgd'", "did you mean optimizer?"),
        ("learning_rate = 1", "learning_rate belongs to [optimizer]"),
        ("[data]\nbatchsize = 1", "did you mean training.batch_size?"),
        ("[nonsense]", ""),
        ("[pseudo_label]\nstrategy = 'iteratve'", 'did you mean "iterative"?'),
        ("[finetune]\nlayers = 'haed'", 'did you mean "head"?'),
    ],
)
def test_a_mistyped_name_gets_the_nearest_one(body: str, hint: str) -> None:
    ((_, _, _, said),) = problems(body)
    assert said == hint


def test_a_knob_of_another_strategy_says_which() -> None:
    body = "[pseudo_label]\nstrategy = 'one_shot'\nlabelled_fraction = 0.1\nrelabel = false"
    ((line, what, _, hint),) = problems(body)
    assert (line, what) == (6, "no such key: pseudo_label.relabel")
    assert hint == 'relabel belongs to [pseudo_label] with strategy = "iterative"'


def test_every_knob_without_effect_is_named_with_what_it_belongs_to() -> None:
    assert problems("[augmentation]\npolicy_magnitude = 3\nmixing_alpha = 1.0") == [
        (
            4,
            'augmentation.policy_magnitude has no effect while policy = "none"',
            "",
            'it belongs to policy = "rand"',
        ),
        (
            5,
            'augmentation.mixing_alpha has no effect while mixing = "none"',
            "",
            'it belongs to mixing = "mixup" or "cutmix"',
        ),
    ]


def test_knobs_that_disagree_are_told_at_the_line_of_one_of_them() -> None:
    assert complaint("[data]\nfolds = 3\nvalidation_fraction = 0.1") == (
        "r.toml:5: data: set validation_fraction or folds, not both"
    )
    assert complaint("[optimizer]\nschedule = 'one_cycle'\nwarmup_epochs = 2").startswith(
        "r.toml:5: optimizer.warmup_epochs has no effect with one_cycle"
    )
    assert complaint("[data]\ndataset = 'folder'").startswith('r.toml:4: data: dataset = "folder" needs root')
    labels = "[pseudo_label]\nstrategy = 'one_shot'\nlabelled_fraction = 0.1\n"
    assert "together at most 1, not 1.2" in complaint(f"{labels}propagation = 0.6\nprototypes = 0.6")
    assert "similarity has no effect unless" in complaint(f"{labels}similarity = 'features+classes'")
    assert "which compiled steps cannot" in complaint(
        "[training]\nsaliency_weight = 0.1\ncompile = 'on'\n[finetune]\nlayers = 'all'"
    )


def test_a_missing_key_points_at_its_table() -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe("schema = 1", "r.toml")
    assert str(caught.value).startswith("r.toml: name is missing\nallowed: text of 1 to 80 characters")
    assert complaint('[model]\n[data]\ndataset = "folder"').startswith(
        'r.toml:5: data: dataset = "folder" needs root'
    )


def test_labels_are_said_once_and_what_chooses_among_them_needs_their_number() -> None:
    told = {
        "labelled_fraction = 0.1\nlabels_per_class = 2": "set labelled_fraction or labels_per_class, not",
        "stratified = true": "stratified goes with labelled_fraction; without it all labels are used",
        'representative = "kmeans"': "representative chooses which images are labelled; how many,",
        "labelled_fraction = 1.01": "cannot be 1.01\nallowed: a number above 0 and at most 1",
    }
    for knobs, what in told.items():
        assert what in complaint(f"[pseudo_label]\n{knobs}")
    for knobs in ("", "labelled_fraction = 1.0", 'strategy = "fixmatch"'):
        labels = parse_recipe(f'name = "x"\n[pseudo_label]\n{knobs}').pseudo_label
        assert labels is not None


def test_many_problems_come_in_the_order_of_the_file_and_the_rest_is_counted() -> None:
    body = "".join(f"unknown{number} = 1\n" for number in range(20))
    said = complaint(body).splitlines()
    assert said[0] == "r.toml: 20 problems"
    assert [line.split(":")[1] for line in said[1:9]] == [str(line) for line in range(3, 11)]
    assert said[9:] == ["  and 12 more"]


def test_a_file_full_of_wrong_keys_is_refused_without_explaining_each() -> None:
    body = "".join(f"k{number}z = 1\n" for number in range(5000))
    assert "and 4992 more" in complaint(body)


def test_another_schema_version_is_refused() -> None:
    with pytest.raises(RecipeError, match="schema cannot be 2"):
        parse_recipe('schema = 2\nname = "x"')
    with pytest.raises(RecipeError, match="schema cannot be true"):
        parse_recipe('schema = true\nname = "x"')


def test_escape_sequences_in_keys_and_values_are_shown_harmless() -> None:
    said = complaint('"a\\u001b[31m" = 1\n[model]\nbackbone = ["\\u202e"]')
    assert "\x1b" not in said
    assert "\u202e" not in said
    assert r"\u202e" in said


def test_a_name_with_control_characters_is_data_and_allowed() -> None:
    assert parse_recipe('name = "a\\u0000\\u001b"').name == "a\x00\x1b"


def test_advice_of_several_lines_on_a_key_goes_on_one() -> None:
    source = Source("x.toml", {"pseudo_label": {"teacher": "a"}})
    found = placed(
        UserError("no run 'a'", where="pseudo_label.teacher", hint="the newest are:\n  b\n  c"), source
    )
    assert str(found).endswith("the newest are: b c")
