"""LoRA: a Stable Diffusion pipeline learns the look of the labelled images.

As diffusers' own train_text_to_image_lora.py: low-rank matrices beside the attention projections of the U-Net
(Hu et al. 2021, arXiv 2106.09685), the denoising loss (Ho et al. 2020, Eq. 14), AdamW. Which images a step
sees, their noise and their times are functions of (seed, step), so that going on needs the step, the matrices
and AdamW's moments.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from workbench.dataset import decode_image
from workbench.dataset.depth import Scale
from workbench.generate.pipeline import INSTALL, DiffusersPainter
from workbench.loader.randomness import permutation, uniforms
from workbench.model import tensors_id
from workbench.runs.events import Reporter
from workbench.support.errors import UserError
from workbench.train.checkpoint import load_newest, save_checkpoint, save_tensors, sweep_checkpoints

PROJECTIONS = ("to_k", "to_q", "to_v", "to_out.0")
"""Of every attention of the U-Net."""
KEPT_EVERY = 50
"""Steps between checkpoints."""
LARGEST_NORM = 1.0
"""Of a step's gradient."""
LORA_FILE = "lora.safetensors"
_OPTIMIZER = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True, slots=True)
class TaughtImage:
    """A labelled image, and the words for its class."""

    path: Path
    prompt: str


@dataclass(frozen=True, slots=True)
class Tuning:
    """How long and how fast."""

    steps: int
    rank: int
    rate: float
    batch: int
    seed: int


def tune(
    painter: DiffusersPainter,
    images: Sequence[TaughtImage],
    tuning: Tuning,
    folder: Path,
    *,
    scale: Scale | None,
    reporter: Reporter,
) -> str:
    """Teach the pipeline these images, or read what it has learned; returns the hash of that.

    Args:
        folder: where checkpoints go, and at the end `lora.safetensors`, which diffusers reads.
        scale: how pictures of more than 8 bits are read.

    Raises:
        UserError: a pipeline of another kind, or peft is not installed.
        OSError: the folder cannot be written.
    """
    adapter = _Adapter(painter, tuning)
    steps = folder / "tuning"
    steps.mkdir(parents=True, exist_ok=True)
    sweep_checkpoints(steps)
    newest = load_newest(steps, reporter)
    if newest is not None:
        adapter.go_on(*newest)
    while adapter.step < tuning.steps:
        adapter.learn(images, scale)
        reporter.progress("tune", adapter.step, tuning.steps)
        if adapter.step % KEPT_EVERY == 0 or adapter.step == tuning.steps:
            save_checkpoint(steps, *adapter.pack())
    adapter.freeze()
    learned = adapter.matrices()
    save_tensors(folder / LORA_FILE, _as_diffusers(learned), {})
    return tensors_id("lora", learned)


class _Adapter:
    """The low-rank matrices beside a U-Net, and what teaches them."""

    def __init__(self, painter: DiffusersPainter, tuning: Tuning) -> None:
        pipe = painter.pipe
        if type(pipe).__name__ != "StableDiffusionPipeline":
            raise UserError(
                f"petbench cannot tune a {type(pipe).__name__}",
                where="--tune",
                allowed="pipelines of Stable Diffusion 1 and 2",
                hint="leave --tune out, or tune it with diffusers' scripts and name the folder of the result",
            )
        peft = _peft()
        self._pipe, self._device, self._tuning = pipe, painter.device, tuning
        self._noising = importlib.import_module("diffusers").DDPMScheduler.from_config(pipe.scheduler.config)
        self._words: dict[str, Tensor] = {}
        self.step = 0
        for part in (pipe.unet, pipe.vae, pipe.text_encoder):
            part.requires_grad_(False)
        with _seeded(tuning.seed):  # the matrices begin at random, on the CPU's generator
            pipe.unet.add_adapter(
                peft.LoraConfig(
                    r=tuning.rank,
                    lora_alpha=tuning.rank,
                    init_lora_weights="gaussian",
                    target_modules=list(PROJECTIONS),
                )
            )
        self._named: dict[str, nn.Parameter] = {
            name: value for name, value in pipe.unet.named_parameters() if value.requires_grad
        }
        for value in self._named.values():
            value.data = value.data.float()  # learned in full precision, whatever the others are in
        self._optimizer = torch.optim.AdamW(
            self._named.values(), lr=tuning.rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8
        )

    def learn(self, images: Sequence[TaughtImage], scale: Scale | None) -> None:
        """One step."""
        tuning, step = self._tuning, self.step
        chosen = [images[i] for i in _batch(len(images), tuning, step)]
        side = int(self._pipe.unet.config.sample_size) * int(self._pipe.vae_scale_factor)
        mirrored = uniforms(tuning.seed, "tune mirror", step, ids=np.arange(len(chosen)), draws=1)[:, 0] < 0.5
        pixels = np.stack(
            [_square(image.path, side, flip, scale) for image, flip in zip(chosen, mirrored, strict=True)]
        )
        generator = torch.Generator("cpu").manual_seed(_step_seed(tuning.seed, step))
        self._optimizer.zero_grad(set_to_none=True)
        self._loss(torch.from_numpy(pixels), [image.prompt for image in chosen], generator).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._named.values(), LARGEST_NORM)
        self._optimizer.step()
        self.step += 1

    def _loss(self, pixels: Tensor, prompts: Sequence[str], generator: torch.Generator) -> Tensor:
        pipe, dtype = self._pipe, self._pipe.unet.dtype
        with torch.no_grad():
            inputs = (pixels.permute(0, 3, 1, 2).float() / 127.5 - 1).to(self._device, pipe.vae.dtype)
            codes = pipe.vae.encode(inputs).latent_dist
            mean, std = codes.mean.float(), codes.std.float()
            latents = (mean + std * self._normal(mean, generator)) * pipe.vae.config.scaling_factor
            words = torch.cat([self._encoded(prompt) for prompt in prompts]).to(dtype)
        noise = self._normal(latents, generator)
        times = torch.randint(
            int(self._noising.config.num_train_timesteps), (len(prompts),), generator=generator
        ).to(self._device)
        noisy = self._noising.add_noise(latents, noise, times)
        kind = self._noising.config.prediction_type
        target = self._noising.get_velocity(latents, noise, times) if kind == "v_prediction" else noise
        with torch.autocast(self._device.type, dtype, enabled=dtype != torch.float32):
            predicted = pipe.unet(noisy.to(dtype), times, encoder_hidden_states=words).sample
        return nn.functional.mse_loss(predicted.float(), target.float())

    def _normal(self, like: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(like.device, like.dtype)

    def _encoded(self, prompt: str) -> Tensor:
        if prompt not in self._words:
            self._words[prompt] = self._pipe.encode_prompt(prompt, self._device, 1, False)[0]
        return self._words[prompt]

    def matrices(self) -> dict[str, Tensor]:
        """What has been learned."""
        return {name: value.detach().cpu().clone() for name, value in self._named.items()}

    def pack(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """All that going on needs, as tensors and JSON."""
        tensors = {f"lora.{name}": value for name, value in self.matrices().items()}
        for name, value in self._named.items():
            for key in _OPTIMIZER:
                tensors[f"{key}.{name}"] = self._optimizer.state[value][key].detach().cpu().clone()
        return tensors, {"step": self.step}

    def go_on(self, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
        """Put back what `pack` gave."""
        for name, value in self._named.items():
            value.data.copy_(tensors[f"lora.{name}"])
            kept = {key: tensors[f"{key}.{name}"] for key in _OPTIMIZER}
            self._optimizer.state[value] = {
                key: tensor if key == "step" else tensor.to(value.device) for key, tensor in kept.items()
            }
        self.step = int(plain["step"])

    def freeze(self) -> None:
        """From here on it paints."""
        for value in self._named.values():
            value.requires_grad_(False)
        self._pipe.unet.eval()


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError:
        raise UserError("tuning needs peft, which is not installed", where="--tune", hint=INSTALL) from None


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _batch(images: int, tuning: Tuning, step: int) -> list[int]:
    """Which images a step sees: each epoch in an order of its own, batches across their ends."""
    places = range(step * tuning.batch, (step + 1) * tuning.batch)
    orders = {
        epoch: permutation(tuning.seed, "tune", epoch, n=images) for epoch in {p // images for p in places}
    }
    return [int(orders[place // images][place % images]) for place in places]


def _step_seed(seed: int, step: int) -> int:
    return int(uniforms(seed, "tune noise", ids=np.array([step]), draws=1)[0, 0] * 2**53)


def _square(path: Path, side: int, mirrored: bool, scale: Scale | None) -> NDArray[np.uint8]:
    """(side, side, 3): the middle square of the image."""
    image = Image.fromarray(decode_image(path, scale))
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    middle = image.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + short, top + short))
    pixels = np.asarray(middle)
    return np.ascontiguousarray(pixels[:, ::-1] if mirrored else pixels)


def _as_diffusers(learned: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under the names that `load_lora_weights` of diffusers reads."""
    return {f"unet.{name.replace('.default.weight', '.weight')}": value for name, value in learned.items()}
