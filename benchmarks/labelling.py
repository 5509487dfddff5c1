"""How far a person gets with so many strokes of `petbench label`, beside labelling random images one by one.

    python -m benchmarks.labelling [--draws 5] [--first 0] [--most 24] [--tmux] [--data-dir DIR] [--cache DIR]

Of so many draws of twelve breeds of the Oxford set all training images are copied into one flat folder under
meaningless names. A labeller that knows the truth plays against the engine, as the Label screen does: of the
images that are offered it unticks those that are not of the commonest breed among them, a stroke each, and
labels the rest with one stroke. After 60, 100, 120 and 240 strokes a head is trained on the labels and on
what it makes of the other images, and asked for the breeds' test images. Beside it the same training on as
many images, drawn at random and labelled one a stroke. No test image has any part in what is offered.

With --tmux the labeller sits before the app itself, in a tmux of 160x48: it reads the names below the
pictures and presses keys, and the program's own part is the time from a class's key to the next images on the
screen.

Draws 0 to 4 are reported; what is tuned was tuned on draws from 100 on.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tests.tui.terminals import Tmux
from workbench.active.engine import DEFAULT_BACKBONE, DEFAULT_SIZE
from workbench.active.features import folder_features
from workbench.active.head import fit_balanced
from workbench.dataset import Catalogue, open_catalogue
from workbench.labels.journal import NAME, read
from workbench.labels.protocol import (
    MODULE,
    Answer,
    Changed,
    Failed,
    Learned,
    Offer,
    Offered,
    Progress,
    Request,
    answer_of,
    line_of,
)
from workbench.labels.strokes import Assign, class_keys, make_stroke
from workbench.recipe.data import Data
from workbench.support.paths import cache_home, data_home
from workbench.train.ridge_head import standard_of

_NAME = re.compile(r"\b[0-9a-f]{8}\.jpg\b")
_LABELLED = re.compile(r"([\d,]+) of [\d,]+ labelled")
_TICKED = re.compile(r"\d+ of (\d+) ticked")
_SIDE = 103
"""The column from which on the screen tells of one image."""
_BLINK = 0.02
BREEDS = 12
AFTER = (60, 100, 120, 240)
"""Strokes."""
PERSON = "simulated"
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass
class Draw:
    """Twelve breeds, their training images in a folder, and what is known of all of them."""

    folder: Path
    truth: dict[str, str]
    """Breed by file name."""
    paths: tuple[str, ...]
    features: Floats
    test_features: Floats
    test_truth: tuple[str, ...]


@dataclass
class Result:
    """How a labeller fared."""

    accuracy: dict[int, float] = field(default_factory=dict)
    labelled: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    """Of the program's own part, so far."""
    lines: dict[int, Learned] = field(default_factory=dict)
    """What the stop line said."""


class EngineProcess:
    """The engine as the screen has it: a process that is spoken to by lines."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.learned: Learned | None = None
        self.seconds = 0.0
        self._serial = 0
        while not (isinstance(said := self._next(), Progress) and said.phase == "ready"):
            pass

    def offer(self, most: int) -> Offered:
        """The next images."""
        self._serial += 1
        start = time.monotonic()
        self._say(Offer(self._serial, most=most))
        while not isinstance(said := self._next(), Offered):
            pass
        self.seconds += time.monotonic() - start
        return said

    def stop_line(self, labels: int) -> Learned:
        """What it says of so many labels, at most ten more or fewer."""
        self._say(Changed())
        while self.learned is None or abs(self.learned.labels - labels) >= 10:
            self._next()
        return self.learned

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _say(self, request: Request) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line_of(request))
        self._process.stdin.flush()

    def _next(self) -> Answer:
        assert self._process.stdout is not None
        said = answer_of(self._process.stdout.readline())
        if isinstance(said, Failed):
            raise RuntimeError(said.message)
        if isinstance(said, Learned):
            self.learned = said
        return said


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    catalogue = open_catalogue(Data(), data_home=data_home(options.data_dir))
    cache = options.cache or cache_home()
    played, random = [], []
    with tempfile.TemporaryDirectory(prefix="labelling-") as scratch:
        for number in range(options.first, options.first + options.draws):
            draw = make_draw(catalogue, number, Path(scratch) / str(number), cache)
            played.append(play_in_tmux(draw, cache) if options.tmux else play(draw, options.most))
            random.append(one_by_one(draw, number))
            _tell(f"draw {number}", [played[-1]], [random[-1]])
            shutil.rmtree(draw.folder)
    _tell(f"mean of {options.draws}", played, random)


def make_draw(catalogue: Catalogue, number: int, folder: Path, cache: Path) -> Draw:
    """Copy the training images of twelve breeds into a folder that tells nothing of them."""
    breeds = np.sort(np.random.default_rng(number).choice(len(catalogue.breeds), BREEDS, replace=False))
    records = [record for record in catalogue.records if record.breed in breeds]
    folder.mkdir(parents=True)
    truth, tests = {}, []
    for record in records:
        if record.part == "test":
            tests.append(record)
            continue
        name = f"{hashlib.sha256(record.id.encode()).hexdigest()[:8]}.jpg"
        shutil.copyfile(record.path, folder / name)
        truth[name] = catalogue.breeds[record.breed]
    own = folder_features(
        folder,
        list(truth),
        backbone=DEFAULT_BACKBONE,
        image_size=DEFAULT_SIZE,
        cache=cache,
        tell=lambda _phase, _done, _total: None,
    )
    root = catalogue.root
    ids = {record.path.relative_to(root).as_posix(): catalogue.breeds[record.breed] for record in tests}
    test = folder_features(
        root,
        list(ids),
        backbone=DEFAULT_BACKBONE,
        image_size=DEFAULT_SIZE,
        cache=cache,
        tell=lambda _phase, _done, _total: None,
    )
    return Draw(
        folder, truth, own.paths, own.features, test.features, tuple(ids[path] for path in test.paths)
    )


def play(draw: Draw, most: int) -> Result:
    """Label by what the engine offers."""
    engine, result = EngineProcess(draw.folder), Result()
    journal, strokes = draw.folder / NAME, 0

    def stroke(count: int) -> None:
        nonlocal strokes
        for _ in range(count):
            strokes += 1
            if strokes in AFTER:
                labels = read(journal).labels
                _note(result, draw, labels, strokes)
                result.seconds[strokes] = engine.seconds
                result.lines[strokes] = engine.stop_line(len(labels))

    while strokes < AFTER[-1]:
        offered = engine.offer(most)
        if not offered.images:
            break
        paths = [image.path for image in offered.images]
        ((breed, _),) = Counter(draw.truth[path] for path in paths).most_common(1)
        fitting = [path for path in paths if draw.truth[path] == breed]
        stroke(len(paths) - len(fitting))
        make_stroke(journal, Assign(fitting, breed), PERSON)
        stroke(1)
    stroke(AFTER[-1] - strokes)  # nothing is left to label
    engine.close()
    return result


class Screen:
    """The Label screen in a tmux, as far as a labeller looks at it."""

    def __init__(self, folder: Path, cache: Path, scratch: Path) -> None:
        env = {f"PETBENCH_{name}": str(scratch / name.lower()) for name in ("RUNS", "DATA", "STATE")}
        env |= {"PETBENCH_CACHE": str(cache), "COLORTERM": "truecolor", "OMP_NUM_THREADS": "1"}
        self._tmux = Tmux(scratch / "socket", env, (160, 48), cwd=scratch)
        self._tmux.start([sys.executable, "-m", "workbench", "label", str(folder)])
        self._tmux.wait_for("all images are looked at")

    def names(self) -> list[str]:
        """The images before the labeller, in the order in which arrows go through them."""
        while True:
            shown = self._tmux.text()
            ticked = _TICKED.search(shown)
            found = [name for line in shown.splitlines()[2:] for name in _NAME.findall(line[:_SIDE])]
            if len(found) == (int(ticked[1]) if ticked else 1):
                return found
            time.sleep(_BLINK)

    def labelled(self) -> int:
        """How many images are labelled by its word."""
        found = _LABELLED.search(self._tmux.text())
        return int(found[1].replace(",", "")) if found else -1

    def press(self, *keys: str) -> None:
        """One after the other."""
        for key in keys:
            self._tmux.send(key)

    def name_class(self, name: str) -> None:
        """Answer the question for a new class."""
        self._tmux.send("n")
        self._tmux.wait_for("its name")
        self._tmux.type(name)
        self._tmux.send("Enter")

    def wait_for_others(self, names: Sequence[str], labelled: int) -> bool:
        """Wait for the next images; False where there are none."""
        while True:
            shown = self._tmux.text()
            if self.labelled() >= labelled:
                if "nothing is left to label" in shown:
                    return False
                others = set(_NAME.findall(shown))
                if others and not others & set(names):
                    return True
            time.sleep(_BLINK)

    def close(self) -> None:
        """End the app and its tmux."""
        self._tmux.send("q")
        self._tmux.wait_until_ended()
        self._tmux.kill_server()


def play_in_tmux(draw: Draw, cache: Path) -> Result:
    """Label by what the screen shows, with keys."""
    journal, result, strokes, seconds = draw.folder / NAME, Result(), 0, 0.0

    def stroke(count: int) -> None:
        nonlocal strokes
        for _ in range(count):
            strokes += 1
            if strokes in AFTER:
                _note(result, draw, read(journal).labels, strokes)
                result.seconds[strokes] = seconds

    with tempfile.TemporaryDirectory(prefix="labelling-app-") as scratch:
        screen = Screen(draw.folder, cache, Path(scratch))
        while strokes < AFTER[-1]:
            names = screen.names()
            ((breed, _),) = Counter(draw.truth[name] for name in names).most_common(1)
            at = 0
            for place, name in enumerate(names):
                if draw.truth[name] != breed:
                    screen.press(*["Right"] * (place - at), "Space")
                    at = place
                    stroke(1)
            before = read(journal)
            start = time.monotonic()
            if breed in (keys := class_keys(before)):
                screen.press(keys[breed])
            else:
                screen.name_class(breed)
            fitting = sum(draw.truth[name] == breed for name in names)
            goes_on = screen.wait_for_others(names, len(before.labels) + fitting)
            seconds += time.monotonic() - start
            stroke(1)
            if not goes_on:
                break
        stroke(AFTER[-1] - strokes)
        screen.close()
    return result


def one_by_one(draw: Draw, number: int) -> Result:
    """Label random images, one a stroke."""
    order = np.random.default_rng([number, 1]).permutation(len(draw.paths))
    result = Result()
    for strokes in AFTER:
        drawn = [draw.paths[row] for row in order[:strokes]]
        _note(result, draw, {path: draw.truth[path] for path in drawn}, strokes)
    return result


def _note(result: Result, draw: Draw, labels: dict[str, str], strokes: int) -> None:
    result.accuracy[strokes] = test_accuracy(draw, labels)
    result.labelled[strokes] = len(labels)


def test_accuracy(draw: Draw, labels: dict[str, str]) -> float:
    """Of a head trained on the labels, then on the labels and its own guesses of the other images."""
    names = sorted(set(labels.values()))
    table = torch.from_numpy(draw.features)
    standard = standard_of(table)
    inputs = standard(table)
    rows = np.array([row for row, path in enumerate(draw.paths) if path in labels], dtype=np.int64)
    targets = np.array([names.index(labels[draw.paths[row]]) for row in rows.tolist()], dtype=np.int64)
    head = fit_balanced(inputs[torch.from_numpy(rows)], targets, len(names))
    guesses = head.logits(inputs).argmax(dim=1).numpy()
    guesses[rows] = targets
    head = fit_balanced(inputs, guesses, len(names))
    said = head.logits(standard(torch.from_numpy(draw.test_features))).argmax(dim=1).numpy()
    return float(np.mean([names[k] == true for k, true in zip(said.tolist(), draw.test_truth, strict=True)]))


def _tell(what: str, played: Sequence[Result], random: Sequence[Result]) -> None:
    print(f"\n{what}\n| strokes | petbench label | images labelled | own seconds | random, one a stroke |")
    print("|---|---|---|---|---|")
    for strokes in AFTER:
        cells = [_spread([100 * r.accuracy[strokes] for r in played])]
        cells.append(f"{np.mean([r.labelled[strokes] for r in played]):.0f}")
        cells.append(f"{np.mean([r.seconds[strokes] for r in played]):.1f}")
        cells.append(_spread([100 * r.accuracy[strokes] for r in random]))
        print(f"| {strokes} | {' | '.join(cells)} |")
    for strokes in AFTER:
        told = [(r.lines[strokes], r.accuracy[strokes]) for r in played if strokes in r.lines]
        if not told:
            continue
        known = [(line, true) for line, true in told if line.low is not None and line.high is not None]
        held = sum(line.low <= true <= line.high for line, true in known if line.low and line.high)
        print(
            f"stop line at {strokes}: its interval holds the test accuracy in {held} of {len(known)}", end=""
        )
        print(f"; {told[-1][0].text}", flush=True)


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{np.mean(values):.1f} ± {np.std(values, ddof=1):.1f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first draw's number")
    parser.add_argument("--most", type=int, default=24, help="images that the screen shows at once")
    parser.add_argument("--tmux", action="store_true", help="play the app itself; slow")
    parser.add_argument("--data-dir", type=Path, help="else $PETBENCH_DATA")
    parser.add_argument("--cache", type=Path, help="else $PETBENCH_CACHE")
    return parser.parse_args()


if __name__ == "__main__":
    main()
