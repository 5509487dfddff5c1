"""How each format of an export is used: Python for the model card, without petbench."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from workbench.dataset.catalogue import KEPT, LONGEST
from workbench.loader.geometry import CROP_SHARES

_VIEWS = {
    "centre": "the middle square of 7/8 of the short side",
    "full": "the middle square of the short side",
    "close": "the middle square of 3/4 of the short side",
    "squash": "all of the picture, squashed",
}


def views_words(views: list[str]) -> str:
    """What a network is shown of a picture."""
    said = "; ".join(_VIEWS[view] for view in views)
    return said if len(views) == 1 else f"the mean of {len(views)} views ({said})"


def from_pixels(name: str) -> Iterator[str]:
    """Of a file that takes a picture's own bytes. Raises: KeyError, of a format that takes views alone."""
    asked = {
        "onnx": (
            "import onnxruntime",
            'session = onnxruntime.InferenceSession("model.onnx")',
            'probabilities = session.run(None, {"pixels": pixels})[0]',
        ),
        "pt2": (
            "import torch",
            'program = torch.export.load("model.pt2").module()',
            "probabilities = program(torch.from_numpy(pixels)).detach().numpy()",
        ),
    }
    imported, opened, answer = asked[name]
    yield from _python(
        imported,
        "import numpy as np",
        "from PIL import Image, ImageOps",
        "",
        'picture = ImageOps.exif_transpose(Image.open("PICTURE.jpg")).convert("RGB")',
        "pixels = np.array(picture)  # (H, W, 3) bytes, of any size",
        opened,
        answer,
        *_ANSWER,
    )


def images_from_a_picture(config: Mapping[str, Any]) -> Iterator[str]:
    """What goes into files that take views, in words and in Python, for all of them."""
    side, stored, views = config["image_size"], config["stored_side"], config["views"]
    count = "" if len(views) == 1 else f"{len(views)}, "
    yield f"What goes in: float32 images (B, {count}3, {side}, {side}), red, green, blue in [0, 1], less the"
    yield f"mean {config['mean']}, over {config['std']}. A picture is resized to {stored} x {stored} pixels"
    yield "(bicubic, its aspect not kept), then each view is cut from that, bilinearly, with the aspect"
    yield f"restored: {views_words(views)}. What comes out: logits (B, {len(config['classes'])})."
    yield "`petbench export --with-preprocessing` puts all of this inside (onnx, pt2)."
    yield ""
    shares = ", ".join("None" if view == "squash" else f"{CROP_SHARES[view]:g}" for view in views)
    index = "[None]" if len(views) > 1 else ""
    yield from _python(
        "import numpy as np",
        "from PIL import Image, ImageOps",
        "",
        "",
        "def images_of(path):",
        '    picture = ImageOps.exif_transpose(Image.open(path)).convert("RGB")',
        f"    short = min(picture.size)  # what is longer than {LONGEST}:1 keeps its middle {KEPT}:1",
        f"    if max(picture.size) > {LONGEST} * short:",
        f"        kept = [min(length, {KEPT} * short) for length in picture.size]",
        "        left, top = ((length - keep) // 2 for length, keep in zip(picture.size, kept))",
        "        picture = picture.crop((left, top, left + kept[0], top + kept[1]))",
        f"    square = picture.resize(({stored}, {stored}), Image.Resampling.BICUBIC)",
        f"    places = (np.arange({side}) + 0.5) / {side}",
        "",
        "    def rows(length, share):  # bilinear weights along one side",
        "        extent = 1 if share is None else share * min(picture.size) / length",
        f"        centres = ((1 - extent) / 2 + extent * places) * {stored} - 0.5",
        f"        centres = np.clip(centres, 0, {stored - 1})[:, None]",
        f"        return np.maximum(0, 1 - abs(centres - np.arange({stored})))",
        "",
        "    views = []",
        f"    for share in ({shares},):  # of the short side; None: all, squashed",
        "        across, down = (rows(length, share) for length in picture.size)",
        '        views.append(np.einsum("yh,hwc,xw->cyx", down, np.asarray(square) / 255, across))',
        f"    mean, std = np.array({config['mean']}), np.array({config['std']})",
        "    views = (np.stack(views) - mean[:, None, None]) / std[:, None, None]",
        f"    return views.astype(np.float32){index}",
    )


def from_views(name: str, config: Mapping[str, Any]) -> Iterator[str]:
    """Of one format that takes views; they come from `images_from_a_picture`. Raises: KeyError."""
    views = len(config["views"])
    match name:
        case "onnx":
            yield from _python(
                "import onnxruntime",
                "",
                'session = onnxruntime.InferenceSession("model.onnx")',
                'logits = session.run(None, {"images": images_of("PICTURE.jpg")})[0][0]',
                *_SOFTMAX,
                *_ANSWER,
            )
        case "pt2":
            yield from _python(
                "import torch",
                "",
                'program = torch.export.load("model.pt2").module()',
                'logits = program(torch.from_numpy(images_of("PICTURE.jpg"))).detach().numpy()[0]',
                *_SOFTMAX,
                *_ANSWER,
            )
        case "safetensors":
            whose = "the mean of the views' features" if views > 1 else "the view's features"
            yield "The weights alone: `head.linear` is the head; all else, below `trunk.`, is named as the"
            yield f"backbone's own library names it. Logits are the head's of {whose}."
            yield ""
            yield from _python(
                "from safetensors.torch import load_file",
                "",
                'tensors = load_file("model.safetensors")',
                'head = tensors["head.linear.weight"], tensors["head.linear.bias"]',
            )
        case "timm":
            if views > 1:
                yield f"It takes one view at a time, (B, 3, {config['image_size']}, {config['image_size']});"
                yield f"logits are the mean over the {views} views. `timm.data.create_transform` would show"
                yield "it one of them alone, and it would err a little more."
                yield ""
            mean = ".mean(dim=0)" if views > 1 else "[0]"
            images = 'images_of("PICTURE.jpg")' + ("[0]" if views > 1 else "")
            yield from _python(
                "import timm, torch",
                "",
                'model = timm.create_model("local-dir:timm", pretrained=True).eval()',
                f"logits = model(torch.from_numpy({images})){mean}.detach().numpy()",
                *_SOFTMAX,
                *_ANSWER,
            )
        case _:
            raise KeyError(name)


_SOFTMAX = ("probabilities = np.exp(logits - logits.max())", "probabilities /= probabilities.sum()")
_ANSWER = (
    'labels = open("labels.txt", encoding="utf-8").read().splitlines()',
    "print(labels[probabilities.argmax()], probabilities.max())",
)


def _python(*lines: str) -> Iterator[str]:
    yield "```python"
    yield from lines
    yield "```"
    yield ""
