"""What to tell of a helper process that failed: a mistake in full, a fault in a line with the log's path."""

from __future__ import annotations

from workbench.tui.faults import log_fault
from workbench.tui.helper import HelperResult

_USER_ERROR = 2
"""petbench's exit code for input that the user can mend."""


def told_problem(result: HelperResult, what: str) -> str:
    """Words for the screen, with line breaks, not cleaned; `what` names the command."""
    if result.code == _USER_ERROR and "Traceback" not in result.problem:
        return result.problem or f"petbench {what} refused this recipe"
    last = result.problem.rpartition("\n")[2] or f"exit code {result.code}"
    log = log_fault(RuntimeError(f"petbench {what} failed\n{result.problem}"))
    return f"petbench {what} failed: {last}\nwhat it said is in {log}"
