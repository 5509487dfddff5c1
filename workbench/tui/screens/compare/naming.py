"""Short names by which runs are told apart in a column's width."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from workbench.runs.seeds import SEED_KEYS, seed_of
from workbench.runs.summary import RunSummary
from workbench.support.clean import clean

_WORD_END = re.compile(r".*[_\-/·,: ]")
_LEAST_SHARED = 5  # characters: less is not worth leaving out


def short_names(summaries: Sequence[RunSummary]) -> list[str]:
    """The runs' names less the words that all begin with; like names get their seed, else their handle.

    >>> # lite_pseudo_iter and lite_pseudo_oneshot become iter and oneshot
    """
    names = without_shared_start([clean(summary.name) for summary in summaries])
    seeds = [seed_of(summary.recipe) for summary in summaries]
    counted = Counter(names)
    seeded = Counter(zip(names, seeds, strict=True))
    return [
        name
        if counted[name] == 1
        else f"{name} s{seed}"
        if seeded[name, seed] == 1
        else f"{name} {summary.handle}"
        for name, seed, summary in zip(names, seeds, summaries, strict=True)
    ]


def without_shared_start(names: Sequence[str]) -> list[str]:
    """The names less the whole words that all of them begin with, where that leaves something of each."""
    if len(set(names)) < 2:
        return list(names)
    start = names[0]
    for name in names:
        while not name.startswith(start):
            start = start[:-1]
    words = _WORD_END.match(start)
    shared = words.group() if words else ""
    if len(shared) < _LEAST_SHARED or any(name == shared for name in names):
        return list(names)
    return [name.removeprefix(shared) for name in names]


def short_keys(keys: Sequence[str]) -> list[str]:
    """Recipe keys without their tables where the last part is enough to tell them apart."""
    lasts = Counter(key.rpartition(".")[2] for key in keys)
    return [
        key if lasts[key.rpartition(".")[2]] > 1 or key in SEED_KEYS else key.rpartition(".")[2]
        for key in keys
    ]
