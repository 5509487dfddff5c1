"""The registry of actions: every one is told once, can be done, and names a command that exists."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main
from textual.binding import Binding

from workbench.cli import main
from workbench.labels.strokes import BOUND, CLASS_KEYS
from workbench.tui.actions import ACTIONS, SCOPES, Action, readable_key
from workbench.tui.app import PetbenchApp
from workbench.tui.places import (
    ComparePlace,
    ComposePlace,
    InspectPlace,
    LabelPlace,
    Place,
    RunsPlace,
    WatchPlace,
)
from workbench.tui.screens import screen_for
from workbench.tui.widgets.tiles import TileGrid

MOVING = {"h", "j", "k", "l", "tab", "shift+tab"}
PLACES: list[Place] = [
    RunsPlace(),
    ComposePlace(),
    WatchPlace(),
    ComparePlace(),
    InspectPlace(),
    LabelPlace(),
]


_OWN_WAY = {
    "inspect.close": {"escape"},  # from the large image to the grid first
    "compose.toml": {"tab"},  # its two parts are the form and the text
    "label.close": {"escape"},  # from a list of images to those to label first
    "label.cannot_tell": {"question_mark"},  # what labellers press; help has another key there
}
"""Keys that mean on a screen what they mean everywhere, in that screen's way, or better."""


def keys_of(action: Action) -> set[str]:
    return set(action.key.split(","))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.kind)
def test_every_action_of_a_screen_can_be_done_there(place: Place) -> None:
    screen = screen_for(place)
    assert place.kind == screen.SCOPE
    missing = [action.id for action in SCOPES[place.kind] if not hasattr(screen, f"do_{action.name}")]
    assert not missing
    assert SCOPES[place.kind], "a screen without a single action"


def test_every_action_of_the_app_can_be_done() -> None:
    assert not [action.id for action in SCOPES["everywhere"] if not hasattr(PetbenchApp, f"do_{action.name}")]


@pytest.mark.parametrize("scope", [scope for scope in SCOPES if scope != "everywhere"])
def test_no_key_means_two_things_on_a_screen(scope: str) -> None:
    taken = set(MOVING).union(*(keys_of(action) for action in SCOPES["everywhere"]))
    for action in SCOPES[scope]:
        clash = keys_of(action) & taken - _OWN_WAY.get(action.id, set())
        assert not clash, f"{action.id}: {clash}"
        taken |= keys_of(action)


@pytest.mark.parametrize("scope", list(SCOPES))
def test_the_footer_stays_short(scope: str) -> None:
    assert sum(action.footer for action in SCOPES[scope]) <= 5


@pytest.mark.parametrize("action", ACTIONS.values(), ids=lambda action: action.id)
def test_an_action_is_told_well(action: Action) -> None:
    assert action.id.split(".")[0] in SCOPES
    assert len(action.label.split()) <= 3
    assert action.help.endswith(".")
    assert action.help[0].isupper()


@pytest.mark.parametrize(
    "action", [action for action in ACTIONS.values() if action.twin], ids=lambda action: action.id
)
def test_a_twin_names_a_command_with_options_that_exist(action: Action) -> None:
    main.register()
    command: Any = typer.main.get_command(main.app)
    words = shlex.split(action.twin)
    assert words.pop(0) == "petbench"
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not hasattr(command, "commands"), f"no such command: {action.twin}"
    options = {name for parameter in command.params for name in parameter.opts + parameter.secondary_opts}
    for word in words:
        if word.startswith("-") and not word.lstrip("-").isdigit():
            assert word.partition("=")[0] in options, f"no option {word}: {action.twin}"


def test_keys_read_as_keyboards_print_them() -> None:
    assert readable_key("ctrl+s") == "^s"
    assert readable_key("question_mark") == "?"
    assert readable_key("a") == "a"


def test_where_the_question_mark_means_something_there_is_another_key_for_help() -> None:
    everywhere = ACTIONS["everywhere.help"]
    for scope, actions in SCOPES.items():
        taken = [action for action in actions if keys_of(action) & keys_of(everywhere)]
        if scope != "everywhere" and taken:
            assert f"{scope}.help" in ACTIONS


def test_the_keys_of_classes_are_those_of_no_action() -> None:
    bound = set(MOVING)
    for action in (*SCOPES["everywhere"], *SCOPES["label"]):
        bound |= keys_of(action)
    for binding in Binding.make_bindings(TileGrid.BINDINGS):
        bound |= set(binding.key.split(","))
    assert not bound & set(CLASS_KEYS)
    letters = {key for key in bound if len(key) == 1 and key.isalpha()}
    assert letters <= BOUND
