"""The queue keeps its order and gives each device to the first in line, whoever dies meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs.making import make_run
from workbench.jobs.device import Device
from workbench.jobs.lease import Lease, holders, lease_if_free
from workbench.jobs.queue import join_queue, leave_queue, move_in_queue, queue_of, take_turn
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ProcessRecord, write_process
from workbench.runs.status import RunStatus
from workbench.runs.summary import summarise
from workbench.runs.waiting import jobs_home, position_of, read_waiting
from workbench.support.errors import UserError

pytestmark = pytest.mark.usefixtures("home")

CPU = Device("cpu", "CPU", "cpu", "")
GPUS = tuple(Device(f"cuda:{n}", "GPU", f"GPU-{n}", f"GPU-{n}") for n in range(3))
Start = Callable[..., subprocess.Popen[bytes]]


class Line:
    """Runs that wait, each with a process of its own in a supervisor's place."""

    def __init__(self, home: Path, start: Start) -> None:
        self._home = home / "runs"
        self._start = start
        self.processes: dict[str, tuple[ProcessRecord, subprocess.Popen[bytes]]] = {}
        self.places: dict[str, int] = {}

    def join(self, name: str, *wanted: Device, count: int = 1) -> RunDirectory:
        run = make_run(self._home, name)
        child = self._start(run)
        process = write_process(run, "auto", pid=child.pid, role="waiting")
        self.processes[run.id] = (process, child)
        self.places[run.id] = join_queue(run, process, "auto", wanted or (CPU,), count)
        return run

    def turn(self, run: RunDirectory, *wanted: Device, count: int = 1) -> Lease | int:
        return take_turn(run, self.processes[run.id][0], "auto", wanted or (CPU,), count)

    def die(self, run: RunDirectory) -> None:
        child = self.processes[run.id][1]
        child.kill()
        child.wait()


@pytest.fixture
def line(home: Path, sleeper: Start) -> Line:
    return Line(home, sleeper)


def _order() -> list[str]:
    return [entry.path.name.split("-")[2] for entry in queue_of()]


def _leased(turn: Lease | int) -> Lease:
    assert isinstance(turn, Lease)
    return turn


def test_the_first_in_line_gets_the_device_and_the_others_move_up(line: Line) -> None:
    first, second, third = (line.join(name) for name in ("a", "b", "c"))
    assert line.turn(second) == 2
    lease = _leased(line.turn(first))
    assert _order() == ["b", "c"]
    assert line.turn(second) == 1
    assert [entry.position for entry in queue_of()] == [1, 2]
    lease.release()
    assert line.turn(third) == 2
    _leased(line.turn(second)).release()


def test_a_run_is_told_its_place_when_it_joins(line: Line, home: Path) -> None:
    places = []
    for name in ("a", "b", "c"):
        run = make_run(home / "runs", name)
        process = write_process(run, "cpu", role="waiting")
        places.append(join_queue(run, process, "cpu", (CPU,)))
    assert places == [0, 1, 2]


def test_a_run_for_another_device_overtakes_one_that_waits_for_a_taken_device(line: Line) -> None:
    holder = line.join("holder", GPUS[0])
    lease = _leased(line.turn(holder, GPUS[0]))
    waits = line.join("waits", GPUS[0])
    other = line.join("other", GPUS[1])
    assert line.turn(waits, GPUS[0]) == 1
    _leased(line.turn(other, GPUS[1])).release()
    lease.release()


def test_no_run_overtakes_one_that_could_use_the_same_device(line: Line) -> None:
    first = line.join("first", *GPUS)
    second = line.join("second", GPUS[1])
    assert line.turn(second, GPUS[1]) == 2
    lease = _leased(line.turn(first, *GPUS))
    assert lease.devices == GPUS[:1]
    _leased(line.turn(second, GPUS[1])).release()
    lease.release()


def test_the_place_of_a_supervisor_that_died_is_free(line: Line) -> None:
    first, second, third = (line.join(name) for name in ("a", "b", "c"))
    line.die(first)
    assert _order() == ["b", "c"]
    assert line.turn(third) == 3
    lease = _leased(line.turn(second))
    assert [entry.run.id for entry in read_waiting()] == [third.id]
    lease.release()


def test_a_pid_used_again_keeps_no_place(line: Line) -> None:
    first, second = line.join("a"), line.join("b")
    path = jobs_home() / "queue.json"
    rows = json.loads(path.read_text())
    rows[0]["start_ticks"] -= 1
    path.write_text(json.dumps(rows))
    assert _order() == ["b"]
    _leased(line.turn(second)).release()
    assert first.id not in [entry.run.id for entry in read_waiting()]


@pytest.mark.parametrize(
    ("position", "order"),
    [(1, ["c", "a", "b"]), (2, ["a", "c", "b"]), (3, ["a", "b", "c"]), (99, ["a", "b", "c"])],
)
def test_a_waiting_run_can_be_given_another_place(line: Line, position: int, order: list[str]) -> None:
    *_, last = (line.join(name) for name in ("a", "b", "c"))
    move_in_queue(last, position)
    assert _order() == order


def test_a_moved_run_starts_in_its_new_order(line: Line) -> None:
    first, second = line.join("a"), line.join("b")
    move_in_queue(second, 1)
    assert line.turn(first) == 2
    _leased(line.turn(second)).release()


def test_only_a_run_that_waits_can_be_moved(line: Line, home: Path) -> None:
    with pytest.raises(UserError, match="does not wait"):
        move_in_queue(make_run(home / "runs"), 1)
    with pytest.raises(UserError, match="no position 0"):
        move_in_queue(line.join("a"), 0)


def test_leaving_closes_the_gap(line: Line) -> None:
    runs = [line.join(name) for name in ("a", "b", "c")]
    leave_queue(runs[1])
    leave_queue(runs[1])
    assert _order() == ["a", "c"]
    assert position_of(runs[2]) == 2
    assert position_of(runs[1]) is None


def test_a_summary_tells_the_place_of_a_queued_run(line: Line) -> None:
    line.join("a")
    summary = summarise(line.join("b"))
    assert (summary.status, summary.queue_position) == (RunStatus.QUEUED, 2)


def test_the_queue_of_one_runs_home_keeps_the_places_of_the_whole(line: Line, home: Path) -> None:
    line.join("a")
    elsewhere = make_run(home / "other", "b")
    process = write_process(elsewhere, "cpu", role="waiting")
    join_queue(elsewhere, process, "cpu", (CPU,))
    assert [(entry.run_id, entry.position) for entry in queue_of(home / "other")] == [(elsewhere.id, 2)]


@given(st.binary(max_size=200) | st.sampled_from([b"[{}]", b"{}", b"[1]", b"null", b"[" * 5000]))
def test_a_damaged_queue_is_empty(content: bytes) -> None:
    jobs_home().mkdir(parents=True, exist_ok=True)
    (jobs_home() / "queue.json").write_bytes(content)
    assert read_waiting() == () or content.strip() == b"[]"


def test_a_run_whose_entry_was_lost_waits_on_at_the_end(line: Line) -> None:
    lease = _leased(line.turn(line.join("holder")))
    first, second = line.join("a"), line.join("b")
    (jobs_home() / "queue.json").write_text("rubbish")
    assert [line.turn(second), line.turn(first)] == [1, 2]
    assert _order() == ["b", "a"]
    lease.release()


def test_of_many_that_join_at_once_none_is_lost(line: Line) -> None:
    names = [f"r{n}" for n in range(12)]
    threads = [threading.Thread(target=line.join, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(_order()) == sorted(names)


def test_of_many_that_ask_at_once_each_device_goes_to_one_and_in_order(line: Line) -> None:
    runs = [line.join(f"r{n}") for n in range(8)]
    got: list[str] = []
    lock = threading.Lock()

    def ask(run: RunDirectory) -> None:
        while True:
            turn = line.turn(run)
            if isinstance(turn, Lease):
                with lock:
                    got.append(run.id)
                turn.release()
                return

    threads = [threading.Thread(target=ask, args=(run,)) for run in reversed(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [run.id for run in runs]


def test_of_two_that_want_two_devices_each_one_has_both_and_the_other_waits(line: Line) -> None:
    pair = GPUS[:2]
    first, second = (line.join(name, *pair, count=2) for name in ("a", "b"))
    assert [line.places[run.id] for run in (first, second)] == [0, 1]
    lease = _leased(line.turn(first, *pair, count=2))
    assert lease.devices == pair
    assert line.turn(second, *pair, count=2) == 1
    assert holders().keys() == {device.key for device in pair}
    assert [entry.words for entry in queue_of()] == ["2 of auto"]
    lease.release()
    _leased(line.turn(second, *pair, count=2)).release()


def test_one_that_waits_for_a_second_device_holds_none_and_is_not_overtaken_on_the_first(line: Line) -> None:
    single = _leased(line.turn(line.join("single", GPUS[0]), GPUS[0]))
    other = _leased(line.turn(line.join("other", GPUS[1]), GPUS[1]))
    both = line.join("both", *GPUS, count=2)
    late = line.join("late", *GPUS)
    assert [line.places[run.id] for run in (both, late)] == [1, 2]
    assert line.turn(both, *GPUS, count=2) == 1
    assert holders().keys() == {"GPU-0", "GPU-1"}, "GPU-2 is free, and no half of a claim"
    assert line.turn(late, *GPUS) == 2
    other.release()
    lease = _leased(line.turn(both, *GPUS, count=2))
    assert lease.devices == GPUS[1:]
    single.release()
    _leased(line.turn(late, *GPUS)).release()
    lease.release()


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_in_whatever_order_they_claim_each_gets_all_its_devices_at_once_and_none_waits_forever(
    data: st.DataObject,
) -> None:
    machine = GPUS[: data.draw(st.integers(1, 3), label="GPUs")]
    counts = data.draw(st.lists(st.integers(1, len(machine)), min_size=1, max_size=5), label="counts")
    with tempfile.TemporaryDirectory() as folder:
        waiting = {make_run(Path(folder), f"r{n}"): count for n, count in enumerate(counts)}
        processes = {run: write_process(run, "auto", role="waiting") for run in waiting}
        for run, count in waiting.items():
            join_queue(run, processes[run], "auto", machine, count)
        leases: list[Lease] = []
        try:
            while waiting or leases:
                order = data.draw(st.permutations(range(len(waiting))), label="claims")
                for run in [list(waiting)[place] for place in order]:
                    turn = take_turn(run, processes[run], "auto", machine, waiting[run])
                    if isinstance(turn, Lease):
                        leases.append(turn)
                        assert len(turn.devices) == waiting.pop(run)
                taken = [device for lease in leases for device in lease.devices]
                assert len(taken) == len(set(taken))
                assert leases, "all wait for each other"
                leases.pop(data.draw(st.integers(0, len(leases) - 1), label="ends")).release()
        finally:
            for lease in leases:
                lease.release()
            for run in waiting:
                leave_queue(run)
    assert read_waiting() == ()


def test_of_many_threads_that_want_two_of_three_devices_all_come_to_an_end(line: Line) -> None:
    runs = [line.join(f"r{n}", *GPUS, count=2) for n in range(6)]
    held: set[Device] = set()
    lock = threading.Lock()
    clashes: list[str] = []

    def ask(run: RunDirectory) -> None:
        while not isinstance(turn := line.turn(run, *GPUS, count=2), Lease):
            pass
        with lock:
            clashes.extend(device.name for device in turn.devices if device in held)
            held.update(turn.devices)
        with lock:
            held.difference_update(turn.devices)
        turn.release()

    threads = [threading.Thread(target=ask, args=(run,)) for run in reversed(runs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (clashes, read_waiting()) == ([], ())


HOLD = """
import sys, time
from pathlib import Path
from workbench.jobs.device import Device
from workbench.jobs.lease import try_lease
from workbench.runs.layout import RunDirectory
from workbench.runs.waiting import queue_lock
with queue_lock():
    lease = try_lease([Device("cpu", "CPU", "cpu", "")], RunDirectory(Path(sys.argv[1])))
print("held" if lease else "taken", flush=True)
time.sleep(600)
"""


def test_a_holder_that_is_killed_frees_its_device(line: Line, home: Path) -> None:
    held_by = make_run(home / "runs", "holder")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(held_by.path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        waits = line.join("waits")
        assert line.turn(waits) == 1
        found = holders()["cpu"]
        assert (found.run, found.pid) == (held_by, holder.pid)
        with lease_if_free([CPU], waits) as others:
            assert others == {CPU: found}
    finally:
        holder.kill()
        holder.communicate()
    assert holders() == {}
    _leased(line.turn(waits)).release()


def test_a_device_stays_taken_while_a_child_of_its_holder_lives(line: Line) -> None:
    lease = _leased(line.turn(line.join("parent")))
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=lease.descriptors
    )
    lease.release()
    assert "cpu" in holders()
    child.communicate(b"\n")
    assert holders() == {}


def test_a_run_in_the_foreground_takes_a_free_device_and_gives_it_back(home: Path) -> None:
    run = make_run(home / "runs")
    with lease_if_free([CPU], run) as others:
        assert others == {}
        assert holders()["cpu"].pid == os.getpid()
    assert holders() == {}


def test_without_a_place_for_leases_a_run_in_the_foreground_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("PETBENCH_STATE", str(home / "file"))
    with lease_if_free([CPU], make_run(home / "runs")) as others:
        assert others == {}
