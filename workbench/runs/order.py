"""The order of a listing: by any key, and always the same for the same runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from workbench.runs.keys import Value, keys_of, resolve_key, values_of
from workbench.runs.summary import RunSummary

NEWEST_FIRST = "-created"


def sort_runs(summaries: Sequence[RunSummary], by: str) -> list[RunSummary]:
    """Sorted by a key, downwards with `-` in front; runs without a value come last either way.

    Raises:
        UserError: no such key.
    """
    key = resolve_key(by.removeprefix("-"), keys_of(summaries), where="sort")
    held = [(values_of(summary).get(key), summary) for summary in sorted(summaries, key=lambda s: s.id)]
    with_value = [(rank_of(value), summary) for value, summary in held if value is not None]
    with_value.sort(key=lambda pair: pair[0], reverse=by.startswith("-"))
    return [summary for _, summary in with_value] + [summary for value, summary in held if value is None]


def rank_of(value: Value) -> tuple[int, float, str]:
    """Numbers before dates before text, so that values of different kinds still have an order."""
    if isinstance(value, datetime):
        return 1, value.timestamp(), ""
    if isinstance(value, int | float):
        # NaN compares with nothing: a loss that is none goes with the largest.
        return 0, float("inf") if value != value else value, ""
    return 2, 0.0, " ".join(map(str, value)).casefold() if isinstance(value, list) else value.casefold()
