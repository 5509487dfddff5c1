"""A peer's loop in a process of its own: a command a line on standard input, a JSON answer a line back.

petbench lets the C library keep freed memory, which about halves the time of a forward pass for everything in
its process. Those who write their own loop do not have that, so neither do the peers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.contest import Start
from benchmarks.peers.loop import LoaderSide
from benchmarks.peers.plain import plain_side
from benchmarks.peers.timm_loop import timm_side

KINDS: dict[str, Callable[[Start], LoaderSide]] = {
    "plain": lambda start: plain_side(start, amp=False),
    "plain-amp": lambda start: plain_side(start, amp=True),
    "timm": timm_side,
}


def main() -> None:
    """Until standard input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    kind, pickled = sys.argv[1], Path(sys.argv[2])
    side = KINDS[kind](torch.load(pickled, weights_only=False))
    for _ in sys.stdin:  # each line asks for one epoch
        epoch = side.epoch()
        told = {
            "training": [epoch.training.images, epoch.training.seconds],
            "validation": [epoch.validation.images, epoch.validation.seconds],
            "accuracy": epoch.accuracy,
        }
        answers.write(json.dumps(told) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
