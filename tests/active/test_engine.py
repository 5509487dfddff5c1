"""The engine as the screen has it: a process that is spoken to over pipes, and keeps nobody waiting."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.dataset.pictures import jpeg
from workbench.active.engine import Engine
from workbench.active.features import FolderFeatures
from workbench.labels.journal import NAME
from workbench.labels.protocol import (
    MODULE,
    Answer,
    Changed,
    Doubted,
    Failed,
    Learned,
    Offer,
    Offered,
    Progress,
    Quit,
    Request,
    SecondLook,
    answer_of,
    line_of,
)
from workbench.labels.strokes import Assign, Unusable, make_stroke
from workbench.support.identity import process_id

IMAGES = 30
PATIENCE = 600.0
"""Seconds: nothing is waited for longer, however slow the machine is."""


def is_ready(said: Answer) -> bool:
    """Whether all images have been looked at."""
    return isinstance(said, Progress) and said.phase == "ready"


class Process:
    """The engine, and all that it has said."""

    def __init__(self, folder: Path, cache: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(folder), "--image-size", "32", "--threads", "1", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PETBENCH_CACHE": str(cache)},
        )
        self.said: list[Answer] = []

    def say(self, *requests: Request) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(map(line_of, requests)))
        self.process.stdin.flush()

    def next(self, kind: type[object]) -> Answer:
        """Its next answer of this kind."""
        assert self.process.stdout is not None
        while line := self.process.stdout.readline():
            self.said.append(answer_of(line))
            if isinstance(self.said[-1], kind):
                return self.said[-1]
        raise AssertionError(f"it ended: {self.said[-3:]}")

    def until(self, there: Callable[[Answer], bool]) -> None:
        while not there(self.next(object)):
            pass

    def until_ready(self) -> None:
        self.until(is_ready)

    def offered(self, serial: int, **how: object) -> Offered:
        self.say(Offer(serial, **how))  # type: ignore[arg-type]
        said = self.next(Offered)
        assert isinstance(said, Offered)
        assert said.serial == serial
        return said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    home = tmp_path / "photos"
    (home / "below").mkdir(parents=True)
    for number in range(IMAGES):
        (home / ("below" if number % 5 == 0 else ".") / f"{number:02d}, a.jpg").write_bytes(jpeg(number))
    return home


@pytest.fixture
def engine(folder: Path, tmp_path: Path) -> Iterator[Process]:
    made = Process(folder, tmp_path / "cache")
    yield made
    made.process.kill()
    made.process.communicate()


def test_it_offers_at_once_learns_along_and_ends_with_its_requests(engine: Process, folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"no picture")
    first = engine.offered(1, most=4)
    assert first.random
    assert len({image.path for image in first.images}) == 4
    assert all((folder / image.path).is_file() for image in first.images)
    engine.until_ready()
    phases = [said.phase for said in engine.said if isinstance(said, Progress)]
    assert list(dict.fromkeys(phases)) == ["listing", "decoding", "features", "clusters", "ready"]

    journal = folder / NAME
    shown: set[str] = set()
    for serial in range(2, 9):
        offered = engine.offered(serial, most=3, skip=tuple(shown))
        paths = [image.path for image in offered.images]
        assert paths
        assert not shown & set(paths)
        assert "broken.jpg" not in paths
        shown |= set(paths)
        make_stroke(journal, Assign(paths, "cat" if serial % 2 else "dog"), "ann")
        engine.say(Changed())
    after = engine.offered(9, order="doubtful", most=2, group=False)
    assert all(image.guess in ("cat", "dog") and image.probability for image in after.images)
    engine.say(Changed())
    while not any(isinstance(a, Learned) and a.labels == len(shown) for a in engine.said):
        learned = engine.next(Learned)
        assert isinstance(learned, Learned)
        assert learned.classes <= 2
        engine.say(Changed())
    engine.say(SecondLook(5))
    doubted = engine.next(Doubted)
    assert isinstance(doubted, Doubted)
    assert all(one.label != one.guess for one in doubted.images)

    engine.say(Quit())
    assert engine.process.wait(30) == 0


def test_no_image_is_offered_twice_until_all_are_labelled(engine: Process, folder: Path) -> None:
    engine.until_ready()
    make_stroke(folder / NAME, Unusable(["01, a.jpg"]), "ann")
    seen: list[str] = []
    for serial in range(IMAGES):
        paths = [image.path for image in engine.offered(serial, most=4).images]
        if not paths:
            break
        seen += paths
        make_stroke(folder / NAME, Assign(paths, f"class {serial % 3}"), "ann")
    assert len(seen) == len(set(seen)) == IMAGES - 1
    assert engine.offered(99).why == "every image is labelled or skipped"


def test_the_end_of_its_requests_ends_it_while_it_looks_at_images(engine: Process) -> None:
    engine.next(Progress)
    _, errors = engine.process.communicate(timeout=PATIENCE)
    assert engine.process.returncode == 0
    assert errors == b""


def test_it_ends_with_its_parent_though_another_process_holds_the_pipe(folder: Path, tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, os, time\n"
        "keeps = os.pipe()\n"
        f"child = subprocess.Popen([sys.executable, '-m', {MODULE!r}, sys.argv[1]], stdin=keeps[0], "
        "stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True)\n"
        "subprocess.Popen(['sleep', '60'], pass_fds=keeps); os._exit(0)\n"
    )
    done = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PETBENCH_CACHE": str(tmp_path / "cache")},
        start_new_session=True,
    )
    assert done.stdout is not None
    pid = int(done.stdout.readline())
    try:
        while process_id(pid) is not None:
            time.sleep(0.05)
    finally:
        os.killpg(done.pid, signal.SIGKILL)
        done.stdout.close()
        done.wait()


def test_sigterm_ends_it_without_a_word(engine: Process) -> None:
    engine.next(Progress)
    engine.process.send_signal(signal.SIGTERM)
    _, errors = engine.process.communicate(timeout=PATIENCE)
    assert engine.process.returncode == 0
    assert errors == b""


def test_what_it_does_not_understand_it_says_and_goes_on(engine: Process) -> None:
    assert engine.process.stdin is not None
    engine.process.stdin.write(b'{"kind": "dance"}\nno json\n')
    engine.process.stdin.flush()
    for _ in range(2):
        failed = engine.next(Failed)
        assert isinstance(failed, Failed)
        assert "not understood" in failed.message
    assert engine.offered(5).images


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    made = Process(tmp_path, tmp_path / "cache")
    output, _ = made.process.communicate(timeout=PATIENCE)
    assert "no image in this folder" in output.decode()
    assert made.process.returncode == 2


def test_a_device_that_is_not_there_is_told_and_chance_goes_on_choosing(folder: Path, tmp_path: Path) -> None:
    made = Process(folder, tmp_path / "cache", "--device", "cuda:99")
    try:
        made.until(lambda said: isinstance(said, Failed) or is_ready(said))
        assert isinstance(made.said[-1], Failed)
        assert "cuda:99" in made.said[-1].message
        assert made.offered(1).random
    finally:
        made.process.kill()
        made.process.communicate()


def test_features_that_cannot_be_had_leave_chance_to_choose(folder: Path) -> None:
    said: list[Answer] = []

    def no_weights(paths: list[str], tell: object) -> FolderFeatures:
        raise RuntimeError("no such weights")

    engine = Engine(folder, said.append, no_weights)
    engine.start()
    while not any(isinstance(answer, Failed) for answer in said):
        time.sleep(0.01)
    engine.handle(Offer(1, most=3))
    offered = said[-1]
    assert isinstance(offered, Offered)
    assert offered.random
    assert len(offered.images) == 3


def test_features_kept_by_one_engine_serve_the_next(folder: Path) -> None:
    calls = []

    def look(paths: list[str], tell: object) -> FolderFeatures:
        calls.append(paths)
        return FolderFeatures(tuple(paths), np.eye(len(paths), dtype=np.float32))

    said: list[Answer] = []
    engine = Engine(folder, said.append, look)
    engine.start()
    while not any(isinstance(a, Progress) and a.phase == "ready" for a in said):
        time.sleep(0.01)
    engine.handle(Offer(1, order="typical"))
    assert len(calls[0]) == IMAGES
    assert isinstance(said[-1], Offered)
    assert said[-1].order == "typical"
