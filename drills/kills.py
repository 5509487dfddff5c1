"""SIGKILL: at random moments, and at each rename. The run is gone on with until it is done."""

from __future__ import annotations

import signal
import time
from random import Random

import psutil

from drills.ground import NAMES, PAIR, Ground, Undisturbed, finish, judge
from drills.moments import AtStep, die
from drills.processes import Ended, Petbench, Place
from drills.table import Outcome, drill, in_turn
from workbench.runs.layout import run_directories

_MOST_KILLS = 3


@drill("kills-random", count=400, short=2)
def at_random(ground: Ground, dice: Random, number: int) -> Outcome:
    """SIGKILL at up to three random moments of a run and its resumptions; the weights are the same."""
    undisturbed = ground.undisturbed(NAMES[number % len(NAMES)])
    with ground.place(undisturbed if dice.random() < 0.5 else None) as place:
        moments = []
        for _ in range(dice.randint(1, _MOST_KILLS)):
            # Half of a run's time passes before its first step, much of it before anything is on the disk.
            moment = dice.uniform(0.0, 1.1) * undisturbed.seconds
            child = _go(place, undisturbed, None)
            time.sleep(moment)
            if child.is_over():
                child.wait()
                break
            child.signal(signal.SIGKILL)
            child.wait()
            moments.append(moment)
        what = f"{undisturbed.name} killed after {', '.join(f'{moment:.3f} s' for moment in moments)}"
        return judge(place, undisturbed, finish(place, undisturbed), what, len(moments))


@drill("kills-at-renames", count=600, short=6)
def at_renames(ground: Ground, dice: Random, number: int) -> Outcome:
    """SIGKILL just before or just after a file comes into its place, each in its turn; resumed, the same."""
    undisturbed = ground.undisturbed(NAMES[number % len(NAMES)])
    renames = undisturbed.renames
    turn, after = divmod(in_turn(number // len(NAMES), 2 * len(renames)), 2)
    with ground.place() as place:
        steps = [renames[turn]]
        ended = _kill_at(place, undisturbed, steps[0], bool(after))
        while ended.code == -signal.SIGKILL and len(steps) < _MOST_KILLS and dice.random() < 0.3:
            steps.append(dice.randrange(len(undisturbed.steps)))
            ended = _kill_at(place, undisturbed, steps[-1], bool(after))
        where = ", ".join(undisturbed.steps[step].name for step in steps[:1])
        what = f"{undisturbed.name} killed {'after' if after else 'before'} {where}"
        what += "".join(f", then at step {step}" for step in steps[1:])
        if ended.code == -signal.SIGKILL:
            ended = finish(place, undisturbed)
        return judge(place, undisturbed, ended, what, len(steps))


@drill("kills-ranks", count=20, short=2)
def of_a_rank(ground: Ground, dice: Random, number: int) -> Outcome:
    """SIGKILL of either of two ranks at a random moment; resumed by two again, the weights are the same."""
    undisturbed = ground.undisturbed(PAIR)
    rank = number % 2
    with ground.place(undisturbed if dice.random() < 0.5 else None) as place:
        moment = dice.uniform(0.0, 1.1) * undisturbed.seconds
        child = _go(place, undisturbed, None)
        time.sleep(moment)
        other = [] if child.is_over() else psutil.Process(child.pid).children()
        if rank and other:
            other[0].kill()  # the first one ends the run, and says so
        else:
            child.signal(signal.SIGKILL)
        ended = child.wait()
        what = f"rank {rank if other else 0} of 2 killed after {moment:.3f} s"
        if ended.code:
            ended = finish(place, undisturbed)
        return judge(place, undisturbed, ended, what)


def _go(place: Place, undisturbed: Undisturbed, fault: AtStep | None) -> Petbench:
    if run_directories(place.runs):
        return Petbench(place, "resume", "latest", fault=fault)
    return Petbench(place, "run", str(undisturbed.recipe), fault=fault)


def _kill_at(place: Place, undisturbed: Undisturbed, step: int, after: bool) -> Ended:
    return _go(place, undisturbed, AtStep(place, step, die, after)).wait()
