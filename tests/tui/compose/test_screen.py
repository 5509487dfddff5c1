"""The Compose screen under keys: form and text in step, every action of the registry."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input

from tests.jobs.played_slurm import Played
from tests.runs.making import finish, make_run
from tests.tui.compose.conftest import RECIPE
from tests.tui.driving import NARROW, WIDE, bench, opened, reread, said, screen_text, settle, top
from workbench.jobs import Launched
from workbench.recipe import Recipe, dump_recipe
from workbench.runs import RunDirectory
from workbench.runs.ticket import read_ticket
from workbench.tui.actions import SCOPES
from workbench.tui.app_session import Session
from workbench.tui.places import ComposePlace, RunsPlace, WatchPlace
from workbench.tui.screens.compose import ComposeScreen, editors
from workbench.tui.screens.compose.augmentation_preview import PreviewedImage, PreviewScreen
from workbench.tui.screens.compose.draft_launch import SweepScreen
from workbench.tui.screens.compose.fact_finder import _machines
from workbench.tui.screens.compose.facts import CountsScreen
from workbench.tui.screens.compose.knob_fields import escaped
from workbench.tui.screens.dialogs import AskChoice, AskText, AskYesNo, TwinScreen

MINE = ComposePlace(source="recipes/mine.toml")
pytestmark = pytest.mark.asyncio


def composing(pilot: Pilot[None]) -> ComposeScreen:
    """The screen, whatever asks something on top of it."""
    screen = next(s for s in reversed(pilot.app.screen_stack) if isinstance(s, ComposeScreen))
    assert isinstance(screen, ComposeScreen)
    return screen


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Keys, and everything they set going."""
    for key in keys:
        await pilot.press(key)
    await pilot.pause(0.03)
    await pilot.pause()


async def typed(pilot: Pilot[None], text: str) -> None:
    """Text into whatever line has the focus, over what is there."""
    line = pilot.app.focused
    assert isinstance(line, Input)
    line.value = text
    await pilot.pause(0.03)
    await pilot.pause()


async def on_field(pilot: Pilot[None], key: str) -> None:
    """Open every group and put the cursor on a field."""
    screen = composing(pilot)
    screen.show_groups(frozenset(("", *(one.group for one in screen.draft.offered()))))
    screen._form.move_to(key)
    await pilot.pause()
    assert screen._form.cursor == key


async def test_a_recipe_file_opens_as_form_and_text_and_is_valid(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE, size=NARROW) as pilot:
        shown = screen_text(pilot)
        assert "recipes/mine.toml" in shown
        assert "✓ valid" in shown
        assert composing(pilot)._toml.text == RECIPE


async def test_the_layer_picker_ticks_groups_in_the_networks_order(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "layer:layer2")
        await press(pilot, "space")
        assert 'layers = ["layer2", "layer4", "head"]   # the top' in composing(pilot).draft.text
        for name in ("stem", "layer1", "layer3"):
            await on_field(pilot, f"layer:{name}")
            await press(pilot, "right")
        assert 'layers = "all"' in composing(pilot).draft.text
        await press(pilot, "left")
        assert composing(pilot).draft.look()["finetune.layers"] == [
            "stem",
            "layer1",
            "layer2",
            "layer4",
            "head",
        ]


async def test_a_typed_value_is_checked_while_typed_and_stands_in_the_text(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "training.epochs")
        await press(pilot, "enter")
        await typed(pilot, "many")
        assert 'epochs = "many"' in composing(pilot)._toml.text
        assert "a whole number from 1 to 10,000" in " ".join(screen_text(pilot).split())
        assert "✗ 1 problem" in screen_text(pilot)
        await typed(pilot, "12")
        assert "✓ valid" in screen_text(pilot)
        await press(pilot, "enter")
        assert composing(pilot).draft.recipe is not None
        assert composing(pilot)._form.cursor == "training.batch_size"
        assert composing(pilot)._form.has_focus


async def test_letters_go_into_the_field_and_escape_gives_the_keys_back(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "description")
        await press(pilot, "enter", "q", "L", "n", "space", "j", "escape")
        assert composing(pilot).draft.look()["description"] == "qLn j"
        assert composing(pilot)._form.has_focus
        await press(pilot, "j")
        assert composing(pilot)._form.cursor == "tags"


async def test_undo_while_typing_takes_the_field_back_and_leaves_it(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "training.epochs")
        await press(pilot, "enter")
        await typed(pilot, "33")
        await press(pilot, "ctrl+z")
        assert composing(pilot).draft.text == RECIPE
        assert composing(pilot)._form.has_focus


async def test_choices_turn_with_the_arrows_and_with_h_and_l(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "optimizer.name")
        await press(pilot, "right", "right")
        assert composing(pilot).draft.look()["optimizer.name"] == "sgd"
        assert "optimizer.momentum" in {one.key for one in composing(pilot).draft.offered()}
        await press(pilot, "l")
        assert composing(pilot).draft.look()["optimizer.name"] == "adam"
        assert "optimizer.momentum" not in {one.key for one in composing(pilot).draft.offered()}


async def test_many_choices_are_listed_with_what_they_do(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "pseudo_label.strategy")
        await press(pilot, "enter")
        assert "The teacher labels the whole pool once" in screen_text(pilot)
        await press(pilot, *"one_shot", "enter")
        assert composing(pilot).draft.look().strategy == "one_shot"
        await press(pilot, "enter", "escape")
        assert composing(pilot).draft.look().strategy == "one_shot"


async def test_another_strategy_shows_its_own_knobs_and_says_what_it_took_out(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "pseudo_label.select")
        await press(pilot, "right")
        await on_field(pilot, "pseudo_label.strategy")
        await press(pilot, "right")
        assert composing(pilot).draft.look().strategy == "class_balanced"
        assert any("pseudo_label.select" in text for text in said(pilot))
        keys = {one.key for one in composing(pilot).draft.offered()}
        assert "pseudo_label.prior" in keys
        assert "pseudo_label.select" not in keys


async def test_the_text_changes_the_form_and_a_broken_text_leaves_it_alone(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "tab")
        pane = composing(pilot)._toml
        assert pane.has_focus
        pane.move_cursor(pane.document.end)
        await press(pilot, *"rounds=3")
        assert composing(pilot).draft.look()["pseudo_label.rounds"] == 3
        await press(pilot, "enter", *"x = = 1")
        assert pane.text.endswith("x = = 1")
        broken = composing(pilot).draft.broken
        assert broken is not None
        assert broken.line == RECIPE.count("\n") + 2
        assert "no TOML, line" in screen_text(pilot)
        assert composing(pilot).draft.look()["pseudo_label.rounds"] == 3
        await press(pilot, "escape")
        assert composing(pilot)._form.has_focus
        await press(pilot, "n")
        assert pane.has_focus


async def test_what_is_being_typed_into_the_text_outlives_news_of_the_backbone(
    home: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "tab")
        monkeypatch.setattr(editors, "_TYPING_SECONDS", 60.0)
        await press(pilot, *"# so")
        typed = composing(pilot)._toml.text
        composing(pilot).show_draft()
        assert composing(pilot)._toml.text == typed != RECIPE
        await press(pilot, "escape")
        assert composing(pilot).draft.text == typed


async def test_form_and_text_share_one_undo(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "u")
        assert said(pilot) == ["Nothing to take back."]
        await on_field(pilot, "optimizer.name")
        await press(pilot, "right", "tab", "ctrl+z")
        assert composing(pilot)._toml.text == RECIPE
        await press(pilot, "ctrl+y")
        assert 'name = "adamw"' in composing(pilot)._toml.text
        await press(pilot, "escape", "u")
        assert composing(pilot).draft.text == RECIPE
        await press(pilot, "U")
        assert 'name = "adamw"' in composing(pilot).draft.text


async def test_a_field_goes_back_to_its_default(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "training.epochs")
        await press(pilot, "delete")
        assert "epochs" not in composing(pilot).draft.text
        await press(pilot, "delete")
        assert "training.epochs is at its default." in said(pilot)


async def test_the_cursor_finds_what_is_wrong(home: Path, desk: Path) -> None:
    (desk / "recipes" / "mine.toml").write_text(RECIPE.replace("epochs = 3", "epochs = -3"))
    async with opened(home, place=MINE) as pilot:
        composing(pilot).show_groups(frozenset())
        await press(pilot, "n")
        assert composing(pilot)._form.cursor == "training.epochs"


async def test_groups_open_and_close(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "z", "z")
        assert "image_size" not in screen_text(pilot)
        await press(pilot, "down", "enter")
        assert "image_size" in screen_text(pilot)
        await press(pilot, "left")
        assert "image_size" not in screen_text(pilot)


async def test_a_layer_group_that_the_backbone_lacks_is_told_before_launching(home: Path, desk: Path) -> None:
    (desk / "recipes" / "mine.toml").write_text(RECIPE.replace("layer4", "layer9"))
    async with opened(home, place=MINE) as pilot:
        assert "✗ 1 problem" in screen_text(pilot)
        await press(pilot, "L")
        assert "resnet18 has no layer group layer9" in said(pilot)[-1]


async def test_a_backbone_that_does_not_exist_is_told(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        composing(pilot).set_field("model.backbone", '"resnet19"')
        await settle(pilot)
        assert "no backbone is called 'resnet19'" in screen_text(pilot)


async def test_a_backbone_is_chosen_from_the_list(
    home: Path, desk: Path, asked: list[tuple[str, ...]]
) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "b")
        await press(pilot, *"152", "enter")
        assert composing(pilot).draft.look()["model.backbone"] == "resnet152"
        await press(pilot, "b", "escape")
        assert sum(words[0] == "backbones" for words in asked) == 1


async def test_the_split_is_counted_before_launching(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await settle(pilot)
        assert "3/3 classes" in screen_text(pilot)
        await press(pilot, "c")
        assert isinstance(pilot.app.screen, CountsScreen)
        assert "newt" in screen_text(pilot)
        await press(pilot, "escape")


async def test_a_missing_data_set_is_told_where_the_counts_would_be(home: Path, desk: Path) -> None:
    (desk / "recipes" / "mine.toml").write_text('name = "a"\n[model]\nbackbone = "resnet18"\n')
    async with opened(home, place=MINE) as pilot:
        await settle(pilot)
        told = " ".join(screen_text(pilot).split())  # where it is folded depends on the path's length
        assert "the Oxford-IIIT Pet set is not there" in told
        await press(pilot, "c")
        assert "not counted" in said(pilot)[-1]


async def test_another_recipe_can_be_opened_and_the_draft_is_set_aside(home: Path, desk: Path) -> None:
    make_run(home, "past")
    async with opened(home, place=MINE) as pilot:
        await reread(pilot)
        await on_field(pilot, "seed")
        await press(pilot, "enter")
        await typed(pilot, "7")
        await press(pilot, "escape", "o")
        assert isinstance(pilot.app.screen, AskChoice)
        await press(pilot, *"past", "enter")
        await settle(pilot)
        assert composing(pilot).draft.look()["name"] == "past"
        assert composing(pilot).draft.path is None
        await press(pilot, "o", "enter")
        await settle(pilot)
        assert composing(pilot).draft.look()["seed"] == 7


async def test_a_draft_survives_a_crash(home: Path, desk: Path, tmp_path: Path) -> None:
    session = Session(tmp_path / "session.json")
    async with opened(home, place=MINE, session=session) as pilot:
        await on_field(pilot, "name")
        await press(pilot, "enter")
        await typed(pilot, "a[/b] \u202e")
        session.save()
        again = Session(tmp_path / "session.json")
    async with opened(home, session=again) as pilot:
        draft = composing(pilot).draft
        assert draft.look()["name"] == "a[/b] \u202e"
        assert draft.origin == "recipes/mine.toml"
        assert composing(pilot)._form.cursor == "name"
        assert "\u202e" not in screen_text(pilot)
        await press(pilot, "u")


async def test_saving_asks_for_a_name_and_before_it_overwrites(home: Path, desk: Path) -> None:
    (desk / "recipes" / "other.toml").write_text('name = "other"\n')
    async with opened(home, place=MINE) as pilot:
        composing(pilot).set_field("seed", "5")
        await press(pilot, "S")
        assert isinstance(pilot.app.screen, AskText)
        await typed(pilot, "recipes/other.toml")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, AskYesNo)
        await press(pilot, "n")
        await settle(pilot)
        assert (desk / "recipes" / "other.toml").read_text() == 'name = "other"\n'
        await press(pilot, "ctrl+s", "enter")
        await settle(pilot)
        assert "seed = 5" in (desk / "recipes" / "mine.toml").read_text()
        assert not composing(pilot).draft.is_changed


async def test_a_file_that_changed_meanwhile_is_not_overwritten_silently(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        composing(pilot).set_field("seed", "5")
        (desk / "recipes" / "mine.toml").write_text(RECIPE + "# from elsewhere\n")
        await press(pilot, "S", "enter")
        assert "was changed since" in screen_text(pilot)
        await press(pilot, "y")
        await settle(pilot)
        assert "seed = 5" in (desk / "recipes" / "mine.toml").read_text()


@pytest.mark.parametrize("name", ["", "x.txt", "nowhere/x.toml", "recipes"])
async def test_names_that_are_no_recipes_are_refused_while_typing(home: Path, desk: Path, name: str) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "S")
        await typed(pilot, name)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, AskText)
        await press(pilot, "escape")


@pytest.fixture
def launches(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """What was launched: the real run directory is made, no process is started."""
    launched: list[Recipe] = []

    def launch(recipe: Recipe, runs_home: Path, **_: object) -> Launched:
        launched.append(recipe)
        return Launched(RunDirectory(make_run(runs_home, "launched", age_seconds=len(launched)).path), 0)

    for place in ("workbench.jobs", "workbench.jobs.sweep"):
        monkeypatch.setattr(f"{place}.launch", launch)
    return launched


async def test_launching_goes_on_to_watch_the_run(home: Path, desk: Path, launches: list[Recipe]) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "L")
        await settle(pilot)
        assert [recipe.name for recipe in launches] == ["mine"]
        assert isinstance(top(pilot).place, WatchPlace)


async def test_a_sweep_shows_its_runs_before_it_launches_them(
    home: Path, desk: Path, launches: list[Recipe]
) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "seed")
        await press(pilot, "w")
        await typed(pilot, "0, 1, 2")
        await press(pilot, "enter")
        await on_field(pilot, "training.epochs")
        await press(pilot, "w")
        await typed(pilot, "1, oops")
        assert "cannot be" in screen_text(pilot)
        await typed(pilot, "1, 2")
        await press(pilot, "enter")
        assert "≡ sweep of 2" in screen_text(pilot)
        assert "--grid 'seed=0, 1, 2'" in composing(pilot).twin()[0]
        await press(pilot, "L")
        assert isinstance(pilot.app.screen, SweepScreen)
        assert "A sweep of 6 runs" in screen_text(pilot)
        await press(pilot, "escape")
        assert launches == []
        await press(pilot, "L", "L")
        await settle(pilot)
        assert len(launches) == 6
        assert {recipe.seed for recipe in launches} == {0, 1, 2}
        assert isinstance(top(pilot).place, RunsPlace)


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    """A Slurm that is played: it has job 40 for whatever it is given."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    Path(os.environ["PETBENCH_CONFIG"]).write_text('[cluster]\npartition = "gpu"\n')
    return Played(tmp_path / "bin")


async def test_slurm_launches_where_it_was_chosen_and_is_asked_for_what_was_typed(
    home: Path, desk: Path, slurm: Played
) -> None:
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "e")
        assert "asked for --partition=gpu" in screen_text(pilot)
        await typed(pilot, "slurm")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, AskText)
        await typed(pilot, "--time soon")
        assert "cluster.time" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, AskText)
        await typed(pilot, "--time 90 --gpus 1")
        await press(pilot, "enter")
        assert "to Slurm" in screen_text(pilot)
        command = "petbench launch recipes/mine.toml --engine slurm --time 90 --gpus 1"
        assert composing(pilot).twin()[0] == command
        await press(pilot, "L")
        await settle(pilot)
        place = top(pilot).place
        assert isinstance(place, WatchPlace)
    ticket = read_ticket(RunDirectory(home / place.run))
    assert ticket is not None
    assert (ticket.job, ticket.launched_by) == ("40", command)
    assert {"--partition=gpu", "--time=90", "--gres=gpu:1"} <= set(ticket.options)
    async with opened(home, place=MINE) as pilot:
        composing(pilot).model.restore({"slurm": "--time 90 --gpus 1"})
        assert composing(pilot).twin()[0] == command
        await press(pilot, "e")
        await typed(pilot, "local")
        await press(pilot, "enter")
        assert "--engine" not in composing(pilot).twin()[0]


async def test_a_sweep_that_slurm_launches_is_one_array(home: Path, desk: Path, slurm: Played) -> None:
    async with opened(home, place=MINE) as pilot:
        screen = composing(pilot)
        screen.model.slurm = "--max-parallel 2"
        screen.model.sweep("seed", "0,1,2")
        await press(pilot, "L")
        assert "L launches them all on Slurm" in screen_text(pilot)
        await press(pilot, "L")
        await settle(pilot)
        assert "3 runs given to Slurm" in said(pilot)[-1]
    assert len(slurm.asked("sbatch")) == 1
    (script,) = (home / ".slurm").glob("*.sh")
    assert "--array=0-2%2" in script.read_text()


async def test_where_there_is_no_slurm_it_cannot_be_chosen(
    home: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(desk))
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "e")
        await typed(pilot, "slurm")
        await press(pilot, "enter")
        await typed(pilot, "--gpus 1")
        await press(pilot, "enter")
        assert "there is no sbatch on this machine" in screen_text(pilot)
        assert composing(pilot).model.slurm is None


async def test_a_name_cannot_be_swept_and_an_empty_answer_ends_a_sweep(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "name")
        await press(pilot, "w")
        assert "makes no run different" in said(pilot)[-1]
        await on_field(pilot, "seed")
        await press(pilot, "w")
        await typed(pilot, "1,2")
        await press(pilot, "enter", "w")
        await typed(pilot, "")
        await press(pilot, "enter")
        assert composing(pilot).model.grid == {}


async def test_an_invalid_recipe_is_not_launched_and_the_reason_is_told(
    home: Path, desk: Path, launches: list[Recipe]
) -> None:
    async with opened(home, place=MINE) as pilot:
        composing(pilot).set_field("training.epochs", "0")
        await press(pilot, "L")
        await press(pilot, "v")
        assert launches == []
        assert "Not before the recipe is valid" in said(pilot)[-1]


async def test_the_command_line_says_what_was_changed(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        await on_field(pilot, "optimizer.learning_rate")
        await press(pilot, "enter")
        await typed(pilot, "1e-4")
        await press(pilot, "escape", "y")
        assert isinstance(pilot.app.screen, TwinScreen)
        assert (
            composing(pilot).twin()[0]
            == "petbench launch recipes/mine.toml --set optimizer.learning_rate=0.0001"
        )
        await press(pilot, "escape")


async def test_the_preview_shows_the_pictures_that_petbench_drew(
    home: Path, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = sorted((desk / "pets" / "cat").glob("*.png"))

    async def draw(toml: str, data_home: Path, *, images: int, views: int, seed: int) -> list[PreviewedImage]:
        assert 'name = "mine"' in toml
        return [PreviewedImage("cat_0", f"cat {seed}", pictures[0], tuple(pictures[1 : 1 + views]))]

    monkeypatch.setattr("workbench.tui.screens.compose.augmentation_preview.draw_preview", draw)
    async with opened(home, place=MINE) as pilot:
        await press(pilot, "v")
        await settle(pilot)
        assert isinstance(pilot.app.screen, PreviewScreen)
        shown = screen_text(pilot)
        assert "cat 0" in shown
        assert "view 2" in shown
        assert "▀" in shown
        await press(pilot, "r")
        await settle(pilot)
        assert "cat 1" in screen_text(pilot)
        await press(pilot, "escape")


async def test_an_estimate_comes_from_a_past_run_that_was_alike(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        recipe = composing(pilot).draft.recipe
        assert recipe is not None
        run = make_run(home, "before")
        run.recipe.write_text(dump_recipe(recipe))
        run.provenance.write_text(f'host = "{socket.gethostname()}"\ndevice = "cpu"\n')
        finish(run)
        if all(machine.device != "cpu" for machine in _machines()):
            pytest.skip("runs go to a GPU here")
        await reread(pilot)
        await settle(pilot)
        assert "about " in screen_text(pilot)
        assert "1.0 GiB" in screen_text(pilot)


@pytest.mark.parametrize("size", [(60, 16), (200, 60)])
async def test_every_size_has_form_and_help(home: Path, desk: Path, size: tuple[int, int]) -> None:
    async with opened(home, place=MINE, size=size) as pilot:
        assert "Fine-tune" in screen_text(pilot)
        await pilot.resize_terminal(90, 30)
        await settle(pilot)
        assert "Fine-tune" in screen_text(pilot)


async def test_every_action_of_the_registry_can_be_asked_for(home: Path, desk: Path) -> None:
    async with opened(home, place=MINE) as pilot:
        for action in SCOPES["compose"]:
            assert callable(getattr(composing(pilot), f"do_{action.name}"))
            composing(pilot).why_not(action.id)
        assert bench(pilot).faults == []


HOSTILE = "\x1b]52;c;aGk=\x07\u202e[/b]\x9b31m"


async def test_hostile_text_shows_harmless_and_stays_in_the_recipe(home: Path, desk: Path) -> None:
    path = desk / "recipes" / "a[_b].toml"
    path.write_text(f'# {HOSTILE}\nname = "x"\n')
    async with opened(home, place=ComposePlace(source=str(path)), size=WIDE) as pilot:
        assert composing(pilot)._toml.text.startswith(f"# {HOSTILE}")
        assert not set(screen_text(pilot)) & set("\x1b\x07\u202e\x9b")
        await press(pilot, "y", "escape", "o", "escape")
    (desk / "recipes" / "mine.toml").write_text(RECIPE.replace('"mine"', escaped(HOSTILE)))
    async with opened(home, place=MINE, size=WIDE) as pilot:
        await on_field(pilot, "name")
        await press(pilot, "enter")
        assert not set(screen_text(pilot)) & set("\x1b\x07\u202e\x9b")
        pilot.app.post_message(events.Paste("\x1b[31mred"))
        await press(pilot, "x", "escape")
        assert not set(screen_text(pilot)) & set("\x1b\x07\u202e\x9b")
        await press(pilot, "u")
        recipe = composing(pilot).draft.recipe
        assert recipe is not None
        assert recipe.name == HOSTILE
