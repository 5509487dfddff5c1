"""One attempt at a run: it claims the directory, listens for signals, and always says how it ended."""

from __future__ import annotations

import contextlib
import errno
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.recipe import Recipe
from workbench.runs.events import Reporter
from workbench.runs.layout import RunDirectory
from workbench.runs.log import RunLog
from workbench.runs.metrics import MetricsWriter, Tee
from workbench.runs.process import write_exit, write_process
from workbench.runs.results import Results
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.run import execute
from workbench.train.setup import Places

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: `code` 0 with results, else what went wrong and what to do."""

    code: int
    results: Results | None = None
    reason: str = ""
    advice: str = ""


def attempt(
    directory: RunDirectory,
    recipe: Recipe,
    places: Places,
    display: Reporter,
    *,
    command_line: Sequence[str] = (),
) -> Outcome:
    """Train `recipe` in `directory` to its results or to a clear end; what there is on disk stays.

    Raises:
        UserError: another process runs this run, or its directory cannot be written. Any other trouble is in
            the outcome and in `exit.json`.
    """
    _claim(directory, places)
    log = RunLog(directory.log)
    stop = StopRequest()
    try:
        with MetricsWriter(directory.metrics) as metrics, stop.listening(), _warnings_to(log):
            reporter = Tee(metrics, log, display)
            results = execute(directory, recipe, places, reporter, stop, command_line=command_line)
        outcome = Outcome(0, results)
    except Interrupted as error:
        outcome = Outcome(130, reason=f"stopped by {error.signal_name}", advice=_resume(directory))
    except KeyboardInterrupt:
        outcome = Outcome(130, reason="stopped at once by a second signal", advice=_resume(directory))
    except UserError as error:
        outcome = Outcome(2, reason=str(error))
    except RunFailed as error:
        outcome = Outcome(1, reason=error.reason, advice=error.advice or _resume(directory))
    except OSError as error:
        outcome = _outcome_of_disk(directory, log, error)
    except Exception as error:
        outcome = _crashed(directory, log, error)
    _record_end(directory, log, outcome)
    return outcome


def _claim(directory: RunDirectory, places: Places) -> None:
    try:
        write_process(directory, str(places.device))
    except OSError as error:
        raise UserError(
            f"the run's directory cannot be written: {error.strerror or error}",
            where=clean(directory.path),
            hint="free some space there, or make it writable",
        ) from error


def _outcome_of_disk(directory: RunDirectory, log: RunLog, error: OSError) -> Outcome:
    """A disk that is full, gone or read-only is no fault of petbench; the traceback is logged as well."""
    with contextlib.suppress(OSError):
        log.crash(error)
    place = f": {error.filename}" if error.filename else ""
    if error.errno in _DISK_FULL:
        return Outcome(
            1,
            reason=f"the disk is full ({error.strerror}){place}",
            advice=f"the last checkpoint is whole: free some space, then {_resume(directory)}",
        )
    return Outcome(
        1,
        reason=f"{error.strerror or error}{place}",
        advice=f"when that is mended, {_resume(directory)}; the traceback is in {directory.log}",
    )


def _crashed(directory: RunDirectory, log: RunLog, error: Exception) -> Outcome:
    with contextlib.suppress(OSError):
        log.crash(error)
    return Outcome(
        1,
        reason=f"{type(error).__name__}: {error}",
        advice=f"this is a fault in petbench; the traceback is in {directory.log}",
    )


def _record_end(directory: RunDirectory, log: RunLog, outcome: Outcome) -> None:
    number = None
    if outcome.code == 130:
        number = int(signal.SIGTERM if "SIGTERM" in outcome.reason else signal.SIGINT)
    # On a full disk even these few bytes may fail; the run then shows as lost, and can be resumed too.
    with contextlib.suppress(OSError):
        log.line(f"ended with code {outcome.code}{': ' + outcome.reason if outcome.reason else ''}")
    with contextlib.suppress(OSError):
        write_exit(directory, code=outcome.code, reason=outcome.reason, signal=number)


def _resume(directory: RunDirectory) -> str:
    return f"petbench resume {directory.handle} goes on from the last checkpoint"


@contextlib.contextmanager
def _warnings_to(log: RunLog) -> Iterator[None]:
    """Python's warnings go to the log: on a terminal they would tear the display."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, category, *_, **__: log.line(f"{category.__name__}: {message}")
        yield
