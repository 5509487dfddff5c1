"""fastai, in its own environment: commands on standard input, JSON answers on standard output.

Run by `benchmarks.peers.fastai_side` with the Python of its environment; imports nothing of petbench.
`prepare` makes a `vision_learner`; `epoch` fits one; `fine_tune` answers once an epoch.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import fastai
import torch
import torchvision
from fastai.vision.all import (
    Callback,
    CategoryBlock,
    DataBlock,
    Flip,
    GrandparentSplitter,
    ImageBlock,
    Learner,
    Normalize,
    RandomResizedCrop,
    accuracy,
    get_image_files,
    parent_label,
    vision_learner,
)

# fastai and its progress bars print; the answers keep the real standard output for themselves.
ANSWERS = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")


class PartTimes(Callback):  # type: ignore[misc]
    """Seconds of an epoch's two parts, and the images that were trained on."""

    def before_train(self) -> None:
        """Training begins."""
        self.images, self.started = 0, time.perf_counter()

    def after_batch(self) -> None:
        """Count."""
        if self.training:
            self.images += len(self.xb[0])

    def after_train(self) -> None:
        """Training is over."""
        self.trained = time.perf_counter()

    def after_validate(self) -> None:
        """So is validation."""
        self.validated = time.perf_counter()


class TellAccuracy(Callback):  # type: ignore[misc]
    """Answers with the accuracy after each epoch: the last of the recorder's values."""

    order = 60  # after the Recorder
    # Not named after an event: fastai would then take the callback for the event's handler.

    def after_epoch(self) -> None:
        """Answer."""
        answer(accuracy=float(self.learn.recorder.values[-1][-1]), last=False)


def answer(**values: Any) -> None:
    """One line."""
    ANSWERS.write(json.dumps(values) + "\n")
    ANSWERS.flush()


def prepare(
    tree: str,
    arch: str,
    weights: str,
    side: int,
    batch_size: int,
    crop: list[float],
    mean: list[float],
    std: list[float],
    device: str,
) -> Learner:
    """A learner on `tree` whose body starts from the tensors in `weights`, listed in the body's order."""
    # From both parts: with few labels a class may have none to train on, and must still count as wrong.
    classes = sorted({folder.name for folder in Path(tree).glob("*/*")})
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=classes)),
        get_items=get_image_files,
        splitter=GrandparentSplitter("train", "test"),
        get_y=parent_label,
        item_tfms=RandomResizedCrop(side, min_scale=crop[0], max_scale=crop[1]),
        batch_tfms=[Flip(), Normalize.from_stats(mean, std)],
    )
    # fastai's own defaults else: as many workers as cores, up to 16; the last, smaller batch is dropped.
    loaders = block.dataloaders(Path(tree), bs=batch_size, device=torch.device(device))
    named = arch if arch.startswith("tf_") else getattr(torchvision.models, arch)
    learner = vision_learner(loaders, named, pretrained=False, normalize=False, metrics=accuracy)
    fill(learner.model[0], torch.load(weights, weights_only=True))
    return learner


def fill(body: torch.nn.Module, tensors: list[torch.Tensor]) -> None:
    """Put the tensors into the body in order; shapes must match."""
    state = body.state_dict()
    if len(state) != len(tensors):
        raise SystemExit(f"fastai's body has {len(state)} tensors, the weights have {len(tensors)}")
    for (name, own), given in zip(state.items(), tensors, strict=True):
        if own.shape != given.shape:
            raise SystemExit(f"{name} has shape {tuple(own.shape)}, the weights {tuple(given.shape)}")
    body.load_state_dict(dict(zip(state, tensors, strict=True)))


def one_epoch(learner: Learner, times: PartTimes, rate: float) -> None:
    """Fit one epoch of all layers at a constant rate; the optimiser goes on from the epoch before."""
    with learner.no_bar(), learner.no_logging():
        learner.fit(1, rate)
    answer(
        images=times.images,
        seconds=times.trained - times.started,
        validation_images=len(learner.dls.valid_ds),
        validation_seconds=times.validated - times.trained,
        accuracy=float(learner.recorder.values[-1][-1]),
    )


def main() -> None:
    """Until standard input ends."""
    learner: Learner | None = None
    times = PartTimes()
    for line in sys.stdin:
        values = json.loads(line)
        match values.pop("command"):
            case "prepare":
                learner = prepare(**values)
                learner.add_cb(times)
                answer(fastai=fastai.__version__, torch=torch.__version__, threads=torch.get_num_threads())
            case "epoch":
                assert learner is not None
                learner.unfreeze()
                one_epoch(learner, times, **values)
            case "fine_tune":
                assert learner is not None
                learner.add_cb(TellAccuracy())
                with learner.no_bar(), learner.no_logging():
                    learner.fine_tune(**values)
                answer(done=True)


if __name__ == "__main__":
    sys.stdout = sys.stderr
    main()
