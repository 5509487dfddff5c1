"""A run that was killed, stopped or hit by a damaged disk, and resumed, ends as if nothing had been."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.train.making import HEAD, PSEUDO, TRUNK, recipe_text, tiny, train
from tests.train.processes import Ended, Moment, Petbench, only_run, petbench
from workbench.runs.attempt_control import STOP_SIGNALS
from workbench.runs.events import EpochDone, Event, StepDone
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import read_events
from workbench.runs.process import read_exit
from workbench.runs.results import Results, read_results
from workbench.runs.run_history import read_history
from workbench.support.digests import SUMS
from workbench.train.ensemble import candidates, choose, make_ensemble

OFTEN = "checkpoint_seconds = 0\n"
"""In [training]: a checkpoint after every step."""

FEATURES_RUN = HEAD + OFTEN + "ema = 0.9\n" + PSEUDO
TRUNK_RUN = (
    TRUNK
    + OFTEN
    + """
[pseudo_label]
labelled_fraction = 0.5
strategy = "one_shot"
epochs_per_round = 2
noise = { policy = "rand", dropout = 0.5 }
"""
)
PROBE_RUN = TRUNK.replace('layers = "all"', 'layers = "all"\nprobe_epochs = 2') + OFTEN


@dataclass(frozen=True)
class Undisturbed:
    """A recipe, and what it comes to when nothing happens."""

    recipe: Path
    results: Results
    history: list[Event]
    seconds: float
    checkpoints: int


def _undisturbed(home: Path, text: str, sample: Path) -> Undisturbed:
    home.mkdir()
    recipe = home / "recipe.toml"
    recipe.write_text(recipe_text(text, sample))
    started = time.monotonic()
    ended = petbench("run", str(recipe), home=home)
    assert ended.code == 0, ended.output
    seconds = time.monotonic() - started
    run = only_run(home)
    steps = (run.metrics.read_text()).count('"kind":"step"')
    return Undisturbed(recipe, read_results(run.results), _told(run), seconds, steps)


@pytest.fixture(scope="module")
def on_features(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Teacher and two students, heads on cached features, with an average of the weights."""
    return _undisturbed(tmp_path_factory.mktemp("features") / "home", FEATURES_RUN, sample)


@pytest.fixture(scope="module")
def through_trunk(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Teacher and noised student through the trunk: augmentation, dropout, average, Adam, cosine."""
    return _undisturbed(tmp_path_factory.mktemp("trunk") / "home", TRUNK_RUN, sample)


@pytest.fixture(scope="module")
def from_probe(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A probe on cached features, then a fit through the trunk that may fall back on it."""
    return _undisturbed(tmp_path_factory.mktemp("probe") / "home", PROBE_RUN, sample)


@pytest.fixture(scope="module")
def ensemble(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """Two finished runs as one model, on the labels of `PSEUDO`."""
    home = tmp_path_factory.mktemp("ensemble")
    runs = [train(tiny(HEAD + PSEUDO, sample, f"seed={seed}"), home).directory for seed in (0, 1)]
    return make_ensemble(home / "runs", "pair", choose(candidates(runs), "all"), [])


@pytest.fixture(scope="module")
def taught_by_runs(
    ensemble: RunDirectory, sample: Path, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """Two students, taught by an ensemble in place of a teacher of their own."""
    teacher = f'teacher = ["{ensemble.path}"]\ntargets = "soft"\n'
    home = tmp_path_factory.mktemp("taught") / "home"
    return _undisturbed(home, HEAD + OFTEN + PSEUDO + teacher, sample)


def _resume(home: Path, moment: Moment | None = None) -> Ended:
    return petbench("resume", "latest", home=home, moment=moment)


def _assert_as_undisturbed(home: Path, expected: Undisturbed) -> None:
    ended = _resume(home)
    assert ended.code == 0, ended.output
    found = read_results(only_run(home).results)
    assert found.weights_sha256 == expected.results.weights_sha256
    assert _timeless(found) == _timeless(expected.results)
    assert _told(only_run(home)) == expected.history
    events = [record.event for record in read_events(only_run(home).metrics).records]
    speeds = [event.images_per_second for event in events if isinstance(event, EpochDone | StepDone)]
    assert max(*speeds, found.images_per_second) < 1e6  # also of an epoch that was almost over when resumed


def _told(run: RunDirectory) -> list[Event]:
    """What the record tells of stages, rounds and epochs, less how long they took."""
    history = read_history(run.metrics)
    return [
        replace(event, seconds=0.0, images_per_second=0.0) if isinstance(event, EpochDone) else event
        for event in (*history.events, *history.tests)
    ]


def _timeless(results: Results) -> Results:
    """What does not depend on how long things took."""
    return replace(results, training_seconds=0.0, images_per_second=0.0, peak_memory_bytes=0)


EVERY_KIND_OF_MOMENT = [
    Moment("process.json"),
    Moment("pixels.npy"),
    Moment("split.json"),
    Moment("provenance.toml"),
    Moment("checksums.npy", 2),
    Moment("000001.sha256"),
    Moment("000001.safetensors"),
    Moment("000002.safetensors"),
    Moment("round-01.csv"),
    Moment("unlabelled-01.npz"),
    Moment("unlabelled-02.npz"),
    Moment("teacher-test.npz"),
    Moment("teacher.safetensors"),
    Moment("test.npz"),
    Moment("final.safetensors"),
    Moment("results.toml"),
    Moment("exit.json"),
]


@pytest.mark.slow
@pytest.mark.parametrize("moment", EVERY_KIND_OF_MOMENT, ids=lambda m: f"{m.name}-{m.occurrence}")
def test_a_run_killed_at_any_kind_of_moment_and_resumed_gives_the_same_weights(
    moment: Moment, on_features: Undisturbed, tmp_path: Path
) -> None:
    ended = petbench("run", str(on_features.recipe), home=tmp_path, moment=moment)
    assert ended.code == -signal.SIGKILL, ended.output
    _assert_as_undisturbed(tmp_path, on_features)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.0, 0.45, 0.95])
def test_a_run_through_the_trunk_killed_at_a_checkpoint_and_resumed_gives_the_same_weights(
    place: float, through_trunk: Undisturbed, tmp_path: Path
) -> None:
    moment = Moment("0*.safetensors", 1 + int(place * through_trunk.checkpoints))
    ended = petbench("run", str(through_trunk.recipe), home=tmp_path, moment=moment)
    assert ended.code == -signal.SIGKILL, ended.output
    _assert_as_undisturbed(tmp_path, through_trunk)


@pytest.mark.slow
@pytest.mark.parametrize("occurrence", [4, 12, 14, 20])
def test_a_run_killed_in_the_probe_or_after_it_and_resumed_gives_the_same_weights(
    occurrence: int, from_probe: Undisturbed, tmp_path: Path
) -> None:
    moment = Moment("0*.safetensors", occurrence)
    ended = petbench("run", str(from_probe.recipe), home=tmp_path, moment=moment)
    assert ended.code == -signal.SIGKILL, ended.output
    _assert_as_undisturbed(tmp_path, from_probe)


@pytest.mark.slow
@pytest.mark.parametrize(
    "moment",
    [
        Moment("teacher-pool.npz"),
        Moment("teacher-test.npz"),
        Moment("teachers.toml"),
        Moment("000001.safetensors"),
        Moment("000005.safetensors"),
        Moment("round-02.csv"),
        Moment("final.safetensors"),
        Moment("results.toml"),
    ],
    ids=lambda m: m.name,
)
def test_a_run_that_an_ensemble_teaches_killed_and_resumed_gives_the_same_weights(
    moment: Moment, taught_by_runs: Undisturbed, tmp_path: Path
) -> None:
    ended = petbench("run", str(taught_by_runs.recipe), home=tmp_path, moment=moment)
    assert ended.code == -signal.SIGKILL, ended.output
    _assert_as_undisturbed(tmp_path, taught_by_runs)


@pytest.mark.slow
def test_a_run_killed_amid_its_student_needs_the_ensemble_that_taught_it_no_more(
    taught_by_runs: Undisturbed, ensemble: RunDirectory, tmp_path: Path
) -> None:
    moment = Moment("0*.safetensors", 1 + taught_by_runs.checkpoints // 2)
    ended = petbench("run", str(taught_by_runs.recipe), home=tmp_path, moment=moment)
    assert ended.code == -signal.SIGKILL, ended.output
    away = ensemble.path.with_name("away")
    ensemble.path.rename(away)
    try:
        _assert_as_undisturbed(tmp_path, taught_by_runs)
    finally:
        away.rename(ensemble.path)


@pytest.mark.slow
def test_a_run_killed_again_and_again_still_gets_there(through_trunk: Undisturbed, tmp_path: Path) -> None:
    ended = petbench("run", str(through_trunk.recipe), home=tmp_path, moment=Moment("0*.safetensors", 6))
    attempts = 1
    while ended.code == -signal.SIGKILL:
        ended = _resume(tmp_path, Moment("0*.safetensors", 6))
        attempts += 1
    assert ended.code == 0, ended.output
    assert attempts > 3
    _assert_as_undisturbed(tmp_path, through_trunk)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("base", ["on_features", "through_trunk"])
def test_a_run_killed_at_random_moments_and_resumed_gives_the_same_weights(
    base: str, seed: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    expected: Undisturbed = request.getfixturevalue(base)
    clock = random.Random(f"{base} {seed}")
    first = Petbench("run", str(expected.recipe), home=tmp_path)
    # Before its directory is there, nothing has begun that could be resumed.
    first.wait_until(lambda: any((tmp_path / "runs").glob("*/process.json")))
    time.sleep(clock.uniform(0, expected.seconds))
    first.kill()
    first.wait()
    second = Petbench("resume", "latest", home=tmp_path)
    time.sleep(clock.uniform(0, expected.seconds))
    second.kill()
    second.wait()
    _assert_as_undisturbed(tmp_path, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("000003.safetensors", number) for number in STOP_SIGNALS),
        ("pixels.npy", signal.SIGHUP),
        ("checksums.npy", signal.SIGTERM),
        ("round-01.csv", signal.SIGINT),
        ("test.npz", signal.SIGUSR1),
        ("test.npz", signal.SIGINT),
    ],
)
def test_a_signal_stops_a_run_which_can_be_resumed(
    name: str, number: signal.Signals, on_features: Undisturbed, tmp_path: Path
) -> None:
    moment = Moment(name, signals=(number,))
    ended = petbench("run", str(on_features.recipe), home=tmp_path, moment=moment)
    run = only_run(tmp_path)
    if name == "test.npz":  # too late to stop: nothing is left to be done
        assert ended.code == 0
    else:
        assert ended.code == 130, ended.output
        record = read_exit(run)
        assert record is not None
        assert (record.code, record.signal, record.reason) == (130, number, f"stopped by {number.name}")
        saved = any(run.checkpoint.glob("0*.safetensors"))
        then = "goes on from the last checkpoint" if saved else "begins anew: there is no checkpoint yet"
        assert f"petbench resume {run.handle} {then}" in " ".join(ended.output.split())
        assert "Traceback" not in ended.output
    _assert_as_undisturbed(tmp_path, on_features)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0.1, 0.5, 0.8])
def test_a_signal_amid_training_through_the_trunk_keeps_every_step(
    place: float, through_trunk: Undisturbed, tmp_path: Path
) -> None:
    occurrence = 1 + int(place * through_trunk.checkpoints)
    moment = Moment("0*.safetensors", occurrence, (signal.SIGTERM,))
    ended = petbench("run", str(through_trunk.recipe), home=tmp_path, moment=moment)
    assert ended.code == 130, ended.output
    steps = only_run(tmp_path).metrics.read_text().count('"kind":"step"')
    _assert_as_undisturbed(tmp_path, through_trunk)
    after = only_run(tmp_path).metrics.read_text().count('"kind":"step"')
    assert after == through_trunk.checkpoints, f"{steps} before the signal"


def test_a_second_signal_ends_a_run_at_once_without_rubbish(on_features: Undisturbed, tmp_path: Path) -> None:
    moment = Moment("000003.safetensors", signals=(signal.SIGTERM, signal.SIGINT))
    ended = petbench("run", str(on_features.recipe), home=tmp_path, moment=moment)
    assert ended.code == 130, ended.output
    assert "stopped at once by a second signal" in ended.output
    run = only_run(tmp_path)
    assert [path.name for path in run.checkpoint.iterdir() if path.name.startswith(".")] == []
    record = read_exit(run)
    assert record is not None
    assert record.code == 130
    _assert_as_undisturbed(tmp_path, on_features)


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _lose_the_hash(path: Path) -> None:
    path.with_suffix(".sha256").unlink()


@pytest.mark.slow
@pytest.mark.parametrize("damage", [_flip_a_bit, _cut_short, _lose_the_hash])
@pytest.mark.parametrize("both", [False, True], ids=["newest", "both"])
def test_a_damaged_checkpoint_costs_time_but_changes_nothing(
    damage: Callable[[Path], None], both: bool, on_features: Undisturbed, tmp_path: Path
) -> None:
    petbench("run", str(on_features.recipe), home=tmp_path, moment=Moment("000009.safetensors"))
    older, newest = sorted(only_run(tmp_path).checkpoint.glob("0*.safetensors"))
    damage(newest)
    if both:
        damage(older)
    ended = _resume(tmp_path)
    assert ended.code == 0, ended.output
    said = " ".join(ended.output.split())
    assert ("the run begins anew" if both else "using the checkpoint before it") in said
    _assert_as_undisturbed(tmp_path, on_features)


@pytest.mark.slow
def test_ctrl_c_on_a_process_started_by_hand_and_resume(
    on_features: Undisturbed, sample: Path, tmp_path: Path
) -> None:
    """The whole way once, with nothing prepared: a new interpreter, signals from outside."""
    long = on_features.recipe.read_text().replace("epochs = 3\n", "epochs = 3000\n")
    recipe = tmp_path / "long.toml"
    recipe.write_text(long)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PETBENCH_RUNS": str(tmp_path / "runs"),
        "PETBENCH_CACHE": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "workbench.cli.main"]
    process = subprocess.Popen(
        [*command, "run", str(recipe), "--device", "cpu"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while process.poll() is None and not list((tmp_path / "runs").glob("*/checkpoint/000005.safetensors")):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "stopped by SIGINT" in output
    run = only_run(tmp_path)
    assert json.loads(run.exit.read_text())["code"] == 130
    run.recipe.write_text(run.recipe.read_text().replace("epochs = 3000\n", "epochs = 3\n"))
    refused = subprocess.run(
        [*command, "resume", run.handle], env=environment, capture_output=True, text=True, check=False
    )
    assert refused.returncode == 2, refused.stderr
    assert "recipe.toml: it is not the file that was written" in refused.stderr
    (run.path / SUMS).unlink()  # on purpose
    again = subprocess.run(
        [*command, "resume", run.handle], env=environment, capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "petbench runs show" in again.stdout
    assert run.results.exists()
