"""The registry: every action of the app once, by the screen it belongs to."""

from __future__ import annotations

from workbench.tui.actions.action import Action, readable_key
from workbench.tui.actions.compare import COMPARE
from workbench.tui.actions.compose import COMPOSE
from workbench.tui.actions.everywhere import EVERYWHERE
from workbench.tui.actions.inspect import INSPECT
from workbench.tui.actions.runs import RUNS
from workbench.tui.actions.watch import WATCH

SCOPES: dict[str, tuple[Action, ...]] = {
    "everywhere": EVERYWHERE,
    "runs": RUNS,
    "compose": COMPOSE,
    "watch": WATCH,
    "compare": COMPARE,
    "inspect": INSPECT,
}
ACTIONS: dict[str, Action] = {action.id: action for actions in SCOPES.values() for action in actions}

__all__ = ["ACTIONS", "SCOPES", "Action", "readable_key"]
