"""The formats of an exported model: how each is written, and how each is opened and asked again."""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from workbench.export.exported_network import PixelsToProbabilities, ViewsToLogits
from workbench.model import ImageClassifier, build
from workbench.model.family import family_of
from workbench.recipe import Recipe
from workbench.support.clean import clean
from workbench.support.errors import UserError
from workbench.train.predict import Predictor

Answers = Callable[[NDArray[Any]], NDArray[np.float32]]
"""What a format's file says: of a batch of views, logits (B, C); with preprocessing of one image's pixels,
probabilities (1, C)."""

ONNX_OPSET = 18
_INLINE_BYTES = 1_500_000_000
"""Larger networks keep their weights beside the ONNX file: protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Exported:
    """What a format is given to write."""

    predictor: Predictor
    recipe: Recipe
    module: ViewsToLogits | PixelsToProbabilities
    example: Tensor
    """What `module` is asked while it is traced: two images' views, or one image's pixels."""

    @property
    def has_preprocessing(self) -> bool:
        """Whether pixels go in, not views."""
        return isinstance(self.module, PixelsToProbabilities)

    @property
    def dynamic(self) -> dict[int, Any]:
        """The sizes of the input that are free, by their axis."""
        dims = torch.export.Dim
        if self.has_preprocessing:
            return {0: dims("height", min=2, max=65_536), 1: dims("width", min=2, max=65_536)}
        return {0: dims("batch", min=1, max=65_536)}

    @property
    def names(self) -> tuple[str, str]:
        """Of the input and the output."""
        return ("pixels", "probabilities") if self.has_preprocessing else ("images", "logits")


@dataclass(frozen=True)
class Format:
    """One format; `write` returns the files it made under the folder, `open` makes them answer again."""

    name: str
    help: str
    needs: tuple[str, ...]
    """Packages beyond petbench's own, by their import names."""
    takes_preprocessing: bool
    takes_several: bool
    """Whether a network of several trunks side by side has this form."""
    write: Callable[[Exported, Path], tuple[str, ...]]
    open: Callable[[Exported, Path], Answers]


def _write_onnx(exported: Exported, folder: Path) -> tuple[str, ...]:
    source, target = exported.names
    size = sum(value.nbytes for value in exported.module.state_dict().values())
    path = folder / "model.onnx"
    torch.onnx.export(
        exported.module,
        (exported.example,),
        str(path),
        dynamo=True,
        dynamic_shapes=(exported.dynamic,),
        input_names=[source],
        output_names=[target],
        opset_version=ONNX_OPSET,
        external_data=size > _INLINE_BYTES,
        verbose=False,
    )
    return tuple(sorted(file.name for file in folder.glob("model.onnx*")))


def open_onnx(path: Path) -> Answers:
    """What an ONNX file says, computed by onnxruntime on the CPU."""
    runtime = importlib.import_module("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answers(inputs: NDArray[Any]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = session.run(None, {name: inputs})[0]
        return np.atleast_2d(output)

    return answers


def _write_pt2(exported: Exported, folder: Path) -> tuple[str, ...]:
    with torch.no_grad():
        program = torch.export.export(
            exported.module, (exported.example,), dynamic_shapes=(exported.dynamic,), strict=False
        )
    with warnings.catch_warnings():
        # Weights that share memory are written as views of one another. On another device than the CPU, where
        # they never are here, torch would not find the whole of them; the file is asked again in any case.
        warnings.filterwarnings("ignore", "No complete tensor found in the group", UserWarning)
        torch.export.save(program, folder / "model.pt2")
    return ("model.pt2",)


def _open_pt2(exported: Exported, folder: Path) -> Answers:
    return _answers_of(torch.export.load(folder / "model.pt2").module())


def _write_safetensors(exported: Exported, folder: Path) -> tuple[str, ...]:
    classifier = exported.predictor.classifier
    tensors = {name: value.detach().cpu().contiguous() for name, value in classifier.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return ("model.safetensors",)


def _open_safetensors(exported: Exported, folder: Path) -> Answers:
    predictor, recipe = exported.predictor, exported.recipe
    classifier = build(
        recipe.model, len(predictor.classes), seed=1, pretrained=False, image_size=recipe.data.image_size
    )
    classifier.load_state_dict(load_file(folder / "model.safetensors"))
    return _answers_of(ViewsToLogits.of(predictor, classifier))


def _write_timm(exported: Exported, folder: Path) -> tuple[str, ...]:
    predictor = exported.predictor
    architecture, tensors = timm_twin(predictor.classifier, exported.recipe.data.image_size)
    side, labels = predictor.form.side, list(predictor.classes)
    config = {
        "architecture": architecture,
        "num_classes": len(labels),
        "num_features": predictor.classifier.feature_width,
        "pretrained_cfg": {
            "input_size": [3, side, side],
            "mean": list(predictor.form.mean),
            "std": list(predictor.form.std),
            "interpolation": "bicubic",
            "crop_pct": 7 / 8,
            "crop_mode": "center",
            "label_names": labels,
        },
    }
    if _is_built_for_a_size(architecture):
        config["model_args"] = {"img_size": side}
    place = folder / "timm"
    place.mkdir(exist_ok=True)
    save_file(tensors, place / "model.safetensors", {"format": "pt"})
    (place / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return "timm/config.json", "timm/model.safetensors"


def _open_timm(exported: Exported, folder: Path) -> Answers:
    timm = importlib.import_module("timm")
    network = timm.create_model(f"local-dir:{folder / 'timm'}", pretrained=True).eval()
    return _answers_of(_PlainViews(network, len(exported.predictor.form.evaluation)))


class _PlainViews(nn.Module):
    """A network that knows one view, asked several: the mean of its logits."""

    def __init__(self, network: nn.Module, views: int) -> None:
        super().__init__()
        self.network, self.views = network, views

    def forward(self, images: Tensor) -> Tensor:
        if self.views == 1:
            logits: Tensor = self.network(images)
            return logits
        answers: Tensor = self.network(images.flatten(0, 1))
        return answers.view(-1, self.views, answers.shape[1]).mean(dim=1)


def timm_twin(classifier: ImageClassifier, image_size: int) -> tuple[str, dict[str, Tensor]]:
    """timm's name of the same architecture, and the network's tensors under timm's names.

    Most families hold the same tensors in the same order under other names; whether that made the same
    network is proved by its answers, on images, before the folder is kept.

    Raises:
        UserError: timm has no network of these shapes.
    """
    timm: Any = importlib.import_module("timm")
    backbone = classifier.backbone
    name = family_of(backbone).timm_name(backbone)
    others = [other for other in FORMATS if other != "timm"]  # they take every backbone
    if not timm.is_model(name):
        raise UserError(f"timm has no network like {clean(backbone)}", where="--to timm", allowed=others)
    options = {"img_size": image_size} if _is_built_for_a_size(name) else {}
    twin = timm.create_model(name, pretrained=False, num_classes=classifier.classes, **options)
    own = {key: value.detach().cpu().contiguous() for key, value in classifier.state_dict().items()}
    renamed = _own_names(own, twin)
    if renamed.keys() != twin.state_dict().keys():
        renamed = _vit_names(own) if name.startswith("vit_") else _in_order(own, twin.state_dict())
    if {key: value.shape for key, value in renamed.items()} != {
        key: value.shape for key, value in twin.state_dict().items()
    }:
        raise UserError(
            f"timm's {name} is not made as {clean(backbone)} is: other tensors",
            where="--to timm",
            allowed=others,
        )
    return name, renamed


def _own_names(own: Mapping[str, Tensor], twin: Any) -> dict[str, Tensor]:
    """A trunk's own names, which are timm's where timm made it, and timm's for the head."""
    renamed = {key.removeprefix("trunk."): value for key, value in own.items()}
    head = (twin.pretrained_cfg or {}).get("classifier")
    for part in ("weight", "bias"):
        renamed[f"{head}.{part}"] = renamed.pop(f"head.linear.{part}")
    return renamed


def _in_order(own: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor of ours under the name of the next of theirs that has its shape."""
    left = list(theirs.items())
    named: dict[str, Tensor] = {}
    for value in own.values():
        for place, (name, other) in enumerate(left):
            if other.shape == value.shape:
                named[name] = value
                del left[place]
                break
    return named


def _vit_names(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's ViT under timm's names."""
    renamed = {}
    for key, value in own.items():
        name = key.removeprefix("trunk.").replace("encoder.layers.encoder_layer_", "blocks.")
        for ours, theirs in _VIT_PARTS:
            name = name.replace(ours, theirs)
        renamed[name] = value
    return renamed


_VIT_PARTS = (
    ("class_token", "cls_token"),
    ("conv_proj", "patch_embed.proj"),
    ("encoder.pos_embedding", "pos_embed"),
    ("encoder.ln", "norm"),
    ("ln_1", "norm1"),
    ("ln_2", "norm2"),
    ("self_attention.in_proj_", "attn.qkv."),
    ("self_attention.out_proj", "attn.proj"),
    ("mlp.0", "mlp.fc1"),
    ("mlp.3", "mlp.fc2"),
    ("mlp.linear_1", "mlp.fc1"),
    ("mlp.linear_2", "mlp.fc2"),
    ("head.linear", "head"),
)


def _is_built_for_a_size(name: str) -> bool:
    facts = importlib.import_module("timm").get_pretrained_cfg(name)
    return bool(facts and facts.fixed_input_size)


def _answers_of(network: nn.Module) -> Answers:
    @torch.inference_mode()
    def answers(inputs: NDArray[Any]) -> NDArray[np.float32]:
        output: NDArray[np.float32] = network(torch.from_numpy(inputs)).float().numpy()
        return np.atleast_2d(output)

    return answers


FORMATS: Mapping[str, Format] = {
    form.name: form
    for form in (
        Format(
            "onnx",
            "for onnxruntime, TensorRT, OpenVINO and the like",
            ("onnx", "onnxscript", "onnxruntime"),
            True,
            True,
            _write_onnx,
            lambda _, folder: open_onnx(folder / "model.onnx"),
        ),
        Format("pt2", "torch.export's program: torch alone runs it", (), True, True, _write_pt2, _open_pt2),
        Format(
            "safetensors",
            "the weights alone, for code that builds the network itself",
            (),
            False,
            True,
            _write_safetensors,
            _open_safetensors,
        ),
        Format(
            "timm",
            'a folder for timm.create_model("local-dir:...", pretrained=True)',
            ("timm",),
            False,
            False,
            _write_timm,
            _open_timm,
        ),
    )
}
