"""Which knobs count beside the values of others: one that would be ignored is not offered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.recipe.fields import ABOVE_ZERO
from workbench.tui.screens.compose.fields import LAYERS, STRATEGY, FormField, field_by_key, form_fields

INSTEAD_OF = {
    "pseudo_label.labelled_fraction": ("pseudo_label.labels_per_class",),
    "pseudo_label.labels_per_class": ("pseudo_label.labelled_fraction", "pseudo_label.stratified"),
    "data.validation_fraction": ("data.folds", "data.fold"),
    "data.folds": ("data.validation_fraction",),
}
"""Setting the one takes the place of the others; the schema's validators refuse both."""


class Values:
    """A recipe's values under dotted keys, those that are not written with their defaults; any types."""

    def __init__(self, nested: Mapping[str, Any]) -> None:
        self._nested = nested

    def written(self, key: str) -> Any:
        """What stands in the text; None where nothing does."""
        found: Any = self._nested
        for part in key.split("."):
            if not isinstance(found, Mapping) or part not in found:
                return None
            found = found[part]
        return found

    @property
    def strategy(self) -> str | None:
        """The strategy whose knobs [pseudo_label] has; None without the table."""
        if not isinstance(self._nested.get("pseudo_label"), Mapping):
            return None
        strategy = self.written(STRATEGY)
        return strategy if isinstance(strategy, str) else "iterative" if strategy is None else None

    def __getitem__(self, key: str) -> Any:
        """What counts: the value written, else the default; None for a key that the form does not have."""
        value = self.written(key)
        if value is None and key == STRATEGY:
            return self.strategy
        if value is None:
            field = field_by_key(self.strategy).get(key)
            return None if field is None else _plain(field.knob.default)
        return value

    def fields(self) -> tuple[FormField, ...]:
        """The form's fields with this strategy, those that would be ignored included."""
        return form_fields(self.strategy)


def is_offered(field: FormField, values: Values) -> bool:
    """Whether a value for the knob would count."""
    return _condition_met(field, values) and _rest_allows(field.key, values)


def is_refused(field: FormField, values: Values) -> bool:
    """Whether the knob is written where the schema refuses it as ignored."""
    written = values.written(field.key)
    if written is None:
        return False
    if not _condition_met(field, values):
        return True
    # The knobs of `_rest_allows` are refused only when they would do something.
    return not _rest_allows(field.key, values) and (bool(written) or field.default in ("", '""'))


def _condition_met(field: FormField, values: Values) -> bool:
    if field.condition is None:
        return True
    key, choices = field.condition
    value = values[key]
    met = _is_above_zero(value) if choices == ABOVE_ZERO else value in choices
    around = field_by_key(values.strategy).get(key)
    return bool(met) and (around is None or _condition_met(around, values))


def _is_above_zero(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def _rest_allows(key: str, values: Values) -> bool:
    """The conditions that the schema's validators state, as far as they make a knob useless."""
    match key:
        case "data.fold":
            return values["data.folds"] is not None
        case "pseudo_label.stratified":
            return values["pseudo_label.labels_per_class"] is None
        case "finetune.gradual_unfreeze" | "finetune.probe_epochs":
            return bool(values[LAYERS] not in ("head", ["head"]))
        case "finetune.probe_learning_rate":
            return _rest_allows("finetune.probe_epochs", values)
        case "optimizer.warmup_epochs":
            return bool(values["optimizer.schedule"] != "one_cycle")
        case _:
            return True


def _plain(default: Any) -> Any:
    return list(default) if isinstance(default, tuple) else default
