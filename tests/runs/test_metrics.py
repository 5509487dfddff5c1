"""The metrics file: appended, torn, read piece by piece."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from tests.runs.making import epoch
from workbench.runs.events import (
    ConfusionSeen,
    Event,
    Message,
    PoolTaught,
    RanksSeen,
    Resumed,
    RoundLabelled,
    StageStarted,
    StepDone,
)
from workbench.runs.metrics import MetricsWriter, Tee, read_events

ALL_KINDS: list[Event] = [
    StageStarted("teacher", 0, 5, 30, 0, False),
    StepDone("teacher", 0, 1, 10, 2.5, 1e-3, 88.0, 2**30),
    epoch(1),
    ConfusionSeen("fit", 0, 1, [[1, 2], [3, 4]]),
    RoundLabelled(1, 100, 20, None, 0.5, 3, 0.91, [10, 10], [0] * 20),
    RanksSeen("fit", 0, 1, [9.5, 8.25], [2**30, 2**31]),
    PoolTaught("student", 1, 1, 90, 0.5, None, 0.4, [0.9]),
    Resumed("fit", 0, 1, 10),
    Message("warning", "two\nlines, \x1b[31mred and a \u2028"),
]


def test_every_kind_of_event_comes_back_as_it_was(tmp_path: Path) -> None:
    assert {type(event) for event in ALL_KINDS} == set(get_args(Event))
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for event in ALL_KINDS:
            writer.event(event)
    tail = read_events(path)
    assert [record.event for record in tail.records] == ALL_KINDS
    assert (tail.offset, tail.skipped) == (path.stat().st_size, 0)
    assert all(record.time > 1.7e9 for record in tail.records)


def test_a_loss_that_is_no_number_is_valid_json_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        writer.event(StepDone("fit", 0, 1, 1, math.nan, math.inf, -math.inf, 0))
    json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    event = read_events(path).records[0].event
    assert isinstance(event, StepDone)
    assert math.isnan(event.loss)
    assert (event.learning_rate, event.images_per_second) == (math.inf, -math.inf)


def test_reading_goes_on_from_the_offset_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        writer.event(epoch(1))
        first = read_events(path)
        writer.event(epoch(2))
        whole = path.read_bytes()
        path.write_bytes(whole[:-10])
        assert read_events(path, first.offset).records == []
        assert read_events(path, first.offset).offset == first.offset
        path.write_bytes(whole)
        second = read_events(path, first.offset)
    assert [record.event for record in second.records] == [epoch(2)]
    assert read_events(path, second.offset).records == []


def test_a_writer_killed_in_the_middle_of_a_line_costs_only_that_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    program = (
        "import os, signal, sys; from pathlib import Path; from workbench.runs.metrics import MetricsWriter\n"
        "from workbench.runs.events import Message\n"
        "writer = MetricsWriter(Path(sys.argv[1])); writer.event(Message('info', 'before'))\n"
        'os.write(writer._file, b\'{"t":1,"kind":"epo\'); os.kill(os.getpid(), signal.SIGKILL)'
    )
    killed = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with MetricsWriter(path) as resumed:
        resumed.event(Message("info", "after"))
    tail = read_events(path)
    assert [record.event for record in tail.records] == [Message("info", "before"), Message("info", "after")]
    assert tail.skipped == 1


def test_a_write_cut_short_by_a_full_disk_is_closed_off_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "metrics.jsonl"
    real_write = os.write
    pieces = iter([5])

    def full(file: int, data: bytes) -> int:
        length = next(pieces, None)
        if length is None:
            raise OSError(errno.ENOSPC, "no space left")
        return real_write(file, data[:length])

    with MetricsWriter(path) as writer:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match="no space"):
            writer.event(epoch(1))
        monkeypatch.setattr(os, "write", real_write)
        writer.event(epoch(2))
    tail = read_events(path)
    assert [record.event for record in tail.records] == [epoch(2)]
    assert tail.skipped == 1


def test_lines_that_are_no_events_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    strange = [
        b"{",
        b"[]",
        b"null",
        b"[" * 5000,
        b'{"kind":"epoch"}',
        b'{"t":1,"kind":"from the future","x":1}',
        b'{"t":1,"kind":["epoch"]}',
        b'{"t":"x","kind":"message","level":"info","text":""}',
        b"\xff\xfe",
    ]
    path.write_bytes(b"\n".join(strange) + b"\n\n")
    tail = read_events(path)
    assert (tail.records, tail.skipped) == ([], len(strange))


def test_fields_of_a_newer_version_do_not_hide_an_event(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"t": 1, "kind": "message", "level": "info", "text": "hello", "colour": "red"}\n')
    assert read_events(path).records[0].event == Message("info", "hello")


def test_only_the_kinds_asked_for_are_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for event in ALL_KINDS:
            writer.event(event)
    with path.open("a") as stream:
        stream.write('{"kind": "message", "t": 1, "level": "info", "text": "spaced by another writer"}\n')
    tail = read_events(path, kinds=("epoch",))
    assert [record.event.kind for record in tail.records] == ["epoch"]
    assert (tail.offset, tail.skipped) == (path.stat().st_size, 0)


def test_a_file_that_is_not_there_has_no_events(tmp_path: Path) -> None:
    assert read_events(tmp_path / "none.jsonl").records == []


def test_a_tee_tells_everyone_in_order(tmp_path: Path) -> None:
    one, two = MetricsWriter(tmp_path / "1"), MetricsWriter(tmp_path / "2")
    both = Tee(one, two)
    both.event(epoch(1))
    both.progress("epoch", 1, 2)
    assert read_events(tmp_path / "1").records[0].event == read_events(tmp_path / "2").records[0].event
    one.close()
    two.close()


def test_an_event_with_a_changed_digit_is_none(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    with MetricsWriter(path) as writer:
        for text in ("10", "11"):
            writer.event(Message("info", text))
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"10"', b'"18"'))
    tail = read_events(path)
    assert ([record.event for record in tail.records], tail.skipped) == ([Message("info", "11")], 1)
