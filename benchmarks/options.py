"""Options that benchmarks share, and where they find images."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.machine import ROOT, describe
from benchmarks.report import Report
from workbench.compute import find_device
from workbench.dataset.oxford import is_oxford
from workbench.support.paths import data_home

PETS = "oxford-iiit-pet"


@dataclass(frozen=True, slots=True)
class Common:
    """What every benchmark is told."""

    pets: Path | None
    """Holds oxford-iiit-pet/; None where it is not on this machine."""
    device: torch.device
    out: Path | None


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """With the shared options."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data-dir", type=Path, help="holds oxford-iiit-pet/; else $PETBENCH_DATA, else ../shared/data"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--out", type=Path, help="also write Markdown and JSON into this folder")
    return parser


def common_of(options: argparse.Namespace) -> Common:
    """The shared options, resolved."""
    return Common(find_pets(options.data_dir), find_device(options.device), options.out)


def find_pets(option: Path | None) -> Path | None:
    """The first of `--data-dir`, the user's data home and the repository's neighbour that has the pets."""
    candidates = [option] if option else [data_home(), ROOT.parent / "shared" / "data"]
    return next((home.absolute() for home in candidates if is_oxford(home / PETS)), None)


def report_of(name: str) -> Report:
    """An empty report of this process; says on stderr what begins."""
    print(f"{name}: measuring", file=sys.stderr, flush=True)
    return Report(name, describe(), f"python -m benchmarks.{name} {' '.join(sys.argv[1:])}".strip())


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder for trees, stores and weights that goes away; it lies in $TMPDIR, else in /tmp."""
    with TemporaryDirectory(prefix="petbench-bench-") as folder:
        yield Path(folder)
