"""The registry: every action of the app once, by the screen it belongs to."""

from __future__ import annotations

from workbench.tui.actions.action import Action, readable_key
from workbench.tui.actions.label_actions import LABEL
from workbench.tui.actions.recipe_actions import COMPOSE, INSPECT
from workbench.tui.actions.run_actions import COMPARE, EVERYWHERE, RUNS, WATCH

SCOPES: dict[str, tuple[Action, ...]] = {
    "everywhere": EVERYWHERE,
    "runs": RUNS,
    "compose": COMPOSE,
    "watch": WATCH,
    "compare": COMPARE,
    "inspect": INSPECT,
    "label": LABEL,
}
ACTIONS: dict[str, Action] = {action.id: action for actions in SCOPES.values() for action in actions}

__all__ = ["ACTIONS", "SCOPES", "Action", "readable_key"]
