"""Recipe files that cannot be read or are not TOML, caps against hostile text, and `--set`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from workbench.recipe import load_recipe, parse_recipe
from workbench.support.errors import UserError


def refusal(path: Path, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(UserError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "a.toml"
    path.write_text('schema = 1\nname = "a"\n[optimizer]\nname = "adam"\n')
    return path


def test_a_missing_file_suggests_the_near_one(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(Path("nothing")).startswith("nothing: no such recipe\npetbench recipe ls lists")
    assert refusal(Path("quickstrt.toml")).endswith("did you mean quickstart?")
    assert refusal(Path("recipes/quickstart.toml")).endswith("did you mean quickstart?")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "my_idea.toml").write_text("")
    assert refusal(Path("my_ide.toml")).endswith("did you mean recipes/my_idea.toml?")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    assert "a directory, not a recipe file" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file_is_refused(recipe: Path) -> None:
    recipe.chmod(0)
    assert "cannot be read: Permission denied" in refusal(recipe)


def test_a_name_that_no_file_can_have_is_refused() -> None:
    assert refusal(Path("a\0b")) == r"a\x00b: not a file name"
    assert "cannot be read" in refusal(Path("x" * 5000))


def test_text_that_is_not_utf8_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "latin.toml"
    path.write_bytes(b'schema = 1\nname = "M\xfcller"\n')
    assert refusal(path) == f"{path}:2: not UTF-8 text: byte 0xfc"


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "bom.toml"
    path.write_bytes(b'\xef\xbb\xbfschema = 1\nname = "x"\n')
    assert load_recipe(path).name == "x"


def test_what_has_no_end_or_never_begins_is_refused(tmp_path: Path) -> None:
    assert refusal(Path("/dev/zero")) == "/dev/zero: a device, not a regular file"
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    assert refusal(pipe) == f"{pipe}: a named pipe, not a regular file"


def test_a_recipe_may_come_through_a_pipe_of_ones_own() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading), os.fdopen(writing, "w") as stream:
        stream.write('schema = 1\nname = "x"\n')
        stream.close()
        assert load_recipe(Path(f"/dev/fd/{reading}")).name == "x"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('name = "x"\nseed = = 1\n', "r.toml:2:8"),
        ('name = "x\n', "r.toml:1:10"),
        ('name = "x"\n[data\n', "r.toml:2:6"),
        ('name = "x"\nname = "y"\n', "r.toml:2:11"),
        ("name", "r.toml:1:5"),
    ],
)
def test_bad_syntax_names_line_and_column(text: str, where: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(text, "r.toml")
    assert caught.value.where == where
    assert caught.value.what.startswith("not valid TOML: ")


def test_a_table_written_twice_is_told_in_words() -> None:
    with pytest.raises(UserError, match="cannot declare this table twice"):
        parse_recipe('name = "x"\n[data]\n[data]\n')


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a" + ".a" * 50_000 + " = 1", "too large"),
        ("a" + ".a" * 30_000 + " = 1", "nested more than 8 deep"),
        ("a" + ".a" * 30_000, "nested more than 8 deep"),
        ("[a" + ".a" * 30_000 + "]", "nested more than 8 deep"),
        ("x = {a" + ".a" * 30_000 + " = 1}", "nested more than 8 deep"),
        ("x = " + "[" * 30_000, "nested more than 8 deep"),
        ("x = " + "{a=" * 20_000, "nested more than 8 deep"),
        ("[a.b.c.d]\ne.f.g.h = {i = 1}", "nested more than 8 deep"),
        ("a" * 60_000 + " = 1", "a key longer than 256 characters"),
        ('"' + "a" * 60_000 + '" = 1', "a key longer than 256 characters"),
        ("seed = " + "9" * 60_000, "a whole number with too many digits"),
        ("seed = " + "9" * 400, "a whole number with too many digits"),
        ("seed = 0x" + "f" * 50_000, "a whole number with too many digits"),
        ("#" * 70_000, "too large"),
        ("# " + "ü" * 40_000, "too large"),
        ('name = "\ud800"', "not valid text: a lone surrogate"),
    ],
)
def test_hostile_text_is_refused_before_it_costs_anything(text: str, what: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_recipe(text, "r.toml")
    assert caught.value.what == what


def test_depth_up_to_the_cap_is_not_the_reason_to_refuse() -> None:
    with pytest.raises(UserError, match="no such key: a"):
        parse_recipe('name = "x"\n[a.b.c.d]\ne.f.g.h = 1\n')


def test_set_lays_toml_values_over_the_file(recipe: Path) -> None:
    changed = load_recipe(
        recipe,
        [
            "optimizer.learning_rate=1e-4",
            "model.backbone=resnet18",
            "finetune.layers=['layer4', 'head']",
            "augmentation.random_crop = false",
            "optimizer.layer_rates.head=1e-3",
            "data.root=/a path/with = signs",
            "training={epochs = 3}",
            "training.batch_size=8",
            "description=",
        ],
    )
    assert changed.optimizer.learning_rate == 1e-4
    assert changed.model.backbone == "resnet18"
    assert changed.finetune.layers == ("layer4", "head")
    assert changed.augmentation.random_crop is False
    assert changed.optimizer.layer_rates == {"head": 1e-3}
    assert changed.data.root == "/a path/with = signs"
    assert (changed.training.epochs, changed.training.batch_size) == (3, 8)
    assert changed.description == ""
    assert changed.optimizer.name == "adam"


@pytest.mark.parametrize(
    ("override", "what"),
    [
        ("optimizer.learning_rate=fast", 'optimizer.learning_rate cannot be "fast" (text)'),
        ("optimizer.momentum=0.5", 'optimizer.momentum has no effect while name = "adam"'),
        ("optimizer.lerning_rate=1", "no such key: optimizer.lerning_rate"),
        ("optimizer", "not of the form key=value"),
        ("=1", "not of the form key=value"),
        ("name.first=1", "name is not a table"),
        ("a b=1", "not valid TOML: expected '=' after a key in a key/value pair"),
        ("[data]=1", "not valid TOML: expected newline or end of document after a statement"),
        ("finetune.layers=[1", "not valid TOML: unclosed array"),
        ("seed=1\ndata.root='x'", r"""seed cannot be "1\ndata.root='x'" (text)"""),
        ("name=\udcff", "not valid text"),
        ("x" + ".x" * 5000 + "=1", "not a key"),
    ],
)
def test_a_wrong_set_is_named_as_it_was_typed(recipe: Path, override: str, what: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(recipe, [override])
    assert caught.value.where.startswith("--set ")
    assert caught.value.where.isprintable()
    assert caught.value.what == what


def test_a_problem_in_the_file_still_names_its_line_beside_a_set(recipe: Path) -> None:
    recipe.write_text(recipe.read_text() + "momentum = 0.5\n")
    assert f"{recipe}:5: optimizer.momentum" in refusal(recipe, ("seed=3",))
    assert load_recipe(recipe, ["optimizer.name=sgd"]).optimizer.momentum == 0.5
