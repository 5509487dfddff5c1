"""fastai's `vision_learner` on the same folder, in an environment of its own, since fastai pins torch.

The environment is made on first use in `benchmarks/.venv-fastai` (about 6 GB, a minute or two).
"""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import torch

from benchmarks.contest import CROP_AREA, LEARNING_RATE
from benchmarks.machine import ROOT
from benchmarks.turns import Epoch, Turn
from benchmarks.worker import Worker
from workbench.model import ImageClassifier

HOME = ROOT / "benchmarks" / ".venv-fastai"
WORKER = ROOT / "benchmarks" / "peers" / "fastai_worker.py"
# petbench's own networks under the name that fastai finds the same architecture by.
ARCHITECTURES = {"efficientnet_lite0": "tf_efficientnet_lite0"}


def fastai_python() -> Path | None:
    """The environment's Python, made first where there is none; None where it cannot be installed."""
    python, done = HOME / "bin" / "python", HOME / ".installed"
    if done.exists():
        return python
    print(f"making {HOME}: fastai with the torch that it wants", file=sys.stderr, flush=True)
    shutil.rmtree(HOME, ignore_errors=True)
    venv.create(HOME, with_pip=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "fastai", "timm"]
    if subprocess.run(install, stdout=sys.stderr, check=False).returncode:
        print("fastai cannot be installed here", file=sys.stderr)
        return None
    done.touch()
    return python


class Fastai:
    """fastai as a side; a context, since it is a process.

    Args:
        folder: for the weights and the worker's log.
    """

    name = "fastai"

    def __init__(
        self,
        python: Path,
        tree: Path,
        network: ImageClassifier,
        side: int,
        batch_size: int,
        device: torch.device,
        folder: Path,
    ) -> None:
        weights = folder / "fastai-start.pth"
        torch.save([t.detach().cpu().contiguous() for t in network.trunk.state_dict().values()], weights)
        self.worker = Worker([str(python), str(WORKER)], folder / "fastai.log")
        self.versions = self.worker.ask(
            "prepare",
            tree=str(tree),
            arch=ARCHITECTURES.get(network.backbone, network.backbone),
            weights=str(weights),
            side=side,
            batch_size=batch_size,
            crop=CROP_AREA,
            mean=network.mean,
            std=network.std,
            device=str(device),
        )

    def epoch(self) -> Epoch:
        """Fit one epoch of all layers."""
        told = self.worker.ask("epoch", rate=LEARNING_RATE)
        training = Turn(told["images"], told["seconds"])
        validation = Turn(told["validation_images"], told["validation_seconds"])
        return Epoch(training, validation, told.get("accuracy", math.nan))

    def close(self) -> None:
        """End the process."""
        self.worker.close()
