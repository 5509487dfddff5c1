"""[cluster]: what a job on Slurm is asked for, by the user's file and the command line; checked in one go."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

from workbench.support.clean import clean
from workbench.support.errors import UserError, nearest
from workbench.support.paths import config_file, short_path
from workbench.support.regular_file import UnreadableFile, read_text
from workbench.support.toml_text import MAX_BYTES, parse_toml, toml_literal

TABLE = "cluster"
EARLY_SECONDS = 120
"""As long as a trainer in the background may take to its checkpoint before its supervisor kills it."""
_NAME = re.compile(r"[A-Za-z0-9_.-]+(,[A-Za-z0-9_.-]+)*")
_GPUS = re.compile(r"(?:[A-Za-z0-9_.-]+:)?\d{1,3}")
_TIME = re.compile(r"(?:(?P<days>\d{1,4})-)?(?P<clock>\d{1,6}(?::\d{1,2}){0,2})")
_LINE = re.compile(r"--?(?P<option>[A-Za-z][A-Za-z-]*)(?:[= ].*)?")
_OWN = {
    **dict.fromkeys(("partition", "p"), "the key partition, or --partition"),
    **dict.fromkeys(("time", "t"), "the key time, or --time"),
    **dict.fromkeys(("gres", "gpus", "G", "gpus-per-task", "gpus-per-node"), "the key gpus, or --gpus"),
    **dict.fromkeys(("array", "a"), "the key max_parallel, or --max-parallel"),
    "signal": "the key early_seconds",
    **dict.fromkeys(
        ("job-name", "J", "output", "o", "error", "e", "open-mode", "dependency", "d"), "petbench alone"
    ),
    **dict.fromkeys(
        ("requeue", "no-requeue", "wrap", "parsable", "test-only", "wait", "W"), "petbench alone"
    ),
    **dict.fromkeys(("ntasks", "n", "nodes", "N", "hold", "H"), "petbench alone: a run is one task"),
}
"""Options of sbatch that a line may not hold, and who says them."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What every job is asked for."""

    partition: str = ""
    """Empty: Slurm's default."""
    time: str = ""
    """As sbatch writes it: `90` (minutes), `12:00:00`, `2-00:00`; empty: the partition's."""
    gpus: str = ""
    """A task's: `2`, `a100:1`; empty: as many as train a run together, none for a run of one device."""
    early_seconds: int = EARLY_SECONDS
    """How long before the end of its time a run is told; it checkpoints, and goes on in a later job."""
    max_parallel: int = 0
    """How many runs of a sweep Slurm may have going at a time; 0: as many as it likes."""
    lines: tuple[str, ...] = ()
    """More options for sbatch: `--account=lab`."""

    def for_devices(self, count: int) -> Cluster:
        """With the GPUs for runs that `count` devices train together.

        Raises:
            UserError: the user has said another, smaller number.
        """
        if count == 1 or any(line.startswith("--gres=") for line in self.lines):
            return self
        if not self.gpus:
            return replace(self, gpus=str(count))
        asked = int(self.gpus.rpartition(":")[2])
        if asked < count:
            raise UserError(
                f"{asked} GPUs a run are fewer than the {count} of training.devices",
                where="--gpus",
                allowed=f"{count} or more",
                hint="left out, it follows from the recipe",
            )
        return self

    @property
    def options(self) -> tuple[str, ...]:
        """As options of sbatch, a line each; without `max_parallel`, which is an array's."""
        asked = (
            ("partition", self.partition),
            ("time", self.time),
            ("gres", self.gpus and f"gpu:{self.gpus}"),
        )
        told = tuple(f"--{name}={value}" for name, value in asked if value)
        early = f"--signal=USR1@{self.early_seconds}"
        return (
            *told,
            *(() if any(line.startswith("--signal=") for line in self.lines) else (early,)),
            *self.lines,
        )


def read_cluster(typed: Mapping[str, object] | None = None, *, file: Path | None = None) -> Cluster:
    """The user file's [cluster] with what the command line says instead; its sbatch lines come on top.

    Args:
        typed: of `Cluster`'s fields, what the command line has; None and empty values say nothing.
        file: the user's file; `config_file()` unless given. One that is not there says nothing.

    Raises:
        UserError: whatever is wrong, all of it in one message.
    """
    file = config_file() if file is None else file
    values, place = _written(file)
    for key, value in (typed or {}).items():
        if value is None or value in ((), []):
            continue
        if key == "lines" and isinstance(values.get(key), list) and isinstance(value, list | tuple):
            values[key] = [*values[key], *value]
            continue
        values[key] = list(value) if isinstance(value, tuple) else value
        place[key] = _OPTIONS[key]
    problems, found = [], dict[str, Any]()
    for key, value in values.items():
        try:
            if key not in _CHECKS:
                near = nearest(key, _CHECKS)
                known = f"{', '.join(_CHECKS)}{f'; did you mean {near}?' if near else ''}"
                raise _WrongError(f"no key {clean(key, 60)!r}", known)
            found[key] = _CHECKS[key](value)
        except _WrongError as error:
            problems.append((place[key], *error.args))
    cluster = Cluster(**found)
    seconds = time_seconds(cluster.time) if cluster.time else None
    if seconds is not None and not problems and seconds < cluster.early_seconds + 60:
        problems.append(
            (
                place["time"],
                f"{cluster.time} is too short: a run is told {cluster.early_seconds} s before its end",
                f"at least {-(-cluster.early_seconds // 60) + 1} minutes, or a smaller early_seconds",
            )
        )
    if len(problems) == 1:
        where, what, allowed = problems[0]
        raise UserError(what, where=where, allowed=allowed)
    if problems:
        told = [f"  {where}: {what}; allowed: {allowed}" for where, what, allowed in problems]
        raise UserError("\n".join([f"{len(problems)} problems", *told]), where=f"[{TABLE}]")
    return cluster


def typed_options(line: str) -> dict[str, object]:
    """What a line such as `--partition gpu --gpus 1` asks for, as `read_cluster` takes it.

    Raises:
        UserError: it is no such line.
    """
    keys = {option: key for key, option in _OPTIONS.items()}
    try:
        words = [part for word in shlex.split(line) for part in _parted(word)]
    except ValueError as error:
        raise UserError(
            f"{clean(line, 80)!r}: a quotation mark is not closed", allowed=_LINE_ALLOWED
        ) from error
    found: dict[str, object] = {}
    lines: list[str] = []
    for option, value in zip_longest(words[::2], words[1::2]):
        if option not in keys:
            near = nearest(option, keys)
            raise UserError(
                f"no option {clean(option, 60)!r}",
                allowed=_LINE_ALLOWED,
                hint=f"did you mean {near}?" if near else "",
            )
        if value is None:
            raise UserError(f"{option} has no value", allowed=_LINE_ALLOWED)
        if keys[option] == "lines":
            lines.append(value)
        elif keys[option] == "max_parallel" and value.isdecimal():
            found["max_parallel"] = int(value)
        else:
            found[keys[option]] = value
    return found | ({"lines": lines} if lines else {})


def _parted(word: str) -> tuple[str, ...]:
    """`--time=90` as two words."""
    option, equals, value = word.partition("=")
    return (option, value) if equals and option in _OPTIONS.values() else (word,)


def time_seconds(time: str) -> int | None:
    """A time of sbatch's (`man sbatch`, --time) in seconds; None where it is none.

    >>> [time_seconds(time) for time in ("90", "1:30", "1:00:00", "1-2", "1-2:30", "soon")]
    [5400, 90, 3600, 93600, 95400, None]
    """
    match = _TIME.fullmatch(time)
    if match is None:
        return None
    parts = [int(part) for part in match["clock"].split(":")]
    if match["days"] is not None:  # days-hours[:minutes[:seconds]]
        hours, minutes, seconds = (*parts, 0, 0)[:3]
    elif len(parts) == 3:
        hours, minutes, seconds = parts
    else:  # minutes[:seconds]
        hours, (minutes, seconds) = 0, (*parts, 0)[:2]
    return ((int(match["days"] or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


class _WrongError(Exception):
    """(what is wrong, what is allowed)."""


def _written(file: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The table as it is written, and where each of its keys stands."""
    name = clean(short_path(file))
    try:
        text = read_text(file, MAX_BYTES)
    except FileNotFoundError:
        return {}, {}
    except UnreadableFile as error:
        raise UserError(error.reason, where=name) from error
    except OSError as error:
        raise UserError(f"cannot be read: {error.strerror or error}", where=name) from error
    parsed = parse_toml(text, name)
    for key in parsed.values:
        if key != TABLE:
            line = parsed.lines.get((key,))
            raise UserError(
                f"petbench reads no {clean(key, 60)!r} here",
                where=f"{name}:{line}" if line else name,
                allowed=f"[{TABLE}]",
                hint="what a run is goes into its recipe",
            )
    table = parsed.values.get(TABLE, {})
    if not isinstance(table, dict):
        raise UserError(f"{TABLE} = {toml_literal(table)} is no table", where=name, allowed=f"[{TABLE}]")
    lines = {key: parsed.lines.get((TABLE, key)) for key in table}
    return table, {key: f"{name}:{line}" if line else name for key, line in lines.items()}


def _text(key: str, pattern: re.Pattern[str], allowed: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        # A whole number says the same: `gpus = 2`, `time = 90`.
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or not pattern.fullmatch(text):
            raise _WrongError(f"{TABLE}.{key} = {_shown(value)}", allowed)
        return text

    return check


def _number(key: str, least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise _WrongError(f"{TABLE}.{key} = {_shown(value)}", f"a whole number from {least} to {most:,}")
        return value

    return check


def _sbatch_lines(value: object) -> tuple[str, ...]:
    allowed = 'a list of options of sbatch, such as ["--account=lab", "--constraint=a100"]'
    if not isinstance(value, list) or not all(isinstance(line, str) for line in value):
        raise _WrongError(f"{TABLE}.lines = {_shown(value)}", allowed)
    lines = tuple(line.removeprefix("#SBATCH").strip() for line in value)
    for line in lines:
        match = _LINE.fullmatch(line) if clean(line) == line else None
        if match is None:
            raise _WrongError(f"{TABLE}.lines: {clean(line, 80)!r} is no option of sbatch", allowed)
        if match["option"] in _OWN:
            raise _WrongError(
                f"{TABLE}.lines: {clean(line, 80)!r}", f"that is said by {_OWN[match['option']]}"
            )
    return lines


def _shown(value: object) -> str:
    return clean(toml_literal(value), 80)


_CHECKS: dict[str, Callable[[object], Any]] = {
    "partition": _text("partition", _NAME, "a partition's name, or several with commas (sinfo lists them)"),
    "time": _text(
        "time", _TIME, 'minutes, "hours:minutes:seconds" or "days-hours:minutes", as sbatch has them'
    ),
    "gpus": _text("gpus", _GPUS, 'how many GPUs a run has, or a kind with it: 1, "a100:1"'),
    "early_seconds": _number("early_seconds", 30, 3600),
    "max_parallel": _number("max_parallel", 1, 10_000),
    "lines": _sbatch_lines,
}
_OPTIONS = {
    "partition": "--partition",
    "time": "--time",
    "gpus": "--gpus",
    "max_parallel": "--max-parallel",
    "lines": "--sbatch",
}
"""The command line's name of a key; it has none for `early_seconds`."""
_LINE_ALLOWED = f"{', '.join(_OPTIONS.values())}, each with its value"
