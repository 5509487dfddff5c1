"""Hold drills and count how they end.

    python -m drills [NAME or KIND …] [--count N | --minutes M] [--seed S] [--short] [--json FILE] [--list]

Without names all are held. Each attempt throws its own dice: the same seed, drill and number make the same
attempt, up to the moment within a step that a kill by the clock hits. Exit code 1 if any ended in a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

os.environ |= {"COLUMNS": "400", "NO_COLOR": "1"}  # before rich looks

from drills import disk, files, kills, rivals  # noqa: F401
from drills.ground import Ground
from drills.processes import prepare
from drills.table import DRILLS, FAULTS, Drill, Skipped, Tally, dice, repeat, table


def main() -> None:
    """Read the options, hold the drills, print the table."""
    options = _options()
    if options.list:
        for one in DRILLS.values():
            print(f"{one.name:20} {one.count:5}  {one.what}")
        return
    chosen = _chosen(options.names)
    if options.dir is not None:
        options.dir.mkdir(parents=True, exist_ok=True)
    base = Path(tempfile.mkdtemp(prefix="petbench-drills-", dir=options.dir))
    tallies: list[Tally] = []
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # a shell starts what runs in the background without SIGINT
        signal.signal(number, _interrupt)
    prepare()
    try:
        ground = Ground(base, keep=options.keep)
        tallies += [Tally(one) for one in chosen]
        if options.minutes:
            _hold_in_turn(tallies, ground, options)
        for tally in tallies if not options.minutes else ():
            one = tally.drill
            count = options.count or (one.short if options.short else one.count)
            _hold(tally, ground, options.seed, range(options.first, options.first + count))
            _write(options.json, tallies, options.seed)
    except KeyboardInterrupt:
        print("\ninterrupted; what was counted so far:", file=sys.stderr)
        _write(options.json, tallies, options.seed)
    finally:
        if not options.keep:
            shutil.rmtree(base, ignore_errors=True)
    print(table([tally for tally in tallies if tally.attempts]))
    for tally in tallies:
        if tally.skipped:
            print(f"{tally.drill.name} was not held: {tally.skipped}")
    if any(tally.faults for tally in tallies):
        raise SystemExit(1)


def _hold_in_turn(tallies: Sequence[Tally], ground: Ground, options: argparse.Namespace) -> None:
    """An attempt of each drill, then the next of each, until the time is over."""
    end, number = time.monotonic() + 60 * options.minutes, options.first
    while time.monotonic() < end and not all(tally.skipped for tally in tallies):
        for tally in tallies:
            if not tally.skipped and time.monotonic() < end:
                _hold(tally, ground, options.seed, range(number, number + 1))
                _write(options.json, tallies, options.seed)
        number += 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _hold(tally: Tally, ground: Ground, seed: int, numbers: range) -> None:
    """Make the attempts of these numbers, and say at once which end in a fault."""
    one, started, before = tally.drill, time.monotonic(), tally.seconds
    for number in numbers:
        try:
            outcome = one.attempt(ground, dice(seed, one.name, number), number)
        except Skipped as reason:
            tally.skipped = str(reason)
            break
        tally.add(number, outcome)
        tally.seconds = before + time.monotonic() - started
        if outcome.verdict in FAULTS:
            print(f"{outcome.verdict.value}  {outcome.what}\n  {outcome.said[-600:]}", file=sys.stderr)
            print(f"  again: {repeat(one, seed, number)}", file=sys.stderr, flush=True)
        elif sys.stderr.isatty():
            print(f"\r{one.name} {tally.attempts}/{len(numbers)}\x1b[K", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def _write(path: Path | None, tallies: Sequence[Tally], seed: int) -> None:
    if path is not None:
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        record = {
            "schema": 1,
            "ended": now,
            "seed": seed,
            "drills": [tally.record(seed) for tally in tallies],
        }
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _chosen(names: Sequence[str]) -> list[Drill]:
    chosen = [one for one in DRILLS.values() if not names or one.name in names or one.kind in names]
    known = {one.name for one in chosen} | {one.kind for one in chosen}
    unknown = [name for name in names if name not in known]
    if unknown:
        kinds = sorted({one.kind for one in DRILLS.values()})
        sys.exit(
            f"no drill {', '.join(unknown)}; there are {', '.join(DRILLS)} and the kinds {', '.join(kinds)}"
        )
    return chosen


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m drills", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="drills or kinds of them; default: all")
    parser.add_argument("--count", "-n", type=int, default=0, help="attempts of each; default: its own")
    parser.add_argument("--minutes", type=float, default=0, help="all in turn until the time is over")
    parser.add_argument("--first", type=int, default=0, help="number of the first attempt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="a few attempts of each, as CI does")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the counts, and every fault in words")
    parser.add_argument("--keep", action="store_true", help="leave the directories of all attempts")
    parser.add_argument("--dir", type=Path, help="where to make them; default: the temporary directory")
    parser.add_argument(
        "--list", action="store_true", help="the drills, how often each is held, what it does"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
