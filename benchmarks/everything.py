"""Every measurement of the training path, one after the other: `make bench OUT=DIR`.

    python -m benchmarks.everything [--out build/bench] [--only NAME …] [--smoke]

About an hour on two quiet cores. Each benchmark is a process of its own and leaves NAME.md and NAME.json; at
the end PERFORMANCE.md holds the table of goals and all of them. One that fails is named there, and the others
go on. `--smoke` runs all at the smallest size, to see that they work: its figures mean nothing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT, Machine, describe
from benchmarks.options import parser_of
from benchmarks.report import ROW_HEADER, rows_of, table_of
from workbench.support.units import human_seconds


@dataclass(frozen=True, slots=True)
class Part:
    """One benchmark."""

    name: str
    smoke: str
    """Its arguments for the smallest run."""


PARTS = (
    Part("throughput", "--backbones resnet18 --sides 64 --images 64 --rounds 1"),
    Part(
        "full_epoch", "--backbones resnet18 --sides 64 --images 64 --validation 37 --goal-rounds 1 --rounds 1"
    ),
    Part("same_accuracy", "--fine-tune 1 --rounds 1"),
    Part("early", "--rounds 1"),
    Part("late_layers", "--side 64 --images 64 --rounds 1"),
    Part("head_epoch", "--side 64 --images 64 --rounds 1"),
    Part("pseudo_run", "--rounds 1"),
    Part("together", "--side 64 --batch-size 8 --steps 1 --rounds 1"),
    Part("prediction", "--backbones resnet18 --side 64 --images 64 --rounds 1"),
    Part("growth", "--sizes 1000x37 2000x37 --rounds 1 --steps 2"),
    Part("gpu", "--images 64 --rounds 1"),
)
NAMES = tuple(part.name for part in PARTS)


def main() -> None:
    """Run them and put their findings together; exit code 1 if one failed."""
    parser = parser_of(__doc__)
    parser.set_defaults(out=Path("build") / "bench")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--smoke", action="store_true", help="smallest sizes; figures that mean nothing")
    options = parser.parse_args()
    out: Path = options.out.absolute()
    passed_on = ["--device", options.device, "--out", str(out)]
    if options.data_dir is not None:
        passed_on += ["--data-dir", str(options.data_dir.absolute())]
    machine, failed = describe(), []
    for part in PARTS:
        if part.name in options.only:
            started = time.monotonic()
            code = run(part, [*(part.smoke.split() if options.smoke else ()), *passed_on])
            took = human_seconds(time.monotonic() - started)
            print(f"{part.name}: {'done' if not code else f'FAILED ({code})'} in {took}", file=sys.stderr)
            failed += [part.name] if code else []
    write_summary(out, machine, failed)
    raise SystemExit(1 if failed else 0)


def run(part: Part, arguments: Sequence[str]) -> int:
    """Its exit code."""
    command = [sys.executable, "-m", f"benchmarks.{part.name}", *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def write_summary(out: Path, machine: Machine, failed: Sequence[str]) -> None:
    """PERFORMANCE.md: the machine, the goals, then every benchmark's own page; prints all but the pages."""
    head = ["# Measured", "\n".join(f"- {line}" for line in machine.lines())]
    measured = [name for name in NAMES if name not in failed]
    head += [table_of(ROW_HEADER, (row.cells() for row in rows_of(out, measured)))]
    head += [f"FAILED, nothing measured: {name}" for name in failed]
    pages = [out / f"{name}.md" for name in measured]
    bodies = [page.read_text(encoding="utf-8") for page in pages if page.exists()]
    out.mkdir(parents=True, exist_ok=True)
    (out / "PERFORMANCE.md").write_text("\n\n".join([*head, *bodies]), encoding="utf-8")
    print("\n\n".join(head), flush=True)


if __name__ == "__main__":
    main()
