"""Sweeps carried out with real, tiny runs, each trained in this process as a worker would."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from PIL import Image

from tests.jobs.pool_here import train_here
from tests.runs.making import any_data, sleeping
from tests.train.making import HEAD, places, recipe_text, tiny, train
from workbench.dataset import open_catalogue
from workbench.dataset.run_data import DataNow
from workbench.jobs.sweep import Ended, Task, carry_out
from workbench.jobs.worker_pool import Order
from workbench.recipe import dump_recipe
from workbench.recipe.sweep import Sweep, parse_sweep
from workbench.runs.attempt_control import write_control
from workbench.runs.index import list_runs
from workbench.runs.layout import RunDirectory, create_run, run_directories
from workbench.runs.process import write_process
from workbench.runs.results import read_results
from workbench.runs.seed_groups import group_runs
from workbench.runs.status import RunStatus, status_of
from workbench.runs.summary import RunSummary
from workbench.runs.sweeps import PRUNED, best_point, epochs_done, find_runs, points_of
from workbench.support.digests import SUMS
from workbench.train.worker import train_run

RATES = '[sweep]\n"optimizer.learning_rate" = [1e-5, 1e-3, 1e-2, 3e-2]\n'
HALVING = "prune = { epochs = 1, keep = 0.5 }\n"


class Carried:
    """A sweep under one home; `go` carries it out and returns the tasks that were trained."""

    def __init__(self, sample: Path, home: Path, table: str) -> None:
        self.home = home
        self.sweep: Sweep = parse_sweep(recipe_text(HEAD, sample) + table)
        self.ended: list[Ended] = []
        self.said: list[str] = []

    def go(self, *, retry: bool = False) -> list[Task]:
        tasks: list[Task] = []

        def train_them(those: Sequence[Task]) -> None:
            tasks.extend(those)
            self.train(those)

        data = DataNow(self.home / "data", self.said.append)
        carry_out(self.sweep, self.home / "runs", train_them, data, retry=retry, say=lambda _: None)
        return tasks

    def train(self, tasks: Sequence[Task]) -> None:
        """As a pool of one worker would."""
        train_here(tasks, places(self.home), self.ended.append)

    def runs(self) -> dict[str, RunSummary]:
        """Point -> its run, of the sweep as written."""
        found = points_of(self.sweep.runs, find_runs(self.home / "runs", self.sweep.runs, any_data))
        return {point.name: point.runs[0] for point in found if point.runs[0] is not None}


def test_a_sweep_trains_what_is_missing_and_nothing_twice(sample: Path, tmp_path: Path) -> None:
    carried = Carried(sample, tmp_path, "[sweep]\nseeds = 2\n")
    train(carried.sweep.runs[1].recipe, tmp_path)
    assert [task.recipe.seed for task in carried.go()] == [0]
    assert carried.go() == []
    assert len(run_directories(tmp_path / "runs")) == 2
    assert all(run.status is RunStatus.FINISHED for run in carried.runs().values())


def test_runs_on_other_pictures_are_no_runs_of_the_sweep_and_that_is_said(
    sample: Path, tmp_path: Path
) -> None:
    data = tmp_path / "set"
    shutil.copytree(sample, data)
    carried = Carried(data, tmp_path, "[sweep]\nseeds = 2\n")
    carried.go()
    assert carried.said == []
    newest = run_directories(tmp_path / "runs")[0].id  # runs of one second are listed by name
    path = sorted((data / "images").iterdir())[3]
    content = path.read_bytes()
    Image.new("RGB", (64, 64), "green").save(path)
    assert [task.is_new for task in carried.go()] == [True, True]
    (line,) = carried.said
    assert (
        line
        == f"the images of {data} have changed: trained on others, 2 runs ({newest}, …) do not count as done"
    )
    assert carried.go() == []  # those of the new pictures are done
    path.write_bytes(content)
    assert carried.go() == []  # and so are the old ones, once theirs are back
    groups = group_runs(list_runs(tmp_path / "runs"))
    assert [len(group.counted) for group in groups] == [2, 2]  # four numbers, two experiments


def test_runs_that_cannot_be_compared_count_and_that_is_said(sample: Path, tmp_path: Path) -> None:
    data = tmp_path / "set"
    shutil.copytree(sample, data)
    carried = Carried(data, tmp_path, "[sweep]\nseeds = 3\n")
    carried.go()
    _, older, gone = (run.provenance for run in run_directories(tmp_path / "runs"))
    by_name = open_catalogue(carried.sweep.runs[0].recipe.data, data_home=tmp_path).fingerprint_by_name
    written = re.sub('data_fingerprint = ".*"', f'data_fingerprint = "{by_name}"', older.read_text())
    older.write_text(written)
    (older.parent / SUMS).unlink()
    gone.unlink()
    assert carried.go() == []
    assert [re.sub(r"\(\S+\)", "(ID)", line) for line in carried.said] == [
        "1 runs (ID) count as done by the names, sizes and lengths of their images alone: they "
        "began before petbench told pictures apart by their content",
        "1 runs (ID) count as done; their images cannot be compared with today's",
    ]
    shutil.rmtree(data)
    carried.said.clear()
    assert carried.go() == []
    (line,) = carried.said
    assert line.startswith("3 runs (")
    assert line.endswith("cannot be compared with today's")


def test_halving_parks_the_worse_half_and_the_others_end_as_if_never_parked(
    sample: Path, tmp_path: Path
) -> None:
    carried = Carried(sample, tmp_path, RATES + HALVING)
    carried.go()
    runs = carried.runs()
    finished = {name for name, run in runs.items() if run.status is RunStatus.FINISHED}
    pruned = {name for name, run in runs.items() if PRUNED in run.tags}
    assert len(finished) == 1  # of three epochs, the looks come after the first and the second
    assert pruned == set(runs) - finished
    assert sorted(epochs_done(runs[name].run) for name in pruned) == [1, 1, 2]
    assert runs[next(iter(pruned))].reason == "paused"
    (name,) = finished
    rate = name.partition("=")[2]
    alone = train(tiny(HEAD, sample, f"optimizer.learning_rate={rate}"), tmp_path / "alone")
    assert read_results(runs[name].run.results).weights_sha256 == alone.results.weights_sha256


def test_a_pruned_sweep_that_is_run_again_trains_nothing(sample: Path, tmp_path: Path) -> None:
    carried = Carried(sample, tmp_path, RATES + HALVING)
    assert len(carried.go()) == 4 + 2 + 1
    assert carried.go() == []


def test_the_finer_search_follows_the_best_by_validation(sample: Path, tmp_path: Path) -> None:
    refine = 'refine = { key = "optimizer.learning_rate", steps = 1 }\n'
    carried = Carried(sample, tmp_path, RATES.replace("1e-5, ", "") + refine)
    tasks = carried.go()
    best = best_point(
        points_of(carried.sweep.runs, find_runs(tmp_path / "runs", carried.sweep.runs, any_data))
    )
    assert best is not None
    finer = [run.recipe.optimizer.learning_rate for run in carried.sweep.around(best.name)]
    assert [task.recipe.optimizer.learning_rate for task in tasks[3:]] == finer
    assert carried.go() == []


def test_a_failed_run_stops_no_other_and_is_tried_again_when_asked(sample: Path, tmp_path: Path) -> None:
    runaway = """[sweep.cases.runaway]
optimizer.name = "sgd"
optimizer.learning_rate = 10.0
optimizer.weight_decay = 10.0
training.epochs = 20
[sweep.cases.sound]
training.epochs = 1
"""
    carried = Carried(sample, tmp_path, runaway)
    carried.go()
    failed = [ended for ended in carried.ended if ended.code == 1]
    assert len(failed) == 1
    assert "loss" in failed[0].reason
    assert len(carried.ended) == 2
    assert carried.go() == []
    assert len(carried.go(retry=True)) == 1


def test_a_point_that_another_process_has_or_has_trained_is_left_to_it(sample: Path, tmp_path: Path) -> None:
    carried = Carried(sample, tmp_path, "[sweep]\nseeds = 2\n")
    home = tmp_path / "runs"
    elsewhere = [run.recipe for run in carried.sweep.runs]
    tasks = [Task(recipe, home, any_data) for recipe in elsewhere]  # decided before the others began
    train(elsewhere[0], tmp_path)
    live = create_run(home, "live", dump_recipe(elsewhere[1]), datetime.now())
    rival = subprocess.Popen(sleeping(live))
    try:
        write_process(live, "cpu", pid=rival.pid)
        carried.train(tasks)
    finally:
        rival.kill()
        rival.wait()
    assert len(run_directories(home)) == 2
    assert [ended.elsewhere.partition(" ")[0] for ended in carried.ended] == ["another", "another"]
    assert [ended.code for ended in carried.ended] == [0, 0]


def test_whoever_looks_once_a_start_is_let_go_sees_that_the_run_is_under_way(
    sample: Path, tmp_path: Path
) -> None:
    carried = Carried(sample, tmp_path, "[sweep]\nseeds = 1\n")
    (run,) = (Task(one.recipe, tmp_path / "runs", any_data).begun() for one in carried.sweep.runs)
    assert isinstance(run, RunDirectory)
    seen: list[RunStatus] = []
    train_run(
        Order(str(run.path), True, 0, 1), places(tmp_path), on_claim=lambda: seen.append(status_of(run))
    )
    assert seen == [RunStatus.LIVE]


def test_a_run_that_is_about_to_end_elsewhere_is_waited_for_and_gone_on_with(
    sample: Path, tmp_path: Path
) -> None:
    carried = Carried(sample, tmp_path, "[sweep]\nseeds = 1\n")
    (one,) = carried.sweep.runs
    live = create_run(tmp_path / "runs", "live", dump_recipe(one.recipe), datetime.now())
    rival = subprocess.Popen(sleeping(live))
    task = Task(one.recipe, tmp_path / "runs", any_data)
    try:
        claimed = write_process(live, "cpu", pid=rival.pid)
        write_control(live, "stop", claimed.attempt, grace_seconds=1)
        assert task.begun(is_patient=True) is None
        given_up = task.begun()
        assert isinstance(given_up, Ended)
        assert "stopping" in given_up.elsewhere
        assert [len(carried.go()), given_up.run] == [1, live]  # it is no reason to leave the point out
    finally:
        rival.kill()
        rival.wait()
    assert task.begun(is_patient=True) == live
