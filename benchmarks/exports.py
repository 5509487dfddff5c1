"""How far an exported model's answers are from petbench's: every format of five networks, tuned and frozen.

    python -m benchmarks.exports [--only resnet18 …] [--test]

Each network is trained for four steps on 64 pictures of four classes at 224 px, once whole and once by its
head alone, then exported to every format. The figure is the largest difference of a probability that
`petbench export` found on 16 validation images. EfficientNet-Lite0 has the weights of its
package; MobileNetV2 those of --mobilenet, if it is given; the others random ones: that needs no download.

`--test RUN FOLDER` instead holds `benchmarks/peers/plain_onnx.py`, which knows nothing of petbench, against
what a run said of its test images: FOLDER is an export of RUN that has ONNX.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT
from benchmarks.options import common_of, parser_of, report_of, workshop
from benchmarks.pictures import Tree, make_tree
from benchmarks.report import Table
from workbench.dataset import open_catalogue
from workbench.recipe import load_recipe
from workbench.runs.find import find_run
from workbench.runs.opinions import split_opinions
from workbench.support.paths import data_home, runs_home

FORMATS = ("onnx", "pt2", "safetensors", "timm")
SIDE, IMAGES, CLASSES = 224, 80, 4
"""A fifth of the images is for validation."""
RECIPE = """
schema = 1
name = "exported"
[data]
dataset = "folder"
root = {root}
image_size = {side}
evaluation_views = ["centre"]
[model]
backbone = {backbone}
weights = {weights}
[finetune]
layers = {layers}
[optimizer]
learning_rate = 1e-4
[training]
epochs = 1
batch_size = 16
precision = "fp32"
"""


@dataclass(frozen=True, slots=True)
class Network:
    """A backbone and where its weights come from."""

    backbone: str
    weights: str
    called: str


def networks(mobilenet: Path | None) -> list[Network]:
    """The five."""
    has_weights = mobilenet is not None
    return [
        Network("efficientnet_lite0", "default", "EfficientNet-Lite0, ImageNet"),
        Network("resnet18", "none", "ResNet-18, random"),
        Network(
            "mobilenet_v2",
            str(mobilenet.absolute()) if mobilenet is not None else "none",
            f"MobileNetV2, {'ImageNet' if has_weights else 'random'}",
        ),
        Network("vit_b_16", "none", "ViT-B/16, random"),
        Network("timm:vit_small_patch14_dinov2", "none", "DINOv2-S, random"),
    ]


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", help="backbones by their names; default: all five")
    parser.add_argument("--mobilenet", type=Path, help="a file of torchvision's mobilenet_v2 weights")
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--test", nargs=2, metavar=("RUN", "FOLDER"), help="compare on test images instead")
    options = parser.parse_args()
    common = common_of(options)
    report = report_of("exports")
    if options.test is not None:
        report.notes.append(same_on_test(options.test[0], Path(options.test[1])))
    else:
        chosen = [
            one for one in networks(options.mobilenet) if one.backbone in (options.only or [one.backbone])
        ]
        with workshop() as folder:
            tree = make_tree(folder / "pictures", IMAGES, CLASSES, common.pets)
            report.tables.append(differences(chosen, tree, options.side, folder))
    report.finish(common.out)


def differences(chosen: Sequence[Network], tree: Tree, side: int, folder: Path) -> Table:
    """A row a network and way of training: the largest difference by format."""
    rows = []
    for network in chosen:
        for layers in ("all", "head"):
            run = _trained(network, layers, tree, side, folder)
            found = _exported(run, folder)
            shown = [f"{found[name]:.1e}" for name in FORMATS]
            rows.append([network.called, "fine-tuned" if layers == "all" else "frozen", *shown])
            print(" · ".join(rows[-1]), file=sys.stderr, flush=True)
    return Table(
        f"Largest difference of a probability, {side} px, 16 validation images",
        ["network", "", *FORMATS],
        rows,
    )


def _trained(network: Network, layers: str, tree: Tree, side: int, folder: Path) -> str:
    """Train; the path of the finished run."""
    recipe, runs = folder / "exported.toml", folder / "runs"
    recipe.write_text(
        RECIPE.format(
            root=json.dumps(str(tree.root)),
            side=side,
            backbone=json.dumps(network.backbone),
            weights=json.dumps(network.weights),
            layers='"all"' if layers == "all" else '["head"]',
        )
    )
    answer = _petbench("run", str(recipe), "--runs-dir", str(runs), "--device", "cpu", "--json")
    return str(answer["path"])


def _exported(run: str, folder: Path) -> dict[str, float]:
    """The largest difference by format."""
    out = folder / "model"
    answer = _petbench("export", run, "--to", ",".join(FORMATS), "--out", str(out), "--json")
    shutil.rmtree(out)
    return {one["format"]: one["difference"] for one in answer["checked"]}


def same_on_test(run: str, folder: Path) -> str:
    """Ask the plain script about the run's test images; how often it says the class that the run said."""
    directory = find_run(runs_home(None), run)
    recipe = load_recipe(directory.recipe)
    catalogue = open_catalogue(recipe.data, data_home=data_home(None))
    paths = {record.id: record.path for record in catalogue.records}
    said = {row.id: row.said for row in split_opinions(directory, "test").rows}
    files = [str(paths[name]) for name in said]
    script = ROOT / "benchmarks" / "peers" / "plain_onnx.py"
    # Isolated and elsewhere: petbench is not on its way even if it is installed beside.
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(folder.absolute()), *files],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = list(csv.DictReader(io.StringIO(done.stdout)))
    pairs = list(zip(said.items(), answers, strict=True))
    other = [f"{id_}: {one}, not {row['class']}" for (id_, one), row in pairs if row["class"] != one]
    same = len(pairs) - len(other)
    return "\n".join(
        [f"The same class for {same:,} of {len(pairs):,} test images of {directory.id}.", *other]
    )


def _petbench(*arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "workbench.cli.main", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"petbench {' '.join(arguments)}\n{done.stderr}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    main()
