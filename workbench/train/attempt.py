"""One attempt at a run: it claims the directory, listens for signals, and always says how it ended."""

from __future__ import annotations

import contextlib
import errno
import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workbench.jobs.lifeline import Lifeline
from workbench.recipe import Recipe
from workbench.runs.control import Control, read_request
from workbench.runs.events import Reporter
from workbench.runs.layout import RunDirectory
from workbench.runs.log import RunLog
from workbench.runs.metrics import MetricsWriter, Tee
from workbench.runs.process import join_attempt, read_process, write_exit, write_process
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
    signal: int | None = None
    """The number of the one that interrupted it."""


def attempt(
    directory: RunDirectory,
    recipe: Recipe,
    places: Places,
    display: Reporter,
    *,
    command_line: Sequence[str] = (),
    lifeline: Lifeline | None = None,
) -> Outcome:
    """Train `recipe` in `directory` to its results or to a clear end; what there is on disk stays.

    Args:
        lifeline: in the background, the tie to the supervisor that claimed the attempt; it must be watched.

    Raises:
        UserError: another process runs this run, or its directory cannot be written. Any other trouble is in
            the outcome and in `exit.json`.
    """
    _claim(directory, places, lifeline)
    log = RunLog(directory.log)
    stop = StopRequest(patient=lifeline is not None)
    try:
        with MetricsWriter(directory.metrics) as metrics, stop.listening(), _warnings_to(log):
            reporter = Tee(metrics, log, display)
            results = execute(directory, recipe, places, reporter, stop, command_line=command_line)
        outcome = Outcome(0, results)
    except Interrupted as error:
        outcome = _interrupted(directory, error)
    except KeyboardInterrupt:
        reason = "stopped at once by a second signal"
        outcome = Outcome(130, reason=reason, advice=_resume(directory), signal=signal.SIGINT)
    except UserError as error:
        outcome = Outcome(2, reason=str(error))
    except RunFailed as error:
        outcome = Outcome(1, reason=error.reason, advice=error.advice or _resume(directory))
    except OSError as error:
        outcome = _outcome_of_disk(directory, log, error)
    except Exception as error:
        outcome = _crashed(directory, log, error)
    if outcome.code == 130 and lifeline is not None and lifeline.cut and not _request(directory):
        # Nobody asked for this end, so nobody would think of resuming it: it shall show as lost.
        with contextlib.suppress(OSError):
            log.line(f"its supervisor is gone: ended after a checkpoint; {outcome.advice}")
        return outcome
    _record_end(directory, log, outcome)
    return outcome


def _claim(directory: RunDirectory, places: Places, lifeline: Lifeline | None) -> None:
    try:
        if lifeline is None:
            write_process(directory, str(places.device))
        else:
            join_attempt(directory, lifeline.attempt)
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
    # On a full disk even these few bytes may fail; the run then shows as lost, and can be resumed too.
    with contextlib.suppress(OSError):
        log.line(f"ended with code {outcome.code}{': ' + outcome.reason if outcome.reason else ''}")
    with contextlib.suppress(OSError):
        write_exit(directory, code=outcome.code, reason=outcome.reason, signal=outcome.signal)


def _interrupted(directory: RunDirectory, error: Interrupted) -> Outcome:
    """It says what the front end that sent the signal has said of it, else the signal's name."""
    request = _request(directory)
    return Outcome(
        130,
        reason=request.reason if request else f"stopped by {error.signal_name}",
        advice=_resume(directory),
        signal=int(signal.Signals[error.signal_name]),
    )


def _request(directory: RunDirectory) -> Control | None:
    """The wish to stop or pause this attempt."""
    process = read_process(directory)
    return read_request(directory, process.attempt) if process else None


def _resume(directory: RunDirectory) -> str:
    return f"petbench resume {directory.handle} goes on from the last checkpoint"


@contextlib.contextmanager
def _warnings_to(log: RunLog) -> Iterator[None]:
    """Python's warnings go to the log: on a terminal they would tear the display."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, category, *_, **__: log.line(f"{category.__name__}: {message}")
        yield
