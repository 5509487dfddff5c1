"""The draft at work, without a screen: steps back, the sweep, drafts set aside, what a session keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tui.compose.conftest import RECIPE
from workbench.support.errors import UserError
from workbench.tui.screens.compose.draft import draft_of, fresh_draft, save
from workbench.tui.screens.compose.draft_launch import draft_sweep
from workbench.tui.screens.compose.draft_model import MOST_SHELVED, DraftModel
from workbench.tui.screens.compose.knob_fields import field_by_key
from workbench.tui.screens.compose.networks import LayerGroup, Network

RESNET = Network("resnet18", 11, 224, (LayerGroup("layer4", 10, 4, 0), LayerGroup("head", 1, 0, 0)))


def model_of(text: str = RECIPE, path: str = "recipes/mine.toml") -> DraftModel:
    return DraftModel(draft_of(text, path, Path(path)))


def test_a_value_that_is_set_can_be_taken_back_and_made_again() -> None:
    model = model_of()
    assert not model.undo()
    assert model.set_value("seed", "7") == []
    assert model.draft.look()["seed"] == 7
    assert model.undo()
    assert model.draft.text == RECIPE
    assert model.redo()
    assert model.draft.look()["seed"] == 7
    assert not model.redo()


def test_typing_in_one_place_is_one_step_until_the_cursor_leaves_it() -> None:
    model = model_of()
    for typed in ("1", "12", "120"):
        model.set_value("training.epochs", typed, step="field training.epochs")
    model.history.close_step()
    model.set_value("training.epochs", "4", step="field training.epochs")
    model.undo()
    assert model.draft.look()["training.epochs"] == 120
    model.undo()
    assert model.draft.text == RECIPE


def test_a_change_after_a_step_back_forgets_what_was_taken_back() -> None:
    model = model_of()
    model.set_value("seed", "1")
    model.undo()
    model.set_value("seed", "2")
    assert not model.redo()
    assert model.draft.look()["seed"] == 2


def test_what_a_choice_takes_out_is_told_and_comes_back_with_a_step_back() -> None:
    model = model_of(f'{RECIPE}select = "threshold"\n')
    assert model.set_value("pseudo_label.strategy", '"class_balanced"') == ["pseudo_label.select"]
    model.undo()
    assert model.draft.look()["pseudo_label.select"] == "threshold"


def test_a_text_that_is_no_toml_refuses_edits_and_says_where_to_mend_it() -> None:
    model = model_of()
    model.set_text(f"{RECIPE}rounds = = 3\n")
    assert model.why_not_edit() == "Mend the TOML first: tab goes there."
    with pytest.raises(UserError, match="mended first"):
        model.set_value("seed", "1")
    model.undo()
    assert model.why_not_edit() is None


def test_a_draft_is_launched_only_when_its_text_its_values_and_its_backbone_agree() -> None:
    model = model_of()
    assert model.why_not_launch() is None
    model.set_value("training.epochs", "0")
    assert "Not before the recipe is valid" in str(model.why_not_launch())
    model.undo()
    model.set_value("finetune.layers", '["layer9"]')
    assert model.why_not_launch() is None
    model.learn(RESNET)
    assert "no layer group layer9" in str(model.why_not_launch())
    assert model.draft.is_valid
    assert not model.checked.is_valid


def test_a_sweep_counts_its_runs_and_ends_with_an_empty_answer() -> None:
    model = model_of()
    assert model.run_count == 0
    model.sweep("seed", " 0, 1, 2 ")
    model.sweep("training.epochs", "1,2")
    assert model.run_count == 6 == len(draft_sweep(model.draft, model.grid).runs)
    model.sweep("seed", " , ")
    assert model.grid == {"training.epochs": "1,2"}


def test_a_swept_field_that_no_longer_counts_is_swept_no_more() -> None:
    model = model_of()
    model.set_value("optimizer.name", '"sgd"')
    model.sweep("optimizer.momentum", "0.5, 0.9")
    model.set_value("optimizer.name", '"adam"')
    assert model.grid == {}


def test_names_are_not_swept_and_defaults_are_not_reset() -> None:
    model, fields = model_of(), field_by_key("iterative")
    assert model.why_not_sweep(fields["name"]) == "name makes no run different."
    assert model.why_not_sweep(fields["seed"]) is None
    assert "Put the cursor" in str(model.why_not_sweep(None))
    assert model.why_not_reset(fields["seed"]) == "seed is at its default."
    assert model.why_not_reset(fields["training.epochs"]) is None


def test_another_recipe_sets_a_changed_draft_aside_and_an_untouched_one_not() -> None:
    model = DraftModel(fresh_draft())
    assert not model.begin(draft_of(RECIPE, "mine", Path("mine.toml")))
    model.set_value("seed", "7")
    model.sweep("seed", "1,2")
    changed = model.draft
    assert model.begin(fresh_draft())
    assert model.shelf == [changed]
    assert model.grid == {}
    assert not model.undo()
    assert not model.begin(changed)
    assert model.shelf == []


def test_the_shelf_holds_the_latest_drafts() -> None:
    model = model_of()
    for seed in range(MOST_SHELVED + 3):
        model.set_value("seed", str(seed + 1))
        model.begin(draft_of(RECIPE, "mine", Path("mine.toml")))
    seeds = [draft.look()["seed"] for draft in model.shelf]
    assert seeds == list(range(MOST_SHELVED + 3, 3, -1))


def test_a_saved_draft_is_unchanged_and_its_steps_can_still_be_taken_back(tmp_path: Path) -> None:
    model = model_of()
    model.set_value("seed", "7")
    model.saved(save(model.draft, tmp_path / "mine.toml"))
    assert not model.draft.is_changed
    assert model.undo()
    assert model.draft.text == RECIPE
    model.redo()
    assert not model.begin(fresh_draft())
    assert model.shelf == []


def test_what_a_session_keeps_brings_draft_shelf_and_sweep_back() -> None:
    model = model_of()
    model.set_value("pseudo_label.strategy", '"one_shot"')
    model.begin(draft_of(RECIPE, "mine", Path("recipes/mine.toml")))
    model.set_value("seed", "3")
    model.sweep("training.epochs", "1, 2")
    again = DraftModel(fresh_draft())
    assert again.restore(json.loads(json.dumps(model.kept())))
    assert again.draft == model.draft
    assert again.shelf == model.shelf
    assert again.grid == model.grid
    assert again.as_opened == model.as_opened


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["draft", "shelf", "grid", "as_opened"]), JSON))
def test_a_damaged_session_is_as_good_as_none(values: dict[str, object]) -> None:
    model = DraftModel(fresh_draft())
    model.restore(values, [values])
    assert model.draft.is_valid


def test_drafts_of_closed_windows_go_on_the_shelf_but_those_nobody_changed() -> None:
    changed, untouched = model_of(), model_of()
    changed.set_value("seed", "9")
    model = DraftModel(fresh_draft())
    assert not model.restore({}, [changed.kept(), untouched.kept()])
    assert [draft.look()["seed"] for draft in model.shelf] == [9]
    assert model.others([changed.kept(), model.kept(), {}]) == model.shelf
