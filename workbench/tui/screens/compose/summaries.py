"""Each group of the form in a line, for when it is closed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from workbench.support.clean import clean
from workbench.support.units import target_word
from workbench.tui.screens.compose.offered import Values

_LONGEST = 40
_DOT = " · "


def group_summary(group: str, values: Values) -> str:
    """What counts most of a group's values, harmless to show."""
    return clean(_SUMMARIES[group](values))


def _recipe(values: Values) -> str:
    tags = values["tags"]
    words = [_text(values["name"]) or "without a name", f"seed {_text(values['seed'])}"]
    return _DOT.join([*words, *(_text(tag) for tag in tags)] if isinstance(tags, list) else words)


def _data(values: Values) -> str:
    words = [
        _text(values["data.dataset"]),
        target_word(values["data.dataset"], values["data.target"]),
        f"{_text(values['data.image_size'])} px",
    ]
    if (views := values["data.evaluation_views"]) != ["centre"]:
        words.append(f"evaluated {_plus(views)}")
    if values["data.head_crops"] != "off":
        words.append(f"head crops {_text(values['data.head_crops'])}")
    if values["data.corrections"]:
        words.append("corrected")
    if values["data.extra_labelled"] or values["data.extra_unlabelled"]:
        words.append("extra images")
    return _DOT.join(words)


def _model(values: Values) -> str:
    weights = values["model.weights"]
    words = {"default": "best published weights", "none": "random weights"}.get(weights, _text(weights))
    return f"{_text(values['model.backbone'])}{_DOT}{words}"


def _finetune(values: Values) -> str:
    layers = values["finetune.layers"]
    shown = "+".join(map(_text, layers)) if isinstance(layers, list) else _text(layers)
    words = [shown, f"batch norm {_plus(values['finetune.batch_norm'])}"]
    if values["finetune.probe_epochs"]:
        words.append("head first")
    return _DOT.join(words)


def _augmentation(values: Values) -> str:
    words = []
    if values["augmentation.random_crop"]:
        words.append("crop")
    if values["augmentation.flip"] is True:
        words.append("flip")
    for key in ("rotation", "brightness", "colour", "erasing"):
        if values[f"augmentation.{key}"]:
            words.append(key)
    for key in ("policy", "mixing"):
        if values[f"augmentation.{key}"] != "none":
            words.append(_text(values[f"augmentation.{key}"]))
    return " ".join(words) or "none: the same views in every epoch"


def _optimizer(values: Values) -> str:
    words = [f"{_text(values['optimizer.name'])} {_text(values['optimizer.learning_rate'])}"]
    if values["optimizer.schedule"] != "constant":
        words.append(_text(values["optimizer.schedule"]))
    if values["optimizer.weight_decay"]:
        words.append(f"decay {_text(values['optimizer.weight_decay'])}")
    return _DOT.join(words)


def _training(values: Values) -> str:
    words = [f"{_text(values['training.epochs'])} epochs", f"batch {_text(values['training.batch_size'])}"]
    if values["training.saliency_weight"]:
        words.append("saliency-guided")
    return _DOT.join(words)


def _pseudo_label(values: Values) -> str:
    if values.written("pseudo_label") is None:
        return "none: every training image keeps its label"
    words = [_text(values["pseudo_label.strategy"])]
    share, count = values["pseudo_label.labelled_fraction"], values["pseudo_label.labels_per_class"]
    if isinstance(share, float):
        words.append(f"{100 * share:.3g} % labelled")
    elif count is not None:
        words.append(f"{_text(count)} labels a class")
    if values["pseudo_label.rounds"] is not None:
        words.append(f"{_text(values['pseudo_label.rounds'])} rounds")
    return _DOT.join(words)


def _plus(value: Any) -> str:
    return "+".join(map(_text, value)) if isinstance(value, list) else _text(value)


def _text(value: Any) -> str:
    return clean("" if value is None else value, _LONGEST)


_SUMMARIES: dict[str, Callable[[Values], str]] = {
    "": _recipe,
    "data": _data,
    "model": _model,
    "finetune": _finetune,
    "augmentation": _augmentation,
    "optimizer": _optimizer,
    "training": _training,
    "pseudo_label": _pseudo_label,
}
