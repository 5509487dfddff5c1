"""What a run takes for a wish to stop, and what for impatience."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.loader.conftest import Recorder
from tests.train.making import HEAD, tiny, train
from workbench.runs.attempt_control import STOP_SIGNALS, Tenure
from workbench.train import interrupt as interrupt_module
from workbench.train.interrupt import StopRequest


@contextmanager
def _disposed(number: signal.Signals, how: signal.Handlers) -> Iterator[None]:
    before = signal.signal(number, how)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.fixture(autouse=True)
def _as_usual() -> Iterator[None]:
    """No signal is ignored, as it would be where these tests run under nohup."""
    with ExitStack() as disposed:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is signal.SIG_IGN:
                disposed.enter_context(_disposed(number, signal.SIG_DFL))
        yield


def _after(signals: Sequence[signal.Signals], *, patient: bool = False) -> str | None:
    """The signal that a run would say it was stopped by."""
    stop = StopRequest(patient=patient)
    with stop.listening():
        for number in signals:
            signal.raise_signal(number)
    return stop.signal_name


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_every_signal_that_asks_to_stop_is_heard_and_handed_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    assert _after([number]) == number.name
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored_and_ctrl_c_does_not() -> None:
    for number in (signal.SIGHUP, signal.SIGUSR1):
        with _disposed(number, signal.SIG_IGN):
            assert _after([number]) is None
    with _disposed(signal.SIGINT, signal.SIG_IGN):
        assert _after([signal.SIGINT]) == "SIGINT"


@pytest.mark.parametrize(
    "signals",
    [
        (signal.SIGHUP, signal.SIGHUP),
        (signal.SIGUSR1, signal.SIGTERM),
        (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2),
    ],
)
def test_a_closing_terminal_or_a_clusters_warning_is_no_impatience(signals: Sequence[signal.Signals]) -> None:
    assert _after(signals) == signals[0].name


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)]
)
def test_a_second_insistent_signal_ends_a_run_at_once_but_not_in_the_background(
    signals: Sequence[signal.Signals],
) -> None:
    with pytest.raises(KeyboardInterrupt):
        _after(signals)
    assert _after(signals, patient=True) == signals[0].name


def test_the_heart_beats_while_images_are_decoded_and_features_are_computed(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both may take minutes before the first step."""
    tasks: list[str] = []
    beats: set[str] = set()

    class Watching(Recorder):
        def progress(self, task: str, done: int, total: int) -> None:
            tasks.append(task)

    monkeypatch.setattr(interrupt_module, "BEAT_SECONDS", 0.0)
    monkeypatch.setattr(Tenure, "beat", lambda tenure: beats.add(tasks[-1]))
    assert train(tiny(HEAD, sample), tmp_path, recorder=Watching()).outcome.code == 0
    assert {"decode labelled and validation images", "decode the test images"} <= beats
    assert {"features of the labelled images", "features of the test images"} <= beats
