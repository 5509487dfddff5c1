"""A process that takes part in a run which another one claims, writes and speaks for.

It owns no file. How it ended is in its exit code; what went wrong in it alone is appended to the run's log,
under its rank, and printed as its last words.
"""

from __future__ import annotations

import contextlib
import sys

from workbench.compute import trouble_of
from workbench.jobs.local_ranks import LAST_WORDS, LEFT_ALONE
from workbench.recipe import Recipe
from workbench.runs.attempt_control import TakenOver, Tenure
from workbench.runs.events import Silent
from workbench.runs.layout import RunDirectory
from workbench.runs.log import RunLog
from workbench.runs.process import ProcessRecord
from workbench.runs.status import INTERRUPTED
from workbench.support.errors import RunFailed, UserError
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.run import execute
from workbench.train.setup import Places
from workbench.train.world import PeerLost


class Attendance(Tenure):
    """The hold of another process of the same attempt, whose heart is the run's."""

    def beat(self) -> None:
        """Nothing is touched. Raises: TakenOver."""
        self.check()


def follow(directory: RunDirectory, recipe: Recipe, places: Places, *, patient: bool = False) -> int:
    """Take part in the attempt that the first process makes at a run; returns an exit code.

    Args:
        patient: signals after the first change nothing, as in the background.
    """
    log, world = RunLog(directory.log), places.world
    stop = StopRequest(patient=patient)
    try:
        with stop.listening():
            claimed = world.agree(_unknown)
            execute(directory, recipe, places, Silent(), stop, Attendance(directory, claimed))
    except Interrupted:
        return INTERRUPTED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (PeerLost, TakenOver):
        return LEFT_ALONE  # the others say why
    except UserError as error:
        _tell(log, world.rank, str(error))
        return 2
    except RunFailed as error:
        _tell(log, world.rank, error.reason)
        return 1
    except Exception as error:
        trouble = trouble_of(error)
        words = f"{type(error).__name__}: {error}" if trouble is None else trouble.words
        _tell(log, world.rank, words, error)
        return 1
    return 0


def _unknown() -> ProcessRecord:
    raise AssertionError("the first process claims the run")


def _tell(log: RunLog, rank: int, words: str, crash: Exception | None = None) -> None:
    with contextlib.suppress(OSError):
        log.line(f"rank {rank} ended: {'; '.join(words.splitlines())}")
        if crash is not None:
            log.crash(crash)
    print(f"{LAST_WORDS}{'; '.join(words.splitlines())}", file=sys.stderr, flush=True)
