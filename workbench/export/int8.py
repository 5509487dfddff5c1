"""Eight-bit integers: an ONNX file quantised on validation images, and what that costs in accuracy."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.dataset import UnreadableImage
from workbench.dataset.probe import decode_image
from workbench.export.formats import open_onnx
from workbench.export.pictures import ValidationImage, views_of
from workbench.loader.store import stored_side
from workbench.loader.store_build import square_of
from workbench.support.progress import Progress
from workbench.train.predict import Predictor

INT8 = ("onnx", "onnxruntime")
FILE = "model.int8.onnx"
CALIBRATION = 128
"""Validation images that fix the ranges of activations."""


@dataclass(frozen=True, slots=True)
class Quantised:
    """What the eight-bit file says of the validation images, beside the file it was made from."""

    file: str
    bytes: int
    images: int
    accuracy: float
    accuracy_before: float
    """Shares in [0, 1]."""
    same_class: int
    """Images of which both say the same."""
    calibrated_on: int


def quantise(
    folder: Path,
    predictor: Predictor,
    images: Sequence[ValidationImage],
    progress: Progress,
    *,
    from_pixels: bool,
) -> Quantised:
    """Write `model.int8.onnx` beside `model.onnx`: weights by channel, activations by their range on images.

    Static quantisation with explicit QDQ nodes. The first convolution stays in floats, as is usual (Choi et
    al. 2018, PACT, Sec. 5): it holds next to no weights, and in eight bits it costs an EfficientNet-Lite0 on
    the pets three points of accuracy. With the resizing inside, its matrices stay as they are: they are no
    part of the network, and eight bits would blur the picture.
    """
    quantization: Any = importlib.import_module("onnxruntime.quantization")
    source, target = folder / "model.onnx", folder / FILE
    name = "pixels" if from_pixels else "images"
    known = [image for image in images if image.label >= 0]
    calibrating = known[:: max(1, len(known) // CALIBRATION)][:CALIBRATION]
    shaped = folder / "shaped.onnx"
    importlib.import_module("onnxruntime.quantization.shape_inference").quant_pre_process(
        str(source), str(shaped), skip_symbolic_shape=True
    )
    kinds = ["Conv", "Gemm"] if from_pixels else ["Conv", "Gemm", "MatMul"]
    try:
        quantization.quantize_static(
            str(shaped),
            str(target),
            _reader(quantization, name, _inputs(predictor, calibrating, from_pixels)),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            op_types_to_quantize=kinds,
            nodes_to_exclude=_first_convolutions(shaped),
        )
    finally:
        shaped.unlink(missing_ok=True)
    before, after = open_onnx(source), open_onnx(target)
    right = right_before = same = count = 0
    for done, (label, inputs) in enumerate(_inputs(predictor, known, from_pixels), start=1):
        now, then = int(after(inputs)[0].argmax()), int(before(inputs)[0].argmax())
        count, right, right_before = count + 1, right + (now == label), right_before + (then == label)
        same += now == then
        progress.progress("eight-bit accuracy", done, len(known))
    return Quantised(
        FILE, target.stat().st_size, count, right / count, right_before / count, same, len(calibrating)
    )


def _first_convolutions(path: Path) -> list[str]:
    """The names of the convolutions that nothing learned stands before: one a trunk."""
    graph = importlib.import_module("onnx").load(str(path), load_external_data=False).graph
    weights = {tensor.name for tensor in graph.initializer}
    plain = {tensor.name for tensor in graph.input} - weights
    """What is computed of the input without a convolution."""
    found = []
    for node in graph.node:
        if not plain & set(node.input):
            continue
        if node.op_type == "Conv":
            found.append(node.name)
        else:
            plain |= set(node.output)
    return found


def _inputs(
    predictor: Predictor, images: Sequence[ValidationImage], from_pixels: bool
) -> Iterator[tuple[int, NDArray[Any]]]:
    """(true class, what goes in) of each image that can be read."""
    for image in images:
        try:
            pixels = decode_image(image.path, predictor.scale)
        except UnreadableImage:
            continue
        square = square_of(pixels, stored_side(predictor.form.side))
        yield image.label, pixels if from_pixels else views_of([square], predictor)


def _reader(quantization: Any, name: str, inputs: Iterator[tuple[int, NDArray[np.float32]]]) -> Any:
    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(({name: value} for _, value in inputs), None)

    return Reader()
