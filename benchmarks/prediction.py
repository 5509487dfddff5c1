"""How fast `petbench predict` sees pictures, beside the pipeline of timm's inference.py.

    python -m benchmarks.prediction [--backbones resnet18 efficientnet_lite0] [--side 224] [--rounds 5]

Same files, same network with the same weights, same arithmetic, in turns in one process: files in,
probabilities out. timm's side is its `create_dataset` and `create_loader` as inference.py calls them, with a
worker a core, channels-last and autocast. Beside them what petbench's decoding takes alone, as the store does
it, and the network alone on squares that are decoded already.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from timm.data.dataset_factory import create_dataset
from timm.data.loader import create_loader

from benchmarks.options import Common, common_of, parser_of, report_of, workshop
from benchmarks.pictures import make_tree
from benchmarks.report import Report, Row, Table
from benchmarks.turns import Spread, Turn, ratios
from workbench.compute import Dtype, autocast
from workbench.loader.store_build import Square, decode_square
from workbench.loader.views import ViewFormat
from workbench.model import ImageClassifier, build, frozen_copy
from workbench.recipe.model import Model
from workbench.train.feature_bank import INFERENCE_BATCH
from workbench.train.host import keep_freed_memory
from workbench.train.precision import choose_precision
from workbench.train.predict import Predicted, Predictor

MUST, AIM = 1.0, 1.5
HEADER = [
    "network",
    "petbench predict, images/s",
    "timm's inference.py, images/s",
    "ratio",
    "decoding alone, images/s",
    "network alone, images/s",
]


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--backbones", nargs="+", default=["resnet18", "efficientnet_lite0"])
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("prediction")
    table = Table("Pictures in, probabilities out", HEADER)
    report.tables.append(table)
    with workshop() as folder:
        tree = make_tree(folder, options.images, options.images, common.pets)
        for backbone in options.backbones:
            measure(backbone, options.side, tree.root / "test", options.rounds, common, report, table)
        report.notes.append(f"{options.images} images: {tree.source}")
    report.finish(common.out)


def measure(
    backbone: str, side: int, folder: Path, rounds: int, common: Common, report: Report, table: Table
) -> None:
    """One network; adds its row."""
    paths = sorted(folder.rglob("*.jpg"))
    predictor = predictor_of(backbone, side, common.device)
    timm = TimmInference(predictor, folder)
    squares = _decoded(predictor, paths)
    ours, theirs, decoding, network = (list[float]() for _ in range(4))
    for turn in range(rounds + 1):  # the first of each does not count
        taken = [
            _turn(lambda: sum(isinstance(one, Predicted) for one in predictor.predict(paths))),
            _turn(timm.run),
            _turn(lambda: len(_decoded(predictor, paths))),
            _turn(lambda: _seen(predictor, squares)),
        ]
        if turn:
            for rates, one in zip((ours, theirs, decoding, network), taken, strict=True):
                rates.append(one.rate)
    ratio = ratios(ours, theirs)
    label = f"{backbone} {side} px"
    measured = f"images/s, {predictor.dtype}, {os.cpu_count()} workers"
    report.rows.append(
        Row(f"prediction over timm's inference.py, {label}", ratio, MUST, AIM, "higher", measured)
    )
    both = [Spread.of(one).text(0) for one in (ours, theirs)]
    alone = [Spread.of(one).text(0) for one in (decoding, network)]
    table.rows.append([label, *both, ratio.text(2), *alone])


def predictor_of(backbone: str, side: int, device: torch.device) -> Predictor:
    """As of a run that trained the head of this network; both sides keep freed memory."""
    keep_freed_memory()
    classifier = build(
        Model(backbone=backbone, weights="none"), 37, seed=0, pretrained=False, image_size=side
    )
    classifier.to(device).to(memory_format=torch.channels_last).eval()
    dtype = choose_precision("auto", classifier, side, device, trains_on_images=False).inference
    form = ViewFormat(side, classifier.mean, classifier.std, device)
    trunk = frozen_copy(classifier.trunk, side, dtype)
    return Predictor(tuple(map(str, range(37))), classifier, trunk, form, dtype, True)


@dataclass
class TimmInference:
    """The loop of timm's inference.py over the classifier of a predictor."""

    predictor: Predictor
    folder: Path

    def run(self) -> int:
        """How many images it saw."""
        seen = 0
        network, dtype = self.predictor.classifier, self.predictor.dtype
        device = self.predictor.form.device
        with torch.inference_mode():
            for images, _ in self._loader(network, device):
                batch = images.to(device).contiguous(memory_format=torch.channels_last)
                seen += len(_answers(network, batch, device, dtype))
        return seen

    def _loader(
        self, network: ImageClassifier, device: torch.device
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        side = self.predictor.form.side
        loader = create_loader(
            create_dataset("", root=str(self.folder)),
            input_size=(3, side, side),
            batch_size=INFERENCE_BATCH,
            use_prefetcher=device.type == "cuda",
            device=device,
            interpolation="bicubic",
            mean=network.mean,
            std=network.std,
            crop_pct=0.875,
            num_workers=os.cpu_count() or 1,
        )
        yield from loader


def _answers(network: ImageClassifier, images: torch.Tensor, device: torch.device, dtype: Dtype) -> list[int]:
    with autocast(device, dtype):
        shares = network(images).float().softmax(-1)
    best: list[int] = shares.topk(5).indices[:, 0].tolist()
    return best


def _decoded(predictor: Predictor, paths: list[Path]) -> list[Square]:
    side = predictor.form.stored_side
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(lambda path: decode_square(path, side), paths))


def _seen(predictor: Predictor, squares: list[Square]) -> int:
    parts = (squares[at : at + INFERENCE_BATCH] for at in range(0, len(squares), INFERENCE_BATCH))
    return sum(len(predictor.probabilities(part)) for part in parts)


def _turn(work: Callable[[], int]) -> Turn:
    began = time.perf_counter()
    images = work()
    return Turn(images, time.perf_counter() - began)


if __name__ == "__main__":
    main()
