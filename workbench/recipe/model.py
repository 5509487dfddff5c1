"""[model] and [finetune]: the network, and which of its parts learn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from workbench.recipe.fields import (
    ABOVE_ZERO,
    Described,
    GroupName,
    Names,
    Probability,
    Table,
    disagreement,
    knob,
    tuple_from_list,
)
from workbench.support.clean import clean
from workbench.support.toml_text import toml_literal

_WEIGHTS_FILES = (".safetensors", ".pth", ".pt", ".ckpt", ".tar", ".bin")
# What model.weights may be for a network that has one set of published weights, without a name of its own.
NO_NAMED_WEIGHTS = '"default", "none", or a .safetensors, .pth or .pt path'
NormGroups = Literal["all", "tuned", "frozen"] | Names
LayerRate = Annotated[float, Field(gt=0, le=10)]


SomeNames = Annotated[
    Names, Field(min_length=1), Described("a list of one or more of the backbone's layer groups")
]


MOST_BACKBONES = 8
"""Side by side; more would be a slip, and each costs memory and a pass over all images."""
BackboneName = Annotated[str, Field(min_length=1, max_length=120)]
SeveralBackbones = Annotated[
    tuple[BackboneName, ...],
    BeforeValidator(tuple_from_list),
    Field(min_length=2, max_length=MOST_BACKBONES),
    Described(f"a list of 2 to {MOST_BACKBONES} different names"),
]


class Model(Table):
    """The network: a pretrained backbone with a fresh head, or several side by side with one head."""

    backbone: BackboneName | SeveralBackbones = knob(
        "resnet152",
        help="a torchvision name, efficientnet_lite0/1/2 (extra: offline), or timm:NAME (extra: timm); "
        "petbench backbones lists them; a list of names: one head on the features of all, which stay frozen",
    )
    weights: str = knob(
        "default",
        help='"default": the best published, "none": random, a torchvision weights name such as '
        "IMAGENET1K_V1, or a .safetensors or .pth path, relative to the recipe's own directory; for several "
        'backbones "default" or "none"',
        min_length=1,
        max_length=1024,
    )
    weights_entry: str | None = knob(
        None,
        help="which entry of a weights file that holds several sets of weights, such as state_dict_ema for "
        "the average over training; with dots where one stands in another",
        unset="the weights themselves, not an average of them",
        min_length=1,
        max_length=200,
    )
    dropout: float = knob(0.0, help="dropout before the head's linear layer", unit="probability", ge=0, lt=1)
    stochastic_depth: float = knob(
        0.0,
        help="drop rate of the last residual block, growing linearly from 0 at the first",
        unit="probability",
        source="Huang et al. 2016, linear decay rule",
        ge=0,
        lt=1,
    )

    @property
    def backbones(self) -> tuple[str, ...]:
        """The names of the backbones, of which there is mostly one."""
        return (self.backbone,) if isinstance(self.backbone, str) else self.backbone

    @property
    def backbone_words(self) -> str:
        """The backbones in a word or a few, for people and file names."""
        return "+".join(self.backbones)

    def single(self, backbone: str) -> Model:
        """The same model with one of its backbones alone."""
        return self.model_copy(update={"backbone": backbone})

    @model_validator(mode="after")
    def _several_differ(self) -> Model:
        if isinstance(self.backbone, str):
            return self
        twice = next((name for name in self.backbone if self.backbone.count(name) > 1), None)
        if twice is not None:
            raise disagreement(
                f"backbone names {clean(twice, 80)} twice: the second sees nothing that the first does not",
                "backbone",
            )
        if self.weights not in ("default", "none"):
            raise disagreement(
                f'weights must be "default" or "none" for several backbones, not '
                f"{clean(toml_literal(self.weights), 80)}: one name or file cannot be the weights of all",
                "weights",
                "backbone",
            )
        if self.stochastic_depth:
            raise disagreement(
                "stochastic_depth drops blocks of trunks that learn; several backbones stay frozen",
                "stochastic_depth",
                "backbone",
            )
        return self

    @model_validator(mode="after")
    def _entry_of_a_file(self) -> Model:
        if self.weights_entry is not None and not is_weights_file(self.weights):
            raise disagreement(
                "weights_entry needs weights to name a file, one of whose entries it is",
                "weights_entry",
                "weights",
            )
        return self


def is_weights_file(weights: str) -> bool:
    """Whether `model.weights` means a file, not a name."""
    return "/" in weights or Path(weights).suffix.lower() in _WEIGHTS_FILES


class Finetune(Table):
    """Which layer groups learn, and what their norms do."""

    layers: Literal["all", "head"] | SomeNames = knob(
        ("head",),
        help='layer groups that learn: "all", "head", or a list; petbench model show NAME lists them',
    )
    batch_norm: NormGroups = knob(
        "tuned",
        help='groups whose batch-norm scale and shift learn: "all", "tuned" (the groups in layers), '
        '"frozen" (none), or a list',
    )
    batch_norm_statistics: Literal["same", "all", "tuned", "frozen"] | Names = knob(
        "same",
        help='groups whose running mean and variance update while training; "same" as batch_norm',
    )
    layer_norm: NormGroups = knob(
        "tuned",
        help="groups whose layer-norm (also group- and RMS-norm) scale and shift learn, as in ViT, Swin and "
        'ConvNeXt: "all", "tuned" (the groups in layers), "frozen" (none), or a list',
    )
    probe_epochs: int = knob(
        0,
        help="first train the head alone on the frozen trunk's features for so many epochs, then fine-tune "
        "from there",
        unit="epochs",
        source="LP-FT, Kumar et al. 2022",
        ge=0,
        le=10_000,
    )
    probe_learning_rate: float = knob(
        3e-3,
        help="learning rate of that first stage (AdamW, cosine)",
        only_if=("probe_epochs", ABOVE_ZERO),
        gt=0,
        le=10,
    )
    gradual_unfreeze: int = knob(
        0,
        help="epochs between unfreezing groups, from the head downwards; 0: all of layers from the start",
        unit="epochs",
        source="ULMFiT, Howard and Ruder 2018",
        ge=0,
        le=1000,
    )

    @property
    def is_head_alone(self) -> bool:
        """Whether nothing of the trunk learns, its norms' scales and statistics included."""
        none = ("same", "tuned", "frozen", ())
        norms = (self.batch_norm, self.batch_norm_statistics, self.layer_norm)
        return self.names_head_alone and all(which in none for which in norms)

    @property
    def names_head_alone(self) -> bool:
        """Whether `layers` is the head alone; norms of the trunk may learn all the same."""
        return self.layers == "head" or set(self.layers) == {"head"}


class Optimizer(Table):
    """How the weights move."""

    name: Literal["adam", "adamw", "sgd"] = knob("adam", help="the update rule, in its fused form")
    learning_rate: float = knob(5e-5, help="the highest learning rate", gt=0, le=10)
    layer_rates: dict[GroupName, LayerRate] = knob(
        {},
        help="learning rates of single groups, such as {layer1 = 1e-5, head = 5e-4}",
        max_length=64,
    )
    layer_decay: float | None = knob(
        None,
        help="each group below the head learns at this multiple of the one above it",
        unset="all alike",
        source="Clark et al. 2020 (ELECTRA)",
        gt=0,
        le=1,
    )
    weight_decay: float = knob(0.0, help="decay of weights; biases and norms are spared", ge=0, le=10)
    momentum: float = knob(
        0.9, help="momentum, in Nesterov's form when above 0", only_if=("name", ["sgd"]), ge=0, lt=1
    )
    schedule: Literal["constant", "cosine", "one_cycle", "step"] = knob(
        "constant", help="how the learning rate goes after warm-up"
    )
    warmup_epochs: float = knob(
        0.0,
        help="linear rise from 0 at the start of each stage (not with one_cycle)",
        unit="epochs",
        ge=0,
        le=100,
    )
    step_epochs: int = knob(
        10, help="epochs between steps down", unit="epochs", only_if=("schedule", ["step"]), ge=1, le=1000
    )
    step_factor: Probability = knob(
        0.1, help="the learning rate is multiplied by this at each step", only_if=("schedule", ["step"])
    )
