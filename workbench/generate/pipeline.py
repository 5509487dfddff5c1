"""Text-to-image pipelines of diffusers: found, loaded, asked for pictures, known by a hash of their weights.

The one module that knows diffusers, which has no types to speak of; with it `tuning.py`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from workbench.compute import accelerator_of, computes_in, is_want_of_memory
from workbench.generate.image_plan import Precision, Wish, local_pipeline
from workbench.model import tensors_id
from workbench.support.clean import clean
from workbench.support.errors import UserError

INSTALL = "pip install 'petbench[generate]'"
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Picture:
    """What a pipeline painted."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) red, green, blue."""
    flagged: str = ""
    """Why the pipeline, or arithmetic, gave no picture."""


@dataclass(frozen=True, slots=True)
class PipelineFacts:
    """What a loaded pipeline is, and how it is asked where nobody said otherwise."""

    pipeline: str
    revision: str
    weights: str
    guidance: float
    steps: int
    size: int
    precision: str


class Painter(Protocol):
    """Makes pictures from words and seeds; equal words, seeds and batches make equal pictures."""

    @property
    def facts(self) -> PipelineFacts:
        """What it is."""

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        """A picture for each prompt. Raises: RuntimeError or MemoryError, for want of memory."""


@dataclass(frozen=True)
class DiffusersPainter:
    """A pipeline of diffusers on its device."""

    pipe: Any
    facts: PipelineFacts
    negative_prompt: str
    device: torch.device

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[Picture]:
        """A picture for each prompt; its noise is drawn on the CPU, so that it is every device's."""
        facts = self.facts
        asked: dict[str, Any] = {
            "prompt": list(prompts),
            "num_inference_steps": facts.steps,
            "height": facts.size,
            "width": facts.size,
            "generator": [torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            "output_type": "np",
        }
        taken = _parameters(self.pipe)
        if "guidance_scale" in taken:
            asked["guidance_scale"] = facts.guidance
        if self.negative_prompt:
            asked["negative_prompt"] = [self.negative_prompt] * len(prompts)
        with torch.inference_mode():
            answer = self.pipe(**asked)
        unsafe = getattr(answer, "nsfw_content_detected", None) or [False] * len(prompts)
        return [_picture(values, bool(flag)) for values, flag in zip(answer.images, unsafe, strict=True)]


def load_painter(wish: Wish, device: torch.device) -> DiffusersPainter:
    """Find the pipeline, load it, put it on the device.

    Raises:
        UserError: diffusers is not installed; there is no such model, or this machine is offline; the folder
            is no pipeline, or none of pictures from text; it does not take what was asked for; or memory is
            used up.
    """
    diffusers = import_diffusers()
    folder, revision = find_pipeline(diffusers, wish.model, wish.revision)
    precision = _precision(wish.precision, device)
    where = f"--model {clean(wish.model)}"
    try:
        pipe = diffusers.AutoPipelineForText2Image.from_pretrained(
            str(folder), dtype=_DTYPES[precision], local_files_only=True
        )
        # Before it moves, so that one folder has one hash on every device.
        weights = _weights_of(pipe)
        pipe.to(device)
    except Exception as error:  # diffusers raises nearly anything on a folder that is not what it expects
        if is_want_of_memory(error):
            raise UserError(
                f"memory is used up while the pipeline is loaded ({precision} on {device})",
                where=where,
                hint="--precision bf16 or fp16 takes half of fp32; or a smaller model",
            ) from error
        raise UserError(
            f"cannot be loaded as a text-to-image pipeline: {clean(error, 300)}",
            where=where,
            allowed="a folder that save_pretrained of a text-to-image pipeline of diffusers wrote",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    if hasattr(getattr(pipe, "vae", None), "enable_slicing"):
        pipe.vae.enable_slicing()  # decodes one image at a time: memory grows less with the batch
    facts = _facts(pipe, wish, revision, weights, precision, where)
    return DiffusersPainter(pipe, facts, wish.negative_prompt, device)


def import_diffusers() -> Any:
    """diffusers, quiet.

    Raises:
        UserError: the extra is not installed.
    """
    try:
        diffusers = importlib.import_module("diffusers")
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise UserError(
            f"needs diffusers and transformers, and {clean(error.name or error, 80)} is not installed",
            where="petbench generate",
            hint=INSTALL,
        ) from None
    for package in (diffusers, transformers):
        package.utils.logging.set_verbosity_error()
        package.utils.logging.disable_progress_bar()
    return diffusers


def find_pipeline(diffusers: Any, model: str, revision: str) -> tuple[Path, str]:
    """The folder of a pipeline on this machine, fetched from the hub if need be, and the hub's commit.

    Raises:
        UserError: there is none.
    """
    where = f"--model {clean(model)}"
    local = local_pipeline(model, revision)
    if local is not None:
        return local, ""
    try:
        folder = Path(diffusers.DiffusionPipeline.download(model, revision=revision or None))
    except Exception as error:
        # The hub's client raises a different class for every kind of failure and version.
        named = f" at revision {clean(revision, 80)}" if revision else ""
        raise UserError(
            f"the hub gives no such pipeline{named}: {clean(error, 300)}",
            where=where,
            hint="is the name right, and this machine online? What was fetched once is found in the Hugging "
            "Face cache (HF_HOME); a folder that was copied here may be named instead",
        ) from error
    return folder, folder.name if folder.parent.name == "snapshots" else ""


def _precision(wanted: Precision, device: torch.device) -> str:
    if wanted != "auto":
        return wanted
    if not accelerator_of(device).has_own_memory:
        return "fp32"
    return "bf16" if computes_in("bf16", device) else "fp16"


def _weights_of(pipe: Any) -> str:
    digest = hashlib.sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, nn.Module):
            digest.update(f"{name} {tensors_id(type(part).__name__, part.state_dict())}\n".encode())
    settings = {key: value for key, value in pipe.scheduler.config.items() if not key.startswith("_")}
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return digest.hexdigest()


def _facts(pipe: Any, wish: Wish, revision: str, weights: str, precision: str, where: str) -> PipelineFacts:
    taken = _parameters(pipe)
    name = type(pipe).__name__
    if wish.negative_prompt and "negative_prompt" not in taken:
        raise UserError(f"{name} takes no negative prompt", where="--negative-prompt", hint="leave it out")
    if wish.guidance is not None and "guidance_scale" not in taken:
        raise UserError(f"{name} takes no guidance", where="--guidance", hint="leave it out")
    for needed in ("height", "width", "generator", "num_inference_steps"):
        if needed not in taken:
            raise UserError(f"{name} takes no {needed}: not a pipeline that petbench can ask", where=where)
    size = wish.size or _native_size(pipe)
    grain = int(getattr(pipe, "vae_scale_factor", 8))
    if size % grain:
        below = size - size % grain
        raise UserError(
            f"{name} paints multiples of {grain} pixels",
            where=f"--size {size}",
            allowed=f"such as {below or grain} or {below + grain}",
        )
    return PipelineFacts(
        pipeline=name,
        revision=revision,
        weights=weights,
        guidance=_default(taken, "guidance_scale") if wish.guidance is None else wish.guidance,
        steps=wish.steps or int(_default(taken, "num_inference_steps")),
        size=size,
        precision=precision,
    )


def _native_size(pipe: Any) -> int:
    """Pixels a side that the network was trained for."""
    network: Any = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    side = getattr(pipe, "default_sample_size", None) or getattr(network.config, "sample_size", None)
    side = side[0] if isinstance(side, list | tuple) else side
    return int(side or 64) * int(getattr(pipe, "vae_scale_factor", 8))


def _parameters(pipe: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(type(pipe).__call__).parameters)


def _default(taken: dict[str, inspect.Parameter], name: str) -> float:
    value = taken[name].default if name in taken else 0.0
    return float(value) if isinstance(value, int | float) else 0.0


def _picture(values: NDArray[np.float32], unsafe: bool) -> Picture:
    """From (H, W, 3) float in [0, 1]."""
    if not np.isfinite(values).all():
        return Picture(np.zeros(values.shape, dtype=np.uint8), "not a number: out of the precision's range")
    pixels = np.rint(np.clip(values, 0, 1) * 255).astype(np.uint8)
    return Picture(pixels, "the pipeline's safety checker took it away" if unsafe else "")
