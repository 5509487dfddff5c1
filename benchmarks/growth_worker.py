"""One data size in a process of its own, so that the peak memory is its own: told what to do by `growth`.

`open` reads the folder, divides it and builds or opens the store; `turn` trains so many steps of an epoch
over all labelled images and then waits, in the middle of the epoch, for the next turn.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.ours import is_training, stage_run
from workbench.dataset import make_split, open_catalogue, save_split
from workbench.dataset.split_file import SPLIT_FILE
from workbench.loader import open_store
from workbench.recipe import Recipe
from workbench.recipe.plan import plan
from workbench.runs.events import EpochDone, Event, Silent
from workbench.support.errors import UserError
from workbench.train.interrupt import Interrupted, StopRequest
from workbench.train.network import Network
from workbench.train.precision import choose_precision
from workbench.train.setup import Places, Setup, prepare

MANY_EPOCHS = 10_000


def main() -> None:
    """Until standard input ends."""
    opened = json.loads(sys.stdin.readline())
    opened.pop("command")
    if limit := opened.pop("limit_bytes"):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    setup = open_all(**opened)
    precision = choose_precision(
        "auto", setup.classifier, setup.recipe.data.image_size, setup.device, trains_on_images=True
    )
    stop = StopRequest()
    turns = StepTurns(stop, setup.recipe.training.batch_size)
    stage = plan(setup.recipe)[0]
    run = stage_run(stage, Network(setup, precision, Silent()), turns, stop=stop)
    turns.wait()
    if not stop:
        try:
            run.run()
        except Interrupted:
            return


def recipe_of(root: str, backbone: str, side: int, batch_size: int) -> Recipe:
    """Full fine-tuning from random weights, for as long as there are turns."""
    return Recipe.model_validate(
        {
            "name": "growth",
            "data": {"dataset": "folder", "root": root, "image_size": side},
            "model": {"backbone": backbone, "weights": "none"},
            "finetune": {"layers": "all", "batch_norm": "all"},
            "optimizer": {"name": "adamw", "learning_rate": 1e-4},
            "training": {"epochs": MANY_EPOCHS, "batch_size": batch_size, "checkpoint_seconds": 86400},
        }
    )


def open_all(root: str, cache: str, backbone: str, side: int, batch_size: int, device: str) -> Setup:
    """Do and time what comes before training; answers with the seconds."""
    recipe = recipe_of(root, backbone, side, batch_size)
    places = Places(Path(cache), Path(cache), torch.device(device))
    began = time.perf_counter()
    catalogue = open_catalogue(recipe.data, data_home=places.data_home)
    read = time.perf_counter()
    make_split(catalogue, recipe.data, None)
    divided = time.perf_counter()
    try:
        store = open_store(catalogue, side, cache=places.cache, reporter=Silent())
    except UserError as error:
        raise SystemExit(str(error)) from error
    stored = time.perf_counter()
    del catalogue
    nbytes = store.pixels.nbytes
    del store
    setup = prepare(recipe, places, Silent())
    answer(
        again=start_again(recipe, places),
        read=read - began,
        split=divided - read,
        store=stored - divided,
        store_bytes=nbytes,
        labelled=len(setup.split.labelled),
        classes=len(setup.classes),
        **memory(),
    )
    return setup


def start_again(recipe: Recipe, places: Places) -> float:
    """Seconds of a later start until training could begin, without torch's import and the network."""
    began = time.perf_counter()
    catalogue = open_catalogue(recipe.data, data_home=places.data_home)
    catalogue.know_contents(Silent())
    split = make_split(catalogue, recipe.data, None)
    open_store(catalogue, recipe.data.image_size, cache=places.cache, reporter=Silent())
    assert catalogue.fingerprint
    assert catalogue.pictures
    save_split(places.cache / SPLIT_FILE, catalogue, split)
    return time.perf_counter() - began


class StepTurns(Silent):
    """Counts and times training steps, and waits for the next turn when a turn's steps are done.

    What lies between epochs (validation, records) is not timed: here it is the steps that are compared.
    """

    def __init__(self, stop: StopRequest, batch_size: int) -> None:
        self._stop = stop
        self._batch_size = batch_size
        self._left = 0
        self._steps = 0
        self._seconds = 0.0
        self._since = 0.0

    def wait(self) -> None:
        """For a command; none is the end."""
        line = sys.stdin.readline()
        if not line:
            self._stop.signal_name = "no more turns"
            return
        self._left = self._steps = json.loads(line)["steps"]
        self._seconds = 0.0
        self._since = time.perf_counter()

    def progress(self, task: str, done: int, total: int) -> None:
        """A step of training is done, or one of something else."""
        if not is_training(task):
            return
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now
        self._left -= 1
        if not self._left:
            answer(images=self._steps * self._batch_size, seconds=self._seconds, **memory())
            self.wait()

    def event(self, event: Event) -> None:
        """An epoch is over: the next one's steps begin now."""
        if isinstance(event, EpochDone) and event.split == "val":
            self._since = time.perf_counter()


def memory() -> dict[str, int]:
    """Peak resident bytes with the store's pages that happened to be mapped, and what is private now."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line
    )
    counters = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    private = int(facts["RssAnon"].split()[0]) * 1024
    return {"peak_bytes": peak, "private_bytes": private, "disk_bytes": int(counters["read_bytes"])}


def answer(**values: Any) -> None:
    """One line."""
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
