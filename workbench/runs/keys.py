"""What can be asked of a run: dotted keys, the short ways to write them, and their values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache

from workbench.runs.results import EVALUATIONS
from workbench.runs.summary import BOUNDS, RunSummary
from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest

Value = str | int | float | bool | datetime | list[str]

DATES = ("created", "ended")
_FIELDS = (
    "id",
    "name",
    "status",
    "created",
    "ended",
    "tags",
    "note",
    "archived",
    "reason",
    "attempt",
    "host",
    "device",
    "stage",
    "problem",
)
_METRICS = ("accuracy", "loss", "macro_f1", "top5", "calibration_error")
_NUMBERS = (
    *(f"{name.replace('_', '.')}.{metric}" for name in EVALUATIONS for metric in _METRICS),
    *(f"{name.replace('_', '.')}.{bound}" for name in EVALUATIONS for bound in BOUNDS),
    *(f"labels.{use}" for use in ("training", "choosing", "testing")),
    "probe.val.accuracy",
    "round.pseudo_label_accuracy",
    "round.coverage",
    "round.selected",
    "training_seconds",
    "images_per_second",
    "peak_memory_bytes",
    "classes_covered",
    "devices",
)
_ALIASES = {
    **{metric: f"test.{metric}" for metric in _METRICS},
    **{f"teacher.{metric}": f"teacher.test.{metric}" for metric in _METRICS},
    "val": "val.accuracy",
    "test": "test.accuracy",
    "teacher": "teacher.test.accuracy",
    "lr": "optimizer.learning_rate",
    "dropout": "model.dropout",
    "stochastic_depth": "model.stochastic_depth",
    "policy": "augmentation.policy",
}
_TABLES = {"pseudo": "pseudo_label", "augment": "augmentation", "optim": "optimizer"}


def values_of(summary: RunSummary) -> dict[str, Value]:
    """Every key that `summary` has a value for."""
    fields: dict[str, Value | None] = {
        "id": summary.id,
        "name": summary.name,
        "status": summary.status.value,
        "created": summary.created,
        "ended": datetime.fromtimestamp(summary.ended.ended) if summary.ended else None,
        "tags": list(summary.tags),
        "note": summary.note or None,
        "archived": summary.archived,
        "reason": summary.reason or None,
        "attempt": summary.process.attempt if summary.process else None,
        "host": summary.process.host if summary.process else None,
        "device": summary.process.device if summary.process else None,
        "stage": summary.progress.stage if summary.progress else None,
        "problem": summary.problem or None,
    }
    present = {key: value for key, value in fields.items() if value is not None}
    return {**summary.recipe, **summary.metrics, **present}


def keys_of(summaries: Iterable[RunSummary]) -> frozenset[str]:
    """Every key that may be asked for: the schema's, those of results, and whatever older runs hold."""
    held = {key for summary in summaries for table in (summary.recipe, summary.metrics) for key in table}
    return frozenset(_schema_keys() | held | {*_FIELDS, *_NUMBERS})


@cache
def _schema_keys() -> frozenset[str]:
    # Here, since the schema takes longer to import than a thousand cached runs to list.
    from workbench.recipe.knobs import known_keys

    return frozenset(".".join(path) for path, _ in known_keys())


def resolve_key(written: str, known: frozenset[str], *, where: str) -> str:
    """The key that `written` means: itself, an alias, or the one key that ends in it (`backbone`).

    Raises:
        UserError: no key or several fit; the closest or all of them are named.
    """
    word = written.casefold()
    word = _ALIASES.get(word, word)
    first, dot, rest = word.partition(".")
    word = f"{_TABLES.get(first, first)}{dot}{rest}"
    if word in known:
        return word
    endings = sorted(key for key in known if key.endswith(f".{word}"))
    if len(endings) == 1:
        return endings[0]
    if endings:
        raise UserError(
            f"'{clean(written, 60)}' may be any of {len(endings)} keys",
            where=where,
            allowed=[clean(key) for key in endings],
        )
    raise _unknown(written, word, known, where)


def has_table(written: str, values: Mapping[str, Value]) -> bool:
    """Whether any value lies in the table that `written` names (`pseudo`, `pseudo_label.noise`)."""
    word = written.casefold()
    prefix = f"{_TABLES.get(word, word)}."
    return any(key.startswith(prefix) for key in values)


def is_table(written: str, known: frozenset[str]) -> bool:
    """Whether `written` names a table of keys."""
    word = written.casefold()
    prefix = f"{_TABLES.get(word, word)}."
    return any(key.startswith(prefix) for key in known)


def _unknown(written: str, word: str, known: frozenset[str], where: str) -> UserError:
    close = nearest(word, (ending for key in known for ending in _endings(key)))
    return UserError(
        f"no key '{clean(written, 60)}' in the recipe, the results or any run",
        where=where,
        hint=f"did you mean {clean(close)}?" if close else "petbench recipe show lists the recipe's keys",
    )


def _endings(key: str) -> list[str]:
    """`a.b.c`, `b.c` and `c`: every way to write a key short."""
    parts = key.split(".")
    return [".".join(parts[start:]) for start in range(len(parts))]


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
