"""Others at the same time: one cache, one sweep, one run on two machines whose clocks disagree."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from drills.ground import NAMES, Ground, Undisturbed, answers_of, crashed, finish, judge, only_run
from drills.moments import AtStep, die, freeze
from drills.processes import Petbench, Place
from drills.table import Outcome, Verdict, drill
from workbench.runs.layout import RunDirectory, run_directories
from workbench.runs.process import read_process
from workbench.support.errors import UserError
from workbench.support.records import write_record

_HOUR = 3600.0
_SKEWS = (-25 * _HOUR, -_HOUR, -90.0, 90.0, _HOUR, 24 * _HOUR, 40 * 365 * 24 * _HOUR)
# What a process writes while it holds the run's lock: frozen there, it keeps everybody out.
_UNDER_LOCK = ("process.json", "exit.json", "notes.toml", ".lock", "recipe.toml")
_SWEEP = "[sweep]\nseed = [3, 4, 5]\n"


@dataclass(frozen=True, slots=True)
class OtherHost:
    """The process believes to be on another machine: another name, another boot."""

    def arm(self) -> None:
        """Fake what petbench asks the system for."""
        from workbench.support import identity

        real, boot = identity.boot_id, "0f5b1a52-0000-4000-8000-00000000beef"
        socket.gethostname = lambda: "elsewhere"
        for module in list(sys.modules.values()):
            if getattr(module, "boot_id", None) is real:
                module.boot_id = lambda: boot  # type: ignore[attr-defined]


@drill("one-cache", count=150, short=1)
def one_cache(ground: Ground, dice: Random, _number: int) -> Outcome:
    """Two or three runs fill one empty cache at once, one may be killed; all come to the same."""
    names = [dice.choice(("head", "trunk", "rounds")) for _ in range(dice.randint(2, 3))]
    with ground.place() as place:
        undisturbed = [ground.undisturbed(name) for name in names]
        places = [Place(place.home / str(number), place.cache) for number in range(len(names))]
        children = [
            Petbench(own, "run", str(one.recipe)) for own, one in zip(places, undisturbed, strict=True)
        ]
        killed = dice.random() < 0.6
        if killed:
            time.sleep(dice.uniform(0, 1.5) * undisturbed[0].seconds)
            children[0].signal(signal.SIGKILL)
        ends = [child.wait() for child in children]
        what = f"{', '.join(names)} at once{'; the first killed' if killed else ''}"
        if killed and ends[0].code == -signal.SIGKILL:
            ends[0] = finish(places[0], undisturbed[0])
        outcomes = [
            judge(own, one, ended, what) for own, one, ended in zip(places, undisturbed, ends, strict=True)
        ]
        return _worst(outcomes)


@drill("one-sweep", count=100, short=1)
def one_sweep(ground: Ground, dice: Random, _number: int) -> Outcome:
    """Two sweeps of one recipe at once, one may be killed; no point is trained twice, none is left out."""
    recipe = ground.recipe("head", home=ground.base / "sweep", extra=_SWEEP)
    with ground.place(ground.undisturbed("head")) as place:
        children = [Petbench(place, "sweep", str(recipe)) for _ in range(2)]
        killed = dice.random() < 0.5
        if killed:
            time.sleep(dice.uniform(0.2, 3.5) * ground.undisturbed("head").seconds)
            children[0].signal(signal.SIGKILL)
        ends = [child.wait() for child in children]
        what = f"two sweeps at once{', one killed' if killed else ''}"
        last = Petbench(place, "sweep", str(recipe)).wait()
        for ended in (*ends[killed:], last):
            bad = crashed(ended)
            if bad is not None or ended.code:
                return Outcome(bad or Verdict.STUCK, what, ended.said)
        found = Counter(_told(run) for run in run_directories(place.runs))
        if found != _expected_sweep(ground, recipe):
            return Outcome(Verdict.SILENT, what, f"{found.total()} runs: {sorted(found.values())} of a kind")
        return Outcome(Verdict.SAME, what)


@drill("other-host-while-live", count=100, short=2)
def while_live(ground: Ground, dice: Random, number: int) -> Outcome:
    """Another machine resumes a run that is under way; it is refused, and the run ends as it would have."""
    undisturbed = ground.undisturbed(NAMES[number % len(NAMES)])
    skew = dice.choice([0.0, 0.0, *_SKEWS])
    with ground.place(undisturbed) as place:
        child, where = _frozen(place, undisturbed, dice)
        what = f"{undisturbed.name} frozen at {where}, its clock off by {skew:.0f} s"
        run = only_run(place)
        before = read_process(run)
        with _beating(run, skew):
            other = Petbench(_elsewhere(place), "resume", "latest", fault=OtherHost()).wait()
        after = read_process(run)
        child.signal(signal.SIGCONT)
        ended = child.wait()
        bad = crashed(other)
        if bad is not None:
            return Outcome(bad, what, other.said)
        if other.code == 0 or before != after:
            return Outcome(Verdict.SILENT, what, f"the other machine took it over: {other.said}")
        outcome = judge(place, undisturbed, ended, what)
        return Outcome(Verdict.REFUSED, what) if outcome.verdict is Verdict.SAME else outcome


@drill("other-host-takes-over", count=100, short=2)
def takes_over(ground: Ground, dice: Random, number: int) -> Outcome:
    """A machine hangs, another takes its run over and ends it, the first wakes up: it changes nothing."""
    undisturbed = ground.undisturbed(NAMES[number % len(NAMES)])
    skew = dice.choice([-2 * _HOUR, -2 * _HOUR, _HOUR, 24 * _HOUR])
    with ground.place(undisturbed) as place:
        child, where = _frozen(place, undisturbed, dice)
        run = only_run(place)
        _seen_last(run, skew)
        elsewhere = _elsewhere(place)
        second = Petbench(elsewhere, "resume", "latest", fault=OtherHost())
        ended = second.wait()
        what = f"{undisturbed.name} frozen at {where}, last seen {skew:.0f} s from now, and taken over"
        outcome = judge(place, undisturbed, ended, what)
        exit_before = run.exit.read_bytes() if run.exit.exists() else b""
        child.signal(signal.SIGCONT)
        woken = child.wait()
        if outcome.verdict not in (Verdict.SAME, Verdict.TOLD):
            return outcome
        bad = crashed(woken)
        if bad is not None:
            return Outcome(bad, what, woken.said)
        if exit_before != (run.exit.read_bytes() if run.exit.exists() else b""):
            return Outcome(Verdict.SILENT, what, f"exit.json tells of the first: {woken.said}")
        return judge(place, undisturbed, ended, f"{what}, then woken")


@drill("clocks", count=150, short=2)
def clocks(ground: Ground, dice: Random, number: int) -> Outcome:
    """The clock jumps between a kill and its resumption, here or on another machine; the end is the same."""
    undisturbed = ground.undisturbed(NAMES[number % len(NAMES)])
    skew, elsewhere = dice.choice(_SKEWS), dice.random() < 0.5
    with ground.place(undisturbed) as place:
        step = dice.choice(undisturbed.renames[3:])
        ended = Petbench(place, "run", str(undisturbed.recipe), fault=AtStep(place, step, die)).wait()
        if ended.code != -signal.SIGKILL:
            return judge(place, undisturbed, ended, f"{undisturbed.name} not killed")
        run = only_run(place)
        if elsewhere:  # what that machine sees is long over, by whichever clock
            skew = skew if abs(skew) > 10 * 60 else -_HOUR
        for path in (run.heartbeat, *run.path.rglob("*.*")):
            _set_clock(path, skew)
        fault = OtherHost() if elsewhere else None
        where = "on another machine" if elsewhere else "here"
        ended = Petbench(place, "resume", "latest", fault=fault).wait()
        what = f"{undisturbed.name} killed at step {step}, files {skew:.0f} s from now, resumed {where}"
        return judge(place, undisturbed, ended, what)


def _frozen(place: Place, undisturbed: Undisturbed, dice: Random) -> tuple[Petbench, str]:
    """A run that stands still amid its work, and the step before which it does."""
    claimed = next(n for n in undisturbed.renames if undisturbed.steps[n].name.endswith("process.json"))
    steps = [
        number
        for number in undisturbed.renames
        if number > claimed and not undisturbed.steps[number].name.endswith(_UNDER_LOCK)
    ]
    step = dice.choice(steps)
    # By its name and number: a warm cache leaves out the steps of filling it.
    name = undisturbed.steps[step].name
    same = [number for number in steps if undisturbed.steps[number].name == name]
    fault = AtStep(place, same.index(step), freeze, name=name, event="os.rename")
    child = Petbench(place, "run", str(undisturbed.recipe), fault=fault)
    child.wait_until(child.is_stopped)
    return child, name


def _elsewhere(place: Place) -> Place:
    """The same runs, seen from a machine with a cache of its own."""
    return Place(place.home, place.home / "cache-elsewhere")


@contextlib.contextmanager
def _beating(run: RunDirectory, skew: float) -> Iterator[None]:
    """The heartbeat goes on, by a clock that is off."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(0.1):
            _set_clock(run.heartbeat, skew)

    _set_clock(run.heartbeat, skew)
    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _set_clock(run.heartbeat, 0.0)


def _seen_last(run: RunDirectory, skew: float) -> None:
    """The run's process began and gave its last sign of life so long from now."""
    record = read_process(run)
    assert record is not None
    write_record(run.process, replace(record, started=time.time() + skew))
    for path in (run.heartbeat, run.process, run.metrics):
        _set_clock(path, skew)


def _set_clock(path: Path, skew: float) -> None:
    now = time.time()
    with contextlib.suppress(FileNotFoundError):
        os.utime(path, (now, now + skew))


def _told(run: RunDirectory) -> str:
    try:
        return answers_of(run).results.weights_sha256
    except (UserError, OSError):
        return "without results"


def _expected_sweep(ground: Ground, recipe: Path) -> Counter[str]:
    """The weights of a sweep that nobody disturbs."""
    place = Place(ground.base / "sweep-undisturbed")
    if not place.home.exists():
        ended = Petbench(place, "sweep", str(recipe)).wait()
        if ended.code:
            raise RuntimeError(ended.said)
    return Counter(_told(run) for run in run_directories(place.runs))


def _worst(outcomes: list[Outcome]) -> Outcome:
    return max(outcomes, key=lambda outcome: list(Verdict).index(outcome.verdict))
