"""Which arithmetic a run uses: bf16 where it is really faster, decided by timing the real model."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from workbench.compute import Dtype, accelerator_of, autocast, computes_in, stated
from workbench.recipe.training import Training
from workbench.runs.provenance import processor_name
from workbench.support.caches import locked_cache, read_json_cache, write_json_cache
from workbench.support.digests import fingerprint
from workbench.support.errors import UserError
from workbench.train.host import one_thread

# bf16 must win by this much: it costs a little accuracy, and a tie should not flip between two runs.
WORTHWHILE = 1.1
# A first comparison this far from `WORTHWHILE`, as a factor either way, needs no second.
CLEAR = 1.8
TRIAL_IMAGES = 8
TRIALS = 3
TIMED_NOW = "timed here"


@dataclass(frozen=True, slots=True)
class Precision:
    """The arithmetic of training steps and of inference, and why it was chosen."""

    training: Dtype
    inference: Dtype
    reason: str

    def autocast(
        self, device: torch.device, use: Literal["training", "inference"]
    ) -> AbstractContextManager[None]:
        """The autocast context of a forward pass for that use."""
        return autocast(device, self.training if use == "training" else self.inference)


Wanted = Literal["auto", "fp32", "bf16", "fp16", "emulated_bf16"]
"""`training.precision`."""


def as_stated(training: Training) -> AbstractContextManager[None]:
    """Within it the process computes as a recipe says; views that grow have too many sizes to time each."""
    return stated(
        tf32=training.tf32, deterministic=training.deterministic, fixed_sizes=not training.progressive
    )


def check_precision(wanted: Wanted, device: torch.device) -> None:
    """Refuse bf16 on a GPU that would only emulate it, before anything slow begins.

    Raises:
        UserError: it does.
    """
    own = accelerator_of(device)
    if wanted == "bf16" and not own.times_arithmetic and not computes_in("bf16", device):
        raise UserError(
            f"{own.label(device)} has no bf16 of its own, and emulating it is slower than fp32",
            where="training.precision",
            allowed=["auto", "fp16", "fp32", "emulated_bf16"],
            hint='"fp16" scales the loss; "emulated_bf16" takes bf16 all the same',
        )


def choose_precision(
    wanted: Wanted,
    network: nn.Module,
    image_size: int,
    device: torch.device,
    *,
    trains_on_images: bool,
    kept: Path | None = None,
) -> Precision:
    """Resolve `training.precision`.

    `auto` takes bf16 on a GPU that has it, else fp16. On a CPU it times `network` (a copy: statistics stay
    untouched) on `TRIAL_IMAGES` random images; training and inference are decided apart, because depthwise
    convolutions run faster forward and slower backward in bf16.

    Args:
        trains_on_images: False when every training step runs on cached features, so only inference matters.
        kept: where what was timed is kept and, if it is there, taken from, so that equal recipes choose alike
            on a machine; `timing_key` names it. None: time anew.
    """
    if wanted != "auto":
        chosen: Dtype = "bf16" if wanted == "emulated_bf16" else wanted
        return Precision(chosen, chosen, "as the recipe says")
    own = accelerator_of(device)
    if not own.times_arithmetic:
        return _native(device)
    if not computes_in("bf16", device):
        return Precision("fp32", "fp32", f"this {own.word} has no bf16")
    inference_gain, when = _known_gain(
        kept, "inference", lambda: _inference_trial(network, image_size, device)
    )
    inference: Dtype = "bf16" if inference_gain >= WORTHWHILE else "fp32"
    if not trains_on_images:
        return Precision("fp32", inference, f"{when}: bf16 inference is {inference_gain:.1f}x as fast")
    training_gain, when = _known_gain(kept, "training", lambda: _training_trial(network, image_size, device))
    training: Dtype = "bf16" if training_gain >= WORTHWHILE else "fp32"
    reason = f"{when}: bf16 trains {training_gain:.1f}x and infers {inference_gain:.1f}x as fast"
    return Precision(training, inference, reason)


def _native(device: torch.device) -> Precision:
    """The lowest arithmetic that a GPU computes in itself."""
    word = accelerator_of(device).word
    if computes_in("bf16", device):
        return Precision("bf16", "bf16", f"the {word} has bf16")
    if computes_in("fp16", device):
        return Precision("fp16", "fp16", f"the {word} has no bf16 of its own, but fp16: the loss is scaled")
    return Precision("fp32", "fp32", f"this {word} has neither bf16 nor a fast fp16")


def agreed(choices: Sequence[Precision]) -> Precision:
    """One arithmetic for several trunks: less than fp32 only where it is right for every one of them."""
    training, inference = {c.training for c in choices}, {c.inference for c in choices}
    return Precision(
        training.pop() if len(training) == 1 else "fp32",
        inference.pop() if len(inference) == 1 else "fp32",
        "; ".join(dict.fromkeys(choice.reason for choice in choices)),
    )


def timing_key(backbone: str, weights: str, layers: object, image_size: int) -> str:
    """What a decision by timing depends on: processor, torch, network, which of it learns, and image size."""
    return fingerprint(
        [processor_name(), os.cpu_count(), torch.__version__, backbone, weights, layers, image_size]
    )


def inference_dtype(words: str, device: torch.device) -> Dtype:
    """What a finished run infers in on a device: as it did, where the device can; else fp32.

    Args:
        words: what its results say: "bf16", or "fp32 training, bf16 inference".
    """
    of_inference = words.rpartition(",")[2]
    dtype: Dtype = "bf16" if "bf16" in of_inference else "fp16" if "fp16" in of_inference else "fp32"
    return dtype if computes_in(dtype, device) else "fp32"


Trial = Callable[[bool], None]


def _known_gain(
    kept: Path | None, use: Literal["training", "inference"], make: Callable[[], Trial]
) -> tuple[float, str]:
    """How many times as fast bf16 is, and when that was timed, in words.

    Two runs that begin at once do not both time: the second waits, and takes what the first found.
    """
    if kept is None:
        return _gain(make()), TIMED_NOW
    try:
        with locked_cache(kept.with_suffix(".lock"), lambda: None):
            known = read_json_cache(kept)
            gains = known if isinstance(known, dict) else {}
            if isinstance(gain := gains.get(use), float) and math.isfinite(gain):
                return gain, "timed on this machine before"
            gain = _gain(make())
            write_json_cache(kept, {**gains, use: gain})
            return gain, TIMED_NOW
    except OSError:  # a cache that cannot be written is done without
        return _gain(make()), TIMED_NOW


def _gain(trial: Callable[[bool], None]) -> float:
    """How many times as fast the trial runs in bf16; the best of up to `TRIALS` each, taken in turn.

    Measured in the processor time of one thread, which other work on the machine does not stretch: two
    runs of a recipe should choose alike.
    """
    best = {False: float("inf"), True: float("inf")}
    for attempt in range(TRIALS + 1):
        for bf16 in (False, True):
            started = time.thread_time()
            with one_thread():
                trial(bf16)
            if attempt:  # the first of each only warms up
                best[bf16] = min(best[bf16], time.thread_time() - started)
        if attempt and not WORTHWHILE / CLEAR < best[False] / best[True] < WORTHWHILE * CLEAR:
            break
    return best[False] / best[True]


def _inference_trial(network: nn.Module, image_size: int, device: torch.device) -> Callable[[bool], None]:
    twin = copy.deepcopy(network).eval()
    images = _trial_images(image_size, device)

    def trial(bf16: bool) -> None:
        with torch.inference_mode(), autocast(device, "bf16" if bf16 else "fp32"):
            twin(images)

    return trial


def _training_trial(network: nn.Module, image_size: int, device: torch.device) -> Callable[[bool], None]:
    twin = copy.deepcopy(network).train()
    images = _trial_images(image_size, device)

    def trial(bf16: bool) -> None:
        with autocast(device, "bf16" if bf16 else "fp32"):
            loss = twin(images).float().square().mean()
        loss.backward()
        twin.zero_grad()

    return trial


def _trial_images(image_size: int, device: torch.device) -> torch.Tensor:
    images = torch.rand(TRIAL_IMAGES, 3, image_size, image_size, device=device)
    return images.to(memory_format=torch.channels_last)
