"""One attempt at a run: it claims the directory, listens for signals, and always says how it ended.

Two ends leave no word in the directory: of an attempt that was refused before training began, which leaves a
run as it was, and of one that another attempt has followed, which would spoil what that one writes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from workbench.compute import Trouble, trouble_of
from workbench.jobs.control import Lifeline
from workbench.jobs.ending import LOWER
from workbench.jobs.local_ranks import Fallen
from workbench.recipe import Recipe
from workbench.runs.attempt_control import Control, TakenOver, Tenure, read_request
from workbench.runs.events import Event, Message, Reporter, Silent
from workbench.runs.layout import RunDirectory
from workbench.runs.log import RunLog
from workbench.runs.metrics import MetricsWriter, Tee
from workbench.runs.process import (
    ProcessRecord,
    join_attempt,
    read_process,
    withdraw,
    write_exit,
    write_process,
)
from workbench.runs.results import Results
from workbench.support.clean import clean
from workbench.support.errors import RunFailed, UserError
from workbench.support.identity import ProcessId
from workbench.train.checkpoint import has_checkpoint
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.memory import others_hold
from workbench.train.process_group import world_of
from workbench.train.run import execute
from workbench.train.setup import Places
from workbench.train.world import PeerLost

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOBODY_WATCHES = (errno.EIO, errno.EPIPE, errno.ENXIO, errno.ENOTTY, errno.EBADF)


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
    begun: Callable[[], None] = lambda: None,
    on_claim: Callable[[], None] = lambda: None,
    sweep: ProcessId | None = None,
    processes: int = 1,
) -> Outcome:
    """Train `recipe` in `directory` to its results or to a clear end; what there is on disk stays.

    Args:
        begun: called once nothing can be refused any more.
        lifeline: in the background, the tie to the supervisor that claimed the attempt; it must be watched.
        sweep: the one that this process is a worker of.
        processes: how many train it together: this one, and ranks that it starts.
        on_claim: called once the run is this process's, for all to see, and it listens to signals.

    Raises:
        UserError: another process runs this run, or its directory cannot be written. Any other trouble is in
            the outcome and in `exit.json`.
    """
    before = _content_of(directory)
    claimed = _claim(directory, places, lifeline, sweep, display)
    log = RunLog(directory.log)
    stop = StopRequest(patient=lifeline is not None)
    tenure = Tenure(directory, claimed, asked=stop.ask)
    files = _Files(tenure, held=claimed.attempt > 1)

    def begin() -> None:
        files.begin()
        begun()

    # Others know this process for the run's by the metrics that it has open: until its end is written down.
    with contextlib.ExitStack() as at_work:
        try:
            metrics = at_work.enter_context(_opened_metrics(directory))
            with stop.listening(), tenure.kept(), _warnings_to(log):
                on_claim()
                files.hears(Tee(metrics, log))
                reporter = Tee(files, _Audience(display))

                def abandon(fallen: Fallen) -> None:
                    outcome = Outcome(1, reason=fallen.reason, advice=_resume(directory))
                    _record_end(directory, log, outcome, claimed.attempt)
                    with contextlib.suppress(OSError):
                        display.event(Message("warning", f"{outcome.reason}; {outcome.advice}"))
                    os._exit(outcome.code)

                with world_of(directory, places, processes, log, abandon) as world:
                    world.agree(lambda: claimed)
                    results = execute(
                        directory,
                        recipe,
                        replace(places, world=world),
                        reporter,
                        stop,
                        tenure,
                        begun=begin,
                        command_line=command_line,
                    )
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
        except TakenOver:
            outcome = Outcome(1)
        except PeerLost as lost:
            outcome = Outcome(1, reason=str(lost), advice=_resume(directory))
        except OSError as error:
            outcome = _outcome_of_disk(directory, log, error, places.device)
        except Exception as error:
            trouble = trouble_of(error)
            outcome = (
                _crashed(directory, log, error)
                if trouble is None
                else _troubled(directory, log, error, trouble, places.device)
            )
        if not tenure.holds:
            return Outcome(
                1,
                reason=f"{tenure.successor} has taken the run over: this one ended and wrote nothing more",
                advice=f"petbench runs show {directory.handle} tells how far it is",
            )
        is_refused = outcome.code == 2 and not files.has_begun
        if is_refused and (lifeline is None or claimed.attempt > 1):
            _take_back(directory, claimed, before if lifeline is None else None, log, outcome)
            return outcome
        if outcome.code == 130 and lifeline is not None and lifeline.cut and not _request(directory):
            # Nobody asked for this end, so nobody would think of resuming it: it shall show as lost.
            with contextlib.suppress(OSError):
                log.line(f"its supervisor is gone: ended after a checkpoint; {outcome.advice}")
            return outcome
        _record_end(directory, log, outcome, claimed.attempt)
        return outcome


class _Files:
    """What a run's own files hear: of a run that goes on, nothing before it is sure to go on.

    And nothing once another attempt has taken over. Raises: TakenOver.
    """

    def __init__(self, tenure: Tenure, *, held: bool) -> None:
        self._tenure = tenure
        self._inner: Reporter = Silent()
        self._kept: list[Event] = []
        self._is_held = held
        self.has_begun = False

    def hears(self, inner: Reporter) -> None:
        """What writes them."""
        self._inner = inner

    def begin(self) -> None:
        """Training begins: pass on what was held back, and all that comes."""
        self.has_begun = True
        self._is_held = False
        kept, self._kept = self._kept, []
        for event in kept:
            self.event(event)

    def event(self, event: Event) -> None:
        """Pass it on, or keep it for later."""
        if self._is_held:
            self._kept.append(event)
            return
        self._tenure.check()
        self._inner.event(event)

    def progress(self, task: str, done: int, total: int) -> None:
        """Not recorded."""


class _Audience:
    """A display that may go away: a closed terminal or a pipe that nobody reads ends no run."""

    def __init__(self, display: Reporter) -> None:
        self._display = display
        self._left = False

    def event(self, event: Event) -> None:
        """Pass it on while somebody watches."""
        if not self._left:
            try:
                self._display.event(event)
            except OSError as error:
                self._leave(error)

    def progress(self, task: str, done: int, total: int) -> None:
        """Pass it on while somebody watches."""
        if not self._left:
            try:
                self._display.progress(task, done, total)
            except OSError as error:
                self._leave(error)

    def _leave(self, error: OSError) -> None:
        if error.errno not in _NOBODY_WATCHES:
            raise error
        self._left = True


def _opened_metrics(directory: RunDirectory) -> MetricsWriter:
    try:
        return MetricsWriter(directory.metrics)
    except OSError as error:
        raise UserError(
            f"it cannot be written: {error.strerror or error}", where=clean(directory.metrics)
        ) from error


def _content_of(directory: RunDirectory) -> bytes:
    """What `process.json` holds; empty where there is none."""
    try:
        return directory.process.read_bytes() if directory.process.is_file() else b""
    except OSError:
        return b""


def _claim(
    directory: RunDirectory,
    places: Places,
    lifeline: Lifeline | None,
    sweep: ProcessId | None,
    display: Reporter,
) -> ProcessRecord:
    try:
        if lifeline is None:
            return write_process(
                directory,
                str(places.device),
                sweep=sweep,
                told=lambda text: display.event(Message("info", text)),
            )
        return join_attempt(directory, lifeline.attempt)
    except OSError as error:
        raise UserError(
            f"the run's directory cannot be written: {error.strerror or error}",
            where=clean(directory.path),
            hint="free some space there, or make it writable",
        ) from error


def _take_back(
    directory: RunDirectory, claimed: ProcessRecord, before: bytes | None, log: RunLog, outcome: Outcome
) -> None:
    """A refusal leaves the run as it was; in the background the log alone can tell of it."""
    with contextlib.suppress(OSError):
        if before is None:
            log.line(f"attempt {claimed.attempt} was refused: {'; '.join(outcome.reason.splitlines())}")
        elif directory.metrics.is_file() and not directory.metrics.stat().st_size:
            directory.metrics.unlink()
        withdraw(directory, claimed, before)


def _outcome_of_disk(directory: RunDirectory, log: RunLog, error: OSError, device: torch.device) -> Outcome:
    """A disk that is full, gone or read-only is no fault of petbench; the traceback is logged as well."""
    trouble = trouble_of(error)
    if trouble is not None:
        return _troubled(directory, log, error, trouble, device)
    with contextlib.suppress(OSError):
        log.crash(error)
    place = f": {error.filename}" if error.filename else ""
    if error.errno in _DISK_FULL:
        whole = "the last checkpoint is whole: " if has_checkpoint(directory.checkpoint) else ""
        return Outcome(
            1,
            reason=f"the disk is full ({error.strerror}){place}",
            advice=f"{whole}free some space, then {_resume(directory)}",
        )
    return Outcome(
        1,
        reason=f"{error.strerror or error}{place}",
        advice=f"when that is mended, {_resume(directory)}; the traceback is in {directory.log}",
    )


def _troubled(
    directory: RunDirectory, log: RunLog, error: BaseException, trouble: Trouble, device: torch.device
) -> Outcome:
    """A device or machine that cannot do what is asked of it; the traceback is logged as well."""
    with contextlib.suppress(OSError):
        log.crash(error)
    advice = trouble.advice or f"{LOWER}, or end other programs"
    others = others_hold(device) if trouble.kind in ("device memory", "taken") else ""
    return Outcome(1, reason=clean(trouble.words), advice=f"{advice}{others}; then {_resume(directory)}")


def _crashed(directory: RunDirectory, log: RunLog, error: Exception) -> Outcome:
    with contextlib.suppress(OSError):
        log.crash(error)
    return Outcome(
        1,
        reason=f"{type(error).__name__}: {error}",
        advice=f"this is a fault in petbench; the traceback is in {directory.log}",
    )


def _record_end(directory: RunDirectory, log: RunLog, outcome: Outcome, attempt: int) -> None:
    # On a full disk even these few bytes may fail; the run then shows as lost, and can be resumed too.
    with contextlib.suppress(OSError):
        log.line(f"ended with code {outcome.code}{': ' + outcome.reason if outcome.reason else ''}")
    with contextlib.suppress(OSError):
        write_exit(
            directory, code=outcome.code, reason=outcome.reason, signal=outcome.signal, attempt=attempt
        )


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
    if has_checkpoint(directory.checkpoint):
        return f"petbench resume {directory.handle} goes on from the last checkpoint"
    return f"petbench resume {directory.handle} begins anew: there is no checkpoint yet"


@contextlib.contextmanager
def _warnings_to(log: RunLog) -> Iterator[None]:
    """Python's warnings go to the log: on a terminal they would tear the display."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, category, *_, **__: log.line(f"{category.__name__}: {message}")
        yield
