"""[augmentation] and [training]: what the network sees and for how long."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from workbench.recipe.fields import ABOVE_ZERO, Described, Fraction, Off, Probability, Range, Table, knob

SIDE_STEP = 32
"""Pixels between the sides of progressive views: what the usual backbones divide an image by in all."""


def _area_range(value: tuple[float, float]) -> tuple[float, float]:
    low, high = value
    if not 0 < low <= high <= 1:
        raise ValueError("an area range is [low, high] with 0 < low <= high <= 1")
    return value


AreaRange = Annotated[
    Range, AfterValidator(_area_range), Described("a range [low, high] with 0 < low <= high <= 1")
]


DeviceCount = Annotated[int, Field(ge=1, le=1024), Described("a whole number from 1 to 1024")]


class Augmentation(Table):
    """Random changes to training images, each drawn anew for every image and epoch."""

    random_crop: Off | AreaRange = knob(
        (0.5, 1.0), help="share of the image's area that a random crop keeps, [low, high]; false: centre crop"
    )
    flip: bool = knob(True, help="mirror left to right, half of the time")
    rotation: float = knob(0.0, help="turn by up to so much either way", unit="degrees", ge=0, le=180)
    brightness: float = knob(0.0, help="scale brightness by 1 ± up to this", ge=0, le=1)
    colour: float = knob(0.0, help="scale colour saturation by 1 ± up to this", ge=0, le=1)
    policy: Literal["none", "rand", "trivial"] = knob(
        "none",
        help="a ready-made policy on top: RandAugment or TrivialAugment",
        source="Cubuk et al. 2020; Müller and Hutter 2021",
    )
    policy_operations: int = knob(
        2, help="operations an image, RandAugment's N", only_if=("policy", ["rand"]), ge=1, le=10
    )
    policy_magnitude: int = knob(
        9, help="strength, RandAugment's M, 0 to 30", only_if=("policy", ["rand"]), ge=0, le=30
    )
    mixing: Literal["none", "mixup", "cutmix"] = knob(
        "none", help="blend pairs of images and labels", source="Zhang et al. 2018; Yun et al. 2019"
    )
    mixing_alpha: float = knob(
        0.2, help="Beta(α, α) of the mixing share", only_if=("mixing", ["mixup", "cutmix"]), gt=0, le=10
    )
    erasing: Probability = knob(
        0.0, help="probability of blanking a random rectangle", source="Zhong et al. 2020"
    )

    @property
    def changes_images(self) -> bool:
        """Whether any view of an image differs from its plain centre crop."""
        return bool(
            self.random_crop
            or self.flip
            or self.rotation
            or self.brightness
            or self.colour
            or self.policy != "none"
            or self.erasing
        )

    def is_drawn_once(self, copies: int) -> bool:
        """Whether a training image looks the same in every epoch; `copies` is `data.augmented_copies`."""
        return (copies > 0 or not self.changes_images) and self.mixing == "none"


def batches_of(images: int, batch: int) -> int:
    """Batches an epoch: the last may be smaller; one that would hold a single image joins that before it."""
    whole, rest = divmod(images, batch)
    return max(1, whole + (rest > 1))


class Training(Table):
    """How long and in what arithmetic."""

    epochs: int = knob(
        20, help="passes over the labelled images (supervised run, or the teacher)", ge=1, le=10_000
    )
    batch_size: int = knob(64, help="images an optimiser step", unit="images", ge=1, le=65_536)
    devices: Literal["all"] | DeviceCount = knob(
        1,
        help="GPUs that train it together, each a share of every batch, or all that there are; without a "
        "GPU so many processes share the CPU's cores; docs/many-gpus.md says what stays the same",
        source="synchronous data parallelism, Goyal et al. 2017, Sec. 2",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "emulated_bf16"] = knob(
        "auto",
        help="auto times the real model on a CPU and takes the faster of fp32 and bf16, maybe for inference "
        "alone; on a GPU it takes bf16 where that is native, else fp16 with loss scaling. A GPU that only "
        "emulates bf16 refuses bf16 and accepts emulated_bf16",
        source="loss scaling: Micikevicius et al. 2018",
    )
    tf32: bool = knob(
        False,
        help="let a GPU that has it compute float32 products and convolutions in TF32, 10 bits instead of "
        "23, several times as fast; matters where precision is fp32",
    )
    deterministic: bool = knob(
        False,
        help="the same bits from the same step also on a GPU, at a cost in speed; "
        "an operation that has no such way ends the run. A CPU does so anyway",
    )
    class_weights: Literal["none", "balanced"] = knob(
        "none",
        help="balanced: a labelled image of class c weighs n / (C·n_c) in the loss, so that classes with few "
        "labels count as much as others",
        source="King and Zeng 2001",
    )
    label_smoothing: float = knob(0.0, help="share of the target spread over all classes", ge=0, lt=1)
    saliency_weight: float = knob(
        0.0,
        help="weight of a penalty on what the labels' log-probability owes to pixels outside an image's head "
        "box: the sum of |gradient| there; images without a box add nothing; costs a second backward pass; "
        "0: off",
        source="after Ghaeini et al. 2019; penalises outside as Ross et al. 2017",
        ge=0,
        le=1000,
    )
    ema: float = knob(
        0.0,
        help="decay a step of an average of the weights that is evaluated instead of them; 0: off",
        ge=0,
        lt=1,
    )
    early_stop: int = knob(
        0,
        help="stop after so many epochs without a better validation accuracy; 0: off",
        unit="epochs",
        ge=0,
        le=10_000,
    )
    checkpoint_seconds: float = knob(
        60.0,
        help="a checkpoint is due after so long, and at the end of every stage: the most work that a "
        "crash may cost",
        unit="seconds",
        ge=0,
        le=86_400,
    )
    progressive: float = knob(
        0.0,
        help="low resolution first: a stage's training views begin at this share of data.image_size and grow "
        "in steps of 32 pixels; evaluation sees full size always; 0: off",
        source="progressive resizing, Howard 2018 (DAWNBench); EfficientNetV2, Tan and Le 2021, Sec. 4",
        ge=0,
        lt=1,
    )
    progressive_share: Fraction = knob(
        0.75,
        help="share of a stage's epochs until its views have full size",
        only_if=("progressive", ABOVE_ZERO),
    )

    compile: Literal["off", "on", "auto"] = knob(
        "off",
        help="torch.compile training steps on images, which takes a minute or more first; auto: on a GPU, "
        "where timing the real model says that the run wins that back",
    )

    def batch_of(self, images: int) -> int:
        """Images a step of so many that there are: all of them where they do not fill a batch."""
        return min(self.batch_size, images)

    def view_side(self, image_size: int, epoch: int, epochs: int) -> int:
        """Pixels a side of the training views in `epoch` (from 1) of a stage; its last epochs' are full."""
        growing = math.floor(self.progressive_share * epochs) if self.progressive else 0
        if epoch > growing:
            return image_size
        share = self.progressive + (1 - self.progressive) * (epoch - 1) / growing
        return min(image_size, max(SIDE_STEP, SIDE_STEP * round(share * image_size / SIDE_STEP)))

    def view_sides(self, image_size: int, epochs: int) -> dict[int, int]:
        """{epoch: side} of the epochs (from 1) in which the views take a new size, the first one too."""
        changes: dict[int, int] = {}
        for epoch in range(1, epochs + 1):
            side = self.view_side(image_size, epoch, epochs)
            if not changes or side != next(reversed(changes.values())):
                changes[epoch] = side
        return changes
